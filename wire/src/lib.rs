//! The contract between Fathomline's parts: everything that crosses a wire or rests on a disk.
//!
//! In: nothing. Out: names, identities, histograms, limits, rejections and events that the edge
//! SDK, the collector and the dashboard must agree on. Never: IO, async, clocks, or a dependency
//! beyond serde, because this crate runs on every device.
//!
//! | module | holds |
//! |---|---|
//! | [`names`] | every metric, attribute and header name with its unit |
//! | [`identity`] | which batch is this: installation, boot, sequence |
//! | [`histogram`] | exponential and explicit-bounds histograms: index, merge, quantile, cdf |
//! | [`limits`] | sizes both ends share, each with its reason |
//! | [`noise`] | fixed cells of noised distributions |
//! | [`rejection`] | stable codes for "no", each retryable or final |
//! | [`event`] | webhook bodies |
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![deny(missing_docs)]

pub mod event;
pub mod histogram;
pub mod identity;
pub mod limits;
pub mod names;
pub mod noise;
pub mod rejection;

/// Version of everything in this crate; also the last segment of [`names::SCHEMA_URL`].
///
/// It changes only when an older reader would misunderstand a newer writer.
pub const CONTRACT_VERSION: u32 = 1;
