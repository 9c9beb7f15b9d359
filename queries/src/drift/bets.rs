//! Bets against the reference at one width of lanes (statistics, sections d.3 and d.4): a bet on
//! "more" and one on "less" for every stream and odds ratio, and what they have won together.

use serde::{Deserialize, Serialize};

use super::{Observed, Policy, Reference, Stream, lane::middle, reporting};
use crate::stats::{Accumulators, Expectation, ODDS_RATIOS, PER_STREAM, ln_mean, log_e_values};

/// What a bet that is not held costs a window, like one that cannot be.
const NOT_HELD: f64 = -0.05;

/// The winnings at one width of lanes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Bets {
    /// Width, in lanes of the reference.
    lanes: u32,
    accumulators: Accumulators,
    /// Ln of the winnings that page: what luck gives once in the budget's time.
    ln_threshold: f64,
    /// Most that one window may add to a bet.
    cap: f64,
}

impl Bets {
    pub(super) fn new(reference: &Reference, policy: &Policy, lanes: u32) -> Self {
        let bets = (reference.streams().len() * PER_STREAM).max(1);
        let threshold = policy.page_threshold(lanes);
        let windows = f64::from(policy.min_windows.max(1));
        Self {
            lanes,
            accumulators: Accumulators::new(bets, reference.span_us().1),
            ln_threshold: libm::log(threshold),
            cap: libm::log(threshold * bets as f64) / windows,
        }
    }

    /// Settles the bets on one window.
    pub(super) fn add(&mut self, reference: &Reference, window: &Observed) {
        let evidence = self.evidence(reference, window);
        self.accumulators.add(evidence, self.cap, window.start_us);
    }

    /// What the window alone would win, uncapped: whether a drift goes on.
    pub(super) fn ln_alone(&self, reference: &Reference, window: &Observed) -> f64 {
        ln_mean(&self.evidence(reference, window))
    }

    fn evidence(&self, reference: &Reference, window: &Observed) -> Vec<f64> {
        let expected = expected(reference, window, self.lanes);
        let each = expected.iter().zip(&window.events).zip(reference.streams());
        let evidence = |((expected, events), (stream, _)): ((&Expectation, &f64), &(Stream, _))| {
            let mut values = log_e_values(*events, window.count, expected);
            for (bet, value) in values.iter_mut().enumerate() {
                if !reporting::is_held(reference, stream, bet < ODDS_RATIOS.len()) {
                    *value = NOT_HELD;
                }
            }
            values
        };
        each.flat_map(evidence).collect()
    }

    pub(super) fn ln_winnings(&self) -> f64 {
        self.accumulators.ln_mean()
    }

    pub(super) fn ln_threshold(&self) -> f64 {
        self.ln_threshold
    }

    pub(super) fn enough(&self) -> bool {
        self.ln_winnings() >= self.ln_threshold
    }

    pub(super) fn leading(&self) -> Option<(usize, i64)> {
        self.accumulators.leading()
    }

    pub(super) fn reset(&mut self, now_us: i64) {
        self.accumulators.reset(now_us);
    }
}

/// What the reference expects of each stream in a window that is `lanes` lanes wide, at its hour.
pub(super) fn expected(reference: &Reference, window: &Observed, lanes: u32) -> Vec<Expectation> {
    let expected = reference.expected_at(middle(window.start_us, window.end_us));
    let expected = expected.into_iter();
    expected.map(|expected| expected.over(lanes)).collect()
}
