//! The alert of one series: pending, firing, resolved. Pure.
//!
//! In: the alert so far, whether a verdict drifts, its time, the rule. Out: the alert from now on,
//! and at most one turn: it fires, or it is resolved. An undecided verdict changes nothing: it
//! neither opens nor closes an alert, because not knowing is no news. Fired it is once `drifting`
//! of the last `of` decided verdicts drift, resolved after `steady` in a row that do not; what
//! others are told of it is decided in [`incident`](super::incident). Never: a clock, IO.

use std::time::Duration;

/// Decided verdicts that are remembered: no rule may ask for more.
pub(crate) const REMEMBERED_MAX: u32 = 32;

/// When an alert fires and when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// So many of the last `of` decided verdicts have to drift.
    pub(crate) drifting: u32,
    pub(crate) of: u32,
    /// So many in a row have to be steady for it to be over.
    pub(crate) steady: u32,
    /// What fires again within it is the same incident, and nobody is paged for it.
    pub(crate) cooldown: Duration,
}

impl Default for Rule {
    /// The detector already bounds false pages, so that one drifting verdict is enough.
    fn default() -> Self {
        Self {
            drifting: 1,
            of: 1,
            steady: 2,
            cooldown: Duration::from_secs(3_600),
        }
    }
}

impl Rule {
    pub(crate) fn cooldown_us(self) -> i64 {
        i64::try_from(self.cooldown.as_micros()).unwrap_or(i64::MAX)
    }
}

/// Where the alert of a series is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing drifts.
    #[default]
    Inactive,
    /// Something drifts, and not often enough yet.
    Pending,
    Firing,
    /// It fired, and has been steady since.
    Resolved,
}

impl State {
    const ALL: [Self; 4] = [Self::Inactive, Self::Pending, Self::Firing, Self::Resolved];

    /// The word in tables and on pages.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }

    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// An alert. That there is one means that something was decided before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) state: State,
    /// Since when it is there, in event time.
    pub(crate) since_us: i64,
    /// The last decided verdicts, the newest in the lowest bit; one is drifting. Empty after it is
    /// resolved: what led to one page leads to no second.
    pub(crate) recent: u32,
}

/// What is worth an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Fires,
    Resolves,
}

impl Turn {
    /// What the series is from now on, in the words of verdicts.
    pub(crate) const fn verdict(self) -> &'static str {
        match self {
            Self::Fires => "drifting",
            Self::Resolves => "steady",
        }
    }
}

/// Applies one verdict reached at `now_us`; `None` is undecided. A first steady verdict is what
/// everybody expects and no turn; a first drifting one may be.
pub(crate) fn step(
    alert: Option<Alert>,
    drifts: Option<bool>,
    rule: Rule,
    now_us: i64,
) -> (Option<Alert>, Option<Turn>) {
    let Some(drifts) = drifts else {
        return (alert, None);
    };
    let before = alert.unwrap_or(Alert {
        since_us: now_us,
        ..Alert::default()
    });
    let recent = before.recent << 1 | u32::from(drifts);
    let of = u32::MAX >> (REMEMBERED_MAX - rule.of.clamp(1, REMEMBERED_MAX));
    let drifting = (recent & of).count_ones();
    let (state, turn) = match before.state {
        State::Firing if recent.trailing_zeros() >= rule.steady.max(1) => {
            (State::Resolved, Some(Turn::Resolves))
        }
        State::Firing => (State::Firing, None),
        _ if drifting >= rule.drifting.max(1) => (State::Firing, Some(Turn::Fires)),
        _ if drifting > 0 => (State::Pending, None),
        State::Resolved => (State::Resolved, None),
        State::Inactive | State::Pending => (State::Inactive, None),
    };
    let after = Alert {
        state,
        since_us: match state == before.state {
            true => before.since_us,
            false => now_us,
        },
        recent: match turn {
            Some(Turn::Resolves) => 0,
            _ => recent,
        },
    };
    (Some(after), turn)
}

/// An alert that somebody or something else ends; none where it does not fire.
pub(crate) fn end(alert: Alert, now_us: i64) -> Option<Alert> {
    (alert.state == State::Firing).then_some(Alert {
        state: State::Resolved,
        since_us: now_us,
        recent: 0,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNDECIDED: Option<bool> = None;
    const STEADY: Option<bool> = Some(false);
    const DRIFTING: Option<bool> = Some(true);

    /// As it was before there were rules: every change counts at once.
    const AT_ONCE: Rule = Rule {
        drifting: 1,
        of: 1,
        steady: 1,
        cooldown: Duration::ZERO,
    };

    fn walk(rule: Rule, verdicts: &[Option<bool>]) -> (Option<Alert>, Vec<(i64, Turn)>) {
        let mut alert = None;
        let mut turns = Vec::new();
        for (now_us, verdict) in (0..).zip(verdicts) {
            let (next, turn) = step(alert, *verdict, rule, now_us);
            turns.extend(turn.map(|turn| (now_us, turn)));
            alert = next;
        }
        (alert, turns)
    }

    #[test]
    fn one_turn_per_change_of_state() {
        let verdicts = [
            UNDECIDED, STEADY, STEADY, DRIFTING, DRIFTING, STEADY, STEADY, DRIFTING,
        ];
        let (alert, turns) = walk(AT_ONCE, &verdicts);
        let expected = [(3, Turn::Fires), (5, Turn::Resolves), (7, Turn::Fires)];
        assert_eq!(turns, expected);
        let alert = alert.unwrap();
        assert_eq!((alert.state, alert.since_us), (State::Firing, 7));
    }

    #[test]
    fn undecided_neither_opens_nor_closes() {
        assert_eq!(walk(AT_ONCE, &[UNDECIDED, UNDECIDED]), (None, vec![]));
        let (alert, turns) = walk(AT_ONCE, &[DRIFTING, UNDECIDED, UNDECIDED, DRIFTING]);
        assert_eq!(turns, [(0, Turn::Fires)], "a gap is not a second turn");
        assert_eq!(alert.map(|alert| alert.since_us), Some(0));
    }

    #[test]
    fn one_steady_verdict_among_drifting_ones_resolves_nothing() {
        let (alert, turns) = walk(Rule::default(), &[DRIFTING, STEADY, DRIFTING, STEADY]);
        assert_eq!(turns, [(0, Turn::Fires)]);
        assert_eq!(alert.unwrap().state, State::Firing);
        let (alert, turns) = walk(Rule::default(), &[DRIFTING, STEADY, UNDECIDED, STEADY]);
        assert_eq!(turns, [(0, Turn::Fires), (3, Turn::Resolves)]);
        assert_eq!(alert.unwrap().state, State::Resolved);
    }

    #[test]
    fn it_is_pending_until_enough_of_the_last_verdicts_drift() {
        let rule = Rule {
            drifting: 2,
            of: 3,
            ..Rule::default()
        };
        let states = |verdicts: &[Option<bool>]| walk(rule, verdicts).0.map(|alert| alert.state);
        assert_eq!(states(&[DRIFTING]), Some(State::Pending));
        assert_eq!(states(&[DRIFTING, STEADY, DRIFTING]), Some(State::Firing));
        let far = [DRIFTING, STEADY, STEADY, DRIFTING];
        assert_eq!(states(&far), Some(State::Pending), "not of the same three");
        assert_eq!(
            states(&[DRIFTING, STEADY, STEADY, STEADY]),
            Some(State::Inactive)
        );
        let over = [DRIFTING, DRIFTING, STEADY, STEADY, DRIFTING];
        assert_eq!(states(&over), Some(State::Pending), "it begins anew");
    }

    #[test]
    fn what_is_ended_from_elsewhere_fires_again_only_for_new_verdicts() {
        let (alert, _) = walk(AT_ONCE, &[DRIFTING]);
        let ended = end(alert.unwrap(), 5).unwrap();
        assert_eq!((ended.state, ended.since_us), (State::Resolved, 5));
        assert_eq!(end(ended, 6), None);
        assert_eq!(step(Some(ended), STEADY, AT_ONCE, 6).1, None);
        assert_eq!(step(Some(ended), DRIFTING, AT_ONCE, 6).1, Some(Turn::Fires));
    }

    proptest! {
        #[test]
        fn turns_alternate_and_begin_with_a_fire(
            verdicts in prop::collection::vec(prop::option::of(any::<bool>()), 0..200),
            (drifting, more, steady) in (1_u32..5, 0_u32..28, 1_u32..6),
        ) {
            let of = drifting + more;
            let rule = Rule { drifting, of, steady, ..Rule::default() };
            let (alert, turns) = walk(rule, &verdicts);
            for (at, (_, turn)) in turns.iter().enumerate() {
                let expected = if at % 2 == 0 { Turn::Fires } else { Turn::Resolves };
                prop_assert_eq!(*turn, expected);
            }
            let fires = alert.is_some_and(|alert| alert.state == State::Firing);
            prop_assert_eq!(fires, turns.len() % 2 == 1);
            // Nothing fires without enough drifting verdicts, and nothing ends without steady ones.
            let mut before = 0;
            for (at_us, turn) in turns {
                let at = usize::try_from(at_us).unwrap();
                let decided: Vec<bool> = verdicts[..=at].iter().filter_map(|v| *v).collect();
                let last = |count: u32| decided.iter().rev().take(count as usize);
                match turn {
                    Turn::Fires => {
                        let drifts = last(of).filter(|drifts| **drifts).count();
                        prop_assert!(drifts >= drifting as usize);
                    }
                    Turn::Resolves => {
                        prop_assert!(last(steady).all(|drifts| !drifts));
                        prop_assert!(at - before >= steady as usize);
                    }
                }
                before = at;
            }
        }
    }
}
