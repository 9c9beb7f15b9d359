//! Requests to train models again, as rows. In: steps within a transaction. Out: requests with
//! their steps. What may follow what is not decided here.

use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use super::{Result, alerts, verdicts};
use crate::retraining::{brief::Drifting, progress::State, rule::Past};

const COLUMNS: &str = "id, service, model, version, state, requested_by, cause, created_us, \
    changed_us, new_version, body, looks, proof";

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) service: String,
    pub(crate) model: String,
    /// Whose outputs drifted.
    pub(crate) version: String,
    pub(crate) state: State,
    /// `drift`, or a name.
    pub(crate) requested_by: String,
    /// Id of the event that led to it.
    pub(crate) cause: Option<String>,
    pub(crate) created_us: i64,
    /// When it came to where it is, or a trainer was last heard.
    pub(crate) changed_us: i64,
    pub(crate) new_version: Option<String>,
    /// JSON: what is asked.
    pub(crate) body: String,
    /// How often the new version was looked at.
    pub(crate) looks: u32,
    /// What the last look found, in words.
    pub(crate) proof: Option<String>,
}

/// One step of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    pub(crate) time_us: i64,
    pub(crate) state: String,
    pub(crate) by: String,
    /// Why, or which version.
    pub(crate) detail: Option<String>,
}

/// Adds a request, with its first step.
pub(crate) fn insert(transaction: &Transaction<'_>, request: &Request) -> Result<()> {
    let sql = format!(
        "INSERT INTO retraining ({COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
    );
    transaction.prepare_cached(&sql)?.execute(params![
        request.id,
        request.service,
        request.model,
        request.version,
        request.state.word(),
        request.requested_by,
        request.cause,
        request.created_us,
        request.changed_us,
        request.new_version,
        request.body,
        request.looks,
        request.proof
    ])?;
    let step = Step {
        time_us: request.created_us,
        state: request.state.word().to_owned(),
        by: request.requested_by.clone(),
        detail: request.cause.clone(),
    };
    add_step(transaction, &request.id, &step)
}

/// Writes where a request came to, with the step that brought it there.
pub(crate) fn moved(transaction: &Transaction<'_>, request: &Request, step: &Step) -> Result<()> {
    let sql = "UPDATE retraining SET state = ?2, changed_us = ?3, new_version = ?4 WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute(params![
        request.id,
        request.state.word(),
        request.changed_us,
        request.new_version
    ])?;
    add_step(transaction, &request.id, step)
}

/// A trainer was heard, and it is where it was.
pub(crate) fn heard(transaction: &Transaction<'_>, request: &str, now_us: i64) -> Result<()> {
    let sql = "UPDATE retraining SET changed_us = ?2 WHERE id = ?1";
    transaction
        .prepare_cached(sql)?
        .execute((request, now_us))?;
    Ok(())
}

/// The new version was looked at so often; what was found stays until something else is.
pub(crate) fn looked(
    transaction: &Transaction<'_>,
    request: &str,
    looks: u32,
    found: Option<&str>,
) -> Result<()> {
    let sql = "UPDATE retraining SET looks = ?2, proof = coalesce(?3, proof) WHERE id = ?1";
    transaction
        .prepare_cached(sql)?
        .execute((request, looks, found))?;
    Ok(())
}

fn add_step(transaction: &Transaction<'_>, request: &str, step: &Step) -> Result<()> {
    let sql = "INSERT INTO retraining_steps (request, time_us, state, by, detail)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    transaction.prepare_cached(sql)?.execute(params![
        request,
        step.time_us,
        step.state,
        step.by,
        step.detail
    ])?;
    Ok(())
}

/// One request.
pub(crate) fn find(transaction: &Transaction<'_>, id: &str) -> Result<Option<Request>> {
    let sql = format!("SELECT {COLUMNS} FROM retraining WHERE id = ?1");
    let mut statement = transaction.prepare_cached(&sql)?;
    Ok(statement.query_row([id], from_row).optional()?)
}

/// Its steps, oldest first.
pub(crate) fn steps(transaction: &Transaction<'_>, id: &str) -> Result<Vec<Step>> {
    let sql = "SELECT time_us, state, by, detail FROM retraining_steps
               WHERE request = ?1 ORDER BY id";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([id], |row| {
        Ok(Step {
            time_us: row.get("time_us")?,
            state: row.get("state")?,
            by: row.get("by")?,
            detail: row.get("detail")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Requests, newest first.
pub(crate) fn list(transaction: &Transaction<'_>, limit: u32) -> Result<Vec<Request>> {
    let sql =
        format!("SELECT {COLUMNS} FROM retraining ORDER BY created_us DESC, id DESC LIMIT ?1");
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([limit], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Requests that are open, oldest first. Those that are over, which only grow, are not read: the
/// states are those of the index `retraining_one_open`.
pub(crate) fn open(transaction: &Transaction<'_>) -> Result<Vec<Request>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM retraining
         WHERE state IN ('waiting', 'requested', 'accepted', 'running', 'succeeded')
         ORDER BY created_us, id"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What was asked of a model before, newest first.
pub(crate) fn past(transaction: &Transaction<'_>, service: &str, model: &str) -> Result<Vec<Past>> {
    let sql = "SELECT id, version, state, created_us FROM retraining
               WHERE service = ?1 AND model = ?2 ORDER BY created_us DESC, id DESC";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([service, model], |row| {
        Ok(Past {
            id: row.get("id")?,
            version: row.get("version")?,
            state: state_of(row)?,
            created_us: row.get("created_us")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The request and body digest under which a trainer's message was taken.
pub(crate) fn report(
    transaction: &Transaction<'_>,
    message: &str,
) -> Result<Option<(String, [u8; 32])>> {
    let sql = "SELECT request, digest FROM retraining_reports WHERE message = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let found = statement.query_row([message], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(found.optional()?)
}

/// Remembers a message that was taken.
pub(crate) fn remember_report(
    transaction: &Transaction<'_>,
    message: &str,
    request: &str,
    digest: [u8; 32],
) -> Result<()> {
    let sql = "INSERT INTO retraining_reports (message, request, digest) VALUES (?1, ?2, ?3)";
    let row = (message, request, digest);
    transaction.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// A series whose alert fires.
pub(crate) struct Alerted {
    pub(crate) drifting: Drifting,
    /// Since when it does.
    pub(crate) since_us: i64,
    /// Id of the event that says so.
    pub(crate) event: Option<String>,
}

/// Series whose alert fires, by series.
pub(crate) fn alerted(transaction: &Transaction<'_>) -> Result<Vec<Alerted>> {
    let mut alerted = vec![];
    for (series, since_us) in alerts::firing(transaction)? {
        if let Some(now) = verdicts::newest(transaction, &series)? {
            let paged = verdicts::last(transaction, &series, since_us)?;
            let paged = paged.map(|row| row.evidence);
            alerted.push(Alerted {
                drifting: Drifting { now, paged },
                since_us,
                event: event_of(transaction, &series, since_us)?,
            });
        }
    }
    Ok(alerted)
}

fn event_of(transaction: &Transaction<'_>, series: &str, time_us: i64) -> Result<Option<String>> {
    let sql = "SELECT event_id FROM events
               WHERE subject = ?1 AND time_us = ?2 AND kind = 'fathomline.verdict.changed'
               ORDER BY id DESC LIMIT 1";
    let mut statement = transaction.prepare_cached(sql)?;
    Ok(statement
        .query_row((series, time_us), |row| row.get(0))
        .optional()?)
}

fn state_of(row: &Row<'_>) -> rusqlite::Result<State> {
    let word: String = row.get("state")?;
    State::of(&word).ok_or_else(|| {
        let unknown = format!("{word} is no state of a request");
        rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, unknown.into())
    })
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Request> {
    Ok(Request {
        id: row.get("id")?,
        service: row.get("service")?,
        model: row.get("model")?,
        version: row.get("version")?,
        state: state_of(row)?,
        requested_by: row.get("requested_by")?,
        cause: row.get("cause")?,
        created_us: row.get("created_us")?,
        changed_us: row.get("changed_us")?,
        new_version: row.get("new_version")?,
        body: row.get("body")?,
        looks: row.get("looks")?,
        proof: row.get("proof")?,
    })
}
