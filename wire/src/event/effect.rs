//! How far a signal moved, how sure that is, and what moved it. In: the evidence of a verdict. Out:
//! numbers for programs; the sentence for people is beside it. Of few devices nothing is told.

use serde::{Deserialize, Serialize};

/// How far the signal moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Which part of the distribution leads, in words: `above the reference p95 (0.0121)`.
    pub stream: String,
    /// `more` or `less` of it than expected.
    pub direction: String,
    /// Its share in the reference, 0 to 1.
    pub expected_share: f64,
    /// Its share in the window, 0 to 1.
    pub share: f64,
    /// Population stability index of the window in all bins of the reference, less what chance
    /// gives, nats; none where it was not taken apart.
    pub psi_debiased: Option<f64>,
    /// From and to where that lies with 95 % certainty, by resampling devices; none of few.
    pub interval: Option<(f64, f64)>,
}

/// What adds to the distance; the parts of one kind add up to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contributor {
    /// `site`, a group of devices; or `bin`, a range of values or a category.
    pub kind: String,
    /// Which one.
    pub name: String,
    /// Its part of the records in the reference, 0 to 1.
    pub reference_share: f64,
    /// Its part of the records now, 0 to 1.
    pub share: f64,
    /// What it adds, nats.
    pub part: f64,
}
