//! What is said about a series, with the evidence that anyone can check.

use serde::{Deserialize, Serialize};

/// The answer. `Undecided` is one: never a pass, never drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerdictState {
    /// Within tolerance, as far as the data can tell.
    Steady,
    /// Beyond what luck gives within the budget of false pages.
    Drifting,
    /// Too little data, or no reference.
    Undecided,
}

impl VerdictState {
    /// The word in tables, pages and webhooks.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Drifting => "drifting",
            Self::Undecided => "undecided",
        }
    }
}

/// One lane of one series, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The answer.
    pub state: VerdictState,
    /// Evidence: ln of the mean e-CUSUM accumulator. While a drift goes on, of this lane alone.
    pub score: f64,
    /// Evidence a page needs, on the same scale.
    pub threshold: f64,
    /// The same for lanes taken together, where the reference is long enough for that.
    pub wide: Option<Wide>,
    /// Inferences in the lane.
    pub count: u64,
    /// Independent inferences they are worth, for the leading stream.
    pub effective_count: f64,
    /// Devices that reported in the lane.
    pub devices: u64,
    /// Start of the lane, exclusive.
    pub start_us: i64,
    /// End of the lane, inclusive.
    pub end_us: i64,
    /// Estimate of when the change began, while drifting.
    pub since_us: Option<i64>,
    /// Hash of the reference.
    pub reference: String,
    /// How it was judged.
    pub method: String,
    /// The stream with the most evidence.
    pub leading: Option<Leading>,
    /// What is missing, while undecided.
    pub shortfall: Option<String>,
    /// The state just turned to drifting.
    pub page: bool,
}

/// Evidence of windows of several lanes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wide {
    /// Evidence after the last window that closed.
    pub score: f64,
    /// Evidence a page needs.
    pub threshold: f64,
    /// Width of a window, microseconds.
    pub width_us: i64,
}

/// Which way a share moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More than expected.
    More,
    /// Less than expected.
    Less,
}

/// The stream with the most evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leading {
    /// Which stream, in words: "above the reference p95 (0.0121)".
    pub stream: String,
    /// Share of the reference, 0 to 1.
    pub expected_share: f64,
    /// Share of this lane, 0 to 1.
    pub current_share: f64,
    /// Which way.
    pub direction: Direction,
}

/// Distances of one lane from the reference (statistics, section c).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distances {
    /// Bins they were computed in.
    pub bins: u32,
    /// Population stability index, nats.
    pub psi: f64,
    /// The same less what chance gives at this effective count.
    pub psi_debiased: f64,
    /// Jensen-Shannon distance to base 2, 0 to 1.
    pub jensen_shannon: f64,
    /// Hellinger distance, 0 to 1.
    pub hellinger: f64,
    /// Kolmogorov-Smirnov distance on common buckets, 0 to 1.
    pub ks: f64,
    /// Wasserstein-1 distance in the metric's unit; none for categories.
    pub wasserstein: Option<f64>,
    /// The same in standard deviations of the reference.
    pub wasserstein_normalized: Option<f64>,
}
