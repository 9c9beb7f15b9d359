//! Which lanes hold more than was judged. Pure.
//!
//! In: how far back what arrived reaches; what the verdicts of a stretch counted and what its
//! lanes hold now. Out: stretches to look through, series to fold again. In the ordinary case
//! nothing reaches back behind the last judged lane, and nothing is looked through. After a start
//! everything is that could still be revised: what a process noted is gone with it, what is stored
//! is not.

use std::collections::BTreeMap;

use fathomline_queries::{
    drift::{DEVICES_REPORTING, Lane, SeriesKey},
    rows::VerdictRow,
};

use super::{
    lanes::LaneCounts,
    plan::Watched,
    schedule::{Cadence, Span},
};
use crate::database::{snapshots::REVISED_US, verdicts::Counted};

/// Late records that were noticed, and how far they were looked for.
#[derive(Default)]
pub(super) struct Review {
    /// End of the last lane that was judged for every series; unknown after a start.
    judged_until_us: Option<i64>,
    noted: Option<Noted>,
    /// Lanes that are still to be looked through.
    left: Option<Span>,
}

/// Something arrived for lanes that had been judged.
#[derive(Clone, Copy)]
struct Noted {
    earliest_us: i64,
    /// What comes until then is revised with it.
    due_us: i64,
}

impl Review {
    /// Lanes up to here are judged.
    pub(super) fn judged(&mut self, until_us: i64) {
        let before = self.judged_until_us;
        self.judged_until_us = Some(before.map_or(until_us, |before| before.max(until_us)));
    }

    /// The first look after a start is through everything.
    pub(super) fn knows_how_far(&self) -> bool {
        self.judged_until_us.is_some()
    }

    pub(super) fn everything(&mut self, judged_until_us: i64, cadence: Cadence) {
        self.judged(judged_until_us);
        self.left = span(i64::MIN, judged_until_us, cadence);
    }

    /// Something was stored whose earliest window ends at `time_us`. What is late waits as long as
    /// a lane does, so that what comes together is revised together.
    pub(super) fn arrived(&mut self, time_us: i64, now_us: i64, cadence: Cadence) {
        let end_us = cadence.ceil(time_us);
        if self
            .judged_until_us
            .is_none_or(|until_us| end_us > until_us)
        {
            return;
        }
        let noted = self.noted.get_or_insert(Noted {
            earliest_us: end_us,
            due_us: now_us.saturating_add(cadence.lateness_us),
        });
        noted.earliest_us = noted.earliest_us.min(end_us);
    }

    /// The next lanes to look through, if any.
    pub(super) fn next(&mut self, now_us: i64, cadence: Cadence) -> Option<Span> {
        if self.left.is_none() {
            let noted = self.noted.take_if(|noted| noted.due_us <= now_us)?;
            let after_us = noted.earliest_us - cadence.lane_us;
            self.left = span(after_us, self.judged_until_us?, cadence);
        }
        let left = self.left?;
        let to_us = left.to_us.min(cadence.step(left.from_us));
        Some(Span { to_us, ..left })
    }

    /// Nothing was judged before `began_us`, or nothing at all.
    pub(super) fn skip_before(&mut self, began_us: Option<i64>) {
        let left = self.left.zip(began_us).map(|(left, began_us)| Span {
            from_us: left.from_us.max(began_us),
            ..left
        });
        self.left = left.filter(|left| left.from_us < left.to_us);
    }

    /// Those were looked through.
    pub(super) fn done(&mut self, span: Span) {
        let rest = self.left.map(|left| Span {
            from_us: span.to_us,
            ..left
        });
        self.left = rest.filter(|rest| rest.from_us < rest.to_us);
    }

    pub(super) fn goes_on(&self) -> bool {
        self.left.is_some()
    }
}

/// Lanes after `after_us` that can still be revised.
fn span(after_us: i64, to_us: i64, cadence: Cadence) -> Option<Span> {
    let from_us = cadence.floor(after_us.max(to_us - REVISED_US));
    (from_us < to_us).then_some(Span { from_us, to_us })
}

/// Series whose lanes hold more than their verdicts counted, with the end of the first such lane.
pub(super) fn changed(
    watched: &BTreeMap<String, Watched>,
    verdicts: &BTreeMap<(i64, String), Counted>,
    held: &LaneCounts,
) -> BTreeMap<String, i64> {
    let mut found = BTreeMap::new();
    for (series, watched) in watched {
        let key = watched.reference.key();
        let judged = (watched.began_us + 1)..=watched.folded_until_us;
        let lanes = held.get(key).into_iter().flatten();
        let lanes = lanes.filter(|(end_us, _)| judged.contains(*end_us));
        for (end_us, held) in lanes {
            let verdict = verdicts.get(&(*end_us, series.clone()));
            if verdict.is_none_or(|verdict| counted(key, *verdict) < *held) {
                found.entry(series.clone()).or_insert(*end_us);
            }
        }
    }
    found
}

/// What is compared: of a series that counts devices its devices, of others their records.
fn counted(key: &SeriesKey, verdict: Counted) -> i64 {
    match key.metric == DEVICES_REPORTING {
        true => verdict.devices,
        false => verdict.records,
    }
}

/// The same of a lane.
pub(super) fn held(key: &SeriesKey, lane: &Lane) -> i64 {
    let held = match key.metric == DEVICES_REPORTING {
        true => lane.devices,
        false => lane.count,
    };
    i64::try_from(held).unwrap_or(i64::MAX)
}

/// The next revision of a verdict, if it says anything else. `before` is the last one; a lane that
/// had none gets its first.
pub(super) fn revision(before: Option<&VerdictRow>, mut now: VerdictRow) -> Option<VerdictRow> {
    let Some(before) = before else {
        return Some(now);
    };
    now.revision = before.revision;
    if let Some(told) = with_neighbours(&before.evidence, &now.evidence) {
        now.evidence = told;
    }
    if now == *before {
        return None;
    }
    now.revision += 1;
    Some(now)
}

/// Who moved together with a page was found among all series, of which only some are judged again:
/// it stays as it was told.
fn with_neighbours(before: &str, now: &str) -> Option<String> {
    const TOGETHER: &str = "together";
    if !before.contains(TOGETHER) {
        return None;
    }
    let before: serde_json::Value = serde_json::from_str(before).ok()?;
    let together = before.get(TOGETHER)?;
    let mut told: serde_json::Value = serde_json::from_str(now).ok()?;
    told[TOGETHER] = together.clone();
    Some(told.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CADENCE: Cadence = Cadence {
        lane_us: 60,
        lateness_us: 120,
    };

    fn looked_through(review: &mut Review, now_us: i64) -> Vec<(i64, i64)> {
        let mut spans = vec![];
        while let Some(span) = review.next(now_us, CADENCE) {
            spans.push((span.from_us, span.to_us));
            review.done(span);
        }
        spans
    }

    #[test]
    fn what_arrives_in_time_is_not_looked_for() {
        let mut review = Review::default();
        review.judged(6_000);
        review.arrived(6_001, 6_200, CADENCE);
        assert_eq!(looked_through(&mut review, 100_000), []);
    }

    #[test]
    fn what_is_late_is_gathered_as_long_as_a_lane_waits() {
        let mut review = Review::default();
        review.judged(6_000);
        review.arrived(5_999, 6_200, CADENCE);
        review.arrived(5_890, 6_300, CADENCE);
        assert_eq!(looked_through(&mut review, 6_319), []);
        review.judged(6_060);
        assert_eq!(looked_through(&mut review, 6_320), [(5_880, 6_060)]);
        assert_eq!(looked_through(&mut review, 100_000), [], "once");
    }

    #[test]
    fn lanes_from_before_anything_was_judged_are_skipped() {
        let mut review = Review::default();
        review.everything(6_000, CADENCE);
        review.skip_before(Some(5_940));
        assert_eq!(looked_through(&mut review, 0), [(5_940, 6_000)]);
        review.everything(6_000, CADENCE);
        review.skip_before(None);
        assert_eq!(looked_through(&mut review, 0), []);
    }

    #[test]
    fn after_a_start_two_days_are_looked_through_without_a_gap_and_no_more() {
        let mut review = Review::default();
        let judged_until_us = 10 * REVISED_US / 60 * 60;
        review.everything(judged_until_us, CADENCE);
        let first = review.next(0, CADENCE).unwrap();
        assert_eq!(first.from_us, judged_until_us - REVISED_US);
        assert!(first.from_us < first.to_us && first.to_us <= first.from_us + 3_600);
        review.left = Some(Span {
            from_us: judged_until_us - 7_230,
            to_us: judged_until_us,
        });
        let spans = looked_through(&mut review, 0);
        assert!((3..=4).contains(&spans.len()), "{spans:?}");
        assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert!(!review.goes_on());
    }
}
