//! Who is told of what: each endpoint asks for events by their names. Pure.
//!
//! In: the patterns of each endpoint. Out: the endpoints that an event goes to. A pattern is a
//! published name such as `fathomline.verdict.changed`, or the beginning of some and a star:
//! `fathomline.retraining.*`.

use std::sync::Arc;

/// Why a pattern can match nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot use {0:?} in events: write the name of an event, such as fathomline.verdict.changed, or how some begin and a star, such as fathomline.*"
)]
pub(crate) struct PatternError(String);

/// Which events an endpoint asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Pattern {
    /// Everything there is and will be.
    pub(crate) fn all() -> Self {
        Self("*".to_owned())
    }

    /// Reads a name, or a beginning and a star.
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c);
        let ours = "fathomline.".starts_with(name) || name.starts_with("fathomline.");
        let whole = text.ends_with('*') || name.len() > "fathomline.".len();
        match ours && whole && name.chars().all(allowed) {
            true => Ok(Self(text.to_owned())),
            false => Err(PatternError(text.to_owned())),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn matches(&self, kind: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(begin) => kind.starts_with(begin),
            None => kind == self.0,
        }
    }
}

/// An endpoint and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipient {
    pub(crate) endpoint: String,
    pub(crate) events: Vec<Pattern>,
    /// It understands alerts alone.
    pub(crate) alerts_only: bool,
}

/// All endpoints and what they ask for; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Recipients(Arc<[Recipient]>);

impl Recipients {
    pub(crate) fn new(recipients: Vec<Recipient>) -> Self {
        Self(recipients.into())
    }

    /// Names of the endpoints that an event of this kind goes to.
    pub(crate) fn of(&self, kind: &str) -> impl Iterator<Item = &str> {
        let told = self.asked(kind);
        told.map(|recipient| recipient.endpoint.as_str())
    }

    /// Those of them that mirror every alert and group for themselves.
    pub(crate) fn mirrors(&self, kind: &str) -> impl Iterator<Item = &str> {
        let told = self.asked(kind).filter(|recipient| recipient.alerts_only);
        told.map(|recipient| recipient.endpoint.as_str())
    }

    fn asked(&self, kind: &str) -> impl Iterator<Item = &Recipient> {
        self.0.iter().filter(move |recipient| {
            let asked = recipient.events.iter().any(|pattern| pattern.matches(kind));
            asked && (!recipient.alerts_only || is_alert(kind))
        })
    }
}

/// Whether events of this kind open and close something, as an Alertmanager understands it.
fn is_alert(kind: &str) -> bool {
    kind == "fathomline.verdict.changed"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient(endpoint: &str, events: &[&str], alerts_only: bool) -> Recipient {
        let events = events.iter().map(|text| Pattern::parse(text).unwrap());
        Recipient {
            endpoint: endpoint.to_owned(),
            events: events.collect(),
            alerts_only,
        }
    }

    #[test]
    fn an_event_goes_to_those_who_asked_for_it() {
        let recipients = Recipients::new(vec![
            recipient("all", &["*"], false),
            recipient("trainer", &["fathomline.retraining.*"], false),
            recipient("exact", &["fathomline.verdict.changed"], false),
            recipient("pager", &["*"], true),
            recipient("nobody", &[], false),
        ]);
        let of = |kind| recipients.of(kind).collect::<Vec<_>>();
        assert_eq!(of("fathomline.verdict.changed"), ["all", "exact", "pager"]);
        assert_eq!(of("fathomline.retraining.requested"), ["all", "trainer"]);
        assert_eq!(of("fathomline.verdict.changed.again"), ["all"]);
        let mirrors: Vec<&str> = recipients.mirrors("fathomline.verdict.changed").collect();
        assert_eq!(mirrors, ["pager"]);
    }

    #[test]
    fn a_pattern_that_can_match_nothing_is_refused() {
        for good in [
            "*",
            "fathomline.*",
            "fath*",
            "fathomline.a.b",
            "fathomline.a*",
        ] {
            assert_eq!(Pattern::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "fathomline",
            "fathomline.",
            "drift",
            "f*.drift",
            "*.drift",
            "fathomline.A",
        ] {
            let error = Pattern::parse(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }
}
