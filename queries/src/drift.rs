//! Drift you can believe: the QX e-CUSUM detector on a fixed reference span (statistics, section
//! d; design, section 7). Pure folds over closed lanes: no clock, no IO, the same lanes give the
//! same bits.
//!
//! | file | holds |
//! |---|---|
//! | `series.rs` | which series: service, model, version, variant, device class, metric |
//! | `lane.rs` | what a series did in one lane |
//! | `policy.rs` | what an operator may choose |
//! | `stream.rs` | exceedance and category streams of a reference |
//! | `reference.rs` | what it was: frozen, named by its hash |
//! | `detector.rs` | the fold: lane in, verdict out |
//! | `verdict.rs` | steady, drifting or undecided, with the evidence |
//!
//! In words for those who are paged: 5 % of inferences should exceed the reference p95. We keep a
//! bet on "more than that" and one on "less". When the winnings exceed what luck could give once
//! in 30 days over all series, we page.

mod detector;
mod lane;
mod policy;
mod reference;
mod series;
mod stream;
mod verdict;

pub use detector::Detector;
pub use lane::{Lane, Summary};
pub use policy::Policy;
pub use reference::{Reference, Shortfall};
pub use series::SeriesKey;
pub use stream::Stream;
pub use verdict::{Direction, Distances, Leading, Verdict, VerdictState};
