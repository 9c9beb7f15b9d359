//! How often a rule's pages were worth it, and what to change where too few were. Pure.
//!
//! In: incidents that people acknowledged as useful or noise, by rule. Out: shares over the newest
//! of them, and a proposal for rules under half. A proposal is a change of the configuration with
//! what it would have done to those same incidents; a person makes it. Never: a change by itself.

use std::collections::BTreeMap;

use serde::Serialize;

use super::state::{REMEMBERED_MAX, Rule};

/// Acknowledged pages that a proposal needs, and that a share is of.
pub(crate) const PAGES: u32 = 20;
/// A rule with a smaller share of useful pages is to be changed.
const USEFUL_SHARE: f64 = 0.5;
/// Lanes that a proposal may ask for.
const LANES: [u32; 4] = [2, 3, 5, 10];

/// What a person made of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    Useful,
    Noise,
}

impl Answer {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Useful => "useful",
            Self::Noise => "noise",
        }
    }

    pub(crate) fn of(word: &str) -> Option<Self> {
        [Self::Useful, Self::Noise]
            .into_iter()
            .find(|answer| answer.word() == word)
    }
}

/// An incident that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) answer: Answer,
    /// How long it went on; none if it still does.
    pub(crate) lasted_us: Option<i64>,
}

/// How a rule fared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Precision {
    /// The signal, by its metric name.
    pub(crate) rule: String,
    /// Of the newest pages that were acknowledged, at most 20.
    pub(crate) useful: usize,
    pub(crate) noise: usize,
    /// What to change; only where fewer than half of 20 were useful.
    pub(crate) proposal: Option<Proposal>,
}

/// A change of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Proposal {
    /// Lines for the configuration file.
    pub(crate) change: String,
    /// What it would have done to the pages that were acknowledged.
    pub(crate) because: String,
}

/// The rules that were acknowledged, by name; of each the newest first.
pub(crate) fn of(
    acknowledged: BTreeMap<String, Vec<Acknowledged>>,
    rule_of: impl Fn(&str) -> Rule,
    (lane_us, false_pages): (i64, f64),
) -> Vec<Precision> {
    let rules = acknowledged.into_iter().map(|(name, mut pages)| {
        pages.truncate(PAGES as usize);
        let of = |answer| pages.iter().filter(|page| page.answer == answer).count();
        let (useful, noise) = (of(Answer::Useful), of(Answer::Noise));
        let poor =
            pages.len() >= PAGES as usize && (useful as f64) < USEFUL_SHARE * pages.len() as f64;
        let rule = rule_of(&name);
        Precision {
            proposal: poor.then(|| propose(&name, &pages, rule, (lane_us, false_pages))),
            rule: name,
            useful,
            noise,
        }
    });
    rules.collect()
}

/// Noise that was soon over is kept out by asking for more lanes, as long as that keeps out more
/// noise than it does useful pages; other noise by a higher threshold.
fn propose(
    name: &str,
    pages: &[Acknowledged],
    rule: Rule,
    (lane_us, false_pages): (i64, f64),
) -> Proposal {
    let shorter = |answer: Answer, lanes: u32| {
        // Beside the lanes that drifted it lasted as long as it took to be over.
        let limit_us = lane_us.saturating_mul(i64::from(lanes + rule.steady - 1));
        let short = pages.iter().filter(|page| {
            page.answer == answer && page.lasted_us.is_some_and(|lasted| lasted < limit_us)
        });
        short.count()
    };
    let noise = pages
        .iter()
        .filter(|page| page.answer == Answer::Noise)
        .count();
    let enough = LANES.into_iter().find(|lanes| {
        let (out, lost) = (
            shorter(Answer::Noise, *lanes),
            shorter(Answer::Useful, *lanes),
        );
        *lanes > rule.drifting && 2 * out >= noise && out > 2 * lost
    });
    match enough {
        Some(lanes) => {
            let of = (lanes * 3 / 2).max(lanes).min(REMEMBERED_MAX);
            let (out, lost) = (
                shorter(Answer::Noise, lanes),
                shorter(Answer::Useful, lanes),
            );
            Proposal {
                change: format!(
                    "[[alert.rules]]\nmetrics = [\"{name}\"]\ndrifting = {lanes}\nof = {of}"
                ),
                because: format!(
                    "{out} of {noise} pages that were noise were over before {lanes} lanes had drifted, and {lost} of the useful ones"
                ),
            }
        }
        None => Proposal {
            change: format!("[drift]\nfalse_pages_per_30_days = {}", false_pages / 2.0),
            because: format!(
                "{noise} of {} pages were noise and most of them lasted, so that asking for more lanes would not have kept them out; half as many false pages is a higher threshold for every signal",
                pages.len()
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE_US: i64 = 60_000_000;

    fn page(answer: Answer, lanes: i64) -> Acknowledged {
        Acknowledged {
            answer,
            lasted_us: Some(lanes * LANE_US),
        }
    }

    fn precision(pages: Vec<Acknowledged>) -> Precision {
        let of = BTreeMap::from([("m".to_owned(), pages)]);
        super::of(of, |_| Rule::default(), (LANE_US, 1.0)).remove(0)
    }

    fn pages(useful: usize, noise: usize, lanes: i64) -> Vec<Acknowledged> {
        let mut pages = vec![page(Answer::Noise, lanes); noise];
        pages.extend(vec![page(Answer::Useful, 60); useful]);
        pages
    }

    #[test]
    fn a_rule_is_left_alone_until_fewer_than_half_of_twenty_were_useful() {
        assert_eq!(precision(pages(9, 10, 2)).proposal, None, "nineteen");
        assert_eq!(precision(pages(10, 10, 2)).proposal, None, "a half");
        let poor = precision(pages(9, 11, 2));
        assert_eq!((poor.useful, poor.noise), (9, 11));
        assert!(poor.proposal.is_some());
        let long_ago = precision([pages(20, 0, 2), pages(0, 30, 2)].concat());
        assert_eq!(
            (long_ago.useful, long_ago.proposal),
            (20, None),
            "the newest twenty"
        );
    }

    #[test]
    fn short_noise_asks_for_more_lanes_and_says_what_that_would_have_done() {
        let proposal = precision(pages(8, 12, 3)).proposal.unwrap();
        assert!(
            proposal.change.contains("drifting = 3\nof = 4"),
            "{proposal:?}"
        );
        assert!(proposal.because.starts_with("12 of 12"), "{proposal:?}");
        assert!(
            proposal.because.ends_with("0 of the useful ones"),
            "{proposal:?}"
        );
    }

    #[test]
    fn noise_that_lasts_or_looks_like_what_is_useful_asks_for_a_higher_threshold() {
        for poor in [pages(8, 12, 600), {
            let mut alike = vec![page(Answer::Noise, 4); 11];
            alike.extend(vec![page(Answer::Useful, 4); 9]);
            alike
        }] {
            let proposal = precision(poor).proposal.unwrap();
            assert!(
                proposal.change.contains("false_pages_per_30_days = 0.5"),
                "{proposal:?}"
            );
        }
    }
}
