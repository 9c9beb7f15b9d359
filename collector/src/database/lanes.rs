//! What was counted when each recent lane was judged, to notice records that came later. In: counts
//! of a tick. Out: the recent counts. Rows older than the look-back are removed with each tick.

use std::collections::BTreeMap;

use rusqlite::Transaction;

use super::Result;

/// Count of each (series, lane end).
pub(crate) type LaneCounts = BTreeMap<(String, i64), LaneCount>;

/// What a lane held when it was judged, and what came after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneCount {
    /// Records that were judged.
    pub(crate) judged: i64,
    /// Records that arrived afterwards and entered no verdict.
    pub(crate) late: i64,
}

/// Counts of lanes that ended after `after_us`.
pub(crate) fn recent(transaction: &Transaction<'_>, after_us: i64) -> Result<LaneCounts> {
    let sql = "SELECT series, time_us, count, late FROM judged_lanes WHERE time_us > ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([after_us], |row| {
        let count = LaneCount {
            judged: row.get("count")?,
            late: row.get("late")?,
        };
        Ok(((row.get("series")?, row.get("time_us")?), count))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Stores counts and forgets lanes that ended at or before `forget_until_us`.
pub(crate) fn store(
    transaction: &Transaction<'_>,
    counts: &LaneCounts,
    forget_until_us: i64,
) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO judged_lanes (series, time_us, count, late)
               VALUES (?1, ?2, ?3, ?4)";
    let mut statement = transaction.prepare_cached(sql)?;
    for ((series, time_us), count) in counts {
        statement.execute((series, time_us, count.judged, count.late))?;
    }
    let sql = "DELETE FROM judged_lanes WHERE time_us <= ?1";
    transaction
        .prepare_cached(sql)?
        .execute([forget_until_us])?;
    Ok(())
}
