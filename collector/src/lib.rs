//! Fathomline's collector, the only writer.
//!
//! ```text
//!  devices --OTLP--> receiver --> intake --> store --> tables
//! ```
//!
//! | room | owns |
//! |---|---|
//! | `receiver` | where data enters: OTLP over gRPC and HTTP |
//! | `intake` | pure: request to points and rejections |
//! | `store` | where data rests: log, ledger, Delta tables |
//! | `clock` | the only reader of system time |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod clock;
mod collector;
mod config;
mod intake;
mod receiver;
mod store;

pub use collector::{Collector, Running, StartError};
pub use config::{Config, ConfigError};
pub use store::StoreError;
