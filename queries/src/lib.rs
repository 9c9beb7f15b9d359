//! Questions about Fathomline's stored data.
//!
//! In: a [`lake::Lake`] of tables and a question. Out: rows as structs, or a verdict. Never:
//! sockets, clocks or writes.
//!
//! | module | holds |
//! |---|---|
//! | [`schema`] | names and types of every stored column |
//! | [`rows`] | the same as plain structs; rows to Arrow, device rows to cohort increments |
//! | [`lake`] | one atomic view of committed and hot rows |
//! | [`published`] | what of the stored rows may be shown |
//! | [`engine`] | runs SQL over one view, reading only, bounded in time and memory; with [`engine::committed`], over a data folder without its collector |
//! | `catalog` | the files of `sql/`, each one question |
//! | [`lanes`] (with [`lanes::parts`], device by device, and [`lanes::rollout`], two versions at once), [`series`], [`fleet`], [`verdict`], [`event`] | typed answers, a module a noun |
//! | [`stats`] | pure mathematics of distributions and evidence |
//! | [`drift`] | references, detectors and verdicts: pure folds over lanes |
//! | [`cost`] | energy, and what it costs here and would cost elsewhere |
//! | [`gate`] | whether a new version may go on: promote, rollback or hold |
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod catalog;
pub mod cost;
pub mod drift;
pub mod engine;
pub mod event;
#[cfg(test)]
mod examples;
pub mod fleet;
mod functions;
pub mod gate;
pub mod lake;
pub mod lanes;
pub mod published;
mod row;
pub mod rows;
pub mod schema;
pub mod series;
pub mod stats;
pub mod verdict;
