//! Versions that devices reported, and rollouts. In: what was seen, and what operators declared.
//! Out: the same, newest first. Never: what the versions did.

use fathomline_queries::lanes::rollout::VersionSeen;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use super::Result;

/// One rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RolloutRow {
    /// Its number.
    pub(crate) id: i64,
    /// `service.name`.
    pub(crate) service: String,
    /// Model name.
    pub(crate) model: String,
    /// The version that wants to go on.
    pub(crate) candidate: String,
    /// The version it is held against.
    pub(crate) against: String,
    /// The metric that must get better, if one must.
    pub(crate) improve: Option<String>,
    /// When the candidate began, microseconds since the Unix epoch, as all times here.
    pub(crate) started_us: i64,
    /// `declared` by an operator, or `reported` by devices.
    pub(crate) source: String,
    /// Who declared it.
    pub(crate) started_by: String,
    /// When it was over.
    pub(crate) finished_us: Option<i64>,
    /// Who said so.
    pub(crate) finished_by: Option<String>,
    /// `promoted`, `rolled_back` or `abandoned`.
    pub(crate) outcome: Option<String>,
}

/// Widens what is known of versions.
pub(crate) fn note(transaction: &Transaction<'_>, seen: &[VersionSeen]) -> Result<()> {
    let sql = "INSERT INTO versions
                   (service, model, version, device_class, first_us, last_us, devices)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
               ON CONFLICT (service, model, version, device_class) DO UPDATE SET
                   first_us = min(first_us, excluded.first_us),
                   devices = CASE WHEN excluded.last_us >= last_us
                                  THEN excluded.devices ELSE devices END,
                   last_us = max(last_us, excluded.last_us)";
    let mut statement = transaction.prepare_cached(sql)?;
    for version in seen {
        statement.execute(params![
            version.service,
            version.model,
            version.version,
            version.device_class,
            version.first_us,
            version.last_us,
            i64::try_from(version.devices).unwrap_or(i64::MAX),
        ])?;
    }
    Ok(())
}

/// Versions of one model, or of every model; oldest first.
pub(crate) fn versions(
    transaction: &Transaction<'_>,
    model: Option<&str>,
) -> Result<Vec<VersionSeen>> {
    let sql = "SELECT service, model, version, device_class, first_us, last_us, devices
               FROM versions WHERE ?1 IS NULL OR model = ?1
               ORDER BY first_us, service, model, version, device_class";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([model], |row| {
        Ok(VersionSeen {
            service: row.get("service")?,
            model: row.get("model")?,
            version: row.get("version")?,
            device_class: row.get("device_class")?,
            first_us: row.get("first_us")?,
            last_us: row.get("last_us")?,
            devices: row.get::<_, i64>("devices")?.unsigned_abs(),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

const COLUMNS: &str = "id, service, model, candidate, against, improve, started_us, source,
                       started_by, finished_us, finished_by, outcome";

/// Begins a rollout; gives its number.
pub(crate) fn start(transaction: &Transaction<'_>, rollout: &RolloutRow) -> Result<i64> {
    let sql = "INSERT INTO rollouts
                   (service, model, candidate, against, improve, started_us, source, started_by)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    transaction.prepare_cached(sql)?.execute(params![
        rollout.service,
        rollout.model,
        rollout.candidate,
        rollout.against,
        rollout.improve,
        rollout.started_us,
        rollout.source,
        rollout.started_by,
    ])?;
    Ok(transaction.last_insert_rowid())
}

/// Ends a rollout that goes on.
pub(crate) fn finish(
    transaction: &Transaction<'_>,
    id: i64,
    (outcome, by, now_us): (&str, &str, i64),
) -> Result<()> {
    let sql = "UPDATE rollouts SET finished_us = ?2, finished_by = ?3, outcome = ?4
               WHERE id = ?1 AND finished_us IS NULL";
    transaction
        .prepare_cached(sql)?
        .execute(params![id, now_us, by, outcome])?;
    Ok(())
}

/// One rollout.
pub(crate) fn find(transaction: &Transaction<'_>, id: i64) -> Result<Option<RolloutRow>> {
    let sql = format!("SELECT {COLUMNS} FROM rollouts WHERE id = ?1");
    let mut statement = transaction.prepare_cached(&sql)?;
    Ok(statement.query_row([id], from_row).optional()?)
}

/// The newest rollout of a candidate; one that goes on comes first.
pub(crate) fn of(
    transaction: &Transaction<'_>,
    (service, model, candidate): (&str, &str, &str),
) -> Result<Option<RolloutRow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM rollouts WHERE service = ?1 AND model = ?2 AND candidate = ?3
         ORDER BY finished_us IS NOT NULL, id DESC LIMIT 1"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let row = statement.query_row((service, model, candidate), from_row);
    Ok(row.optional()?)
}

/// Rollouts, newest first.
pub(crate) fn list(transaction: &Transaction<'_>, limit: u32) -> Result<Vec<RolloutRow>> {
    let sql = format!("SELECT {COLUMNS} FROM rollouts ORDER BY id DESC LIMIT ?1");
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([limit], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<RolloutRow> {
    Ok(RolloutRow {
        id: row.get("id")?,
        service: row.get("service")?,
        model: row.get("model")?,
        candidate: row.get("candidate")?,
        against: row.get("against")?,
        improve: row.get("improve")?,
        started_us: row.get("started_us")?,
        source: row.get("source")?,
        started_by: row.get("started_by")?,
        finished_us: row.get("finished_us")?,
        finished_by: row.get("finished_by")?,
        outcome: row.get("outcome")?,
    })
}
