//! Frozen references. In: what a person froze. Out: the reference in force per series (the newest),
//! and the list. A reference is never changed or removed: verdicts cite it by hash.

use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use super::Result;

const COLUMNS: &str = "hash, series, name, records, from_us, to_us, created_us, created_by";

/// A frozen reference, without its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Frozen {
    /// Names the content.
    pub(crate) hash: String,
    /// Id of the series it belongs to.
    pub(crate) series: String,
    /// The series in words.
    pub(crate) name: String,
    /// Records it is made of; the busiest series are watched first.
    pub(crate) records: i64,
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
    pub(crate) created_us: i64,
    pub(crate) created_by: String,
}

/// Puts a reference in force. `false` when exactly this one was in force already.
pub(crate) fn freeze(transaction: &Transaction<'_>, frozen: &Frozen, body: &[u8]) -> Result<bool> {
    let newest = "SELECT hash FROM frozen_references WHERE series = ?1 ORDER BY id DESC LIMIT 1";
    let in_force: Option<String> = transaction
        .prepare_cached(newest)?
        .query_row([&frozen.series], |row| row.get(0))
        .optional()?;
    if in_force.as_deref() == Some(&frozen.hash) {
        return Ok(false);
    }
    let sql = "INSERT INTO frozen_references
                 (hash, series, name, body, records, from_us, to_us, created_us, created_by)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    transaction.prepare_cached(sql)?.execute(params![
        frozen.hash,
        frozen.series,
        frozen.name,
        body,
        frozen.records,
        frozen.from_us,
        frozen.to_us,
        frozen.created_us,
        frozen.created_by
    ])?;
    Ok(true)
}

/// Every reference in force, busiest series first.
pub(crate) fn in_force(transaction: &Transaction<'_>) -> Result<Vec<Frozen>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM frozen_references
         WHERE id IN (SELECT max(id) FROM frozen_references GROUP BY series)
         ORDER BY records DESC, series"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The longest span that a reference in force was made from; 0 without references.
pub(crate) fn longest_span_us(transaction: &Transaction<'_>) -> Result<i64> {
    let spans = in_force(transaction)?.into_iter();
    let spans = spans.map(|frozen| frozen.to_us.saturating_sub(frozen.from_us));
    Ok(spans.max().unwrap_or(0))
}

/// The bytes of a reference, if there is one of that hash.
pub(crate) fn find(transaction: &Transaction<'_>, hash: &str) -> Result<Option<Vec<u8>>> {
    let sql = "SELECT body FROM frozen_references WHERE hash = ?1 LIMIT 1";
    let mut statement = transaction.prepare_cached(sql)?;
    Ok(statement.query_row([hash], |row| row.get(0)).optional()?)
}

/// Frozen references, newest first.
pub(crate) fn list(transaction: &Transaction<'_>, limit: u32) -> Result<Vec<Frozen>> {
    let sql = format!("SELECT {COLUMNS} FROM frozen_references ORDER BY id DESC LIMIT ?1");
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([limit], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Frozen> {
    Ok(Frozen {
        hash: row.get("hash")?,
        series: row.get("series")?,
        name: row.get("name")?,
        records: row.get("records")?,
        from_us: row.get("from_us")?,
        to_us: row.get("to_us")?,
        created_us: row.get("created_us")?,
        created_by: row.get("created_by")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;

    fn frozen(hash: &str) -> Frozen {
        Frozen {
            hash: hash.to_owned(),
            series: "s".to_owned(),
            name: "assistant 1.4.0".to_owned(),
            records: 3_000,
            from_us: 0,
            to_us: 10,
            created_us: 11,
            created_by: "admin".to_owned(),
        }
    }

    #[tokio::test]
    async fn the_newest_reference_is_in_force_and_older_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        database
            .transact(|t| {
                assert!(freeze(t, &frozen("a"), b"x")?);
                assert!(!freeze(t, &frozen("a"), b"x")?, "already in force");
                assert!(freeze(t, &frozen("b"), b"x")?);
                assert_eq!(in_force(t)?, [frozen("b")]);
                assert_eq!(longest_span_us(t)?, 10);
                assert!(freeze(t, &frozen("a"), b"x")?, "an old one can come back");
                assert_eq!(in_force(t)?, [frozen("a")]);
                assert_eq!(list(t, 10)?.len(), 3);
                assert_eq!((find(t, "b")?, find(t, "c")?), (Some(b"x".to_vec()), None));
                Ok(())
            })
            .await
            .unwrap();
    }
}
