//! Mergeable histograms: what a device knows about a quantity without keeping a single value.
//!
//! [`ExponentialHistogram`] follows the OpenTelemetry metrics data model, section
//! "ExponentialHistogram": base `2^(2^-scale)`, bucket `i` holds `base^i < v <= base^(i+1)`.
//! [`ExplicitHistogram`] keeps foreign fixed bounds exactly as they came. Both answer the same
//! questions through ordered [`Cell`]s. Never: a clock, IO, or a value itself.

mod cells;
mod explicit;
mod exponential;
mod index;
mod lent;
mod merge;

pub use cells::{Cell, CellKind};
pub use explicit::ExplicitHistogram;
pub use exponential::{Buckets, ExponentialHistogram, HistogramError, Parts};
pub use index::{bucket_index, lower_bound};
pub use lent::{LentBuckets, LentHistogram};
