//! The fleet that shows Fathomline: real candle inference, a season that changes, a verdict, a
//! signed webhook. In: nothing but a command line. Out: a story on the terminal, and pages.
//!
//! | module | holds |
//! |---|---|
//! | [`story`] | the acts, in order |
//! | [`house`] | the collector it plays in |
//! | [`fleet`] | the devices, and the streets they stand in |
//! | [`operator`] | what the story asks the collector, as anyone could |
//! | [`receiver`] | where the webhook arrives |
//! | [`report`] | the story in figures |
//! | [`voice`] | how it sounds |
//! | [`release`] | a version of the assistant, as devices take it |
//! | [`trainer`] | who makes version 2 when it is asked for |
//! | [`grammar`] | what people say to the building, in two seasons |
//! | [`model`] | the assistant: a small Llama in f32 and Q8_0 |
//! | [`exam`] | how many requests it answers right |
//! | [`train`] | how its weights were made |
//! | [`threads`] | one thread for each matrix product |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod clock;
mod device;
pub mod exam;
pub mod fleet;
pub mod grammar;
pub mod house;
mod ledger;
pub mod model;
pub mod operator;
pub mod receiver;
pub mod release;
pub mod report;
pub mod story;
pub mod threads;
pub mod train;
pub mod trainer;
pub mod voice;
