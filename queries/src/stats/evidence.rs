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

/// A share that the reference never or always saw is taken to be this far from it.
const SHARE_LEAST: f64 = 1e-4;

/// Tolerance of such a share, in standard deviations of one event, if the reference has none.
const TOLERANCE_LEAST: f64 = 0.05;

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

    /// What is bet on: a category that the reference never saw has a share of almost nothing, not
    /// of nothing, or no evidence could ever speak against it (statistics, section d.2).
    fn clipped(&self) -> Self {
        let share = self.share.clamp(SHARE_LEAST, 1.0 - SHARE_LEAST);
        if share == self.share {
            return *self;
        }
        let least = TOLERANCE_LEAST * libm::sqrt(share * (1.0 - share));
        Self {
            share,
            tolerance: self.tolerance.max(least),
            ..*self
        }
    }

    /// The same for a lane of `lanes` lanes: long-run noise averages out, tolerance does not.
    pub fn over(&self, lanes: u32) -> Self {
        Self {
            noise: self.noise / f64::from(lanes.max(1)),
            ..*self
        }
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
    let expected = &expected.clipped();
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
        ln_mean(&self.values)
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

/// Ln of the mean of `exp` of the values: evidence of many bets held at once; minus infinity of
/// none.
pub fn ln_mean(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return f64::NEG_INFINITY;
    }
    let sum: f64 = values.iter().map(|value| exp(value - largest)).sum();
    largest + log(sum) - log(values.len() as f64)
}

/// Which of `hypotheses` tests are rejected together at a share `alpha` of false ones: the places
/// of the largest `k` e-values that are each at least `hypotheses / (alpha k)` (Wang and Ramdas
/// 2022, "False discovery rate control with e-values"). Valid under any dependence, for current
/// values and not for their maxima. `ln_values` are logarithms; tests without a value count, too.
pub fn e_bh(ln_values: &[f64], hypotheses: usize, alpha: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ln_values.len()).collect();
    order.sort_by(|a, b| ln_values[*b].total_cmp(&ln_values[*a]).then(a.cmp(b)));
    let needed = |k: usize| log(hypotheses.max(ln_values.len()) as f64 / (alpha * k as f64));
    let rejected = (1..=order.len())
        .rev()
        .find(|k| ln_values[order[k - 1]] >= needed(*k));
    order.truncate(rejected.unwrap_or(0));
    order.sort_unstable();
    order
}
