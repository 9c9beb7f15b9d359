//! Audit rows: who changed what. In: an entry within the transaction of the change itself, so that
//! neither exists without the other. Never: secrets or bodies.

use rusqlite::{Transaction, params};

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
