//! Rollouts that an operator begins and ends. In: what is declared, and by whom. Out: a row, its
//! event and its line in the audit, in one transaction. A rollout that devices had reported becomes
//! the operator's.

use chrono::DateTime;
use fathomline_queries::rows::EventRow;
use rusqlite::Transaction;
use serde::Deserialize;
use serde_json::json;

use super::{GateError, Rollouts, asked};
use crate::{
    clock::rfc3339,
    database::{
        self, PAGE_ROWS_MAX,
        audit::{self, AuditEntry},
        events,
        rollouts::{self, RolloutRow},
    },
};

const STARTED: &str = "fathomline.rollout.started";
const FINISHED: &str = "fathomline.rollout.finished";

/// Longest text of a name.
const NAME_BYTES_MAX: usize = 128;

/// What an operator declares.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Declared {
    /// Model name.
    pub(crate) model: String,
    /// The version that wants to go on.
    pub(crate) candidate: String,
    /// The version it is held against.
    pub(crate) against: String,
    /// `service.name`; needed where several services run the model.
    pub(crate) service: Option<String>,
    /// A metric that must get better.
    pub(crate) improve: Option<String>,
    /// When it began, RFC 3339; now where it is absent.
    pub(crate) started: Option<String>,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finished {
    /// In which way.
    pub(crate) outcome: Outcome,
}

/// In which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The candidate is the version now.
    Promoted,
    /// It is not.
    RolledBack,
    /// Nobody decided.
    Abandoned,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
            Self::Abandoned => "abandoned",
        }
    }
}

impl Rollouts {
    /// Rollouts, newest first.
    pub(crate) async fn list(&self, limit: u32) -> Result<Vec<RolloutRow>, GateError> {
        let limit = limit.min(PAGE_ROWS_MAX);
        Ok(self
            .database
            .transact(move |t| rollouts::list(t, limit))
            .await?)
    }

    /// Begins a rollout. One of this candidate that goes on ends as abandoned, if an operator had
    /// begun it.
    pub(crate) async fn start(
        &self,
        declared: &Declared,
        by: &str,
    ) -> Result<RolloutRow, GateError> {
        let now_us = self.clock.now_us();
        let known = self
            .database
            .transact(|t| rollouts::versions(t, None))
            .await?;
        let asked = asked::Asked {
            model: declared.model.clone(),
            candidate: declared.candidate.clone(),
            against: declared.against.clone(),
            service: declared.service.clone(),
            improve: declared.improve.clone(),
            ..asked::Asked::default()
        };
        let asked = asked.checked()?;
        let service = asked.service(&known)?;
        if asked.candidate.len() > NAME_BYTES_MAX {
            let long = format!("a version has {NAME_BYTES_MAX} bytes at most");
            return Err(GateError::Declared(long));
        }
        if let Some(improve) = &asked.improve {
            asked::check_improve(improve, &self.settings)?;
        }
        let row = RolloutRow {
            service,
            model: asked.model,
            candidate: asked.candidate,
            against: asked.against,
            improve: asked.improve,
            started_us: started_us(declared.started.as_deref(), now_us)?,
            source: "declared".to_owned(),
            started_by: by.to_owned(),
            ..nobody()
        };
        let work = move |t: &Transaction<'_>| {
            let place = (&*row.service, &*row.model, &*row.candidate);
            if let Some(open) = rollouts::of(t, place)?.filter(|row| row.finished_us.is_none()) {
                let ended = (Outcome::Abandoned.name(), &*row.started_by, now_us);
                rollouts::finish(t, open.id, ended)?;
            }
            note(t, &row, "rollout.start", now_us)?;
            begin(t, row, now_us)
        };
        let started = self.database.transact(work).await?;
        // What was answered is of another start.
        self.answers().clear();
        Ok(started)
    }

    /// Ends a rollout.
    pub(crate) async fn finish(
        &self,
        id: i64,
        finished: Finished,
        by: &str,
    ) -> Result<RolloutRow, GateError> {
        let (now_us, by) = (self.clock.now_us(), by.to_owned());
        let work = move |t: &Transaction<'_>| {
            let Some(row) = rollouts::find(t, id)? else {
                return Ok(Err(GateError::Unknown(id)));
            };
            if row.finished_us.is_some() {
                return Ok(Err(GateError::Over(id)));
            }
            rollouts::finish(t, id, (finished.outcome.name(), &by, now_us))?;
            let row = RolloutRow {
                finished_us: Some(now_us),
                finished_by: Some(by),
                outcome: Some(finished.outcome.name().to_owned()),
                ..row
            };
            note(t, &row, "rollout.finish", now_us)?;
            events::insert(t, &event(&row, FINISHED, now_us))?;
            Ok(Ok(row))
        };
        self.database.transact(work).await?
    }
}

/// A rollout of nothing, to be filled in.
pub(super) fn nobody() -> RolloutRow {
    RolloutRow {
        id: 0,
        service: String::new(),
        model: String::new(),
        candidate: String::new(),
        against: String::new(),
        improve: None,
        started_us: 0,
        source: String::new(),
        started_by: String::new(),
        finished_us: None,
        finished_by: None,
        outcome: None,
    }
}

/// Keeps a new rollout, with its event.
pub(super) fn begin(
    transaction: &Transaction<'_>,
    row: RolloutRow,
    now_us: i64,
) -> database::Result<RolloutRow> {
    let id = rollouts::start(transaction, &row)?;
    let row = RolloutRow { id, ..row };
    events::insert(transaction, &event(&row, STARTED, now_us))?;
    Ok(row)
}

fn event(row: &RolloutRow, kind: &str, now_us: i64) -> EventRow {
    let body = json!({
        "rollout": row.id, "service": row.service, "model": row.model,
        "candidate": row.candidate, "against": row.against, "source": row.source,
        "started": rfc3339(row.started_us), "outcome": row.outcome,
    });
    let word = kind.rsplit('.').next().unwrap_or(kind);
    EventRow {
        time: now_us,
        id: format!("rollout_{}_{word}", row.id),
        kind: kind.to_owned(),
        subject: row.model.clone(),
        body: body.to_string(),
    }
}

fn note(
    transaction: &Transaction<'_>,
    row: &RolloutRow,
    action: &'static str,
    now_us: i64,
) -> database::Result<()> {
    let actor = row.finished_by.as_ref().unwrap_or(&row.started_by);
    let detail = json!({
        "service": row.service, "candidate": row.candidate, "against": row.against,
        "outcome": row.outcome,
    });
    let entry = AuditEntry {
        time_us: now_us,
        actor: actor.clone(),
        action,
        subject: row.model.clone(),
        detail: detail.to_string(),
    };
    audit::record(transaction, &entry)
}

/// A moment that was, or now.
fn started_us(text: Option<&str>, now_us: i64) -> Result<i64, GateError> {
    let Some(text) = text else { return Ok(now_us) };
    let time = DateTime::parse_from_rfc3339(text).map_err(|error| {
        GateError::Declared(format!(
            "{text:?} is no time ({error}); write it like 2026-11-23T08:00:00Z"
        ))
    })?;
    match time.timestamp_micros() {
        us if us > now_us => Err(GateError::Declared(format!("{text} is yet to come"))),
        us => Ok(us),
    }
}
