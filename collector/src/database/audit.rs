//! Audit rows: who changed what. In: an entry within the transaction of the change itself, so that
//! neither exists without the other. Out: what was done, newest first. Never: secrets or bodies.

use rusqlite::{Row, Transaction, params};
use serde::Serialize;

use super::Result;

/// One change that a person made.
pub(crate) struct AuditEntry {
    pub(crate) time_us: i64,
    pub(crate) actor: String,
    pub(crate) action: &'static str,
    pub(crate) subject: String,
    /// JSON.
    pub(crate) detail: String,
}

/// Adds an entry.
pub(crate) fn record(transaction: &Transaction<'_>, entry: &AuditEntry) -> Result<()> {
    let sql = "INSERT INTO audit (time_us, actor, action, subject, detail)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    transaction.prepare_cached(sql)?.execute(params![
        entry.time_us,
        entry.actor,
        entry.action,
        entry.subject,
        entry.detail
    ])?;
    Ok(())
}

/// One change, as it was written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Act {
    /// When, microseconds since the Unix epoch.
    pub time_us: i64,
    /// Who.
    pub actor: String,
    /// What, such as `reference.create`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// JSON.
    pub detail: String,
}

/// Acts whose name begins so, newest first.
pub(crate) fn acts(transaction: &Transaction<'_>, begin: &str, limit: u32) -> Result<Vec<Act>> {
    let sql = "SELECT time_us, actor, action, subject, detail FROM audit
               WHERE substr(action, 1, length(?1)) = ?1 ORDER BY id DESC LIMIT ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map((begin, limit), from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Acts on one subject, newest first.
pub(crate) fn acts_on(
    transaction: &Transaction<'_>,
    subject: &str,
    limit: u32,
) -> Result<Vec<Act>> {
    let sql = "SELECT time_us, actor, action, subject, detail FROM audit
               WHERE subject = ?1 ORDER BY id DESC LIMIT ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map((subject, limit), from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Act> {
    Ok(Act {
        time_us: row.get("time_us")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        subject: row.get("subject")?,
        detail: row.get("detail")?,
    })
}
