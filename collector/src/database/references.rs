//! References and what is in force. In: what a person made, pinned or retired. Out: the reference
//! that each series is held against, and the list. What a reference holds is never changed or
//! removed: verdicts cite it by hash.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use super::Result;

const COLUMNS: &str = "hash, contract, kept.series, name, level, season, made_from, records, \
    devices, from_us, to_us, excluded_lanes, created_us, created_by, retired_us, retired_by, \
    since_us, put_by";
const FROM: &str = "kept_references AS kept LEFT JOIN references_in_force AS force USING (hash)";

/// A reference without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReferenceRow {
    /// Names the content.
    pub hash: String,
    /// Of the contract that says what its values mean.
    pub contract: u32,
    /// Id of the series, as it is called at its level.
    pub series: String,
    /// The series in words.
    pub name: String,
    /// `variant`, `version` or `model`.
    pub level: String,
    /// `none`, `hour-of-day` or `hour-of-week`.
    pub season: String,
    /// `span`, `version`, `weeks` or `file`.
    pub made_from: String,
    /// Records it is made of; the busiest series are watched first.
    pub records: i64,
    /// Most devices in one of its lanes.
    pub devices: i64,
    /// Its span, microseconds since the Unix epoch, as all times here.
    pub from_us: i64,
    /// The end of its span.
    pub to_us: i64,
    /// Lanes that were left out because an incident was open.
    pub excluded_lanes: i64,
    /// When it was made.
    pub created_us: i64,
    /// Who made it.
    pub created_by: String,
    /// When it was retired.
    pub retired_us: Option<i64>,
    /// Who retired it.
    pub retired_by: Option<String>,
    /// Since when its series is held against it; none while it is not in force.
    pub in_force_since_us: Option<i64>,
    /// Who put it in force.
    pub in_force_by: Option<String>,
}

/// The reference that a series is held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) hash: String,
    pub(crate) contract: u32,
    pub(crate) series: String,
    /// The series in words.
    pub(crate) name: String,
    pub(crate) level: String,
    pub(crate) to_us: i64,
    /// Lanes that ended before are not judged by it.
    pub(crate) judged_from_us: i64,
}

/// A series whose newest verdict cites a reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Citing {
    /// Id of the series.
    pub series: String,
    /// The series in words.
    pub name: String,
}

/// Keeps a reference. `false` when it was kept before.
pub(crate) fn keep(transaction: &Transaction<'_>, row: &ReferenceRow, body: &[u8]) -> Result<bool> {
    let sql = "INSERT OR IGNORE INTO kept_references
                 (hash, contract, series, name, level, season, made_from, body, records, devices,
                  from_us, to_us, excluded_lanes, created_us, created_by)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    let changed = transaction.prepare_cached(sql)?.execute(params![
        row.hash,
        row.contract,
        row.series,
        row.name,
        row.level,
        row.season,
        row.made_from,
        body,
        row.records,
        row.devices,
        row.from_us,
        row.to_us,
        row.excluded_lanes,
        row.created_us,
        row.created_by
    ])?;
    Ok(changed > 0)
}

/// Holds the series of a reference against it from now on. `false` when it was before.
pub(crate) fn put_in_force(
    transaction: &Transaction<'_>,
    row: &ReferenceRow,
    by: &str,
    now_us: i64,
    judged_from_us: i64,
) -> Result<bool> {
    let sql = "INSERT INTO references_in_force (series, hash, since_us, put_by, judged_from_us)
               VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (series) DO UPDATE SET hash = excluded.hash,
                 since_us = excluded.since_us, put_by = excluded.put_by,
                 judged_from_us = excluded.judged_from_us
               WHERE hash <> excluded.hash";
    let changed = transaction.prepare_cached(sql)?.execute(params![
        row.series,
        row.hash,
        now_us,
        by,
        judged_from_us
    ])?;
    let sql = "UPDATE kept_references SET retired_us = NULL, retired_by = NULL WHERE hash = ?1";
    transaction.prepare_cached(sql)?.execute([&row.hash])?;
    Ok(changed > 0)
}

/// Takes a reference out of force, and with it the detector that judged by it.
pub(crate) fn retire(
    transaction: &Transaction<'_>,
    hash: &str,
    by: &str,
    now_us: i64,
) -> Result<()> {
    let sql = "UPDATE kept_references SET retired_us = ?2, retired_by = ?3 WHERE hash = ?1";
    transaction
        .prepare_cached(sql)?
        .execute((hash, now_us, by))?;
    let sql = "DELETE FROM references_in_force WHERE hash = ?1";
    transaction.prepare_cached(sql)?.execute([hash])?;
    let sql = "DELETE FROM detectors WHERE reference = ?1";
    transaction.prepare_cached(sql)?.execute([hash])?;
    Ok(())
}

/// Every reference in force, busiest series first.
pub(crate) fn in_force(transaction: &Transaction<'_>) -> Result<Vec<InForce>> {
    let sql = "SELECT hash, contract, kept.series, name, level, to_us, judged_from_us
               FROM references_in_force AS force JOIN kept_references AS kept USING (hash)
               ORDER BY records DESC, kept.series";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(InForce {
            hash: row.get("hash")?,
            contract: row.get("contract")?,
            series: row.get("series")?,
            name: row.get("name")?,
            level: row.get("level")?,
            to_us: row.get("to_us")?,
            judged_from_us: row.get("judged_from_us")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The longest span that a reference in force was made from here; 0 without references. What came
/// as a file needs no rows to stay what it is.
pub(crate) fn longest_span_us(transaction: &Transaction<'_>) -> Result<i64> {
    let sql = "SELECT coalesce(max(to_us - from_us), 0)
               FROM references_in_force JOIN kept_references USING (hash)
               WHERE made_from <> 'file'";
    Ok(transaction.query_row(sql, [], |row| row.get(0))?)
}

/// The bytes of a reference, if there is one of that hash.
pub(crate) fn body(transaction: &Transaction<'_>, hash: &str) -> Result<Option<Vec<u8>>> {
    let sql = "SELECT body FROM kept_references WHERE hash = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    Ok(statement.query_row([hash], |row| row.get(0)).optional()?)
}

/// References whose hash begins so, two at the most: one is found, two are too many.
pub(crate) fn begin_with(transaction: &Transaction<'_>, digits: &str) -> Result<Vec<ReferenceRow>> {
    let sql =
        format!("SELECT {COLUMNS} FROM {FROM} WHERE substr(hash, 1, length(?1)) = ?1 LIMIT 2");
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([digits], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// References, newest first.
pub(crate) fn list(transaction: &Transaction<'_>, limit: u32) -> Result<Vec<ReferenceRow>> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} ORDER BY created_us DESC, name, hash LIMIT ?1");
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([limit], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Series whose newest verdict cites each reference.
pub(crate) fn citing(transaction: &Transaction<'_>) -> Result<BTreeMap<String, Vec<Citing>>> {
    let sql = "SELECT reference, verdicts.series,
                 service || ': ' || model || ' ' || version || ' (' || variant || ') on '
                   || device_class || ': ' || metric AS name
               FROM current_verdicts JOIN verdicts ON verdicts.id = verdict
               WHERE reference IS NOT NULL ORDER BY name";
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut citing: BTreeMap<String, Vec<Citing>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let of = citing.entry(row.get("reference")?).or_default();
        of.push(Citing {
            series: row.get("series")?,
            name: row.get("name")?,
        });
    }
    Ok(citing)
}

/// Spans in which a series drifted, by its last word on each lane; ends are included.
pub(crate) fn incidents(
    transaction: &Transaction<'_>,
    series: &str,
    (from_us, to_us): (i64, i64),
) -> Result<Vec<(i64, i64)>> {
    let sql = "SELECT coalesce(since_us, time_us), time_us FROM verdicts AS last
               WHERE series = ?1 AND state = 'drifting' AND time_us > ?2
                 AND coalesce(since_us, time_us) < ?3
                 AND revision = (SELECT max(revision) FROM verdicts AS all_of_it
                                 WHERE all_of_it.time_us = last.time_us
                                   AND all_of_it.series = last.series)";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map((series, from_us, to_us), |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<ReferenceRow> {
    Ok(ReferenceRow {
        hash: row.get("hash")?,
        contract: row.get("contract")?,
        series: row.get("series")?,
        name: row.get("name")?,
        level: row.get("level")?,
        season: row.get("season")?,
        made_from: row.get("made_from")?,
        records: row.get("records")?,
        devices: row.get("devices")?,
        from_us: row.get("from_us")?,
        to_us: row.get("to_us")?,
        excluded_lanes: row.get("excluded_lanes")?,
        created_us: row.get("created_us")?,
        created_by: row.get("created_by")?,
        retired_us: row.get("retired_us")?,
        retired_by: row.get("retired_by")?,
        in_force_since_us: row.get("since_us")?,
        in_force_by: row.get("put_by")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;

    fn row(hash: &str) -> ReferenceRow {
        ReferenceRow {
            hash: hash.to_owned(),
            contract: 1,
            series: "s".to_owned(),
            name: "assistant 1.4.0".to_owned(),
            level: "variant".to_owned(),
            season: "none".to_owned(),
            made_from: "span".to_owned(),
            records: 3_000,
            devices: 6,
            from_us: 0,
            to_us: 10,
            excluded_lanes: 0,
            created_us: 11,
            created_by: "admin".to_owned(),
            retired_us: None,
            retired_by: None,
            in_force_since_us: None,
            in_force_by: None,
        }
    }

    #[tokio::test]
    async fn one_reference_of_a_series_is_in_force_and_all_of_them_stay() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        database
            .transact(|t| {
                assert!(keep(t, &row("aa"), b"x")?);
                assert!(!keep(t, &row("aa"), b"y")?, "kept already, and not changed");
                assert!(keep(t, &row("ab"), b"z")?);
                assert_eq!(in_force(t)?, []);
                assert!(put_in_force(t, &row("aa"), "admin", 12, 12)?);
                assert!(
                    !put_in_force(t, &row("aa"), "admin", 13, 13)?,
                    "already in force"
                );
                assert!(put_in_force(t, &row("ab"), "admin", 14, 14)?);
                let hashes: Vec<_> = in_force(t)?.into_iter().map(|row| row.hash).collect();
                assert_eq!(hashes, ["ab"]);
                assert_eq!(longest_span_us(t)?, 10);
                retire(t, "ab", "admin", 15)?;
                assert_eq!((in_force(t)?, longest_span_us(t)?), (vec![], 0));
                assert_eq!((list(t, 10)?.len(), list(t, 1)?.len()), (2, 1));
                assert_eq!(begin_with(t, "ab")?[0].retired_us, Some(15));
                assert!(
                    put_in_force(t, &row("ab"), "admin", 16, 16)?,
                    "it can come back"
                );
                assert_eq!(begin_with(t, "ab")?[0].retired_us, None);
                assert_eq!(begin_with(t, "a")?.len(), 2);
                assert_eq!(
                    (body(t, "aa")?, body(t, "ac")?),
                    (Some(b"x".to_vec()), None)
                );
                Ok(())
            })
            .await
            .unwrap();
    }
}
