//! A drift beside what people said of the answers in the same lanes.
//!
//! In: the series that drifts, its reference's span. Out: shares of feedback, then and now, with an
//! interval. Never: a claim that answers got worse; that is for whoever looks.

use std::collections::BTreeMap;

use fathomline_queries::{
    drift::{Reference, SeriesKey},
    engine::{Engine, QueryError},
    rows::VerdictRow,
    series::{self, Series, Span, Values},
    stats::{Proportion, difference},
    verdict,
};
use fathomline_wire::names as wire;

use crate::view::units;

/// What people say of answers that did not do.
const UNHAPPY: [&str; 4] = ["edited", "rejected", "retried", "wrong"];

/// Feedback then and now.
pub(super) struct Quality {
    pub(super) sentence: String,
    pub(super) lines: Vec<Line>,
    pub(super) note: String,
}

/// One kind of feedback.
pub(super) struct Line {
    pub(super) kind: String,
    pub(super) was: String,
    pub(super) is: String,
}

/// Feedback of a span.
struct Said {
    counts: BTreeMap<String, u64>,
    count: u64,
}

impl Said {
    async fn of(engine: &Engine, series: &Series, span: Span) -> Result<Option<Self>, QueryError> {
        let found = series::span(engine, series, span).await?;
        Ok(found.and_then(|found| match found.values {
            Values::Categories(counts) if found.count > 0 => Some(Self {
                counts,
                count: found.count,
            }),
            _ => None,
        }))
    }

    fn share_of(&self, kinds: &[&str]) -> f64 {
        let said = kinds.iter().filter_map(|kind| self.counts.get(*kind));
        said.sum::<u64>() as f64 / self.count as f64
    }
}

/// What people said of the same cohort in the reference's span and in `current`; none where they
/// said nothing, or too few devices did.
pub(super) async fn of(
    engine: &Engine,
    series: &Series,
    reference: Option<&Reference>,
    current: Span,
) -> Result<Option<Quality>, QueryError> {
    let Some(reference) = reference.filter(|_| series.metric != wire::FEEDBACK) else {
        return Ok(None);
    };
    let feedback = Series {
        metric: wire::FEEDBACK.to_owned(),
        ..series.clone()
    };
    let (from_us, to_us) = reference.span_us();
    let past = Span {
        from_us,
        to_us,
        ..current
    };
    let id = SeriesKey::from(feedback.clone()).id();
    let (was, is, judged) = tokio::try_join!(
        Said::of(engine, &feedback, past),
        Said::of(engine, &feedback, current),
        verdict::history(engine, &id, current.from_us, current.to_us),
    )?;
    let worth = judged.iter().rev().find_map(worth_of);
    Ok(was.zip(is).map(|(was, is)| quality(&was, &is, worth)))
}

/// What one word of feedback is worth, 0 to 1, as devices that speak alike are taken into account.
fn worth_of(row: &VerdictRow) -> Option<f64> {
    let effective = row.effective_count.filter(|effective| *effective > 0.0)?;
    (row.count > 0).then(|| (effective / row.count as f64).min(1.0))
}

fn quality(was: &Said, is: &Said, worth: Option<f64>) -> Quality {
    let (before, after) = (was.share_of(&UNHAPPY), is.share_of(&UNHAPPY));
    let shares = format!(
        "Of what people said, {} was that an answer did not do; in the reference, {}.",
        units::percent(after),
        units::percent(before)
    );
    let sentence = match worth {
        None => format!("{shares} How sure that is cannot be told: feedback has no reference."),
        Some(worth) => {
            let of = |share, count: u64| Proportion {
                share,
                of: worth * count as f64,
            };
            let found = difference(of(before, was.count), of(after, is.count));
            format!(
                "{shares} That is {:+.1} points, with 95 % certainty {:+.1} to {:+.1}.",
                100.0 * found.difference,
                100.0 * found.interval.0,
                100.0 * found.interval.1
            )
        }
    };
    let mut kinds: Vec<&String> = was.counts.keys().chain(is.counts.keys()).collect();
    kinds.sort();
    kinds.dedup();
    let lines = kinds.into_iter().map(|kind| Line {
        kind: kind.clone(),
        was: units::percent(was.share_of(&[kind])),
        is: units::percent(is.share_of(&[kind])),
    });
    let worth = worth.map_or_else(String::new, |worth| {
        format!(
            " Each is worth {} independent ones.",
            units::significant(worth)
        )
    });
    Quality {
        sentence,
        lines: lines.collect(),
        note: format!(
            "{} words of feedback in the reference, {} in the lanes shown above; {} count as one \
             that did not do.{worth} Shown beside the drift: whether one caused the other is not known.",
            units::count(was.count),
            units::count(is.count),
            UNHAPPY.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(counts: &[(&str, u64)]) -> Said {
        Said {
            counts: counts
                .iter()
                .map(|(kind, count)| ((*kind).to_owned(), *count))
                .collect(),
            count: counts.iter().map(|(_, count)| count).sum(),
        }
    }

    #[test]
    fn it_says_how_far_feedback_moved_and_how_sure_and_claims_no_more() {
        let was = said(&[("correct", 900), ("wrong", 100)]);
        let is = said(&[("correct", 60), ("wrong", 30), ("edited", 10)]);
        let found = quality(&was, &is, Some(1.0));
        assert!(
            found.sentence.contains("+30.0 points"),
            "{}",
            found.sentence
        );
        assert!(
            found.sentence.contains("+20.7 to +39.9"),
            "{}",
            found.sentence
        );
        let unsure = quality(&was, &is, Some(0.05));
        assert_ne!(unsure.sentence, found.sentence);
        let untold = quality(&was, &is, None);
        assert!(
            untold.sentence.contains("cannot be told"),
            "{}",
            untold.sentence
        );
        let kinds: Vec<_> = found.lines.iter().map(|line| line.kind.as_str()).collect();
        assert_eq!(kinds, ["correct", "edited", "wrong"]);
        for text in [&found.sentence, &found.note] {
            assert!(!text.contains("accuracy"), "{text}");
        }
    }
}
