//! What is known of endpoints beyond the configuration: which are stopped, and which alerts go on
//! at an Alertmanager. In: steps within a transaction. Out: rows. A changed URL in the
//! configuration is a new endpoint, so a stop names the URL by its digest.

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{Result, outbox::Letter};

/// Stops an endpoint that answered 410, with everything that waits for it.
pub(crate) fn stop(
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

/// Stops everything that waits for an endpoint: it is kept, and sent once the endpoint is enabled.
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

/// Whether an endpoint of this name is stopped, whatever its URL.
pub(crate) fn is_stopped(transaction: &Transaction<'_>, endpoint: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM stopped_endpoints WHERE endpoint = ?1)";
    let mut statement = transaction.prepare_cached(sql)?;
    Ok(statement.query_row([endpoint], |row| row.get(0))?)
}

/// Enables an endpoint that was stopped: what was kept for it is due, under the ids it had and
/// with the whole retry schedule. How many letters that are; none if it was not stopped.
pub(crate) fn enable(
    transaction: &Transaction<'_>,
    endpoint: &str,
    now_us: i64,
) -> Result<Option<usize>> {
    let sql = "DELETE FROM stopped_endpoints WHERE endpoint = ?1";
    if transaction.prepare_cached(sql)?.execute([endpoint])? == 0 {
        return Ok(None);
    }
    let sql = "UPDATE outbox SET state = 'pending', tries = 0, next_attempt_us = ?2
               WHERE endpoint = ?1 AND state = 'stopped'";
    let letters = transaction
        .prepare_cached(sql)?
        .execute((endpoint, now_us))?;
    Ok(Some(letters))
}

/// An alert that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Firing {
    pub(crate) subject: String,
    /// The event that fired.
    pub(crate) body: String,
}

/// Notes that an alert fires, from this letter on.
pub(crate) fn fires(
    transaction: &Transaction<'_>,
    endpoint: &str,
    letter: &Letter,
    next_us: i64,
) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO firing_alerts (endpoint, subject, event_id, body, next_us)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    transaction.prepare_cached(sql)?.execute(params![
        endpoint,
        letter.subject,
        letter.event_id,
        letter.body,
        next_us
    ])?;
    Ok(())
}

/// Notes that an alert fires no more.
pub(crate) fn is_over(transaction: &Transaction<'_>, endpoint: &str, subject: &str) -> Result<()> {
    let sql = "DELETE FROM firing_alerts WHERE endpoint = ?1 AND subject = ?2";
    transaction
        .prepare_cached(sql)?
        .execute((endpoint, subject))?;
    Ok(())
}

/// Up to `limit` alerts that are to be told again by `now_us`, the longest silent first; they are
/// next due at `next_us`.
pub(crate) fn repeat(
    transaction: &Transaction<'_>,
    endpoint: &str,
    (now_us, next_us): (i64, i64),
    limit: u32,
) -> Result<Vec<Firing>> {
    let sql = "SELECT subject, body FROM firing_alerts
               WHERE endpoint = ?1 AND next_us <= ?2 ORDER BY next_us, subject LIMIT ?3";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map((endpoint, now_us, limit), |row| {
        Ok(Firing {
            subject: row.get("subject")?,
            body: row.get("body")?,
        })
    })?;
    let firing: Vec<Firing> = rows.collect::<rusqlite::Result<_>>()?;
    let sql = "UPDATE firing_alerts SET next_us = ?3 WHERE endpoint = ?1 AND subject = ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    for alert in &firing {
        statement.execute((endpoint, &alert.subject, next_us))?;
    }
    Ok(firing)
}

/// Forgets alerts at endpoints that are not configured any more.
pub(crate) fn forget_firing_elsewhere(
    transaction: &Transaction<'_>,
    configured: &[String],
) -> Result<()> {
    let configured = serde_json::json!(configured).to_string();
    let sql = "DELETE FROM firing_alerts WHERE endpoint NOT IN (SELECT value FROM json_each(?1))";
    transaction.prepare_cached(sql)?.execute([configured])?;
    Ok(())
}
