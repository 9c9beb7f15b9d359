//! How long to wait after failures in a row. Pure but for the chance that the caller brings.
//! Doubling keeps a fleet from hammering a collector that is down; chance keeps devices that lost
//! it together from coming back together.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// Failures since the last success.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure: between half and all of a span that doubles up to a
    /// minute, and at least what the collector asked for. `chance` is any 64 random bits.
    pub(super) fn after_failure(&mut self, asked: Option<Duration>, chance: u64) -> Duration {
        let span = FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let share = 0.5 + 0.5 * (chance >> 11) as f64 / (1u64 << 53) as f64;
        match asked {
            // Spread behind the time asked for: everybody was told the same. Whoever says "at once"
            // and fails again is not asked twice a second for hours.
            Some(asked) => (asked + FIRST.mul_f64(share)).max(span.mul_f64(share)),
            None => span.mul_f64(share),
        }
    }

    /// How many failures there were in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn success(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_minute_and_a_success_forgets_them() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..20)
            .map(|_| backoff.after_failure(None, u64::MAX))
            .collect();
        assert!(waits[0] <= FIRST && waits[1] > FIRST && waits[19] <= LONGEST);
        assert!(waits[19] > LONGEST / 2 && waits.is_sorted());
        backoff.success();
        assert!(backoff.after_failure(None, 0) >= FIRST / 2);
        assert!(backoff.after_failure(None, 0) <= FIRST);
    }

    #[test]
    fn who_says_at_once_and_fails_again_is_asked_less_often() {
        let mut backoff = Backoff::default();
        let mut wait = || backoff.after_failure(Some(Duration::ZERO), 0);
        assert!(wait() < FIRST);
        assert!((0..20).map(|_| wait()).last() >= Some(LONGEST / 2));
    }

    #[test]
    fn a_wait_that_was_asked_for_is_never_cut() {
        let mut backoff = Backoff::default();
        let asked = Duration::from_secs(7);
        for chance in [0, u64::MAX] {
            let wait = backoff.after_failure(Some(asked), chance);
            assert!(wait >= asked && wait <= asked + FIRST);
        }
    }
}
