//! Where each detector stood at the last full hours, for folding again what came late. In: the
//! checkpoints of a tick in which an hour ends. Out: the newest from before a lane.

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{
    Result,
    detectors::{self, Checkpoint},
};
use crate::clock::{DAY_US, HOUR_US};

/// Records that are later than this are stored and not judged any more.
pub(crate) const REVISED_US: i64 = 2 * DAY_US;

/// An hour longer, so that there is one from before the oldest lane that is judged again.
pub(crate) const KEPT_US: i64 = REVISED_US + HOUR_US;

/// Keeps a checkpoint as it is now.
pub(crate) fn store(transaction: &Transaction<'_>, checkpoint: &Checkpoint) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO detector_snapshots
                 (series, folded_until_us, reference, policy, state, began_us)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    transaction.prepare_cached(sql)?.execute(params![
        checkpoint.series,
        checkpoint.folded_until_us,
        checkpoint.reference,
        checkpoint.policy,
        checkpoint.state,
        checkpoint.began_us
    ])?;
    Ok(())
}

/// The newest of a series that has folded nothing after `until_us`.
pub(crate) fn newest(
    transaction: &Transaction<'_>,
    series: &str,
    until_us: i64,
) -> Result<Option<Checkpoint>> {
    let sql = "SELECT series, folded_until_us, reference, policy, state, began_us
               FROM detector_snapshots WHERE series = ?1 AND folded_until_us <= ?2
               ORDER BY folded_until_us DESC LIMIT 1";
    let mut statement = transaction.prepare_cached(sql)?;
    let found = statement.query_row((series, until_us), detectors::checkpoint);
    Ok(found.optional()?)
}

/// Forgets those of a series that have folded more than `until_us`.
pub(crate) fn forget_after(
    transaction: &Transaction<'_>,
    series: &str,
    until_us: i64,
) -> Result<()> {
    let sql = "DELETE FROM detector_snapshots WHERE series = ?1 AND folded_until_us > ?2";
    transaction
        .prepare_cached(sql)?
        .execute((series, until_us))?;
    Ok(())
}

/// Forgets those from before `until_us`.
pub(crate) fn forget(transaction: &Transaction<'_>, until_us: i64) -> Result<()> {
    let sql = "DELETE FROM detector_snapshots WHERE folded_until_us < ?1";
    transaction.prepare_cached(sql)?.execute([until_us])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;

    fn checkpoint(series: &str, folded_until_us: i64) -> Checkpoint {
        Checkpoint {
            series: series.to_owned(),
            reference: "hash".to_owned(),
            policy: "{}".to_owned(),
            state: folded_until_us.to_le_bytes().to_vec(),
            began_us: 0,
            folded_until_us,
        }
    }

    #[tokio::test]
    async fn the_newest_from_before_a_lane_is_found_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let work = |t: &Transaction<'_>| {
            for hour in 1..=5 {
                store(t, &checkpoint("a", hour * HOUR_US))?;
            }
            store(t, &checkpoint("b", 9 * HOUR_US))?;
            let found = [
                newest(t, "a", 3 * HOUR_US)?,
                newest(t, "a", 3 * HOUR_US - 1)?,
                newest(t, "b", 8 * HOUR_US)?,
            ];
            forget(t, 3 * HOUR_US)?;
            Ok((
                found,
                newest(t, "a", 3 * HOUR_US - 1)?,
                newest(t, "a", i64::MAX)?,
            ))
        };
        let (found, gone, kept) = database.transact(work).await.unwrap();
        let hours = [Some(3), Some(2), None];
        assert_eq!(
            found,
            hours.map(|hour| hour.map(|hour| checkpoint("a", hour * HOUR_US)))
        );
        assert_eq!(gone, None);
        assert_eq!(kept, Some(checkpoint("a", 5 * HOUR_US)));
    }
}
