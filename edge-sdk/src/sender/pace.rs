//! How fast a backlog is sent. Pure but for the chance that the caller brings. After an outage
//! every device has one, and a collector that just came back must not drown in it: beside its new
//! windows a device sends old ones at a rate that keeps a whole fleet below twice its usual load,
//! unless the collector asks for another.

use std::time::Duration;

/// Longest wait that a reply may ask for.
const LONGEST: Duration = Duration::from_secs(3600);

/// The wait before the next window of a backlog: what the collector asked for, or 0.4 to 0.8
/// window lengths. `chance` is any 64 random bits.
pub(super) fn wait(window: Duration, asked: Option<Duration>, chance: u64) -> Duration {
    let share = 0.4 + 0.4 * (chance >> 11) as f64 / (1u64 << 53) as f64;
    asked.map_or_else(|| window.mul_f64(share), |asked| asked.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sender::backoff::Backoff;

    #[test]
    fn the_collector_decides_within_reason() {
        let window = Duration::from_secs(60);
        assert_eq!(wait(window, Some(Duration::ZERO), 7), Duration::ZERO);
        assert_eq!(wait(window, Some(Duration::MAX), 7), LONGEST);
        assert_eq!(wait(window, None, 0), Duration::from_secs(24));
        assert!(wait(window, None, u64::MAX) <= Duration::from_secs(48));
    }

    /// Ten thousand devices of one-minute windows lose their collector for an hour together and
    /// find it again together: it never sees more than twice its usual load in any ten seconds.
    #[test]
    fn a_fleet_that_comes_back_stays_below_twice_its_usual_load() {
        const DEVICES: usize = 10_000;
        const OUTAGE: f64 = 3_600.0;
        const WINDOW: f64 = 60.0;
        const HORIZON: f64 = 3.0 * 3_600.0;
        let mut state = 7u64;
        let mut chance = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state
        };
        let mut buckets = vec![0usize; (HORIZON / 10.0) as usize + 1];
        for _ in 0..DEVICES {
            let phase = chance() as f64 / u64::MAX as f64 * WINDOW;
            let closed = |at: f64| ((at - phase) / WINDOW).floor().max(0.0) as u64;
            let (mut at, mut sent, mut backoff) = (phase + WINDOW, 0, Backoff::default());
            while at < OUTAGE + HORIZON {
                if at < OUTAGE {
                    at += backoff.after_failure(None, chance()).as_secs_f64();
                    continue;
                }
                if sent == closed(at) {
                    // Nothing waits: the next window is sent as soon as it closes.
                    at = phase + (closed(at) + 1) as f64 * WINDOW + 1e-6;
                    continue;
                }
                buckets[((at - OUTAGE) / 10.0) as usize] += 1;
                sent += 1;
                if sent < closed(at) {
                    at += wait(Duration::from_secs(60), None, chance()).as_secs_f64();
                }
            }
        }
        let usual = DEVICES as f64 * 10.0 / WINDOW;
        let peak = *buckets.iter().max().unwrap() as f64 / usual;
        let last = buckets[buckets.len() - 7..buckets.len() - 1]
            .iter()
            .sum::<usize>() as f64;
        eprintln!(
            "peak {peak:.2} times the usual load, {:.2} at the end",
            last / usual / 6.0
        );
        assert!(peak <= 2.0, "{peak}");
        // The backlog is gone by then.
        assert!(last / usual / 6.0 < 1.1);
    }
}
