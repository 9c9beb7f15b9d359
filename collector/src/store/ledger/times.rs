//! Whose clock says what. In: the sender's times, and its clock at first contact. Out: times of
//! the collector's clock, and whether they can be trusted.
//!
//! The offset is frozen per boot at first contact, so that windows keep their distances whatever
//! the sender's clock does later. Two kinds of times nobody can have measured, and both are
//! stored as the time of receipt, marked unknown, and enter no lane: times after their receipt,
//! and times of a clock that was never set, such as 1970. What the sender believed stays beside
//! them.

use fathomline_queries::rows::{Clock, DeviceColumns};

use super::{BOOTS_REMEMBERED_US, CLOCK_TOLERANCE_US};
use crate::clock::SET_SINCE_US;

/// A window that claims to end further in the future has no usable time.
pub(super) const FUTURE_MAX_US: i64 = 60_000_000;

/// How one boot's times become ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    offset_us: i64,
}

impl Times {
    /// As the sender's clock at upload shows it; small differences are transfer and queueing.
    pub(super) fn at_first_contact(clock_unix_nano: Option<u64>, received_us: i64) -> Self {
        let clock_us = clock_unix_nano.and_then(|nanos| i64::try_from(nanos / 1000).ok());
        let offset_us = clock_us.map_or(0, |clock_us| received_us - clock_us);
        let is_small = offset_us.abs() <= CLOCK_TOLERANCE_US;
        Self::of_boot(if is_small { 0 } else { offset_us })
    }

    pub(super) fn of_boot(offset_us: i64) -> Self {
        Self { offset_us }
    }

    pub(super) fn offset_us(self) -> i64 {
        self.offset_us
    }

    pub(super) fn corrected(self, time_us: i64) -> i64 {
        time_us.saturating_add(self.offset_us)
    }

    /// What the sender's clock showed then.
    pub(super) fn sent_at(self, received_us: i64) -> i64 {
        received_us.saturating_sub(self.offset_us)
    }

    /// Whether a time lies so far ahead of its receipt that nobody can have measured it.
    pub(super) fn is_ahead(self, time_us: i64, received_us: i64) -> bool {
        is_ahead(self.corrected(time_us), received_us)
    }

    /// Moves a row's times to the collector's clock.
    pub(super) fn correct(self, columns: &mut DeviceColumns, received_us: i64) {
        columns.time = self.corrected(columns.time);
        columns.start_time = self.corrected(columns.start_time);
        let ahead_us = columns.time.saturating_sub(received_us);
        columns.clock = if ahead_us > FUTURE_MAX_US || was_never_set(columns.time, received_us) {
            // Believing it would spread one request over as many days as it names.
            columns.time = received_us;
            // A start that can have been is the collector's own: the end of what came before.
            if ahead_us < 0 || columns.start_time > received_us {
                columns.start_time = columns.start_time.saturating_sub(ahead_us);
            }
            Clock::Unknown
        } else if self.offset_us != 0 {
            Clock::Corrected
        } else {
            Clock::Ok
        };
    }
}

/// Whether a corrected time lies so far ahead of its receipt that nobody can have measured it.
pub(super) fn is_ahead(corrected_us: i64, received_us: i64) -> bool {
    corrected_us.saturating_sub(received_us) > FUTURE_MAX_US
}

/// Whether a corrected time is older than what is remembered: it may have been counted.
pub(super) fn is_too_old(end_us: i64, received_us: i64) -> bool {
    received_us.saturating_sub(end_us) > BOOTS_REMEMBERED_US && !was_never_set(end_us, received_us)
}

fn was_never_set(time_us: i64, received_us: i64) -> bool {
    time_us < SET_SINCE_US && received_us >= SET_SINCE_US
}
