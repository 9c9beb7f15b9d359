//! Which lanes are due. Pure: takes `now`, reads no clock.
//!
//! In: how far judging has come, the time, width and lateness of lanes. Out: the next span of whole
//! lanes. A lane is due once its end plus the lateness has passed; what arrives later is late.

use std::time::Duration;

use crate::clock::HOUR_US;

/// Lanes judged in one tick; a longer backlog takes several ticks, so that none holds the database
/// for long.
const LANES_MAX: i64 = 60;

/// Width of lanes, and how long they stay open for stragglers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cadence {
    pub(crate) lane_us: i64,
    pub(crate) lateness_us: i64,
}

/// Lanes that end after `from_us` and up to `to_us`; both are ends of lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
}

impl Span {
    /// Whether an hour ends in it.
    pub(crate) fn ends_an_hour(self) -> bool {
        self.from_us.div_euclid(HOUR_US) < self.to_us.div_euclid(HOUR_US)
    }
}

impl Cadence {
    pub(crate) fn new(lane: Duration, lateness: Duration) -> Self {
        let us = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4);
        Self {
            lane_us: us(lane).max(1),
            lateness_us: us(lateness),
        }
    }

    /// Where to stop that begins at `from_us`: after so many lanes, or with an hour, because
    /// detectors are remembered by the hour.
    pub(super) fn step(self, from_us: i64) -> i64 {
        let last = from_us.saturating_add(LANES_MAX.saturating_mul(self.lane_us));
        let hour = (from_us.div_euclid(HOUR_US) + 1).saturating_mul(HOUR_US);
        last.min(self.ceil(hour))
    }

    /// End of the last lane that is closed at `now_us`.
    pub(crate) fn closed_until(self, now_us: i64) -> i64 {
        self.floor(now_us.saturating_sub(self.lateness_us))
    }

    /// The last end of a lane at or before `time_us`.
    pub(crate) fn floor(self, time_us: i64) -> i64 {
        time_us.div_euclid(self.lane_us) * self.lane_us
    }

    /// The first end of a lane at or after `time_us`.
    pub(crate) fn ceil(self, time_us: i64) -> i64 {
        self.floor(time_us.saturating_add(self.lane_us - 1))
    }

    /// The next lanes to judge after `done_until_us`, if any is due. A clock that went back closes
    /// nothing again.
    pub(crate) fn due(self, done_until_us: i64, now_us: i64) -> Option<Span> {
        let from_us = self.ceil(done_until_us);
        let to_us = self.closed_until(now_us).min(self.step(from_us));
        (to_us > from_us).then_some(Span { from_us, to_us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CADENCE: Cadence = Cadence {
        lane_us: 60,
        lateness_us: 120,
    };

    #[test]
    fn a_lane_is_due_when_its_lateness_has_passed_and_not_a_moment_before() {
        assert_eq!(CADENCE.due(600, 779), None);
        assert_eq!(
            CADENCE.due(600, 780),
            Some(Span {
                from_us: 600,
                to_us: 660
            })
        );
        assert_eq!(
            CADENCE.due(600, 839),
            Some(Span {
                from_us: 600,
                to_us: 660
            })
        );
        assert_eq!(
            CADENCE.due(600, 840),
            Some(Span {
                from_us: 600,
                to_us: 720
            })
        );
    }

    #[test]
    fn a_backlog_is_taken_in_bounded_steps_that_leave_no_gap() {
        let now_us = 60 * 1_000;
        let mut done_us = 0;
        let mut steps = 0;
        while let Some(span) = CADENCE.due(done_us, now_us) {
            assert_eq!(span.from_us, done_us);
            assert!(span.to_us - span.from_us <= LANES_MAX * 60);
            done_us = span.to_us;
            steps += 1;
        }
        assert_eq!((done_us, steps), (60 * 998, 17));
    }

    #[test]
    fn a_step_ends_with_an_hour_or_with_the_lane_in_which_it_ends() {
        let step = |lane_us, from_us| Cadence { lane_us, ..CADENCE }.step(from_us);
        let second = 1_000_000;
        assert_eq!(step(second, HOUR_US - 70 * second), HOUR_US - 10 * second);
        assert_eq!(step(second, HOUR_US - 10 * second), HOUR_US);
        assert_eq!(step(7 * second, 7 * 510 * second), 7 * 515 * second);
        assert_eq!(step(2 * HOUR_US, 4 * HOUR_US), 6 * HOUR_US);
    }

    #[test]
    fn a_clock_that_went_back_and_a_new_width_judge_nothing_twice() {
        assert_eq!(CADENCE.due(6_000, 10), None);
        // 610 was an end of a lane of another width: the lane that ends at 660 would overlap it.
        assert_eq!(
            CADENCE.due(610, 840),
            Some(Span {
                from_us: 660,
                to_us: 720
            })
        );
        assert_eq!(CADENCE.floor(-1), -60);
    }
}
