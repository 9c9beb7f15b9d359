//! Silences, and what people made of incidents. In and out: rows within a transaction. What they
//! mean is decided in `alert::mute` and `alert::precision`.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::Result;
use crate::alert::{
    mute::{Matcher, Silence, Wanted},
    precision::{self, Acknowledged, Answer},
};

const COLUMNS: &str = "id, model, version, class, site, metric, from_us, until_us, why, by, \
    created_us, ended_by";

/// Adds a silence; gives its number.
pub(crate) fn insert(
    transaction: &Transaction<'_>,
    wanted: &Wanted,
    (by, now_us): (&str, i64),
) -> Result<i64> {
    let sql = "INSERT INTO silences (model, version, class, site, metric, from_us, until_us, why,
                 by, created_us)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let Matcher {
        model,
        version,
        class,
        site,
        metric,
    } = &wanted.matcher;
    transaction.prepare_cached(sql)?.execute(params![
        model,
        version,
        class,
        site,
        metric,
        wanted.from_us,
        wanted.until_us,
        wanted.why,
        by,
        now_us
    ])?;
    Ok(transaction.last_insert_rowid())
}

/// One silence.
pub(crate) fn find(transaction: &Transaction<'_>, id: i64) -> Result<Option<Silence>> {
    let sql = format!("SELECT {COLUMNS} FROM silences WHERE id = ?1");
    let mut statement = transaction.prepare_cached(&sql)?;
    Ok(statement.query_row([id], from_row).optional()?)
}

/// Silences that are not over at `now_us`, those that end first first.
pub(crate) fn current(transaction: &Transaction<'_>, now_us: i64) -> Result<Vec<Silence>> {
    let sql = format!("SELECT {COLUMNS} FROM silences WHERE until_us > ?1 ORDER BY until_us, id");
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([now_us], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Silences, newest first.
pub(crate) fn list(transaction: &Transaction<'_>, limit: u32) -> Result<Vec<Silence>> {
    let sql = format!("SELECT {COLUMNS} FROM silences ORDER BY id DESC LIMIT ?1");
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([limit], from_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Ends a silence that is not over.
pub(crate) fn end(
    transaction: &Transaction<'_>,
    id: i64,
    (by, now_us): (&str, i64),
) -> Result<bool> {
    let sql = "UPDATE silences SET until_us = ?2, from_us = min(from_us, ?2), ended_by = ?3
               WHERE id = ?1 AND until_us > ?2";
    let changed = transaction.prepare_cached(sql)?.execute((id, now_us, by))?;
    Ok(changed > 0)
}

/// What a person made of an incident.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Acknowledgement {
    /// `useful` or `noise`.
    pub answer: String,
    /// Why, if they said so.
    pub note: Option<String>,
    /// Who.
    pub by: String,
    /// When, microseconds since the Unix epoch.
    pub time_us: i64,
}

/// Writes down what a person made of an incident; the last word counts.
pub(crate) fn acknowledge(
    transaction: &Transaction<'_>,
    incident: &str,
    said: &Acknowledgement,
) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO acknowledgements (incident, answer, note, by, time_us)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let row = (incident, &said.answer, &said.note, &said.by, said.time_us);
    transaction.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// What was made of an incident, if anything.
pub(crate) fn acknowledgement(
    transaction: &Transaction<'_>,
    incident: &str,
) -> Result<Option<Acknowledgement>> {
    let sql = "SELECT answer, note, by, time_us FROM acknowledgements WHERE incident = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let found = statement.query_row([incident], |row| {
        Ok(Acknowledgement {
            answer: row.get("answer")?,
            note: row.get("note")?,
            by: row.get("by")?,
            time_us: row.get("time_us")?,
        })
    });
    Ok(found.optional()?)
}

/// Of every rule the newest pages that were acknowledged, newest first.
pub(crate) fn acknowledged(
    transaction: &Transaction<'_>,
) -> Result<BTreeMap<String, Vec<Acknowledged>>> {
    let sql = "SELECT rule, answer, opened_us, resolved_us FROM (
                 SELECT i.rule, a.answer, i.opened_us, i.resolved_us, i.id,
                   row_number() OVER (PARTITION BY i.rule ORDER BY i.opened_us DESC, i.id) AS nth
                 FROM acknowledgements a JOIN incidents i ON i.id = a.incident
                 WHERE i.pages > 0)
               WHERE nth <= ?1 ORDER BY rule, nth";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([precision::PAGES], |row| {
        let answer: String = row.get("answer")?;
        let opened_us: i64 = row.get("opened_us")?;
        let resolved_us: Option<i64> = row.get("resolved_us")?;
        let page = Acknowledged {
            // The table's CHECK admits no other words.
            answer: Answer::of(&answer).unwrap_or(Answer::Noise),
            lasted_us: resolved_us.map(|resolved_us| resolved_us.saturating_sub(opened_us)),
        };
        Ok((row.get("rule")?, page))
    })?;
    let mut pages: BTreeMap<String, Vec<Acknowledged>> = BTreeMap::new();
    for row in rows {
        let (rule, page): (String, Acknowledged) = row?;
        pages.entry(rule).or_default().push(page);
    }
    Ok(pages)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Silence> {
    Ok(Silence {
        id: row.get("id")?,
        matcher: Matcher {
            model: row.get("model")?,
            version: row.get("version")?,
            class: row.get("class")?,
            site: row.get("site")?,
            metric: row.get("metric")?,
        },
        from_us: row.get("from_us")?,
        until_us: row.get("until_us")?,
        why: row.get("why")?,
        by: row.get("by")?,
        created_us: row.get("created_us")?,
        ended_by: row.get("ended_by")?,
    })
}
