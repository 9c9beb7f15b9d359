//! ## Map of the crate
//!
//! | module | owns |
//! |---|---|
//! | `builder`, `model` | what is declared at the start; the variant's hash |
//! | `environment` | the same from a file and from environment variables |
//! | `destination` | where windows go, with which headers |
//! | `trust` | whom uploads trust, and the certificate they show |
//! | `line` | start, end, and the three threads: nothing else runs |
//! | `inference` | one inference, from its first token to its record |
//! | `logits` | one pass over a row of logits |
//! | `repetition`, `script` | how much an output repeats itself; which scripts a prompt is in |
//! | `sysfs` | small files that say something of the device |
//! | `energy`, `device`, `sampler` | joules, heat, load and battery, on a thread of their own |
//! | `projection` | what moves when the meaning of embeddings moves |
//! | `detector`, `lookout` | whether answers move, found on the device; who feeds it |
//! | `probe` | runs whose answer is known, and how far they are from it |
//! | `candle` | the only code that knows candle (feature `candle`) |
//! | `meter` | sketches of the open window |
//! | `bridge` | the same through an application's own OpenTelemetry (feature `otel-bridge`) |
//! | `closer`, `windows`, `otlp` | windows: when, which span, which bytes |
//! | `spool` | windows on disk, until they arrived |
//! | `queue` | where windows wait: on disk, in memory while the folder cannot be written |
//! | `sender` | uploads, replies, waits |
//! | `noise` | counts of fixed cells with noise, instead of distributions |
//! | `budget`, `ledger` | bytes a day; what was spent on which day |
//! | `clock`, `installation` | time and identifiers |
#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod bell;
#[cfg(feature = "otel-bridge")]
mod bridge;
mod budget;
mod builder;
#[cfg(feature = "candle")]
mod candle;
mod clock;
mod closer;
mod destination;
mod detector;
mod device;
mod energy;
mod environment;
mod error;
mod inference;
mod installation;
mod ledger;
mod line;
mod logits;
mod lookout;
mod meter;
mod model;
mod noise;
mod otlp;
mod probe;
mod projection;
mod queue;
mod repetition;
mod sampler;
mod script;
mod sender;
mod spool;
mod sysfs;
mod trust;
#[cfg(test)]
mod vectors;
mod windows;
mod words;

pub use builder::Builder;
pub use error::Error;
pub use inference::{Finished, Inference};
pub use line::{Fathomline, Health};
pub use logits::LogitStats;
pub use model::Model;
pub use probe::Probe;
pub use spool::Waiting;
pub use words::{Feedback, FinishReason, Operation, Validity};
