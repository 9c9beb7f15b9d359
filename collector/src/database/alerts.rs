//! Alerts of series, and incidents with their members. In and out: whole rows, within the
//! transaction of what changed them. What they mean is decided in `alert::state` and
//! `alert::incident`.

use std::collections::BTreeMap;

use rusqlite::{Row, Transaction, params};

use super::Result;
use crate::alert::{
    incident::{Cohort, Incident, Member},
    state::{Alert, State},
};

const INCIDENT: &str = "id, service, model, rule, opened_us, resolved_us, told, pages";

/// The alert of every series that has one.
pub(crate) fn all(transaction: &Transaction<'_>) -> Result<BTreeMap<String, Alert>> {
    let sql = "SELECT series, state, since_us, recent FROM alerts";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let state: String = row.get("state")?;
        let alert = Alert {
            // The table's CHECK admits no other words.
            state: State::of(&state).unwrap_or_default(),
            since_us: row.get("since_us")?,
            recent: row.get("recent")?,
        };
        Ok((row.get("series")?, alert))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Replaces a series' alert.
pub(crate) fn store(transaction: &Transaction<'_>, series: &str, alert: Alert) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO alerts (series, state, since_us, recent)
               VALUES (?1, ?2, ?3, ?4)";
    transaction.prepare_cached(sql)?.execute(params![
        series,
        alert.state.word(),
        alert.since_us,
        alert.recent
    ])?;
    Ok(())
}

/// Series whose alert fires, with since when.
pub(crate) fn firing(transaction: &Transaction<'_>) -> Result<Vec<(String, i64)>> {
    in_state(transaction, State::Firing)
}

/// Series that drift, and not often enough yet, with since when.
pub(crate) fn pending(transaction: &Transaction<'_>) -> Result<Vec<(String, i64)>> {
    in_state(transaction, State::Pending)
}

fn in_state(transaction: &Transaction<'_>, state: State) -> Result<Vec<(String, i64)>> {
    let sql = "SELECT series, since_us FROM alerts WHERE state = ?1 ORDER BY series";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([state.word()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Incidents that go on, and those to which a member may come back at `now_us` or later.
pub(crate) fn live(transaction: &Transaction<'_>, now_us: i64) -> Result<Vec<Incident>> {
    let sql = format!(
        "SELECT {INCIDENT} FROM incidents WHERE resolved_us IS NULL
         UNION SELECT {INCIDENT} FROM incidents WHERE quiet_us > ?1"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([now_us], incident)?;
    with_members(transaction, rows.collect::<rusqlite::Result<_>>()?)
}

/// Incidents, open ones first, then the newest; at most `limit`.
pub(crate) fn list(transaction: &Transaction<'_>, limit: u32) -> Result<Vec<Incident>> {
    let sql = format!(
        "SELECT {INCIDENT} FROM incidents
         ORDER BY resolved_us IS NOT NULL, opened_us DESC, id LIMIT ?1"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([limit], incident)?;
    with_members(transaction, rows.collect::<rusqlite::Result<_>>()?)
}

/// Whether there is such an incident.
pub(crate) fn exists(transaction: &Transaction<'_>, incident: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM incidents WHERE id = ?1)";
    let mut statement = transaction.prepare_cached(sql)?;
    Ok(statement.query_row([incident], |row| row.get(0))?)
}

/// Replaces an incident and its members; members never leave.
pub(crate) fn store_incident(transaction: &Transaction<'_>, incident: &Incident) -> Result<()> {
    let sql = "INSERT INTO incidents (id, service, model, rule, opened_us, resolved_us, quiet_us,
                 told, pages)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
               ON CONFLICT (id) DO UPDATE SET resolved_us = excluded.resolved_us,
                 quiet_us = excluded.quiet_us, told = excluded.told, pages = excluded.pages";
    transaction.prepare_cached(sql)?.execute(params![
        incident.id,
        incident.service,
        incident.model,
        incident.rule,
        incident.opened_us,
        incident.resolved_us,
        incident.quiet_until_us(),
        incident.told,
        incident.pages
    ])?;
    for member in incident.members.values() {
        store_member(transaction, &incident.id, member)?;
    }
    Ok(())
}

fn store_member(transaction: &Transaction<'_>, incident: &str, member: &Member) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO incident_members (incident, subject, service, model, version,
                 device_class, site, metric, fired_us, fired_event, resolved_us, resolved_event,
                 told, quiet_us)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    let Cohort {
        subject,
        service,
        model,
        version,
        device_class,
        site,
        metric,
    } = &member.cohort;
    let resolved = member.resolved.as_ref();
    transaction.prepare_cached(sql)?.execute(params![
        incident,
        subject,
        service,
        model,
        version,
        device_class,
        site,
        metric,
        member.fired_us,
        member.fired_event,
        resolved.map(|(time_us, _)| time_us),
        resolved.map(|(_, event)| event),
        member.told,
        member.quiet_until_us
    ])?;
    Ok(())
}

fn with_members(
    transaction: &Transaction<'_>,
    mut incidents: Vec<Incident>,
) -> Result<Vec<Incident>> {
    let sql = "SELECT subject, service, model, version, device_class, site, metric, fired_us,
                 fired_event, resolved_us, resolved_event, told, quiet_us
               FROM incident_members WHERE incident = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    for incident in &mut incidents {
        let rows = statement.query_map([&incident.id], member)?;
        let rows = rows.collect::<rusqlite::Result<Vec<Member>>>()?.into_iter();
        incident.members = rows.map(|of| (of.cohort.subject.clone(), of)).collect();
    }
    Ok(incidents)
}

fn incident(row: &Row<'_>) -> rusqlite::Result<Incident> {
    Ok(Incident {
        id: row.get("id")?,
        service: row.get("service")?,
        model: row.get("model")?,
        rule: row.get("rule")?,
        opened_us: row.get("opened_us")?,
        resolved_us: row.get("resolved_us")?,
        told: row.get("told")?,
        pages: row.get("pages")?,
        members: BTreeMap::new(),
    })
}

fn member(row: &Row<'_>) -> rusqlite::Result<Member> {
    let resolved: Option<i64> = row.get("resolved_us")?;
    let event: Option<String> = row.get("resolved_event")?;
    Ok(Member {
        cohort: Cohort {
            subject: row.get("subject")?,
            service: row.get("service")?,
            model: row.get("model")?,
            version: row.get("version")?,
            device_class: row.get("device_class")?,
            site: row.get("site")?,
            metric: row.get("metric")?,
        },
        fired_us: row.get("fired_us")?,
        fired_event: row.get("fired_event")?,
        resolved: resolved.zip(event),
        told: row.get("told")?,
        quiet_until_us: row.get("quiet_us")?,
    })
}
