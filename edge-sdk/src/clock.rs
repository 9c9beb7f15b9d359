//! Time on the device. Owns the only read of the system clock in this crate: once at the start,
//! and before that where the age of a file matters. Out: a time that only runs forward. Never
//! follows the system clock afterwards: a clock that is set, by a person or by NTP, moves no
//! window.
//!
//! The whole boot lives on one line of time: what the system said at the start plus what the
//! monotonic clock counted since. The header that tells the collector our clock at upload is read
//! from the same line, so one offset per boot corrects every window of it, however wrong the
//! system clock was. A monotonic clock that rests while the device sleeps makes later windows
//! early by the length of the sleep.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time of one boot, cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_unix_nano: u64,
}

impl Clock {
    /// Anchors the boot to what the system clock says now.
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            start_unix_nano: system_unix_nano(),
        }
    }

    /// Nanoseconds since the Unix epoch, on the boot's own line of time.
    pub(crate) fn unix_nano(self) -> u64 {
        self.start_unix_nano
            .saturating_add(nanos(self.start.elapsed()))
    }
}

/// Whole nanoseconds; a duration of five centuries is as long as it gets.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What the system says now, in nanoseconds since the Unix epoch; it may be set at any time.
#[expect(
    clippy::disallowed_methods,
    reason = "the clock module is where the time is read"
)]
pub(crate) fn system_unix_nano() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(nanos)
        .unwrap_or_default()
}
