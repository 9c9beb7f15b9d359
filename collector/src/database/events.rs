//! Event rows: what happened, once each. In: rows of the tick that caused them. Out: rows to copy
//! to the Delta table, in order of their id.

use fathomline_queries::rows::EventRow;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::{Result, next_row};

/// Adds an event unless its id is there already.
pub(crate) fn insert(transaction: &Transaction<'_>, event: &EventRow) -> Result<()> {
    let sql = "INSERT INTO events (id, time_us, event_id, kind, subject, body)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (event_id) DO NOTHING";
    transaction.prepare_cached(sql)?.execute(params![
        next_row(transaction)?,
        event.time,
        event.id,
        event.kind,
        event.subject,
        event.body
    ])?;
    Ok(())
}

/// What an endpoint took is an event of its own, about the same subject.
pub(crate) const DELIVERED: &str = "fathomline.webhook.delivered";

/// Adds that `endpoint` took the event `event_id`, if that event is kept here.
pub(crate) fn delivered(
    transaction: &Transaction<'_>,
    event_id: &str,
    endpoint: &str,
    now_us: i64,
) -> Result<()> {
    let sql = "SELECT subject FROM events WHERE event_id = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let subject = statement
        .query_row([event_id], |row| row.get(0))
        .optional()?;
    let Some(subject) = subject else {
        return Ok(());
    };
    let event = EventRow {
        time: now_us,
        id: format!("{event_id}-{endpoint}"),
        kind: DELIVERED.to_owned(),
        subject,
        body: serde_json::json!({ "event": event_id, "endpoint": endpoint }).to_string(),
    };
    insert(transaction, &event)
}

/// What late records changed about an incident, kept beside it and sent to nobody.
pub(crate) const REVISED: &str = "fathomline.verdict.revised";

/// The event that a series' verdicts up to `last_us` were revised. Its id says what and when, so
/// that it is there once.
pub(crate) fn revised(
    series: &str,
    body: &serde_json::Value,
    (last_us, reference, now_us): (i64, Option<&str>, i64),
) -> EventRow {
    let reference = reference.unwrap_or_default();
    let revision = &body["revision"];
    let subject = format!("{series}\n{last_us}\n{reference}\n{revision}\n{now_us}");
    EventRow {
        time: now_us,
        id: format!("rev_{}", crate::alert::story::digest(&subject)),
        kind: REVISED.to_owned(),
        subject: series.to_owned(),
        body: body.to_string(),
    }
}

/// One event.
pub(crate) fn find(transaction: &Transaction<'_>, event_id: &str) -> Result<Option<EventRow>> {
    let sql = "SELECT id, time_us, event_id, kind, subject, body FROM events WHERE event_id = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let found = statement.query_row([event_id], from_row).optional()?;
    Ok(found.map(|(_, event)| event))
}

/// Up to `limit` events after row `after`, oldest first, each with its row id.
pub(crate) fn after(
    transaction: &Transaction<'_>,
    after: i64,
    limit: u32,
) -> Result<Vec<(i64, EventRow)>> {
    let sql = "SELECT id, time_us, event_id, kind, subject, body FROM events
               WHERE id > ?1 ORDER BY id LIMIT ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map((after, limit), from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<(i64, EventRow)> {
    let event = EventRow {
        time: row.get("time_us")?,
        id: row.get("event_id")?,
        kind: row.get("kind")?,
        subject: row.get("subject")?,
        body: row.get("body")?,
    };
    Ok((row.get("id")?, event))
}
