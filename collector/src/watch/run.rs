//! The tick: lanes that are due are judged, and everything that follows is written at once.
//!
//! In: lanes, the clock. Out: one SQLite transaction a tick with detectors, mark, verdicts, alerts
//! and outbox, so that a crash leaves all of it or none and the next tick starts from there.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use fathomline_queries::lanes::parts::SeriesParts;
use rusqlite::Transaction;
use tokio::sync::{Notify, watch};

use super::{
    WatchSettings,
    forward::{ControlRows, Forwarder},
    judge::{self, Apart, Judged, Known, Telling},
    lanes::{AskedParts, LaneSource, LanesError, SeriesLanes},
    late::{self, Review},
    plan::{self, Cache, Plan},
    schedule::Span,
};
use crate::{
    alert::pager::{News, Pager, Taken},
    clock::Clock,
    database::{self, Database, DatabaseError, alerts, detectors, snapshots, verdicts},
    observe::Observer,
    store::Earliest,
};

/// The pause between ticks follows the width of lanes, within these bounds.
const PAUSE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(5);

/// What a watcher works with.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) settings: WatchSettings,
    pub(crate) database: Database,
    pub(crate) lanes: Arc<dyn LaneSource>,
    /// Takes copies for the Delta tables.
    pub(crate) rows: Arc<dyn ControlRows>,
    /// How far back what was stored reaches.
    pub(crate) earliest: Earliest,
    pub(crate) clock: Arc<dyn Clock>,
    /// Tells what alerts do.
    pub(crate) pager: Pager,
    /// Wakes the endpoints' tasks.
    pub(crate) wake: Arc<Notify>,
    pub(crate) observer: Observer,
}

/// Why a tick did not come to its end. Nothing of it was written; the next one tries again.
#[derive(Debug, thiserror::Error)]
enum TickError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("cannot read lanes up to {to_us}: {source}")]
    Lanes { to_us: i64, source: LanesError },
    #[error("cannot judge lanes up to {to_us}: {source}")]
    Judge {
        to_us: i64,
        source: judge::JudgeError,
    },
}

/// Judges what is due, again and again.
pub(crate) struct Watcher {
    parts: Parts,
    cache: Cache,
    forwarder: Forwarder,
    review: Review,
}

impl Watcher {
    pub(crate) fn new(parts: Parts) -> Self {
        let forwarder = Forwarder::new(parts.database.clone(), Arc::clone(&parts.rows));
        Self {
            parts,
            cache: Cache::new(),
            forwarder,
            review: Review::default(),
        }
    }

    /// Shows what was judged before the last stop. To be done before any door opens: nobody may see
    /// a collector that forgot its verdicts.
    pub(crate) async fn remember(&mut self) {
        self.forward(false).await;
    }

    /// Ticks until `stop` turns true; a tick under way is finished first.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let lane_us = self.parts.settings.cadence.lane_us.unsigned_abs();
        let pause = Duration::from_micros(lane_us / 4).clamp(*PAUSE.start(), *PAUSE.end());
        while !*stop.borrow() {
            let more = self.advance().await;
            if more {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // A dropped sender means that the collector is gone.
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
        self.forward(true).await;
    }

    /// One tick, a look for late records, and the copies of what both wrote; whether more lanes may
    /// be due.
    async fn advance(&mut self) -> bool {
        let cadence = self.parts.settings.cadence;
        // Before the tick reads lanes: it finds whatever was noted by now, unless it is late.
        if let Some(time_us) = self.parts.earliest.take() {
            let now_us = self.parts.clock.now_us();
            self.review.arrived(time_us, now_us, cadence);
        }
        let more = self.tick().await.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot judge; trying again");
            false
        });
        let reviewing = self.review().await.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot revise verdicts; trying again");
            false
        });
        self.forward(false).await;
        more || reviewing
    }

    async fn forward(&mut self, last: bool) {
        if let Err(error) = self.forwarder.forward(last).await {
            tracing::error!(%error, "cannot copy verdicts to the tables; trying again");
        }
    }

    /// Judges up to one tick's worth of lanes; `false` when none was due.
    async fn tick(&mut self) -> Result<bool, TickError> {
        let now_us = self.parts.clock.now_us();
        let Some(plan) = self.plan(now_us).await? else {
            return Ok(false);
        };
        let (span, to_us) = (plan.span, plan.span.to_us);
        let asked = self.asked(span);
        let found = self.parts.lanes.lanes(asked).await;
        let lanes = found.map_err(|source| TickError::Lanes { to_us, source })?;
        let Some(judged) = self.judge(plan, &lanes, now_us).await? else {
            return Ok(false);
        };
        tell(&judged);
        let states: Vec<String> = judged.verdicts.iter().map(|v| v.state.clone()).collect();
        let pager = self.parts.pager.clone();
        let write = move |t: &Transaction<'_>| write(t, judged, &pager, span, now_us);
        let taken = self.parts.database.transact(write).await?;
        // The first look for late records goes through everything.
        if self.review.knows_how_far() {
            self.review.judged(to_us);
        }
        let observer = &self.parts.observer;
        states.iter().for_each(|state| observer.judged(state));
        observer.incidents(taken.open);
        if taken.letters > 0 {
            // Whoever follows the link of a letter finds the page.
            self.forward(false).await;
            self.parts.wake.notify_waiters();
        }
        Ok(true)
    }

    /// Judges lanes, again where pages were to be taken apart: what came before is the same.
    async fn judge(
        &mut self,
        mut plan: Plan,
        lanes: &SeriesLanes,
        now_us: i64,
    ) -> Result<Option<Judged>, TickError> {
        let settings = self.parts.settings.clone();
        let policy = plan::policy_text(&settings.policy);
        let telling = telling(&settings, false);
        let (to_us, mut known) = (plan.span.to_us, Known::new());
        loop {
            let judged = judge::judge(plan, lanes, (&policy, telling), &known)
                .map_err(|source| TickError::Judge { to_us, source })?;
            if judged.apart.is_empty() {
                return Ok(Some(judged));
            }
            self.learn(&judged.apart, &mut known).await;
            match self.plan(now_us).await? {
                Some(again) => plan = again,
                None => return Ok(None),
            }
        }
    }

    /// Reads what each device did in lanes that are about to page. A page that nobody can take
    /// apart is one.
    async fn learn(&self, apart: &[Apart], known: &mut Known) {
        let mut read: BTreeMap<_, SeriesParts> = BTreeMap::new();
        for Apart { key, window } in apart {
            let place = (
                window.start_us,
                window.end_us,
                key.metric.as_str(),
                key.model.as_str(),
            );
            if let Entry::Vacant(vacant) = read.entry(place) {
                let asked = AskedParts {
                    span: Span {
                        from_us: window.start_us,
                        to_us: window.end_us,
                    },
                    metrics: &[&key.metric],
                    models: &[&key.model],
                    hourly: false,
                };
                let found = self.parts.lanes.parts(asked).await.unwrap_or_else(|error| {
                    let series = key.to_string();
                    tracing::warn!(%error, series, "cannot take a page apart; it stands");
                    SeriesParts::new()
                });
                vacant.insert(found);
            }
            let parts = read.get_mut(&place).and_then(|parts| parts.remove(key));
            known.insert((key.id(), window.end_us), parts.unwrap_or_default());
        }
    }

    async fn plan(&mut self, now_us: i64) -> Result<Option<Plan>, TickError> {
        let settings = self.parts.settings.clone();
        let mut cache = std::mem::take(&mut self.cache);
        let work = move |t: &Transaction<'_>| {
            let plan = plan::load(t, &settings, now_us, &mut cache)?;
            Ok((plan, cache))
        };
        let (plan, cache) = self.parts.database.transact(work).await?;
        self.cache = cache;
        Ok(plan)
    }
}

fn telling(settings: &WatchSettings, past: bool) -> Telling<'_> {
    Telling {
        dashboard_url: settings.dashboard_url.as_deref(),
        policy: &settings.policy,
        rules: &settings.rules,
        min_devices: settings.min_devices,
        past,
    }
}

/// Says in the log what turned.
fn tell(judged: &Judged) {
    for event in &judged.events {
        tracing::info!(
            kind = event.kind,
            id = event.id,
            series = event.subject,
            "alert changed"
        );
    }
}

fn write(
    transaction: &Transaction<'_>,
    judged: Judged,
    pager: &Pager,
    span: Span,
    now_us: i64,
) -> database::Result<Taken> {
    for checkpoint in &judged.checkpoints {
        detectors::store(transaction, checkpoint)?;
        if span.ends_an_hour() {
            snapshots::store(transaction, checkpoint)?;
        }
    }
    for row in &judged.verdicts {
        verdicts::insert(transaction, row)?;
    }
    for (series, alert) in &judged.alerts {
        alerts::store(transaction, series, *alert)?;
    }
    let news = News {
        turned: judged.turned,
        events: judged.events,
        until_us: span.to_us,
    };
    let taken = pager.take(transaction, news, now_us)?;
    let before = database::mark(transaction, plan::JUDGED_UNTIL)?;
    let until_us = before.map_or(span.to_us, |before| before.max(span.to_us));
    if span.ends_an_hour() {
        snapshots::forget(transaction, until_us - snapshots::KEPT_US)?;
    }
    database::set_mark(transaction, plan::JUDGED_UNTIL, until_us)?;
    Ok(taken)
}

mod revise;

#[cfg(test)]
use crate::database::events;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod flapping;
#[cfg(test)]
mod late_records;
#[cfg(test)]
mod tests;
