//! Late records revise verdicts: a series is folded again from the last snapshot before them.
//!
//! In: stretches in which something may have arrived late. Out: one transaction for some series
//! with their new revisions, their detectors as if everything had been on time, and a note where
//! an incident is concerned. Never: an alert or a letter. What the detector says from now on is
//! told by the next lane, as always.

use std::collections::BTreeMap;

use fathomline_queries::{drift::VerdictState, rows::VerdictRow};
use rusqlite::Transaction;

use super::{TickError, Watcher, judge, late, plan};
use crate::{
    alert::state::{Alert, State},
    database::{self, alerts, detectors, detectors::Checkpoint, events, snapshots, verdicts},
    watch::{
        judge::{Judged, Known},
        lanes::{Asked, SeriesLanes},
        plan::{Plan, Watched},
        schedule::Span,
    },
};

/// Verdicts that are held in memory at once, to be written together.
const VERDICTS_MAX: i64 = 50_000;

/// Some series from their snapshots on.
struct Refolded {
    /// As they were before the first lane that is folded again.
    from: BTreeMap<String, Watched>,
    to_us: i64,
    verdicts: Vec<VerdictRow>,
    checkpoints: Vec<Checkpoint>,
    /// As they were at the ends of hours.
    snapshots: Vec<Checkpoint>,
}

impl Watcher {
    /// Looks through some lanes for late records and revises what they change; whether more lanes
    /// are to be looked through.
    pub(super) async fn review(&mut self) -> Result<bool, TickError> {
        let cadence = self.parts.settings.cadence;
        if !self.review.knows_how_far() {
            let read = |t: &Transaction<'_>| database::mark(t, plan::JUDGED_UNTIL);
            match self.parts.database.transact(read).await? {
                Some(until_us) => self.review.everything(until_us, cadence),
                None => return Ok(false),
            }
        }
        let now_us = self.parts.clock.now_us();
        if self.review.next(now_us, cadence).is_none() {
            return Ok(false);
        }
        let watched = self.watched().await?;
        let began_us = watched.values().map(|watched| watched.began_us).min();
        self.review.skip_before(began_us);
        let Some(span) = self.review.next(now_us, cadence) else {
            return Ok(false);
        };
        let late = self.changed(&watched, span).await?;
        let mut together: BTreeMap<i64, Vec<Watched>> = BTreeMap::new();
        for from in self.starts(watched, late).await? {
            together.entry(from.1).or_default().push(from.0);
        }
        for (to_us, of) in together {
            let first_us = of.iter().map(|from| from.folded_until_us).min();
            let lanes = (to_us - first_us.unwrap_or(to_us)) / cadence.lane_us;
            let size = usize::try_from(VERDICTS_MAX / lanes.max(1))
                .unwrap_or(1)
                .max(1);
            for some in of.chunks(size) {
                let refolded = self.refold(some, to_us).await?;
                self.replace(refolded, now_us).await?;
            }
        }
        self.review.done(span);
        Ok(self.review.goes_on())
    }

    /// Series whose lanes in `span` hold more than was judged, with the first such lane.
    async fn changed(
        &self,
        watched: &BTreeMap<String, Watched>,
        span: Span,
    ) -> Result<BTreeMap<String, i64>, TickError> {
        let held = self.parts.lanes.counts(self.asked(span)).await;
        let held = held.map_err(|source| TickError::Lanes {
            to_us: span.to_us,
            source,
        })?;
        let counted = move |t: &Transaction<'_>| verdicts::counted(t, span.from_us, span.to_us);
        let counted = self.parts.database.transact(counted).await?;
        Ok(late::changed(watched, &counted, &held))
    }

    async fn watched(&mut self) -> Result<BTreeMap<String, Watched>, TickError> {
        let settings = self.parts.settings.clone();
        let mut cache = std::mem::take(&mut self.cache);
        let work = move |t: &Transaction<'_>| {
            let watched = plan::watched(t, &settings, &mut cache)?;
            Ok((watched, cache))
        };
        let (watched, cache) = self.parts.database.transact(work).await?;
        self.cache = cache;
        Ok(watched)
    }

    /// Each series as it was before its first late lane, with how far it had come by now.
    async fn starts(
        &self,
        mut watched: BTreeMap<String, Watched>,
        late: BTreeMap<String, i64>,
    ) -> Result<Vec<(Watched, i64)>, TickError> {
        if late.is_empty() {
            return Ok(vec![]);
        }
        let settings = self.parts.settings.clone();
        let work = move |t: &Transaction<'_>| {
            let mut starts = vec![];
            for (series, end_us) in late {
                let Some(now) = watched.remove(&series) else {
                    continue;
                };
                let until_us = end_us - settings.cadence.lane_us;
                let snapshot = snapshots::newest(t, &series, until_us)?;
                match plan::before(snapshot.as_ref(), &now, &settings) {
                    Some(from) => starts.push((from, now.folded_until_us)),
                    None => tracing::warn!(
                        series,
                        end_us,
                        "late records revise nothing: no state of the detector is kept from before them"
                    ),
                }
            }
            Ok(starts)
        };
        Ok(self.parts.database.transact(work).await?)
    }

    /// Folds all lanes of some series again, up to `to_us`.
    async fn refold(&self, from: &[Watched], to_us: i64) -> Result<Refolded, TickError> {
        let named = from
            .iter()
            .map(|from| (from.reference.key().id(), from.clone()));
        let from: BTreeMap<String, Watched> = named.collect();
        let first_us = from.values().map(|from| from.folded_until_us).min();
        let mut watched = from.clone();
        let mut refolded = Refolded {
            from,
            to_us,
            verdicts: vec![],
            checkpoints: vec![],
            snapshots: vec![],
        };
        let mut from_us = first_us.unwrap_or(to_us);
        while from_us < to_us {
            let step = self.parts.settings.cadence.step(from_us);
            let span = Span {
                from_us,
                to_us: to_us.min(step),
            };
            let lanes = self.parts.lanes.lanes(self.asked(span)).await;
            let lanes = lanes.map_err(|source| TickError::Lanes { to_us, source })?;
            let judged = self.judge_again(&watched, span, &lanes).await?;
            for checkpoint in &judged.checkpoints {
                let watched = watched.get_mut(&checkpoint.series);
                if let Some((watched, detector)) = watched.zip(plan::detector(checkpoint)) {
                    watched.detector = detector;
                    watched.folded_until_us = checkpoint.folded_until_us;
                }
            }
            if span.ends_an_hour() {
                refolded.snapshots.extend(judged.checkpoints.clone());
            }
            refolded.verdicts.extend(judged.verdicts);
            refolded.checkpoints = judged.checkpoints;
            from_us = span.to_us;
        }
        Ok(refolded)
    }

    /// Judges lanes of the past, of which nobody is told.
    async fn judge_again(
        &self,
        watched: &BTreeMap<String, Watched>,
        span: Span,
        lanes: &SeriesLanes,
    ) -> Result<Judged, TickError> {
        let settings = &self.parts.settings;
        let policy = plan::policy_text(&settings.policy);
        let telling = super::telling(settings, true);
        let mut known = Known::new();
        loop {
            let plan = Plan {
                span,
                judged_until_us: span.to_us,
                watched: watched.clone(),
                ..Plan::default()
            };
            let judged = judge::judge(plan, lanes, (&policy, telling), &known);
            let judged = judged.map_err(|source| TickError::Judge {
                to_us: span.to_us,
                source,
            })?;
            if judged.apart.is_empty() {
                return Ok(judged);
            }
            self.learn(&judged.apart, &mut known).await;
        }
    }

    /// Writes revisions and detectors of some series, all of it or nothing.
    async fn replace(&self, refolded: Refolded, now_us: i64) -> Result<(), TickError> {
        let write = move |t: &Transaction<'_>| write(t, refolded, now_us);
        let revised = self.parts.database.transact(write).await?;
        self.parts.observer.revised(revised);
        if revised > 0 {
            tracing::info!(verdicts = revised, "late records revised verdicts");
        }
        Ok(())
    }

    pub(super) fn asked(&self, span: Span) -> Asked<'_> {
        let settings = &self.parts.settings;
        Asked {
            span,
            lane_us: settings.cadence.lane_us,
            metrics: &settings.metrics,
        }
    }
}

/// How many verdicts were revised.
fn write(t: &Transaction<'_>, refolded: Refolded, now_us: i64) -> database::Result<usize> {
    let Refolded {
        mut from,
        to_us,
        verdicts,
        checkpoints,
        snapshots: taken,
    } = refolded;
    // Another reference, or another policy, since they were read: they are judged anew anyway.
    let stored = detectors::all(t)?;
    let same = |checkpoint: &Checkpoint| {
        let began = from.get(&checkpoint.series).map(|from| from.began_us);
        stored.iter().any(|stored| {
            stored.series == checkpoint.series
                && stored.reference == checkpoint.reference
                && stored.policy == checkpoint.policy
                && stored.folded_until_us == to_us
                && Some(stored.began_us) == began
        })
    };
    let current: Vec<Checkpoint> = checkpoints.into_iter().filter(same).collect();
    from.retain(|series, _| current.iter().any(|of| of.series == *series));
    for (series, from) in &from {
        snapshots::forget_after(t, series, from.folded_until_us)?;
    }
    for snapshot in taken.iter().filter(|of| from.contains_key(&of.series)) {
        snapshots::store(t, snapshot)?;
    }
    for checkpoint in &current {
        detectors::store(t, checkpoint)?;
    }
    let mut changes: BTreeMap<String, Vec<Changed>> = BTreeMap::new();
    for now in verdicts
        .into_iter()
        .filter(|now| from.contains_key(&now.series))
    {
        let before = verdicts::last(t, &now.series, now.time)?;
        if let Some(now) = late::revision(before.as_ref(), now) {
            verdicts::insert(t, &now)?;
            let changed = Changed { before, now };
            changes
                .entry(changed.now.series.clone())
                .or_default()
                .push(changed);
        }
    }
    let alerts = alerts::all(t)?;
    for (series, changes) in &changes {
        if concerns(alerts.get(series), changes) {
            events::insert(t, &note(series, changes, now_us))?;
        }
    }
    Ok(changes.values().map(Vec::len).sum())
}

/// A verdict before and after.
struct Changed {
    before: Option<VerdictRow>,
    now: VerdictRow,
}

/// Whether lanes of an incident were revised: of the one that is open, or of one that was or would
/// have been.
fn concerns(alert: Option<&Alert>, changes: &[Changed]) -> bool {
    let open = alert.filter(|alert| alert.state == State::Firing);
    let drifting = |row: &VerdictRow| row.state == VerdictState::Drifting.name();
    changes.iter().any(|changed| {
        open.is_some_and(|open| changed.now.time >= open.since_us)
            || drifting(&changed.now)
            || changed.before.as_ref().is_some_and(drifting)
    })
}

/// What is kept beside the incident. Nobody is told.
fn note(series: &str, changes: &[Changed], now_us: i64) -> fathomline_queries::rows::EventRow {
    let turned = changes.iter().filter(|changed| {
        let before = changed.before.as_ref();
        before.is_none_or(|before| before.state != changed.now.state)
    });
    let turned: Vec<_> = turned
        .map(|changed| {
            serde_json::json!({
                "end_us": changed.now.time,
                "from": changed.before.as_ref().map(|before| &before.state),
                "to": changed.now.state,
            })
        })
        .collect();
    let records = changes.iter().map(|changed| {
        let before = changed.before.as_ref().map_or(0, |before| before.count);
        changed.now.count - before
    });
    let last = changes.iter().max_by_key(|changed| changed.now.time);
    let (last_us, reference) = last.map_or((now_us, None), |last| {
        (last.now.time, last.now.reference.clone())
    });
    let revision = changes.iter().map(|changed| changed.now.revision).max();
    let body = serde_json::json!({
        "revision": revision,
        "from_us": changes.iter().map(|changed| changed.now.time).min(),
        "to_us": last_us,
        "verdicts": changes.len(),
        "records": records.sum::<i64>(),
        "turned": turned,
    });
    events::revised(series, &body, (last_us, reference.as_deref(), now_us))
}
