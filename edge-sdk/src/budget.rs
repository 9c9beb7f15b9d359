//! Bytes a device may send in a day. In: how large windows are, what the day has cost so far. Out:
//! how long the next window must be, and whether a window still fits. As the day's bytes run out
//! windows grow longer; when they are gone, counts stay in memory until the day turns. Nothing is
//! lost but resolution. Pure; days are those of the boot's clock, in UTC.

use std::time::Duration;

const DAY_NANOS: u64 = 86_400_000_000_000;

/// The day's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    bytes_a_day: u64,
    day: u64,
    spent: u64,
    /// Bytes the last windows took, a mean that forgets.
    usual: u64,
}

impl Budget {
    pub(crate) fn new(bytes_a_day: u64) -> Self {
        Self {
            bytes_a_day,
            day: 0,
            spent: 0,
            usual: 0,
        }
    }

    /// Goes on with what an earlier boot wrote down.
    pub(crate) fn resume(&mut self, kept: &str) {
        let mut numbers = kept.split_whitespace().map(|number| number.parse().ok());
        if let (Some(Some(day)), Some(Some(spent))) = (numbers.next(), numbers.next()) {
            (self.day, self.spent) = (day, spent);
        }
    }

    /// What the next boot goes on with.
    pub(crate) fn kept(&self) -> String {
        format!("{} {}\n", self.day, self.spent)
    }

    /// Whether a body of so many bytes fits into the day.
    pub(crate) fn allows(&mut self, bytes: u64, now_unix_nano: u64) -> bool {
        self.turn(now_unix_nano);
        self.spent.saturating_add(bytes) <= self.bytes_a_day
    }

    /// A window of so many bytes was kept.
    pub(crate) fn spend(&mut self, bytes: u64, now_unix_nano: u64) {
        self.turn(now_unix_nano);
        self.spent = self.spent.saturating_add(bytes);
        self.usual = if self.usual == 0 {
            bytes
        } else {
            (3 * self.usual + bytes) / 4
        };
    }

    /// How long the next window must be so that the day's bytes last until its end: `shortest`
    /// while there are enough, the rest of the day when there are none.
    pub(crate) fn next_window(&mut self, shortest: Duration, now_unix_nano: u64) -> Duration {
        self.turn(now_unix_nano);
        let left = Duration::from_nanos(DAY_NANOS - now_unix_nano % DAY_NANOS);
        let affordable = (self.bytes_a_day - self.spent.min(self.bytes_a_day)) / self.usual.max(1);
        let share = u32::try_from(affordable).unwrap_or(u32::MAX);
        let stretched = left.checked_div(share).unwrap_or(left);
        stretched.max(shortest).min(left.max(shortest))
    }

    fn turn(&mut self, now_unix_nano: u64) {
        let day = now_unix_nano / DAY_NANOS;
        // A clock that was set back gives no second budget for a day that is over.
        if day > self.day {
            (self.day, self.spent) = (day, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A day of windows of these sizes, one after another. Returns bytes, windows and the longest.
    fn day(limit: u64, shortest: Duration, sizes: &[u64]) -> (u64, usize, Duration) {
        let mut budget = Budget::new(limit);
        let (mut now, mut bytes, mut windows) = (20_000 * DAY_NANOS, 0, 0);
        let end = now + DAY_NANOS;
        let mut longest = Duration::ZERO;
        let mut length = shortest;
        loop {
            now += length.as_nanos() as u64;
            if now >= end {
                return (bytes, windows, longest);
            }
            let body = sizes[windows % sizes.len()];
            if budget.allows(body, now) {
                budget.spend(body, now);
                (bytes, windows, longest) = (bytes + body, windows + 1, longest.max(length));
            }
            length = budget.next_window(shortest, now);
        }
    }

    #[test]
    fn both_profiles_keep_to_their_bytes_and_use_the_whole_day() {
        for (limit, shortest, size) in [
            (2 << 20, MINUTE, 5_300),
            (2 << 20, MINUTE, 900),
            (64 << 10, 30 * MINUTE, 5_300),
            (64 << 10, 30 * MINUTE, 1_200),
        ] {
            let (bytes, windows, longest) = day(limit, shortest, &[size]);
            eprintln!("{limit} bytes, {size} a window: {windows} windows, the longest {longest:?}");
            assert!(bytes <= limit && windows > 0);
            let spread = 86_400.0 / windows as f64;
            assert!(longest.as_secs_f64() < 2.5 * spread.max(shortest.as_secs_f64()));
        }
    }

    proptest! {
        #[test]
        fn no_day_costs_more_than_its_budget(
            sizes in prop::collection::vec(1_000u64..30_000, 1..50),
            limit in 1_000u64..(3 << 20),
            shortest in 1u64..1_800,
        ) {
            let (bytes, _, _) = day(limit, Duration::from_secs(shortest), &sizes);
            prop_assert!(bytes <= limit);
        }
    }

    #[test]
    fn a_restart_or_a_clock_set_back_gives_no_second_budget() {
        let now = 5 * DAY_NANOS;
        let mut budget = Budget::new(1_000);
        budget.spend(900, now);
        let mut next = Budget::new(1_000);
        next.resume(&budget.kept());
        assert!(!next.allows(200, now) && next.allows(100, now));
        assert!(!next.allows(200, now - DAY_NANOS));
        assert!(next.allows(200, now + DAY_NANOS));
        next.resume("nonsense");
        assert_eq!(next.spent, 0);
        assert!(next.next_window(MINUTE, now + DAY_NANOS) >= MINUTE);
    }
}
