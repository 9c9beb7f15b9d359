//! Fathomline's collector, the only writer.
//!
//! ```text
//!  devices --OTLP--> receiver --> intake --> store --> tables
//!                                              |
//!  pipelines <--webhook-- alert <-- watch <----+----> api, dashboard --> people
//!                                     |               |
//!                                     +-- database <-- control
//! ```
//!
//! | room | owns |
//! |---|---|
//! | `doors` | which addresses are opened, and which are too open |
//! | `listener` | connections, in the clear or under TLS |
//! | `receiver` | where data enters: OTLP over gRPC and HTTP |
//! | `intake` | pure: request to points and rejections |
//! | `store` | where data rests: log, ledger, Delta tables |
//! | `watch` | where data is judged: lanes to verdicts |
//! | `alert` | who is told: one event a change of state, in the shape each endpoint takes |
//! | `retraining` | models that are to be trained again, and what becomes of it |
//! | `control` | changes that people ask for, through `access` |
//! | `references` | the same for references, for programs |
//! | `deliveries` | what became of webhooks, for programs |
//! | `rollout` | whether a new version may go on, and which rollouts there are |
//! | `access` | who may do what; which names this server answers to |
//! | `observe` | what the collector says of itself: `/metrics` and a log line a hand-off |
//! | `api` | the HTTP API |
//! | `pages` | what the dashboard asks of this collector |
//! | `database` | changing state, in SQLite |
//! | `sentence` | errors as binaries tell them |
//! | `clock` | the only reader of system time |
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod alert;
mod api;
pub mod clock;
mod collector;
mod config;
mod control;
mod database;
pub mod deliveries;
mod doors;
mod erasing;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod intake;
mod listener;
mod observe;
mod pages;
mod receiver;
pub mod references;
mod retraining;
mod rollout;
mod sentence;
mod store;
mod watch;

pub use access::credentials;
pub use collector::{Collector, Running, StartError};
pub use config::{AlertEndpoint, Config, ConfigError};
pub use sentence::sentence;
pub use store::StoreError;
pub use watch::JUDGED_METRICS;
