//! When a probe may run. In: how many inferences began and ended, what feeds the device, when the
//! probe last ran. Out: yes once in a while, when nobody waits and no battery pays. Reads no clock;
//! the times are its caller's.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Nothing was inferred for so long: whoever was there has gone.
const IDLE: Duration = Duration::from_secs(60);

/// What decides about rounds.
#[derive(Debug)]
pub(crate) struct Rounds {
    every: Duration,
    activity: Mutex<Activity>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Activity {
    begun: u64,
    /// When something was last seen to run; never yet at none.
    last: Option<Instant>,
}

/// What is known when somebody asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    /// Seconds since the Unix epoch.
    pub(crate) unix: u64,
    /// Unknown at none.
    pub(crate) on_battery: Option<bool>,
}

impl Rounds {
    pub(super) fn new(every: Duration) -> Self {
        Self {
            every,
            activity: Mutex::default(),
        }
    }

    /// Called about once a second with the inferences that have begun and ended.
    pub(crate) fn saw(&self, begun: u64, ended: u64, now: Instant) {
        let mut activity = self.activity.lock().unwrap_or_else(PoisonError::into_inner);
        if activity.last.is_none() || activity.begun != begun || begun != ended {
            *activity = Activity {
                begun,
                last: Some(now),
            };
        }
    }

    /// Whether a probe that last ran then is due.
    pub(crate) fn is_due(&self, last_run_unix: Option<u64>, now: Now) -> bool {
        let activity = *self.activity.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = activity
            .last
            .is_some_and(|last| now.instant.saturating_duration_since(last) >= IDLE);
        // A run in the future is one of a clock that was wrong.
        let since = last_run_unix.and_then(|last| now.unix.checked_sub(last));
        let waited = since.is_none_or(|seconds| seconds >= self.every.as_secs());
        idle && waited && now.on_battery != Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn rounds() -> (Rounds, Instant) {
        (Rounds::new(Duration::from_secs(DAY)), Instant::now())
    }

    fn now(start: Instant, seconds: u64) -> Now {
        Now {
            instant: start + Duration::from_secs(seconds),
            unix: 10 * DAY + seconds,
            on_battery: None,
        }
    }

    #[test]
    fn nobody_is_disturbed() {
        let (rounds, start) = rounds();
        assert!(
            !rounds.is_due(None, now(start, 600)),
            "nothing is known yet"
        );
        rounds.saw(0, 0, start);
        assert!(!rounds.is_due(None, now(start, 59)));
        assert!(rounds.is_due(None, now(start, 60)));
        // One that runs, one that has ended since, and an idle minute.
        rounds.saw(1, 0, start + Duration::from_secs(70));
        rounds.saw(1, 0, start + Duration::from_secs(500));
        assert!(!rounds.is_due(None, now(start, 501)));
        rounds.saw(1, 1, start + Duration::from_secs(502));
        assert!(rounds.is_due(None, now(start, 560)));
        rounds.saw(2, 2, start + Duration::from_secs(561));
        assert!(!rounds.is_due(None, now(start, 600)));
    }

    #[test]
    fn no_battery_pays() {
        let (rounds, start) = rounds();
        rounds.saw(0, 0, start);
        for (on_battery, due) in [(Some(true), false), (Some(false), true), (None, true)] {
            let now = Now {
                on_battery,
                ..now(start, 100)
            };
            assert_eq!(rounds.is_due(None, now), due, "{on_battery:?}");
        }
    }

    #[test]
    fn once_in_an_interval_is_enough_whatever_the_clock_was_before() {
        let (rounds, start) = rounds();
        rounds.saw(0, 0, start);
        let now = now(start, 100);
        assert!(!rounds.is_due(Some(now.unix - DAY + 1), now));
        assert!(rounds.is_due(Some(now.unix - DAY), now));
        assert!(rounds.is_due(Some(now.unix + 1), now));
    }
}
