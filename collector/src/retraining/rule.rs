//! Whether a model may be asked for again: budget, pause, and one request at a time. Pure.
//!
//! In: earlier requests of the model, who asks, the time. Out: what is left of the budget, or why
//! not. A person is not held up by the pause, and by the budget like anyone.

use fathomline_wire::event::Budget;

use super::{RetrainingSettings, progress::State};
use crate::clock::SECOND_US;

/// An earlier request of the same service and model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) state: State,
    pub(crate) created_us: i64,
}

impl Past {
    /// Whether anybody was asked to train.
    fn counts(&self) -> bool {
        !matches!(self.state, State::Declined)
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Drift,
    Person,
}

/// Why a model is not asked for now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotNow {
    #[error("request {0} of this model is still open; wait for it, or cancel it")]
    Open(String),
    #[error(
        "{made} requests of this model in {period_s} s use up its budget; raise retraining.budget, or wait"
    )]
    Budget { made: u32, period_s: u64 },
    #[error("request {id} of this model is younger than retraining.cooldown of {cooldown_s} s")]
    Cooldown { id: String, cooldown_s: u64 },
    #[error("version {version} was trained again by request {id}, and what came of it is better")]
    Done { id: String, version: String },
}

/// What is left of the budget once one more request for `version` is made at `now_us`.
pub(crate) fn may_ask(
    past: &[Past],
    version: &str,
    (by, now_us): (By, i64),
    settings: &RetrainingSettings,
) -> Result<Budget, NotNow> {
    if let Some(open) = past.iter().find(|past| past.state.is_open()) {
        return Err(NotNow::Open(open.id.clone()));
    }
    let (cooldown_s, period_s) = (settings.cooldown.as_secs(), settings.period.as_secs());
    let age_s = |past: &Past| now_us.saturating_sub(past.created_us).max(0) / SECOND_US;
    let within = |past: &&Past, seconds: u64| {
        past.counts() && u64::try_from(age_s(past)).is_ok_and(|age_s| age_s < seconds)
    };
    if by == By::Drift {
        let proven = |past: &&Past| past.state == State::Proven && past.version == version;
        if let Some(done) = past.iter().find(proven) {
            let (id, version) = (done.id.clone(), done.version.clone());
            return Err(NotNow::Done { id, version });
        }
        if let Some(last) = past.iter().find(|past| within(past, cooldown_s)) {
            let id = last.id.clone();
            return Err(NotNow::Cooldown { id, cooldown_s });
        }
    }
    let made = past.iter().filter(|past| within(past, period_s)).count();
    let made = u32::try_from(made).unwrap_or(u32::MAX);
    if made >= settings.budget {
        return Err(NotNow::Budget { made, period_s });
    }
    Ok(Budget {
        left: settings.budget - made - 1,
        period_s,
        cooldown_s,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn settings() -> RetrainingSettings {
        RetrainingSettings {
            cooldown: Duration::from_secs(3_600),
            budget: 3,
            period: Duration::from_secs(7 * 86_400),
            ..RetrainingSettings::default()
        }
    }

    fn past(id: &str, state: State, created_s: i64) -> Past {
        Past {
            id: id.to_owned(),
            version: "1".to_owned(),
            state,
            created_us: created_s * SECOND_US,
        }
    }

    fn ask(past: &[Past], by: By, now_s: i64) -> Result<Budget, NotNow> {
        may_ask(past, "1", (by, now_s * SECOND_US), &settings())
    }

    #[test]
    fn one_at_a_time_for_drift_and_people_alike() {
        let open = [past("a", State::Running, 0)];
        for by in [By::Drift, By::Person] {
            assert_eq!(ask(&open, by, 86_400), Err(NotNow::Open("a".to_owned())));
        }
    }

    #[test]
    fn drift_waits_for_the_pause_and_people_do_not() {
        let failed = [past("a", State::Failed, 0)];
        assert!(matches!(
            ask(&failed, By::Drift, 3_599),
            Err(NotNow::Cooldown { .. })
        ));
        assert_eq!(ask(&failed, By::Drift, 3_600).unwrap().left, 1);
        assert_eq!(ask(&failed, By::Person, 1).unwrap().left, 1);
        // What a person declined asked nobody.
        let declined = [past("a", State::Declined, 0)];
        assert_eq!(ask(&declined, By::Drift, 1).unwrap().left, 2);
    }

    #[test]
    fn what_was_proven_better_is_not_asked_for_again_by_drift() {
        let proven = [past("a", State::Proven, 0)];
        assert!(matches!(
            ask(&proven, By::Drift, 10 * 86_400),
            Err(NotNow::Done { .. })
        ));
        let settings = settings();
        let now_us = 10 * 86_400 * SECOND_US;
        assert!(may_ask(&proven, "2", (By::Drift, now_us), &settings).is_ok());
    }

    proptest! {
        /// Whoever asks and whenever, no period holds more requests than the budget, and drift
        /// leaves its pause between two.
        #[test]
        fn no_period_holds_more_than_the_budget(asks in proptest::collection::vec((0i64..50_000, any::<bool>()), 0..80)) {
            let (settings, mut past, mut now_s) = (settings(), Vec::<Past>::new(), 0);
            for (later_s, person) in asks {
                now_s += later_s;
                let by = if person { By::Person } else { By::Drift };
                if ask(&past, by, now_s).is_ok() {
                    let last = past.iter().map(|past| past.created_us).max();
                    let pause_us = last.map(|last| now_s * SECOND_US - last);
                    prop_assert!(person || pause_us.is_none_or(|pause| pause >= 3_600 * SECOND_US));
                    past.push(self::past(&now_s.to_string(), State::Failed, now_s));
                }
            }
            let period_us = i64::try_from(settings.period.as_micros()).unwrap();
            for first in &past {
                let span = first.created_us..first.created_us + period_us;
                let held = past.iter().filter(|past| span.contains(&past.created_us)).count();
                prop_assert!(held <= settings.budget as usize);
            }
        }
    }
}
