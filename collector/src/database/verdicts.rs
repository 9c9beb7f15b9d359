//! Verdict rows: the truth of what was judged. In: rows of a tick. Out: the current verdict of each
//! series, history by row id, and rows to copy to the Delta table.

use std::collections::BTreeMap;

use fathomline_queries::rows::VerdictRow;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::{Result, next_row};

const COLUMNS: &str = "verdicts.id, time_us, verdicts.series, service, device_class, model, \
    version, variant, metric, revision, state, method, score, threshold, count, effective_count, \
    devices, since_us, reference, evidence";

/// Adds a verdict and makes it the current one of its series, unless it revises one of the past.
pub(crate) fn insert(transaction: &Transaction<'_>, row: &VerdictRow) -> Result<()> {
    let id = next_row(transaction)?;
    let sql = "INSERT INTO verdicts (id, time_us, series, service, device_class, model, version,
                 variant, metric, revision, state, method, score, threshold, count,
                 effective_count, devices, since_us, reference, evidence)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                 ?17, ?18, ?19, ?20)";
    transaction.prepare_cached(sql)?.execute(params![
        id,
        row.time,
        row.series,
        row.service,
        row.device_class,
        row.model,
        row.version,
        row.variant,
        row.metric,
        row.revision,
        row.state,
        row.method,
        row.score,
        row.threshold,
        row.count,
        row.effective_count,
        row.devices,
        row.since,
        row.reference,
        row.evidence
    ])?;
    let sql = "INSERT INTO current_verdicts (series, verdict) VALUES (?1, ?2)
               ON CONFLICT (series) DO UPDATE SET verdict = excluded.verdict
               WHERE ?3 >= (SELECT time_us FROM verdicts WHERE id = current_verdicts.verdict)";
    transaction
        .prepare_cached(sql)?
        .execute((&row.series, id, row.time))?;
    Ok(())
}

/// The last revision of each (lane end, series) in a span that excludes its start.
pub(crate) fn revisions(
    transaction: &Transaction<'_>,
    from_us: i64,
    to_us: i64,
) -> Result<BTreeMap<(i64, String), i32>> {
    let sql = "SELECT time_us, series, max(revision) FROM verdicts
               WHERE time_us > ?1 AND time_us <= ?2 GROUP BY time_us, series";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map((from_us, to_us), |row| {
        Ok(((row.get(0)?, row.get(1)?), row.get(2)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How much a verdict was reached on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) records: i64,
    pub(crate) devices: i64,
}

/// What the last revision of each (lane end, series) counted, in a span that excludes its start.
pub(crate) fn counted(
    transaction: &Transaction<'_>,
    from_us: i64,
    to_us: i64,
) -> Result<BTreeMap<(i64, String), Counted>> {
    // Of a group with one maximum SQLite takes the other columns from its row.
    let sql = "SELECT time_us, series, max(revision), count, devices FROM verdicts
               WHERE time_us > ?1 AND time_us <= ?2 GROUP BY time_us, series";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map((from_us, to_us), |row| {
        let counted = Counted {
            records: row.get("count")?,
            devices: row.get("devices")?,
        };
        Ok(((row.get("time_us")?, row.get("series")?), counted))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The last revision of the verdict on one lane.
pub(crate) fn last(
    transaction: &Transaction<'_>,
    series: &str,
    time_us: i64,
) -> Result<Option<VerdictRow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM verdicts WHERE time_us = ?1 AND series = ?2
         ORDER BY revision DESC LIMIT 1"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let found = statement
        .query_row((time_us, series), from_row)
        .optional()?;
    Ok(found.map(|(_, row)| row))
}

/// Which verdicts a reader wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Only rows after this one.
    pub(crate) after: i64,
    /// Only this series.
    pub(crate) series: Option<String>,
    /// At most so many rows.
    pub(crate) limit: u32,
}

/// Verdicts in the order in which they were reached, each with its row id.
pub(crate) fn history(
    transaction: &Transaction<'_>,
    wanted: &Wanted,
) -> Result<Vec<(i64, VerdictRow)>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM verdicts
         WHERE id > ?1 AND (?2 IS NULL OR series = ?2) ORDER BY id LIMIT ?3"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map((wanted.after, &wanted.series, wanted.limit), from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The newest verdict of every series, by series.
pub(crate) fn current(transaction: &Transaction<'_>) -> Result<Vec<(i64, VerdictRow)>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM current_verdicts JOIN verdicts ON verdicts.id = verdict
         ORDER BY service, model, version, variant, device_class, metric"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The newest verdict of one series.
pub(crate) fn newest(transaction: &Transaction<'_>, series: &str) -> Result<Option<VerdictRow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM current_verdicts JOIN verdicts ON verdicts.id = verdict
         WHERE current_verdicts.series = ?1"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let found = statement.query_row([series], from_row).optional()?;
    Ok(found.map(|(_, row)| row))
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<(i64, VerdictRow)> {
    let verdict = VerdictRow {
        time: row.get("time_us")?,
        series: row.get("series")?,
        service: row.get("service")?,
        device_class: row.get("device_class")?,
        model: row.get("model")?,
        version: row.get("version")?,
        variant: row.get("variant")?,
        metric: row.get("metric")?,
        revision: row.get("revision")?,
        state: row.get("state")?,
        method: row.get("method")?,
        score: row.get("score")?,
        threshold: row.get("threshold")?,
        count: row.get("count")?,
        effective_count: row.get("effective_count")?,
        devices: row.get("devices")?,
        since: row.get("since_us")?,
        reference: row.get("reference")?,
        evidence: row.get("evidence")?,
    };
    Ok((row.get("id")?, verdict))
}
