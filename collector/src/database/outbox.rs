//! The outbox: what is still to be told to whom, and every attempt to tell it. In: events of a tick
//! and results of attempts. Out: what is due, and the list that pages and the API show. The row is
//! written with the state that caused it, so neither a crash nor a restart loses or doubles it.

use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use super::Result;

/// One event to tell one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) event_id: String,
    pub(crate) kind: String,
    /// The exact bytes to sign and send.
    pub(crate) body: String,
}

/// A letter whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) id: i64,
    /// Attempts made so far.
    pub(crate) attempts: u32,
    pub(crate) letter: Letter,
}

/// What becomes of a letter after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    RetryAt(i64),
    /// The retry schedule is used up.
    Failed,
    /// The endpoint asked for no more.
    Stopped,
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::RetryAt(_) => "pending",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// One attempt that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) started_us: i64,
    pub(crate) ended_us: i64,
    /// HTTP status, if there was an answer.
    pub(crate) status: Option<u16>,
    pub(crate) outcome: String,
}

/// A letter and its attempts, as shown to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Delivery {
    pub(crate) event_id: String,
    pub(crate) endpoint: String,
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) created_us: i64,
    /// Only while pending.
    pub(crate) next_attempt_us: Option<i64>,
    pub(crate) attempts: Vec<Attempt>,
}

/// Adds a letter for an endpoint unless it is there already.
pub(crate) fn push(
    transaction: &Transaction<'_>,
    letter: &Letter,
    endpoint: &str,
    now_us: i64,
) -> Result<()> {
    let sql = "INSERT INTO outbox (event_id, endpoint, kind, body, created_us, next_attempt_us)
               VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT (event_id, endpoint) DO NOTHING";
    transaction.prepare_cached(sql)?.execute(params![
        letter.event_id,
        endpoint,
        letter.kind,
        letter.body,
        now_us
    ])?;
    Ok(())
}

/// Up to `limit` letters for `endpoint` whose next attempt is due, oldest first.
pub(crate) fn due(
    transaction: &Transaction<'_>,
    endpoint: &str,
    now_us: i64,
    limit: u32,
) -> Result<Vec<Due>> {
    let sql = "SELECT id, attempts, event_id, kind, body FROM outbox
               WHERE endpoint = ?1 AND state = 'pending' AND next_attempt_us <= ?2
               ORDER BY id LIMIT ?3";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map((endpoint, now_us, limit), |row| {
        Ok(Due {
            id: row.get("id")?,
            attempts: row.get("attempts")?,
            letter: Letter {
                event_id: row.get("event_id")?,
                kind: row.get("kind")?,
                body: row.get("body")?,
            },
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Notes an attempt and what becomes of the letter.
pub(crate) fn record(
    transaction: &Transaction<'_>,
    letter: i64,
    attempt: &Attempt,
    fate: Fate,
) -> Result<()> {
    let sql = "INSERT INTO attempts (outbox, number, started_us, ended_us, status, outcome)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    transaction.prepare_cached(sql)?.execute(params![
        letter,
        attempt.number,
        attempt.started_us,
        attempt.ended_us,
        attempt.status,
        attempt.outcome
    ])?;
    let next = match fate {
        Fate::RetryAt(at) => at,
        Fate::Delivered | Fate::Failed | Fate::Stopped => attempt.ended_us,
    };
    let sql = "UPDATE outbox SET attempts = ?2, state = ?3, next_attempt_us = ?4 WHERE id = ?1";
    transaction
        .prepare_cached(sql)?
        .execute(params![letter, attempt.number, fate.word(), next])?;
    Ok(())
}

/// Stops an endpoint that answered 410, with everything that waits for it.
pub(crate) fn stop_endpoint(
    transaction: &Transaction<'_>,
    endpoint: &str,
    url_digest: &str,
    now_us: i64,
) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO stopped_endpoints (endpoint, url_digest, since_us)
               VALUES (?1, ?2, ?3)";
    transaction
        .prepare_cached(sql)?
        .execute((endpoint, url_digest, now_us))?;
    stop_pending(transaction, endpoint)
}

/// Stops everything that waits for an endpoint.
pub(crate) fn stop_pending(transaction: &Transaction<'_>, endpoint: &str) -> Result<()> {
    let sql = "UPDATE outbox SET state = 'stopped' WHERE endpoint = ?1 AND state = 'pending'";
    transaction.prepare_cached(sql)?.execute([endpoint])?;
    Ok(())
}

/// Since when the endpoint of this URL is stopped, if it is.
pub(crate) fn stopped_since(
    transaction: &Transaction<'_>,
    endpoint: &str,
    url_digest: &str,
) -> Result<Option<i64>> {
    let sql = "SELECT since_us FROM stopped_endpoints WHERE endpoint = ?1 AND url_digest = ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    Ok(statement
        .query_row((endpoint, url_digest), |row| row.get(0))
        .optional()?)
}

/// Letters with their attempts, newest first.
pub(crate) fn list(transaction: &Transaction<'_>, limit: u32) -> Result<Vec<Delivery>> {
    let sql = "SELECT id, event_id, endpoint, kind, state, created_us, next_attempt_us
               FROM outbox ORDER BY id DESC LIMIT ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([limit], delivery)?;
    let mut deliveries = Vec::new();
    for row in rows {
        let (id, mut delivery) = row?;
        delivery.attempts = attempts(transaction, id)?;
        deliveries.push(delivery);
    }
    Ok(deliveries)
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<(i64, Delivery)> {
    let state: String = row.get("state")?;
    let next: i64 = row.get("next_attempt_us")?;
    let delivery = Delivery {
        event_id: row.get("event_id")?,
        endpoint: row.get("endpoint")?,
        kind: row.get("kind")?,
        created_us: row.get("created_us")?,
        next_attempt_us: (state == "pending").then_some(next),
        state,
        attempts: Vec::new(),
    };
    Ok((row.get("id")?, delivery))
}

fn attempts(transaction: &Transaction<'_>, letter: i64) -> Result<Vec<Attempt>> {
    let sql = "SELECT number, started_us, ended_us, status, outcome FROM attempts
               WHERE outbox = ?1 ORDER BY id";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([letter], |row| {
        Ok(Attempt {
            number: row.get("number")?,
            started_us: row.get("started_us")?,
            ended_us: row.get("ended_us")?,
            status: row.get("status")?,
            outcome: row.get("outcome")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
