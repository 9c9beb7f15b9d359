//! Turns of alerts become incidents and letters. In: turns with their events, within the
//! transaction of the verdicts that caused them. Out: incidents, events that name theirs, letters
//! to those who are to be told. Decisions are `incident`'s.

use std::{collections::BTreeMap, sync::Arc};

use fathomline_queries::rows::EventRow;
use fathomline_wire::event::{Event, EventBody};
use rusqlite::Transaction;

use super::{
    incident::{Audience, Board, Cohort, Turned},
    mute::{Maintenance, Mutes},
    recipients::Recipients,
    rules::Rules,
};
use crate::database::{Result, alerts, events, outbox, silences};

/// Tells what alerts do. Clones share their parts.
#[derive(Clone, Debug)]
pub(crate) struct Pager {
    pub(crate) recipients: Recipients,
    pub(crate) rules: Arc<Rules>,
    /// When what happens is planned.
    pub(crate) maintenance: Arc<[Maintenance]>,
}

/// What happened since the last time, and up to when that is everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    pub(crate) turned: Vec<Turned>,
    /// Whatever happened, the events of turns among them.
    pub(crate) events: Vec<EventRow>,
    pub(crate) until_us: i64,
}

/// What came of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Letters that were put, for whoever sends them.
    pub(crate) letters: usize,
    /// Incidents that go on.
    pub(crate) open: usize,
}

impl Pager {
    #[cfg(test)]
    pub(crate) fn for_test(endpoint: Option<&str>) -> Self {
        use super::recipients::{Pattern, Recipient};
        let recipients = endpoint.into_iter().map(|endpoint| Recipient {
            endpoint: endpoint.to_owned(),
            events: vec![Pattern::all()],
            alerts_only: false,
        });
        Self {
            recipients: Recipients::new(recipients.collect()),
            rules: Arc::default(),
            maintenance: Arc::new([]),
        }
    }

    /// Takes news, and tells what is to be told.
    pub(crate) fn take(&self, t: &Transaction<'_>, news: News, now_us: i64) -> Result<Taken> {
        let News {
            turned,
            mut events,
            until_us,
        } = news;
        let first_us = turned.iter().map(|turned| turned.time_us).min();
        let live = alerts::live(t, first_us.unwrap_or(until_us))?;
        let mut board = Board::new(live, self.rules.group_us());
        let before = board.clone();
        let mutes = Mutes {
            silences: silences::current(t, now_us)?,
            maintenance: Arc::clone(&self.maintenance),
        };
        let muted = |cohort: &Cohort| mutes.muting(cohort, now_us).is_some();
        let advanced = board.advance(turned, until_us, muted);
        for incident in board.incidents() {
            if before.incident(&incident.id) != Some(incident) {
                alerts::store_incident(t, incident)?;
            }
        }
        for event in &mut events {
            if let Some(incident) = advanced.places.get(&event.id) {
                name(event, incident)?;
            }
            events::insert(t, event)?;
        }
        let news: BTreeMap<&str, &EventRow> = events
            .iter()
            .map(|event| (event.id.as_str(), event))
            .collect();
        let mut letters = 0;
        for telling in &advanced.telling {
            let kept = match news.get(telling.event.as_str()) {
                Some(event) => Some((*event).clone()),
                None => events::find(t, &telling.event)?,
            };
            let Some(event) = kept else {
                continue;
            };
            match telling.audience {
                Audience::Everybody => {
                    outbox::put(t, &event, self.recipients.of(&event.kind), now_us)?;
                }
                Audience::Mirrors => {
                    outbox::put(t, &event, self.recipients.mirrors(&event.kind), now_us)?;
                }
            }
            tracing::info!(
                kind = event.kind,
                id = event.id,
                subject = event.subject,
                "told"
            );
            letters += 1;
        }
        let open = board.incidents();
        let open = open.filter(|incident| incident.resolved_us.is_none());
        Ok(Taken {
            letters,
            open: open.count(),
        })
    }
}

/// Writes into an event which incident it is told as a part of.
fn name(row: &mut EventRow, incident: &str) -> Result<()> {
    let unwritable =
        |error: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(error.into());
    let mut event: Event = serde_json::from_str(&row.body).map_err(unwritable)?;
    if let EventBody::VerdictChanged(changed) = &mut event.body {
        changed.incident_id = Some(incident.to_owned());
        row.body = serde_json::to_string(&event).map_err(unwritable)?;
    }
    Ok(())
}
