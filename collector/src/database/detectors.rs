//! Detector checkpoints: where judging stands after the last committed tick. In and out: whole
//! rows, read at the start of a tick and written at its end in one transaction.

use rusqlite::{Row, Transaction, params};

use super::Result;

/// One watched series' detector after the last lane it folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) series: String,
    /// Hash of the reference it judges against.
    pub(crate) reference: String,
    /// JSON of the policy it was begun with.
    pub(crate) policy: String,
    /// Its accumulators, as postcard: reading them back gives the same bits, JSON might not.
    pub(crate) state: Vec<u8>,
    /// Lanes that ended later are folded.
    pub(crate) began_us: i64,
    pub(crate) folded_until_us: i64,
}

/// Every checkpoint, by series.
pub(crate) fn all(transaction: &Transaction<'_>) -> Result<Vec<Checkpoint>> {
    let sql = "SELECT series, reference, policy, state, began_us, folded_until_us
               FROM detectors ORDER BY series";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([], checkpoint)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A checkpoint from any table that keeps some.
pub(super) fn checkpoint(row: &Row<'_>) -> rusqlite::Result<Checkpoint> {
    Ok(Checkpoint {
        series: row.get("series")?,
        reference: row.get("reference")?,
        policy: row.get("policy")?,
        state: row.get("state")?,
        began_us: row.get("began_us")?,
        folded_until_us: row.get("folded_until_us")?,
    })
}

/// Replaces a series' checkpoint.
pub(crate) fn store(transaction: &Transaction<'_>, checkpoint: &Checkpoint) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO detectors
                 (series, reference, policy, state, began_us, folded_until_us)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    transaction.prepare_cached(sql)?.execute(params![
        checkpoint.series,
        checkpoint.reference,
        checkpoint.policy,
        checkpoint.state,
        checkpoint.began_us,
        checkpoint.folded_until_us
    ])?;
    Ok(())
}
