//! How far a request has come, and what may move it on. Pure.
//!
//! In: where it is, what a trainer, a person or time says. Out: where it is from now on, or why it
//! stays. Nothing moves backwards, and what has ended stays ended.

use fathomline_wire::event::CallbackStatus;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// For a person to approve.
    Waiting,
    /// The trainer was told.
    Requested,
    /// It will train.
    Accepted,
    /// It trains.
    Running,
    /// There is a new version, which is to prove itself.
    Succeeded,
    /// The new version is better on the signal that led here.
    Proven,
    /// It did not show that in time.
    Unproven,
    /// The trainer has no new version.
    Failed,
    /// A person said no.
    Declined,
    /// A person ended it.
    Cancelled,
    /// Nobody answered in time.
    Expired,
}

impl State {
    const ALL: [Self; 11] = [
        Self::Waiting,
        Self::Requested,
        Self::Accepted,
        Self::Running,
        Self::Succeeded,
        Self::Proven,
        Self::Unproven,
        Self::Failed,
        Self::Declined,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The word in tables, events and answers.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Requested => "requested",
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Proven => "proven",
            Self::Unproven => "unproven",
            Self::Failed => "failed",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// The state of that word.
    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether it keeps others of its model from being made.
    pub(crate) const fn is_open(self) -> bool {
        self.step().is_some() && !matches!(self, Self::Proven | Self::Unproven | Self::Failed)
    }

    /// Whether it expires unless a trainer is heard.
    pub(crate) const fn waits_for_reports(self) -> bool {
        matches!(self, Self::Requested | Self::Accepted | Self::Running)
    }

    /// How far a trainer has come; none where it is not the trainer's turn.
    const fn step(self) -> Option<u8> {
        match self {
            Self::Waiting | Self::Requested => Some(0),
            Self::Accepted => Some(1),
            Self::Running => Some(2),
            Self::Succeeded | Self::Proven | Self::Unproven | Self::Failed => Some(3),
            Self::Declined | Self::Cancelled | Self::Expired => None,
        }
    }
}

/// What a person does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Approve,
    Decline,
    Cancel,
}

/// What a report changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reported {
    Moves(State),
    /// It was said before.
    Again,
}

/// Why something does not move a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stays {
    #[error("the request is {} already; a report of \"{}\" is out of order, nothing changed", at.word(), word(*said))]
    OutOfOrder { at: State, said: CallbackStatus },
    #[error("the request waits for approval; nobody was asked to train yet")]
    NotAsked,
    #[error("the request is {}; it takes no more reports", .0.word())]
    Over(State),
    #[error("the request is {}; only one that waits for approval can be approved or declined", .0.word())]
    NotWaiting(State),
    #[error("the request is {}; there is nothing to cancel", .0.word())]
    NotOpen(State),
}

/// What a trainer's report does.
pub(crate) fn report(at: State, said: CallbackStatus) -> Result<Reported, Stays> {
    let (to, step) = match said {
        CallbackStatus::Accepted => (State::Accepted, 1),
        CallbackStatus::Running => (State::Running, 2),
        CallbackStatus::Succeeded => (State::Succeeded, 3),
        CallbackStatus::Failed => (State::Failed, 3),
    };
    if at == State::Waiting {
        return Err(Stays::NotAsked);
    }
    let been = at.step().ok_or(Stays::Over(at))?;
    match been.cmp(&step) {
        std::cmp::Ordering::Less => Ok(Reported::Moves(to)),
        std::cmp::Ordering::Equal if said_before(at, said) => Ok(Reported::Again),
        _ => Err(Stays::OutOfOrder { at, said }),
    }
}

/// Of two ends only one can have been said.
fn said_before(at: State, said: CallbackStatus) -> bool {
    (at == State::Failed) == (said == CallbackStatus::Failed)
}

/// What a person's act does.
pub(crate) fn act(at: State, act: Act) -> Result<State, Stays> {
    match (act, at) {
        (Act::Approve, State::Waiting) => Ok(State::Requested),
        (Act::Decline, State::Waiting) => Ok(State::Declined),
        (Act::Approve | Act::Decline, _) => Err(Stays::NotWaiting(at)),
        (Act::Cancel, at) if at.is_open() => Ok(State::Cancelled),
        (Act::Cancel, _) => Err(Stays::NotOpen(at)),
    }
}

const fn word(said: CallbackStatus) -> &'static str {
    match said {
        CallbackStatus::Accepted => "accepted",
        CallbackStatus::Running => "running",
        CallbackStatus::Succeeded => "succeeded",
        CallbackStatus::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAID: [CallbackStatus; 4] = [
        CallbackStatus::Accepted,
        CallbackStatus::Running,
        CallbackStatus::Succeeded,
        CallbackStatus::Failed,
    ];

    #[test]
    fn a_trainer_goes_forward_and_may_skip_a_step() {
        let mut at = State::Requested;
        for said in [CallbackStatus::Accepted, CallbackStatus::Succeeded] {
            let Ok(Reported::Moves(to)) = report(at, said) else {
                panic!("{at:?} takes {said:?}");
            };
            at = to;
        }
        assert_eq!(at, State::Succeeded);
        assert_eq!(report(at, CallbackStatus::Succeeded), Ok(Reported::Again));
        let late = report(at, CallbackStatus::Running).unwrap_err().to_string();
        assert!(late.contains("succeeded already"), "{late}");
        let other = report(at, CallbackStatus::Failed);
        assert!(matches!(other, Err(Stays::OutOfOrder { .. })));
    }

    #[test]
    fn what_was_not_asked_or_is_over_takes_no_reports() {
        for said in SAID {
            assert_eq!(report(State::Waiting, said), Err(Stays::NotAsked));
            for over in [State::Declined, State::Cancelled, State::Expired] {
                assert_eq!(report(over, said), Err(Stays::Over(over)));
            }
        }
    }

    #[test]
    fn only_what_waits_is_approved_and_only_what_is_open_is_cancelled() {
        assert_eq!(act(State::Waiting, Act::Approve), Ok(State::Requested));
        assert_eq!(act(State::Waiting, Act::Decline), Ok(State::Declined));
        for at in State::ALL.into_iter().filter(|at| *at != State::Waiting) {
            assert_eq!(act(at, Act::Approve), Err(Stays::NotWaiting(at)));
            assert_eq!(act(at, Act::Cancel).is_ok(), at.is_open());
        }
        let open = State::ALL.into_iter().filter(|state| state.is_open());
        let open: Vec<_> = open.map(State::word).collect();
        // As the index of open requests and `database::retraining::open` have them.
        let indexed = ["waiting", "requested", "accepted", "running", "succeeded"];
        assert_eq!(open, indexed);
        assert!(
            State::ALL
                .iter()
                .all(|at| State::of(at.word()) == Some(*at))
        );
    }

    proptest! {
        #[test]
        fn whatever_a_trainer_says_a_request_never_goes_back(
            said in proptest::collection::vec(0..SAID.len(), 0..12)
        ) {
            let (mut at, mut steps) = (State::Requested, 0);
            for said in said.into_iter().map(|said| SAID[said]) {
                if let Ok(Reported::Moves(to)) = report(at, said) {
                    prop_assert!(to.step() > at.step());
                    (at, steps) = (to, steps + 1);
                }
            }
            prop_assert!(steps <= 3);
        }
    }
}
