//! A request goes on: its row, its step, its event and its letters, in one transaction.
//!
//! In: where it goes and who says so. Out: the request as it is then.

use fathomline_queries::rows::EventRow;
use fathomline_wire::event::{Event, EventBody, RetrainingChanged};
use rusqlite::Transaction;

use super::{Telling, asking, progress::State};
use crate::{
    clock::rfc3339,
    database::{
        DatabaseError, events, outbox,
        retraining::{self as rows, Request, Step},
    },
};

/// Who moves a request, when, and what there is to say.
pub(super) struct Why {
    pub(super) by: String,
    pub(super) now_us: i64,
    pub(super) detail: Option<String>,
    pub(super) new_version: Option<String>,
}

impl Why {
    pub(super) fn of(by: &str, now_us: i64) -> Self {
        Self {
            by: by.to_owned(),
            now_us,
            detail: None,
            new_version: None,
        }
    }
}

/// Moves a request, and tells endpoints: the trainer's question once it may be asked, otherwise
/// what changed.
pub(super) fn move_on(
    transaction: &Transaction<'_>,
    request: Request,
    to: State,
    why: Why,
    telling: &Telling,
) -> Result<Request, DatabaseError> {
    let previous = request.state;
    let moved = Request {
        state: to,
        changed_us: why.now_us,
        new_version: why.new_version.or(request.new_version),
        ..request
    };
    let step = Step {
        time_us: why.now_us,
        state: to.word().to_owned(),
        by: why.by.clone(),
        detail: why.detail.clone(),
    };
    rows::moved(transaction, &moved, &step)?;
    if to == State::Requested {
        asking::send(transaction, &moved, telling, why.now_us)?;
    }
    if !to.is_open() {
        // A trainer that has not heard of it yet must not begin.
        outbox::withdraw(transaction, &moved.id)?;
    }
    let changed = RetrainingChanged {
        request: moved.id.clone(),
        service: moved.service.clone(),
        model: moved.model.clone(),
        version: moved.version.clone(),
        state: to.word().to_owned(),
        previous: previous.word().to_owned(),
        by: why.by,
        new_version: moved.new_version.clone(),
        reason: why.detail,
        link: Some(link(telling, &moved.id)),
    };
    let id = format!("{}-{}", moved.id, to.word());
    let body = EventBody::RetrainingChanged(Box::new(changed));
    tell(transaction, (&id, &moved), body, (telling, why.now_us))?;
    tracing::info!(
        request = moved.id,
        from = previous.word(),
        to = to.word(),
        "retraining moved"
    );
    Ok(moved)
}

/// Puts an event and its letters beside what caused it.
fn tell(
    transaction: &Transaction<'_>,
    (id, request): (&str, &Request),
    body: EventBody,
    asks: (&Telling, i64),
) -> Result<(), DatabaseError> {
    let kind = body.name().to_owned();
    let event = Event {
        timestamp: rfc3339(asks.1),
        body,
    };
    let row = EventRow {
        time: asks.1,
        id: id.to_owned(),
        kind,
        subject: request.id.clone(),
        body: text(&event)?,
    };
    deliver(transaction, &row, asks)
}

/// The same for an event that is written already.
pub(super) fn deliver(
    transaction: &Transaction<'_>,
    event: &EventRow,
    (telling, now_us): (&Telling, i64),
) -> Result<(), DatabaseError> {
    events::insert(transaction, event)?;
    outbox::put(
        transaction,
        event,
        telling.pager.recipients.of(&event.kind),
        now_us,
    )
}

/// An event as it is sent. Of strings and finite numbers: only a fault of ours keeps it from being
/// written, and then nothing of its transaction is kept.
pub(super) fn text(event: &Event) -> Result<String, DatabaseError> {
    let unwritable = |error: serde_json::Error| {
        DatabaseError::Sqlite(rusqlite::Error::ToSqlConversionFailure(error.into()))
    };
    serde_json::to_string(event).map_err(unwritable)
}

pub(super) fn link(telling: &Telling, id: &str) -> String {
    format!("{}/retraining#{id}", telling.base_url.trim_end_matches('/'))
}
