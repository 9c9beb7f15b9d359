//! The fleet that shows Fathomline: real candle inference, a season that changes, a verdict, a
//! signed webhook. In: nothing but a command line. Out: a story on the terminal, and pages.
//!
//! | module | holds |
//! |---|---|
//! | [`grammar`] | what people say to the building, in two seasons |
//! | [`model`] | the assistant: a small Llama in f32 and Q8_0 |
//! | [`exam`] | how many requests it answers right |
//! | [`train`] | how its weights were made |
//! | [`threads`] | one thread for each matrix product |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod clock;
pub mod exam;
pub mod grammar;
pub mod model;
pub mod receiver;
pub mod threads;
pub mod train;
