//! The evidence of a verdict, read back from the JSON it is stored as. In: a verdict row. Out:
//! fields, and sentences about them. What a later version wrote is shown as far as it is
//! understood.

use fathomline_queries::{
    drift::{Breakdown, Direction, Distances, Leading},
    rows::VerdictRow,
};
use serde::Deserialize;

use crate::view::{names::State, units};

/// What a verdict rests on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Evidence {
    pub(super) leading: Option<Leading>,
    pub(super) distances: Option<Distances>,
    pub(super) breakdown: Option<Breakdown>,
    pub(super) shortfall: Option<String>,
    pub(super) withheld: Option<String>,
    pub(super) late_records: Option<i64>,
    pub(super) reference: Option<ReferenceSpan>,
}

/// Where the reference came from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct ReferenceSpan {
    pub(super) from_us: i64,
    pub(super) to_us: i64,
    pub(super) records: i64,
    /// `variant`, or the parent it is borrowed from.
    pub(super) level: Option<String>,
    pub(super) season: Option<String>,
}

impl Evidence {
    pub(super) fn of(verdict: &VerdictRow) -> Self {
        serde_json::from_str(&verdict.evidence).unwrap_or_else(|_| Self {
            shortfall: Some(format!("evidence of another version: {}", verdict.evidence)),
            ..Self::default()
        })
    }

    /// The one sentence that says what moved, or what is missing. What is closest to a page while
    /// nothing drifts is no drift, and the sentence says so.
    pub(super) fn sentence(&self, state: State) -> String {
        match (
            self.shortfall.as_ref().or(self.withheld.as_ref()),
            &self.leading,
        ) {
            (Some(sentence), _) => sentence.clone(),
            (None, Some(leading)) if state == State::Drifting => moved(leading),
            (None, Some(leading)) => format!("within tolerance; closest: {}", moved(leading)),
            (None, None) => "within tolerance".to_owned(),
        }
    }
}

fn moved(leading: &Leading) -> String {
    let direction = match leading.direction {
        Direction::More => "more",
        Direction::Less => "fewer",
    };
    format!(
        "{direction} inferences {}: {} now, {} in the reference",
        leading.stream,
        units::percent(leading.current_share),
        units::percent(leading.expected_share)
    )
}

/// How large a distance is, in words, once chance is taken off (statistics, section c).
pub(super) fn size_of_shift(psi_debiased: f64) -> &'static str {
    match psi_debiased {
        psi if psi < 0.02 => "none",
        psi if psi < 0.1 => "small",
        psi if psi < 0.25 => "moderate",
        _ => "large",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_says_what_moved_or_what_is_missing() {
        let leading = Leading {
            stream: "above the reference p50 (0.0031)".to_owned(),
            expected_share: 0.5,
            current_share: 0.912,
            direction: Direction::More,
        };
        let mut evidence = Evidence {
            leading: Some(leading),
            ..Evidence::default()
        };
        assert_eq!(
            evidence.sentence(State::Drifting),
            "more inferences above the reference p50 (0.0031): 91.2 % now, 50.0 % in the reference"
        );
        let steady = evidence.sentence(State::Steady);
        assert!(
            steady.starts_with("within tolerance; closest: more"),
            "{steady}"
        );
        evidence.shortfall = Some("no reference".to_owned());
        assert_eq!(evidence.sentence(State::Undecided), "no reference");
        evidence.shortfall = None;
        evidence.withheld = Some("not told of 3 devices".to_owned());
        let withheld = evidence.sentence(State::Drifting);
        assert_eq!(withheld, "not told of 3 devices");
        assert_eq!(
            Evidence::default().sentence(State::Steady),
            "within tolerance"
        );
        assert_eq!(
            [0.0, 0.05, 0.2, 0.3].map(size_of_shift),
            ["none", "small", "moderate", "large"]
        );
    }
}
