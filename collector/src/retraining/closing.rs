//! A version that proved better ends the alerts of the version it replaces: nobody would otherwise,
//! because what no device runs any more has no steady lanes. In: the request, what was found. Out:
//! alerts that are over, with their event, in the transaction of the proof.

use fathomline_queries::rows::{EventRow, VerdictRow};
use fathomline_wire::{
    event::{BriefSignal, Event, EventBody, Span, VerdictChanged},
    names,
};
use rusqlite::Transaction;

use super::{Telling, moving};
use crate::{
    alert::{
        incident::{Cohort, Turned},
        pager::News,
        state::{self, Turn},
        story,
    },
    clock::rfc3339,
    database::{
        DatabaseError, alerts,
        retraining::{self as rows, Request},
    },
};

/// What ended them, and when.
pub(super) struct Proven<'a> {
    pub(super) request: &'a Request,
    pub(super) signal: &'a BriefSignal,
    /// What was found, in words.
    pub(super) words: &'a str,
    pub(super) lane_us: i64,
    pub(super) now_us: i64,
}

/// Ends the alerts of the signal that led to the request.
pub(super) fn end_alerts(
    transaction: &Transaction<'_>,
    proven: &Proven<'_>,
    telling: &Telling,
) -> Result<(), DatabaseError> {
    let firing = alerts::all(transaction)?;
    let mut news = News {
        until_us: proven.now_us,
        ..News::default()
    };
    for alerted in rows::alerted(transaction)? {
        let row = &alerted.drifting.now;
        let alert = firing.get(&row.series).filter(|_| proven.is_about(row));
        let Some(ended) = alert.and_then(|alert| state::end(*alert, proven.now_us)) else {
            continue;
        };
        alerts::store(transaction, &row.series, ended)?;
        let event = proven.event(row, telling)?;
        news.turned.push(Turned {
            cohort: cohort(row),
            turn: Turn::Resolves,
            event: event.id.clone(),
            time_us: proven.now_us,
            cooldown_us: telling.pager.rules.of(&row.metric).cooldown_us(),
        });
        news.events.push(event);
    }
    if !news.turned.is_empty() {
        telling.pager.take(transaction, news, proven.now_us)?;
    }
    Ok(())
}

impl Proven<'_> {
    fn is_about(&self, row: &VerdictRow) -> bool {
        row.service == self.request.service
            && row.model == self.request.model
            && row.version == self.request.version
            && row.device_class == self.signal.device_class
            && row.metric == self.signal.metric
    }

    fn event(&self, row: &VerdictRow, telling: &Telling) -> Result<EventRow, DatabaseError> {
        let id = story::digest(&format!("{}\n{}", row.series, self.request.id));
        let event = Event {
            timestamp: rfc3339(self.now_us),
            body: EventBody::VerdictChanged(Box::new(self.changed(row, telling))),
        };
        Ok(EventRow {
            time: self.now_us,
            id: format!("evt_{id}"),
            kind: event.body.name().to_owned(),
            subject: row.series.clone(),
            body: moving::text(&event)?,
        })
    }

    fn changed(&self, row: &VerdictRow, telling: &Telling) -> VerdictChanged {
        let base = telling.base_url.trim_end_matches('/');
        VerdictChanged {
            state: Turn::Resolves.verdict().to_owned(),
            previous: Turn::Fires.verdict().to_owned(),
            series: row.series.clone(),
            incident_id: None,
            service: row.service.clone(),
            model: row.model.clone(),
            version: row.version.clone(),
            variant: row.variant.clone(),
            device_class: row.device_class.clone(),
            metric: row.metric.clone(),
            unit: names::metric(&row.metric)
                .map_or("1", |metric| metric.unit)
                .to_owned(),
            window: Span {
                start: rfc3339(row.time - self.lane_us),
                end: rfc3339(row.time),
            },
            since: row.since.map(rfc3339),
            score: row.score,
            threshold: row.threshold.unwrap_or_default(),
            method: row.method.clone(),
            count: row.count.unsigned_abs(),
            effective_count: row.effective_count,
            devices: row.devices.unsigned_abs(),
            reference: row.reference.clone().unwrap_or_default(),
            effect: None,
            contributors: vec![],
            incident: None,
            evidence: format!(
                "version {} proved better: {}",
                self.new_version(),
                self.words
            ),
            link: Some(format!("{base}/drift/{}", row.series)),
        }
    }

    fn new_version(&self) -> &str {
        self.request.new_version.as_deref().unwrap_or_default()
    }
}

fn cohort(row: &VerdictRow) -> Cohort {
    Cohort {
        subject: row.series.clone(),
        service: row.service.clone(),
        model: row.model.clone(),
        version: row.version.clone(),
        device_class: row.device_class.clone(),
        site: None,
        metric: row.metric.clone(),
    }
}
