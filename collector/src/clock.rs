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
    fn a_moved_clock_stands_still_until_it_is_moved() {
        let clock = MovedClock::at(5);
        assert_eq!((clock.now_us(), clock.now_us()), (5, 5));
        clock.advance(SECOND_US);
        assert_eq!(clock.now_us(), 5 + SECOND_US);
        assert!(SystemClock.now_us() > 1_700_000_000_000_000);
    }
}
