//! Questions about Fathomline's stored data.
//!
//! In: a [`lake::View`] of tables and a question. Out: rows, or a verdict. Never: sockets, clocks
//! or writes.
//!
//! | module | holds |
//! |---|---|
//! | [`schema`] | names and types of every stored column |
//! | [`rows`] | the same as plain structs; rows to Arrow, device rows to cohort increments |
//! | [`lake`] | one atomic view of committed and hot rows |
//! | [`stats`] | pure mathematics of distributions and evidence |
//! | [`drift`] | references, detectors and verdicts: pure folds over lanes |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod drift;
#[cfg(test)]
mod examples;
pub mod lake;
pub mod rows;
pub mod schema;
pub mod stats;
