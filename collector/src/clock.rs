//! The only reader of system time in the collector.
//!
//! In: nothing. Out: microseconds since the Unix epoch, the unit of every stored time. Everything
//! that needs time takes `now` as an argument; only rooms that act hold a [`Clock`]. Never: sleeps.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, SecondsFormat};

/// Microseconds of one second.
pub const SECOND_US: i64 = 1_000_000;

/// Microseconds of one hour.
pub const HOUR_US: i64 = 3600 * SECOND_US;

/// Microseconds of one day.
pub const DAY_US: i64 = 24 * HOUR_US;

/// 2020: nothing that sends to us is older, so an earlier time is of a clock that was never set.
pub const SET_SINCE_US: i64 = 1_577_836_800_000_000;

/// Says what time it is.
pub trait Clock: Send + Sync {
    /// Microseconds since the Unix epoch.
    fn now_us(&self) -> i64;
}

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the module that every other module is sent to"
    )]
    fn now_us(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            // A clock before 1970 is broken; zero keeps every lane open instead of closing all.
            Err(_) => 0,
        }
    }
}

/// Time for what destroys: a clock that jumps ahead is believed once it has stood there for an
/// hour, because what retention takes away at a wrong date is gone when the date is right again.
#[derive(Debug, Default)]
pub(crate) struct Careful {
    /// The clock and a stopwatch when they last agreed.
    agreed: Option<(i64, i64)>,
    /// The stopwatch when the clock was first seen ahead.
    ahead_since_us: Option<i64>,
}

impl Careful {
    /// `now_us`, or nothing while it is a day ahead of what `stopwatch_us` has counted since.
    pub(crate) fn believe(&mut self, now_us: i64, stopwatch_us: i64) -> Option<i64> {
        let (then_us, since_us) = *self.agreed.get_or_insert((now_us, stopwatch_us));
        let expected_us = then_us.saturating_add(stopwatch_us - since_us);
        if now_us.saturating_sub(expected_us) > DAY_US {
            let ahead_since_us = *self.ahead_since_us.get_or_insert(stopwatch_us);
            if stopwatch_us - ahead_since_us < HOUR_US {
                return None;
            }
        }
        self.agreed = Some((now_us, stopwatch_us));
        self.ahead_since_us = None;
        Some(now_us)
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug, Default)]
pub struct MovedClock(AtomicI64);

impl MovedClock {
    /// A clock that shows `now_us`.
    pub fn at(now_us: i64) -> Self {
        Self(AtomicI64::new(now_us))
    }

    /// Moves the clock forward by `by_us`, or back when negative.
    pub fn advance(&self, by_us: i64) {
        self.0.fetch_add(by_us, Ordering::SeqCst);
    }
}

impl Clock for MovedClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// RFC 3339 in UTC, as webhooks and the API show times. A time outside of the calendar shows as
/// its number, because refusing to show evidence would be worse.
pub fn rfc3339(time_us: i64) -> String {
    match DateTime::from_timestamp_micros(time_us) {
        Some(time) if time_us % SECOND_US == 0 => time.to_rfc3339_opts(SecondsFormat::Secs, true),
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Micros, true),
        None => time_us.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc_with_only_the_digits_they_have() {
        assert_eq!(rfc3339(1_795_392_000_000_000), "2026-11-23T00:00:00Z");
        assert_eq!(
            rfc3339(1_795_392_000_000_001),
            "2026-11-23T00:00:00.000001Z"
        );
        assert_eq!(rfc3339(i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn a_clock_that_jumps_ahead_is_believed_once_it_stays_there() {
        let (start, minute) = (20_000 * DAY_US, 60 * SECOND_US);
        let mut careful = Careful::default();
        let mut at = |now_us, minutes: i64| careful.believe(now_us, minutes * minute);
        assert_eq!(at(start, 0), Some(start));
        assert_eq!(at(start + 31 * DAY_US, 1), None);
        // It was a moment's fault, and one that comes again begins its hour anew.
        assert_eq!(at(start + 2 * minute, 2), Some(start + 2 * minute));
        assert_eq!(at(start + 31 * DAY_US, 3), None);
        assert_eq!(at(start + 31 * DAY_US, 62), None);
        let stands = start + 31 * DAY_US;
        assert_eq!(at(stands, 63), Some(stands));
        assert_eq!(at(stands + minute, 64), Some(stands + minute));
        // Back is always believed: it destroys nothing.
        assert_eq!(at(start, 65), Some(start));
        // A machine that slept for a week finds the date a week later, too.
        assert_eq!(
            at(start + 7 * DAY_US, 65 + 7 * 24 * 60),
            Some(start + 7 * DAY_US)
        );
    }

    #[test]
    fn a_moved_clock_stands_still_until_it_is_moved() {
        let clock = MovedClock::at(5);
        assert_eq!((clock.now_us(), clock.now_us()), (5, 5));
        clock.advance(SECOND_US);
        assert_eq!(clock.now_us(), 5 + SECOND_US);
        assert!(SystemClock.now_us() > 1_700_000_000_000_000);
    }
}
