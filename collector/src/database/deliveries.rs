//! Letters as they are shown: with their attempts, and with what an operator may do to them. In:
//! steps within a transaction. Out: rows for pages, API and command line.

use rusqlite::{OptionalExtension as _, Row, Transaction};
use serde::Serialize;

use super::{Result, outbox::Attempt};

/// A letter and its attempts, as shown to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// Names the letter in `replay`.
    pub id: i64,
    /// The `webhook-id` of every attempt.
    pub event_id: String,
    /// Name of the endpoint in the configuration.
    pub endpoint: String,
    /// The event's published name.
    pub kind: String,
    /// `pending`, `delivered`, `failed`, `stopped` or `overtaken`.
    pub state: String,
    /// When it was put into the outbox, microseconds since the Unix epoch.
    pub created_us: i64,
    /// Only while pending.
    pub next_attempt_us: Option<i64>,
    /// Attempts in all; the newest of them are kept.
    pub attempts_made: u32,
    /// Oldest first.
    pub attempts: Vec<Attempt>,
}

const COLUMNS: &str =
    "id, event_id, endpoint, kind, state, created_us, next_attempt_us, attempts AS made";

/// Letters with their attempts, newest first.
pub(crate) fn list(transaction: &Transaction<'_>, limit: u32) -> Result<Vec<Delivery>> {
    let sql = format!("SELECT {COLUMNS} FROM outbox ORDER BY id DESC LIMIT ?1");
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([limit], delivery)?;
    rows.map(|row| with_attempts(transaction, row?)).collect()
}

/// One letter with its attempts.
pub(crate) fn find(transaction: &Transaction<'_>, id: i64) -> Result<Option<Delivery>> {
    let sql = format!("SELECT {COLUMNS} FROM outbox WHERE id = ?1");
    let mut statement = transaction.prepare_cached(&sql)?;
    let row = statement.query_row([id], delivery).optional()?;
    row.map(|row| with_attempts(transaction, row)).transpose()
}

/// Makes a letter due at once, whatever became of it, with the whole retry schedule before it.
pub(crate) fn replay(transaction: &Transaction<'_>, id: i64, now_us: i64) -> Result<()> {
    let sql = "UPDATE outbox SET state = 'pending', tries = 0, next_attempt_us = ?2 WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute((id, now_us))?;
    Ok(())
}

/// How many letters to an endpoint are in a state.
pub(crate) fn count(transaction: &Transaction<'_>, endpoint: &str, state: &str) -> Result<i64> {
    let sql = "SELECT count(*) FROM outbox WHERE endpoint = ?1 AND state = ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    Ok(statement.query_row((endpoint, state), |row| row.get(0))?)
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let state: String = row.get("state")?;
    let next: i64 = row.get("next_attempt_us")?;
    Ok(Delivery {
        id: row.get("id")?,
        event_id: row.get("event_id")?,
        endpoint: row.get("endpoint")?,
        kind: row.get("kind")?,
        created_us: row.get("created_us")?,
        next_attempt_us: (state == "pending").then_some(next),
        state,
        attempts_made: row.get("made")?,
        attempts: Vec::new(),
    })
}

fn with_attempts(transaction: &Transaction<'_>, delivery: Delivery) -> Result<Delivery> {
    let sql = "SELECT number, started_us, ended_us, status, outcome FROM attempts
               WHERE outbox = ?1 ORDER BY number";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([delivery.id], |row| {
        Ok(Attempt {
            number: row.get("number")?,
            started_us: row.get("started_us")?,
            ended_us: row.get("ended_us")?,
            status: row.get("status")?,
            outcome: row.get("outcome")?,
        })
    })?;
    Ok(Delivery {
        attempts: rows.collect::<rusqlite::Result<_>>()?,
        ..delivery
    })
}
