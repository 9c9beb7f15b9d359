//! May a new version go on to more devices? The rollout gate (statistics, section e; design,
//! section 8): devices of one class that run the candidate are compared with devices of the same
//! class that run the baseline at the same time, so that season and shocks of the fleet cancel.
//! Pure: no clock, no IO, and the same records give the same bits in whatever order they come.
//!
//! | file | holds |
//! |---|---|
//! | `settings.rs` | what an operator may choose |
//! | `arms.rs` | what was seen: both arms, window by window |
//! | `signal.rs` | which events speak for or against a candidate, and how a histogram counts them |
//! | `judging.rs` | one signal of one class: frozen before the start, then bets |
//! | `class.rs` | one device class: its signals, and whether its arms are comparable |
//! | `decide.rs` | the fold over windows |
//! | `kept.rs` | rollouts as a collector tells of them |
//! | `answer.rs` | promote, rollback or hold, with the evidence |
//!
//! In words for those who wait for it: before the start we freeze what counts as a bad inference,
//! "slower than 1.1 times the p95". Of every ten bad ones, as many should come from the candidate
//! as its part of all inferences says. We bet on "more" and on "not much more"; whichever bet wins
//! twenty times its stake decides.

mod answer;
mod arms;
mod class;
mod decide;
mod judging;
mod kept;
mod settings;
mod signal;

pub use answer::{
    Answer, ArmSeen, ClassAnswer, Comparable, Decision, Leading, SignalAnswer, Standing,
};
pub use arms::{Arm, ArmWindow, Class, Rollout};
pub use decide::decide;
pub use kept::{KeptRollout, RunningVersion};
pub use settings::{Settings, SettingsError};
pub use signal::{METRICS, Role};
