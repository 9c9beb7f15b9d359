//! Fathomline's pages: what drifts, where, since when, how sure.
//!
//! In: an [`Engine`](fathomline_queries::engine::Engine) to read through and a [`Control`] to ask.
//! Out: an axum router that the collector mounts beside its API. Pages are HTML that needs no
//! JavaScript; all state is in the URL. Never: writes, clocks, the collector's own types.
//!
//! | module | holds |
//! |---|---|
//! | `router` | every URL, in page order |
//! | `control` | the trait through which the collector is asked |
//! | `alerts` | what the collector tells of alerts |
//! | `deliveries` | what the collector tells of webhooks |
//! | `retraining` | what the collector tells of requests to train again |
//! | `visit` | who looks, at which span, with which filters: checked before any page runs |
//! | `pages` | one page, one file, one template |
//! | `view` | numbers to words, words to URLs, histograms to charts |
//! | `assets` | style and mark, served under hashed names |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod alerts;
mod assets;
mod control;
pub mod deliveries;
mod pages;
pub mod retraining;
mod router;
mod view;
mod visit;

pub use control::{Act, Citing, Control, ControlError, Done, KeptReference, Refused};
pub use router::{Dashboard, router};
