//! Incidents as operators see them, and what they do about them: say what a page was worth, silence
//! what they know of. In: a data folder, whether a collector runs on it or not, and a wish. Out:
//! lists, and what was done. Every change is one transaction with its line in the audit; a running
//! collector acts on it with its next lane.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use rusqlite::Transaction;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    desk::note as record,
    incident::{Incident, Member},
    mute::{Maintenance, Mutes, SilenceError},
    precision::{self, Acknowledged, Answer, Precision},
    rules::Rules,
    silence::{SilenceShown, Wish},
};
use crate::{
    clock::{Clock, SystemClock},
    database::{
        self, Database, DatabaseError, alerts, events,
        silences::{self, Acknowledgement},
    },
};

/// Longest note.
const NOTE_CHARS_MAX: usize = 300;

/// Why nothing was shown or done.
#[derive(Debug, thiserror::Error)]
pub enum DutyError {
    /// There is no collector's data.
    #[error(
        "{0} holds no data of a collector; name the folder with --data, or start `fathomline serve` there once"
    )]
    Nowhere(String),
    /// No incident has this id.
    #[error("there is no incident {0}; `fathomline alert list` shows those there are")]
    Incident(String),
    /// No silence has this number, or it is over.
    #[error("there is no silence {0} to end; `fathomline silence list` shows those there are")]
    Silence(i64),
    /// It is not as silences and notes are.
    #[error("{0}")]
    Wanted(String),
    /// The database failed; its message says what to do.
    #[error("{0}")]
    Database(Box<dyn std::error::Error + Send + Sync>),
}

impl From<DatabaseError> for DutyError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(Box::new(error))
    }
}

impl From<SilenceError> for DutyError {
    fn from(error: SilenceError) -> Self {
        Self::Wanted(error.to_string())
    }
}

type Result<T> = std::result::Result<T, DutyError>;

/// An incident and what people made of it. Times are microseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IncidentShown {
    /// Names it for good.
    pub id: String,
    /// Service whose devices run the model.
    pub service: String,
    /// The model.
    pub model: String,
    /// The signal that opened it, by its metric name.
    pub rule: String,
    /// `open` or `resolved`.
    pub state: String,
    /// When its first alert fired.
    pub opened_us: i64,
    /// When its last alert was over; none while one fires.
    pub resolved_us: Option<i64>,
    /// How often everybody was paged for it.
    pub pages: u32,
    /// Its alerts, the oldest first.
    pub members: Vec<MemberShown>,
    /// What people made of it.
    pub acknowledged: Option<Acknowledgement>,
}

/// An alert of an incident.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberShown {
    /// What it is about, such as a series.
    pub subject: String,
    /// Version of the model.
    pub version: String,
    /// Class of the devices.
    pub device_class: String,
    /// Only where the alert is about one.
    pub site: Option<String>,
    /// The signal, by its metric name.
    pub metric: String,
    /// `firing` or `resolved`.
    pub state: String,
    /// When it fired last.
    pub fired_us: i64,
    /// When it was over.
    pub resolved_us: Option<i64>,
    /// What keeps it from being told now, in words.
    pub muted: Option<String>,
    /// What was told, or would have been, when it fired.
    pub told: Value,
}

/// A series that drifts, and not often enough yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PendingShown {
    /// Its id.
    pub(crate) series: String,
    /// Since when.
    pub(crate) since_us: i64,
}

/// Everything there is to see.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Overview {
    /// Open ones first, then the newest.
    pub(crate) incidents: Vec<IncidentShown>,
    pub(crate) pending: Vec<PendingShown>,
    pub(crate) precision: Vec<Precision>,
}

/// What the configuration says of alerts.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) rules: Arc<Rules>,
    pub(crate) maintenance: Arc<[Maintenance]>,
    pub(crate) lane_us: i64,
    pub(crate) false_pages: f64,
}

/// Where incidents are looked at.
#[derive(Clone)]
pub struct Duty {
    database: Database,
    clock: Arc<dyn Clock>,
    /// Nothing is known of it on a data folder alone.
    standing: Option<Standing>,
}

impl Duty {
    pub(crate) fn new(database: Database, clock: Arc<dyn Clock>, standing: Standing) -> Self {
        Self {
            database,
            clock,
            standing: Some(standing),
        }
    }

    /// Opens the incidents of a data folder.
    ///
    /// # Errors
    /// When no collector ever ran there, or its database cannot be opened.
    pub fn open(data_folder: &Path) -> Result<Self> {
        if !database::exists(data_folder) {
            return Err(DutyError::Nowhere(data_folder.display().to_string()));
        }
        Ok(Self {
            database: Database::open(data_folder)?,
            clock: Arc::new(SystemClock),
            standing: None,
        })
    }

    /// Incidents, open ones first, then the newest; at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self, limit: u32) -> Result<Vec<IncidentShown>> {
        Ok(self.overview(limit).await?.incidents)
    }

    pub(crate) async fn overview(&self, limit: u32) -> Result<Overview> {
        let (standing, now_us) = (self.standing.clone(), self.clock.now_us());
        let work = move |t: &Transaction<'_>| {
            let mutes = Mutes {
                silences: silences::current(t, now_us)?,
                maintenance: maintenance(standing.as_ref()),
            };
            let incidents = alerts::list(t, limit)?.into_iter();
            let incidents = incidents.map(|one| shown(t, one, &mutes, now_us));
            let pending = alerts::pending(t)?.into_iter();
            let pending = pending.map(|(series, since_us)| PendingShown { series, since_us });
            Ok(Overview {
                incidents: incidents.collect::<database::Result<_>>()?,
                pending: pending.collect(),
                precision: precision_of(silences::acknowledged(t)?, standing.as_ref()),
            })
        };
        Ok(self.database.transact(work).await?)
    }

    /// Says what an incident was worth.
    ///
    /// # Errors
    /// When there is no such incident, or the answer is none.
    pub async fn acknowledge(
        &self,
        incident: &str,
        (answer, note): (&str, Option<String>),
        actor: &str,
    ) -> Result<Acknowledgement> {
        let answer = Answer::of(answer).ok_or_else(|| {
            DutyError::Wanted(format!("{answer:?} is no answer; say useful or noise"))
        })?;
        let note = note.map(|note| note.trim().to_owned());
        let note = note.filter(|note| !note.is_empty());
        if note
            .as_ref()
            .is_some_and(|note| note.chars().count() > NOTE_CHARS_MAX)
        {
            let long = format!("a note has {NOTE_CHARS_MAX} characters at most");
            return Err(DutyError::Wanted(long));
        }
        let said = Acknowledgement {
            answer: answer.word().to_owned(),
            note,
            by: actor.to_owned(),
            time_us: self.clock.now_us(),
        };
        let incident = incident.to_owned();
        let work = move |t: &Transaction<'_>| {
            if !alerts::exists(t, &incident)? {
                return Ok(Err(DutyError::Incident(incident)));
            }
            silences::acknowledge(t, &incident, &said)?;
            let detail = json!({ "answer": said.answer, "note": said.note });
            let who = (said.by.clone(), said.time_us);
            record(t, who, "incident.acknowledge", &incident, &detail)?;
            Ok(Ok(said))
        };
        self.database.transact(work).await?
    }

    /// Silences, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn silences(&self, limit: u32) -> Result<Vec<SilenceShown>> {
        let now_us = self.clock.now_us();
        let kept = self.database.transact(move |t| silences::list(t, limit));
        let kept = kept.await?.into_iter();
        Ok(kept
            .map(|silence| SilenceShown::of(silence, now_us))
            .collect())
    }

    /// Silences what agrees with the names given, from now or later on, for a while.
    ///
    /// # Errors
    /// When it names nothing, gives no reason, or does not end in time.
    pub async fn silence(&self, wish: Wish, actor: &str) -> Result<SilenceShown> {
        let (now_us, actor) = (self.clock.now_us(), actor.to_owned());
        let wanted = wish.wanted(now_us)?.checked(now_us)?;
        let work = move |t: &Transaction<'_>| {
            let id = silences::insert(t, &wanted, (&actor, now_us))?;
            let detail = json!({
                "matches": wanted.matcher, "until_us": wanted.until_us, "why": wanted.why,
            });
            record(t, (actor, now_us), "silence.add", &id.to_string(), &detail)?;
            Ok(silences::find(t, id)?.ok_or(DutyError::Silence(id)))
        };
        let kept = self.database.transact(work).await??;
        Ok(SilenceShown::of(kept, now_us))
    }

    /// Ends a silence before its time.
    ///
    /// # Errors
    /// When there is none, or it is over.
    pub async fn end_silence(&self, id: i64, actor: &str) -> Result<SilenceShown> {
        let (now_us, actor) = (self.clock.now_us(), actor.to_owned());
        let work = move |t: &Transaction<'_>| {
            if !silences::end(t, id, (&actor, now_us))? {
                return Ok(Err(DutyError::Silence(id)));
            }
            record(
                t,
                (actor, now_us),
                "silence.end",
                &id.to_string(),
                &json!({}),
            )?;
            Ok(silences::find(t, id)?.ok_or(DutyError::Silence(id)))
        };
        let kept = self.database.transact(work).await??;
        Ok(SilenceShown::of(kept, now_us))
    }

    /// What the configuration plans, and what of it holds now.
    pub(crate) fn maintenance(&self) -> Vec<(String, Option<String>, bool)> {
        let now_us = self.clock.now_us();
        let planned = maintenance(self.standing.as_ref());
        let shown = planned.iter().map(|planned| {
            let holds = planned.when.holds(now_us);
            (planned.name.clone(), planned.matcher.words(), holds)
        });
        shown.collect()
    }
}

fn maintenance(standing: Option<&Standing>) -> Arc<[Maintenance]> {
    standing.map_or_else(
        || Arc::new([]) as Arc<[_]>,
        |of| Arc::clone(&of.maintenance),
    )
}

/// Without a configuration there is nothing to propose a change of.
fn precision_of(
    acknowledged: BTreeMap<String, Vec<Acknowledged>>,
    standing: Option<&Standing>,
) -> Vec<Precision> {
    let Some(standing) = standing else {
        return vec![];
    };
    let judged = (standing.lane_us, standing.false_pages);
    precision::of(acknowledged, |rule| standing.rules.of(rule), judged)
}

fn shown(
    transaction: &Transaction<'_>,
    incident: Incident,
    mutes: &Mutes,
    now_us: i64,
) -> database::Result<IncidentShown> {
    let acknowledged = silences::acknowledgement(transaction, &incident.id)?;
    let mut members: Vec<Member> = incident.members.into_values().collect();
    members.sort_by_key(|member| member.fired_us);
    let members = members
        .into_iter()
        .map(|of| member(transaction, of, mutes, now_us));
    Ok(IncidentShown {
        id: incident.id,
        service: incident.service,
        model: incident.model,
        rule: incident.rule,
        state: match incident.resolved_us {
            None => "open".to_owned(),
            Some(_) => "resolved".to_owned(),
        },
        opened_us: incident.opened_us,
        resolved_us: incident.resolved_us,
        pages: incident.pages,
        members: members.collect::<database::Result<_>>()?,
        acknowledged,
    })
}

fn member(
    transaction: &Transaction<'_>,
    member: Member,
    mutes: &Mutes,
    now_us: i64,
) -> database::Result<MemberShown> {
    let event = events::find(transaction, &member.fired_event)?;
    let told = event.and_then(|event| serde_json::from_str::<Value>(&event.body).ok());
    let fires = member.fires();
    let cooldown = || {
        let quiet = !member.told && now_us < member.quiet_until_us;
        quiet.then(|| "cooldown: it was over a short while ago".to_owned())
    };
    let muted = mutes.muting(&member.cohort, now_us).or_else(cooldown);
    Ok(MemberShown {
        told: told.map_or(Value::Null, |mut event| event["data"].take()),
        muted: muted.filter(|_| fires),
        state: match fires {
            true => "firing".to_owned(),
            false => "resolved".to_owned(),
        },
        fired_us: member.fired_us,
        resolved_us: member.resolved.map(|(time_us, _)| time_us),
        subject: member.cohort.subject,
        version: member.cohort.version,
        device_class: member.cohort.device_class,
        site: member.cohort.site,
        metric: member.cohort.metric,
    })
}

#[cfg(test)]
mod tests;
