//! The alert of one series: what we last told others, and whether a verdict changes it. Pure.
//!
//! In: the alert so far, a verdict's state, its time. Out: the alert from now on, and at most one
//! change worth an event. An undecided verdict changes nothing: it neither opens nor closes an
//! alert, because not knowing is no news. Never: a clock, IO.

/// What others believe about a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlertState {
    Steady,
    Drifting,
}

impl AlertState {
    /// The word in tables and events.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Drifting => "drifting",
        }
    }
}

/// A state and since when it holds, in event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) state: AlertState,
    pub(crate) since_us: i64,
}

/// A change of state: exactly one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// `None`: nothing had been decided before.
    pub(crate) from: Option<AlertState>,
    pub(crate) to: AlertState,
}

/// Applies one verdict reached at `now_us`; `None` is undecided. A first steady verdict is what
/// everybody expects and no event; a first drifting one is.
pub(crate) fn step(
    alert: Option<Alert>,
    verdict: Option<AlertState>,
    now_us: i64,
) -> (Option<Alert>, Option<Change>) {
    let from = alert.map(|alert| alert.state);
    let Some(to) = verdict.filter(|to| from != Some(*to)) else {
        return (alert, None);
    };
    let next = Alert {
        state: to,
        since_us: now_us,
    };
    let quiet = from.is_none() && to == AlertState::Steady;
    (Some(next), (!quiet).then_some(Change { from, to }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNDECIDED: Option<AlertState> = None;
    const STEADY: Option<AlertState> = Some(AlertState::Steady);
    const DRIFTING: Option<AlertState> = Some(AlertState::Drifting);

    fn walk(verdicts: &[Option<AlertState>]) -> (Option<Alert>, Vec<(i64, Change)>) {
        let mut alert = None;
        let mut changes = Vec::new();
        for (now_us, verdict) in (0..).zip(verdicts) {
            let (next, change) = step(alert, *verdict, now_us);
            changes.extend(change.map(|change| (now_us, change)));
            alert = next;
        }
        (alert, changes)
    }

    #[test]
    fn one_event_per_change_of_state() {
        let (alert, changes) = walk(&[
            UNDECIDED, STEADY, STEADY, DRIFTING, DRIFTING, STEADY, STEADY, DRIFTING,
        ]);
        let to: Vec<_> = changes
            .iter()
            .map(|(at, change)| (*at, change.to))
            .collect();
        assert_eq!(
            to,
            [
                (3, AlertState::Drifting),
                (5, AlertState::Steady),
                (7, AlertState::Drifting)
            ]
        );
        assert!(changes.iter().all(|(_, change)| change.from.is_some()));
        assert_eq!(alert.map(|a| a.since_us), Some(7));
    }

    #[test]
    fn undecided_neither_opens_nor_closes() {
        let (alert, changes) = walk(&[UNDECIDED, UNDECIDED]);
        assert_eq!((alert, changes.len()), (None, 0));
        let (alert, changes) = walk(&[DRIFTING, UNDECIDED, UNDECIDED, DRIFTING]);
        assert_eq!(
            changes.len(),
            1,
            "a gap in the middle is not a second event"
        );
        assert_eq!(alert.map(|a| a.since_us), Some(0));
    }

    #[test]
    fn a_first_drifting_verdict_is_an_event_and_a_first_steady_one_is_not() {
        let change = Change {
            from: None,
            to: AlertState::Drifting,
        };
        assert_eq!(walk(&[DRIFTING]).1, [(0, change)]);
        assert_eq!(walk(&[STEADY]).1, []);
    }

    #[test]
    fn events_alternate_whatever_the_verdicts() {
        // Every sequence of six verdicts.
        for code in 0..3_u32.pow(6) {
            let verdicts: Vec<_> = (0..6)
                .map(|i| [STEADY, DRIFTING, UNDECIDED][(code / 3_u32.pow(i) % 3) as usize])
                .collect();
            let (alert, changes) = walk(&verdicts);
            for pair in changes.windows(2) {
                assert_eq!(Some(pair[0].1.to), pair[1].1.from);
                assert_ne!(pair[0].1.to, pair[1].1.to);
            }
            let last = verdicts.iter().rev().find_map(|verdict| *verdict);
            assert_eq!(alert.map(|alert| alert.state), last);
        }
    }
}
