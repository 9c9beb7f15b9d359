//! Evidence that a share left its tolerance (statistics, sections d.3 and d.4).
//!
//! In: shares of events per window. Out: log e-values, accumulated as e-CUSUM. A bet on "more"
//! and one on "less", for six odds ratios each; what the bets would have won is the evidence
//! (Shin, Ramdas, Rinaldo 2024, "E-detectors").

use libm::{exp, log};
use serde::{Deserialize, Serialize};

/// Alternatives that are bet on, as odds ratios to the edge of the tolerance.
pub const ODDS_RATIOS: [f64; 6] = [1.1, 1.2, 1.5, 2.0, 4.0, 10.0];

/// Up and down.
const SIDES: [f64; 2] = [1.0, -1.0];

/// Log e-values a stream gives per window.
pub const PER_STREAM: usize = ODDS_RATIOS.len() * SIDES.len();

/// A tolerance beyond these shares leaves nothing to bet on.
const SHARE_RANGE: std::ops::Range<f64> = 1e-4..1.0 - 1e-4;

/// What a side that cannot be bet on costs per window, so that it does not stand still at 1.
const DEAD_SIDE: f64 = -0.05;

/// What the reference says of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// Expected share of events, 0 to 1.
    pub share: f64,
    /// Variance of a window's share that binomial sampling does not explain.
    pub noise: f64,
    /// Smallest shift worth a page.
    pub tolerance: f64,
}

impl Expectation {
    /// Binomial variance of one event.
    pub fn variance(&self) -> f64 {
        self.share * (1.0 - self.share)
    }

    /// How many independent events `count` clustered ones are worth.
    pub fn effective_count(&self, count: u64) -> f64 {
        let variance = self.variance();
        if variance > 0.0 {
            variance / (variance / count as f64 + self.noise)
        } else {
            0.0
        }
    }
}

/// Log e-values of one window of one stream: `events` of `count`; up by odds ratio, then down.
pub fn log_e_values(events: f64, count: u64, expected: &Expectation) -> [f64; PER_STREAM] {
    let share = events / count as f64;
    let effective = expected.effective_count(count);
    let mut values = [DEAD_SIDE; PER_STREAM];
    for (side, chunk) in SIDES.into_iter().zip(values.chunks_mut(ODDS_RATIOS.len())) {
        let edge = expected.share + side * expected.tolerance;
        if !(edge > SHARE_RANGE.start && edge < SHARE_RANGE.end) {
            continue;
        }
        let odds = edge / (1.0 - edge);
        for (value, ratio) in chunk.iter_mut().zip(ODDS_RATIOS) {
            let odds = if side > 0.0 {
                odds * ratio
            } else {
                odds / ratio
            };
            let bet = odds / (1.0 + odds);
            *value = effective
                * (share * log(bet / edge) + (1.0 - share) * log((1.0 - bet) / (1.0 - edge)));
        }
    }
    values
}

/// e-CUSUM accumulators of one series, in log space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accumulators {
    values: Vec<f64>,
    /// For each, the end of the window after which it last stood at zero.
    since_us: Vec<i64>,
}

impl Accumulators {
    /// `count` accumulators without evidence, as of `now_us`.
    pub fn new(count: usize, now_us: i64) -> Self {
        Self {
            values: vec![0.0; count],
            since_us: vec![now_us; count],
        }
    }

    /// Adds a window that started at `start_us`; each log e-value counts for `cap` at the most,
    /// so that one freak window cannot page.
    pub fn add(&mut self, log_e: impl IntoIterator<Item = f64>, cap: f64, start_us: i64) {
        let each = self.values.iter_mut().zip(&mut self.since_us).zip(log_e);
        for ((value, since_us), log_e) in each {
            if *value <= 0.0 {
                *value = 0.0;
                *since_us = start_us;
            }
            *value += log_e.min(cap);
        }
    }

    /// Ln of the mean of the accumulators: the series' evidence.
    pub fn ln_mean(&self) -> f64 {
        let largest = self
            .values
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.values.iter().map(|value| exp(value - largest)).sum();
        largest + log(sum) - log(self.values.len() as f64)
    }

    /// The accumulator with the most evidence, and since when it has been growing.
    pub fn leading(&self) -> Option<(usize, i64)> {
        let values = self.values.iter().enumerate();
        let leading = values
            .max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)))?
            .0;
        Some((leading, self.since_us[leading]))
    }

    /// Takes all evidence back.
    pub fn reset(&mut self, now_us: i64) {
        *self = Self::new(self.values.len(), now_us);
    }
}
