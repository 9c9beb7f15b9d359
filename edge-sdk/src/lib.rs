//! ## Map of the crate
//!
//! | module | owns |
//! |---|---|
//! | `builder`, `model` | what is declared at the start; the variant's hash |
//! | `environment` | the same from environment variables |
//! | `line` | start, end, and the two threads: nothing else runs |
//! | `inference` | one inference, from its first token to its record |
//! | `logits` | one pass over a row of logits |
//! | `repetition`, `script` | how much an output repeats itself; which scripts a prompt is in |
//! | `energy`, `device`, `sampler` | joules, heat, load and battery, on a thread of their own |
//! | `projection` | what moves when the meaning of embeddings moves |
//! | `detector`, `lookout` | whether answers move, found on the device; who feeds it |
//! | `probe` | runs whose answer is known, and how far they are from it |
//! | `candle` | the only code that knows candle (feature `candle`) |
//! | `meter` | sketches of the open window |
//! | `closer`, `windows`, `budget`, `otlp` | windows: when, which span, how many bytes |
//! | `spool` | windows on disk, until they arrived |
//! | `refuge` | where windows go while the spool folder cannot be written |
//! | `sender` | uploads, replies, waits |
//! | `clock`, `installation` | time and identifiers |
#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod bell;
mod budget;
mod builder;
#[cfg(feature = "candle")]
mod candle;
mod clock;
mod closer;
mod detector;
mod device;
mod energy;
mod environment;
mod error;
mod inference;
mod installation;
mod line;
mod logits;
mod lookout;
mod meter;
mod model;
mod otlp;
mod probe;
mod projection;
mod refuge;
mod repetition;
mod sampler;
mod script;
mod sender;
mod spool;
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
