//! Which events speak for or against a candidate, and how a stored histogram counts them.
//!
//! Thresholds lie on bucket boundaries of scale 4 (4.4 % apart), the next one upward: histograms of
//! that scale or a finer one, as the SDK sends them, count exactly. What a coarser one cannot tell
//! speaks against whichever decision would be taken.

use std::collections::BTreeMap;

use fathomline_wire::names;
use serde::{Deserialize, Serialize};

use super::arms::Both;
use crate::{
    drift::{Summary, above, snap},
    stats::Pair,
};

/// See above.
const SNAP_SCALE: i32 = 4;

/// Categories below this share of the baseline are not looked at one by one.
const CATEGORY_SHARE_MIN: f64 = 0.01;

/// Categories looked at, the most frequent.
const CATEGORIES_MAX: usize = 20;

/// Every metric that the gate may look at.
pub const METRICS: [&str; 14] = [
    names::OPERATION_DURATION,
    names::TIME_TO_FIRST_TOKEN,
    names::TIME_PER_OUTPUT_TOKEN,
    names::INFERENCE_ENERGY,
    names::OUTPUT_SURPRISAL,
    names::OUTPUT_ENTROPY,
    names::OUTPUT_UNCERTAINTY,
    names::OUTPUT_REPETITION,
    names::INPUT_SURPRISAL,
    names::OUTPUT_FINISH,
    names::OUTPUT_VALIDITY,
    names::FEEDBACK,
    names::OUTPUT_LABEL,
    names::INPUT_SCRIPT,
];

/// What more of an event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Harm: it can roll back, and must be shown not to have become frequent.
    Harm,
    /// Neither better nor worse: a change is shown to a person and holds.
    Change,
}

/// A kind of event.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    /// The value exceeds a quantile of the baseline, or so much more.
    Above {
        quantile: f64,
        worse: f64,
        threshold: f64,
    },
    /// The category is one of these.
    Among {
        words: &'static str,
        names: Vec<String>,
    },
    /// The category is none of these.
    NotAmong {
        words: &'static str,
        names: &'static [&'static str],
    },
}

/// Events of one arm in one window: the fewest and the most that its buckets allow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counted {
    pub(super) records: u64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Event {
    /// The events of a metric that are looked at, given what the baseline did.
    pub(super) fn of(metric: &str, was: &Summary, worse: f64) -> Vec<(Role, Self)> {
        let harm = |event| vec![(Role::Harm, event)];
        match (metric, was) {
            (
                names::OPERATION_DURATION
                | names::TIME_TO_FIRST_TOKEN
                | names::TIME_PER_OUTPUT_TOKEN,
                _,
            ) => above_quantile(was, 0.95, worse).map_or_else(Vec::new, harm),
            (names::INFERENCE_ENERGY, _) => {
                above_quantile(was, 0.9, worse).map_or_else(Vec::new, harm)
            }
            (names::OUTPUT_FINISH, Summary::Categories(_)) => {
                let one = |words, names: &[&str]| {
                    let names = names.iter().map(|name| (*name).to_owned()).collect();
                    (Role::Harm, Self::Among { words, names })
                };
                vec![
                    one("ended with an error", &["error"]),
                    one("refused or empty", &["refusal", "empty"]),
                ]
            }
            (names::OUTPUT_VALIDITY, Summary::Categories(_)) => harm(Self::NotAmong {
                words: "not valid",
                names: &["valid"],
            }),
            (names::FEEDBACK, Summary::Categories(_)) => harm(Self::NotAmong {
                words: "feedback that is not good",
                names: &["accepted", "correct"],
            }),
            (_, Summary::Categories(categories)) => {
                let each = frequent(categories).into_iter();
                let event = |name| Self::Among {
                    words: "",
                    names: vec![name],
                };
                each.map(|name| (Role::Change, event(name))).collect()
            }
            (_, Summary::Histogram(_)) => {
                above_quantile(was, 0.95, 0.0).map_or_else(Vec::new, harm)
            }
        }
    }

    /// The event in words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Above {
                quantile,
                worse,
                threshold,
            } => {
                let percentile = 100.0 * quantile;
                let times = match *worse > 0.0 {
                    true => format!("{:.2} times ", 1.0 + worse),
                    false => String::new(),
                };
                format!("above {times}the baseline's p{percentile:.0} ({threshold:.4})")
            }
            Self::Among { words: "", names } => format!("\"{}\"", names.join("\", \"")),
            Self::Among { words, .. } | Self::NotAmong { words, .. } => (*words).to_owned(),
        }
    }

    /// Where the events begin, in the metric's unit.
    pub(super) const fn threshold(&self) -> Option<f64> {
        match self {
            Self::Above { threshold, .. } => Some(*threshold),
            Self::Among { .. } | Self::NotAmong { .. } => None,
        }
    }

    /// How many of an arm's values are events.
    pub(super) fn count(&self, summary: &Summary) -> Counted {
        let records = summary.count();
        let (least, most) = match (self, summary) {
            (Self::Above { threshold, .. }, Summary::Histogram(histogram)) => {
                above(histogram, *threshold)
            }
            (Self::Among { names, .. }, Summary::Categories(categories)) => {
                let is = |name: &String| names.contains(name);
                twice(sum(categories, is))
            }
            (Self::NotAmong { names, .. }, Summary::Categories(categories)) => {
                let is = |name: &String| !names.contains(&name.as_str());
                twice(sum(categories, is))
            }
            // Another kind than the baseline had: everything and nothing may be an event.
            _ => (0.0, records as f64),
        };
        Counted {
            records,
            least,
            most,
        }
    }
}

/// Events of both arms, read in two ways: for "the candidate has more", and for "it has fewer".
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Readings {
    pub(super) more: Pair,
    pub(super) fewer: Pair,
}

impl Readings {
    pub(super) fn of(event: &Event, both: &Both) -> Self {
        let count = |seen: &Option<super::arms::Seen>| {
            seen.as_ref()
                .map_or_else(Counted::default, |seen| event.count(&seen.summary))
        };
        let (candidate, against) = (count(&both.candidate), count(&both.against));
        let pair = |events, against_events| Pair {
            events,
            records: candidate.records,
            against_events,
            against_records: against.records,
        };
        Self {
            more: pair(candidate.least, against.most),
            fewer: pair(candidate.most, against.least),
        }
    }

    /// The other side of an event that most inferences are: what was more is the baseline's.
    pub(super) fn rarer(&self) -> Self {
        Self {
            more: self.more.complement().swapped(),
            fewer: self.fewer.complement().swapped(),
        }
    }
}

fn above_quantile(was: &Summary, quantile: f64, worse: f64) -> Option<Event> {
    let Summary::Histogram(histogram) = was else {
        return None;
    };
    let value = histogram.quantile(quantile)?;
    let threshold = snap((1.0 + worse) * value, SNAP_SCALE.min(histogram.scale));
    Some(Event::Above {
        quantile,
        worse,
        threshold,
    })
}

fn frequent(categories: &BTreeMap<String, u64>) -> Vec<String> {
    let least = CATEGORY_SHARE_MIN * categories.values().sum::<u64>() as f64;
    let mut frequent: Vec<_> = categories
        .iter()
        .filter(|(_, count)| **count as f64 >= least && **count > 0)
        .collect();
    frequent.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    frequent.truncate(CATEGORIES_MAX);
    frequent.into_iter().map(|(name, _)| name.clone()).collect()
}

fn sum(categories: &BTreeMap<String, u64>, is: impl Fn(&String) -> bool) -> f64 {
    let counts = categories.iter().filter(|(name, _)| is(name));
    counts.map(|(_, count)| *count).sum::<u64>() as f64
}

const fn twice(count: f64) -> (f64, f64) {
    (count, count)
}
