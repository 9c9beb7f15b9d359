//! What things are called on pages: signals, cohorts, states. In: names as stored. Out: the same,
//! shorter, and a badge whose meaning does not hang on its colour.

use askama::Template;
use fathomline_queries::{drift::VerdictState, rows::VerdictRow};

/// Prefixes that say whose convention a metric follows, which pages need not repeat.
const PREFIXES: [&str; 4] = [
    "fathomline.",
    "gen_ai.client.inference.operation.",
    "gen_ai.client.operation.",
    "gen_ai.server.",
];

/// `fathomline.output.surprisal` is the signal `output surprisal`.
pub(crate) fn signal(metric: &str) -> String {
    let prefix = PREFIXES.iter().find(|prefix| metric.starts_with(**prefix));
    let bare = prefix.map_or(metric, |prefix| &metric[prefix.len()..]);
    match bare {
        "" => metric.to_owned(),
        _ => bare.replace(['.', '_'], " "),
    }
}

/// What a page says about a series: a state, or that nobody said anything yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// First, so that sorting puts it on top.
    Drifting,
    Undecided,
    Steady,
    NotJudged,
}

impl State {
    /// Of a stored word. A word of a later version is shown as undecided, never as a pass.
    pub(crate) fn of(row: &VerdictRow) -> Self {
        Self::from_word(&row.state).unwrap_or(Self::Undecided)
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Drifting, Self::Undecided, Self::Steady]
            .into_iter()
            .find(|state| state.word() == word)
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Drifting => VerdictState::Drifting.name(),
            Self::Undecided => VerdictState::Undecided.name(),
            Self::Steady => VerdictState::Steady.name(),
            Self::NotJudged => "not judged",
        }
    }

    /// Name in the style sheet.
    pub(crate) const fn style(self) -> &'static str {
        match self {
            Self::NotJudged => "absent",
            _ => self.word(),
        }
    }

    /// A shape of its own for each, so that colour is never alone.
    pub(crate) const fn mark(self) -> &'static str {
        match self {
            Self::Drifting => "▲",
            Self::Undecided => "◌",
            Self::Steady => "●",
            Self::NotJudged => "·",
        }
    }
}

/// A state with an icon and a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Template)]
#[template(path = "partials/_badge.html")]
pub(crate) struct Badge {
    pub(crate) state: State,
}

/// A cohort's parts, in the order in which people narrow down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CohortName {
    pub(crate) device_class: String,
    pub(crate) model: String,
    pub(crate) version: String,
    pub(crate) variant: String,
    pub(crate) service: String,
}

impl CohortName {
    pub(crate) fn of(row: &VerdictRow) -> Self {
        Self {
            device_class: row.device_class.clone(),
            model: row.model.clone(),
            version: row.version.clone(),
            variant: row.variant.clone(),
            service: row.service.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use fathomline_wire::names;

    use super::*;

    #[test]
    fn signals_lose_what_every_metric_of_their_kind_has() {
        let shown = [
            signal(names::OUTPUT_SURPRISAL),
            signal(names::OUTPUT_TOKENS),
            signal(names::OPERATION_DURATION),
            signal(names::TIME_TO_FIRST_TOKEN),
            signal("app.latency"),
            signal("fathomline."),
        ];
        let expected = [
            "output surprisal",
            "output tokens",
            "duration",
            "time to first token",
            "app latency",
            "fathomline.",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_unknown_state_is_never_a_pass() {
        assert_eq!(State::from_word("splendid"), None);
        assert!(State::Drifting < State::Undecided && State::Undecided < State::Steady);
    }
}
