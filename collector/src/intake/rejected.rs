//! Reasons for "no", counted. In: one reason a point. Out: the sentence that a partial success
//! carries, bounded whatever arrived.

use std::collections::BTreeMap;

use fathomline_wire::rejection::Rejection;

/// A refusal of a whole request, with the detail that helps its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) rejection: Rejection,
    pub(crate) detail: String,
}

impl Refusal {
    pub(crate) fn new(rejection: Rejection, detail: impl Into<String>) -> Self {
        Self {
            rejection,
            detail: detail.into(),
        }
    }
}

/// How many points, or spans, or log records, were rejected for which reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rejected(BTreeMap<Rejection, u64>);

impl Rejected {
    pub(crate) fn add(&mut self, reason: Rejection, points: usize) {
        if points > 0 {
            *self.0.entry(reason).or_default() += points as u64;
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each reason with its points.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Rejection, u64)> {
        self.0.iter().map(|(reason, points)| (*reason, *points))
    }

    /// The sentence for the sender, about so many `things`.
    pub(crate) fn sentence(&self, things: &str) -> String {
        let reasons = self.0.iter();
        let reasons = reasons.map(|(reason, count)| format!("{count} {things}: {reason}"));
        reasons.collect::<Vec<_>>().join("; ")
    }

    #[cfg(test)]
    pub(crate) fn of(&self, reason: Rejection) -> u64 {
        self.0.get(&reason).copied().unwrap_or(0)
    }
}
