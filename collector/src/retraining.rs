//! Models that are to be trained again: who is asked, by which rule, and what became of it.
//!
//! In: alerts that stand, a person's wish, a trainer's reports. Out: rows with their steps, and
//! letters to endpoints, each in one transaction with what caused it. Never: raw data, or more than
//! one open request a model.
//!
//! | module | holds |
//! |---|---|
//! | [`progress`] | how far a request is, and what moves it (pure) |
//! | [`rule`] | budget, pause, one at a time (pure) |
//! | [`brief`] | what moved, for whoever trains (pure) |
//! | [`asking`] | a request is made |
//! | [`moving`] | it goes on, and others are told |
//! | [`reporting`] | a trainer's signed report |
//! | [`proving`] | a new version held against the one that drifted |
//! | [`closing`] | alerts that such a version ends |

pub(crate) mod asking;
pub(crate) mod brief;
mod closing;
mod moving;
pub(crate) mod progress;
mod proving;
pub(crate) mod reporting;
pub(crate) mod rule;

use std::{path::PathBuf, sync::Arc, time::Duration};

use rusqlite::Transaction;
use tokio::sync::{Notify, watch};

use crate::{
    alert::{
        pager::Pager,
        signature::{SecretError, Secrets},
    },
    clock::Clock,
    database::{
        Database, DatabaseError,
        audit::{self, AuditEntry},
        retraining::{self as rows, Request, Step},
    },
    watch::{
        Cadence,
        lanes::{LaneSource, LanesError},
    },
};
use moving::{Why, move_on};
use progress::{Act, State, Stays};
use rule::NotNow;

/// Who moves a request when nobody does.
const COLLECTOR: &str = "collector";
/// Who moves it by a report.
const TRAINER: &str = "trainer";

/// Section `retraining` of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct RetrainingSettings {
    /// Drift asks by itself.
    pub(crate) automatic: bool,
    /// What drift asks waits for a person.
    pub(crate) approval: bool,
    /// Metrics whose drift asks.
    pub(crate) metrics: Vec<String>,
    /// An alert has to stand for so long before it asks, so that the brief names what moved with
    /// it.
    pub(crate) wait: Duration,
    pub(crate) cooldown: Duration,
    /// Requests a period and model.
    pub(crate) budget: u32,
    pub(crate) period: Duration,
    /// Without a report for so long a request expires.
    pub(crate) report_within: Duration,
    /// A new version has to prove itself within it.
    pub(crate) prove_within: Duration,
    /// Lanes of the first look at it.
    pub(crate) proof_lanes: u32,
    /// File that holds the `whsec_` secret of trainers.
    pub(crate) callback_secret_file: Option<PathBuf>,
}

impl Default for RetrainingSettings {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        Self {
            automatic: false,
            approval: false,
            metrics: asking::METRICS.map(str::to_owned).to_vec(),
            wait: Duration::from_secs(600),
            cooldown: hours(24),
            budget: 3,
            period: hours(7 * 24),
            report_within: hours(48),
            prove_within: hours(14 * 24),
            proof_lanes: 20,
            callback_secret_file: None,
        }
    }
}

/// Why a request was not made or not moved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RetrainingError {
    #[error("there is no request {0}; GET /api/v1/retraining lists them")]
    Unknown(String),
    #[error("{0}")]
    Model(String),
    #[error(transparent)]
    NotNow(#[from] NotNow),
    #[error(transparent)]
    Stays(#[from] Stays),
    #[error(transparent)]
    Report(#[from] reporting::ReportError),
    #[error("cannot read what devices did: {0}")]
    Lanes(LanesError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// What a request's letters need to know of this collector.
#[derive(Clone)]
pub(crate) struct Telling {
    /// Who is told of what.
    pub(crate) pager: Pager,
    /// Where people and trainers reach it.
    pub(crate) base_url: String,
}

/// What is needed to hold a new version against the old one.
#[derive(Clone)]
pub(crate) struct Judging {
    pub(crate) cadence: Cadence,
    /// Devices that a version needs for its outputs to be told of.
    pub(crate) min_devices: u32,
    pub(crate) lanes: Arc<dyn LaneSource>,
}

/// Requests, for whoever asks, reports or looks.
#[derive(Clone)]
pub(crate) struct Retraining {
    settings: Arc<RetrainingSettings>,
    judging: Judging,
    secrets: Option<Secrets>,
    database: Database,
    clock: Arc<dyn Clock>,
    telling: Telling,
    /// Wakes the endpoints' tasks.
    wake: Arc<Notify>,
}

/// A request, with its steps.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) request: Request,
    pub(crate) steps: Vec<Step>,
}

impl Retraining {
    /// Reads the secret of trainers.
    ///
    /// # Errors
    /// When it cannot be read or used.
    pub(crate) fn new(
        settings: RetrainingSettings,
        (database, clock): (Database, Arc<dyn Clock>),
        judging: Judging,
        (telling, wake): (Telling, Arc<Notify>),
    ) -> Result<Self, SecretError> {
        let file = settings.callback_secret_file.as_deref();
        Ok(Self {
            secrets: file.map(Secrets::read).transpose()?,
            settings: Arc::new(settings),
            judging,
            database,
            clock,
            telling,
            wake,
        })
    }

    /// Requests with their steps, newest first.
    pub(crate) async fn list(&self, limit: u32) -> Result<Vec<Shown>, RetrainingError> {
        let work = move |t: &Transaction<'_>| {
            let requests = rows::list(t, limit)?.into_iter();
            let shown = requests.map(|request| {
                let steps = rows::steps(t, &request.id)?;
                Ok(Shown { request, steps })
            });
            shown.collect::<Result<Vec<_>, DatabaseError>>()
        };
        Ok(self.database.transact(work).await?)
    }

    /// One request.
    pub(crate) async fn show(&self, id: &str) -> Result<Shown, RetrainingError> {
        let asked = id.to_owned();
        let work = move |t: &Transaction<'_>| {
            let Some(request) = rows::find(t, &asked)? else {
                return Ok(None);
            };
            let steps = rows::steps(t, &asked)?;
            Ok(Some(Shown { request, steps }))
        };
        let found = self.database.transact(work).await?;
        found.ok_or_else(|| RetrainingError::Unknown(id.to_owned()))
    }

    /// A person approves, declines or cancels.
    pub(crate) async fn act(
        &self,
        id: &str,
        act: Act,
        by: &str,
    ) -> Result<Request, RetrainingError> {
        let (asked, by, telling) = (id.to_owned(), by.to_owned(), self.telling.clone());
        let now_us = self.clock.now_us();
        let work = move |t: &Transaction<'_>| {
            let Some(request) = rows::find(t, &asked)? else {
                return Ok(Err(RetrainingError::Unknown(asked)));
            };
            let to = match progress::act(request.state, act) {
                Ok(to) => to,
                Err(stays) => return Ok(Err(stays.into())),
            };
            let moved = move_on(t, request, to, Why::of(&by, now_us), &telling)?;
            record(t, &moved, act, (&by, now_us))?;
            Ok(Ok(moved))
        };
        let moved = self.database.transact(work).await??;
        self.wake.notify_waiters();
        Ok(moved)
    }

    /// Looks again and again, until `stop` turns true: what drifts is asked for, and what nobody
    /// answers ends.
    pub(crate) async fn run(self, pause: Duration, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            if let Err(error) = self.look().await {
                tracing::error!(%error, "cannot look after retraining; trying again");
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // A dropped sender means that the collector is gone.
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One look.
    async fn look(&self) -> Result<(), RetrainingError> {
        self.prove().await?;
        let ended = self.end_overdue().await?;
        let asked = match self.settings.automatic {
            true => self.ask_for_drift().await?,
            false => 0,
        };
        if ended + asked > 0 {
            self.wake.notify_waiters();
        }
        Ok(())
    }

    /// Ends requests that nobody answered, and new versions that did not prove themselves in time.
    async fn end_overdue(&self) -> Result<usize, RetrainingError> {
        let (settings, telling) = (Arc::clone(&self.settings), self.telling.clone());
        let now_us = self.clock.now_us();
        let work = move |t: &Transaction<'_>| {
            let mut ended = 0;
            for request in rows::open(t)? {
                if let Some((to, detail)) = overdue(&request, &settings, now_us) {
                    let why = Why {
                        detail: Some(detail.to_owned()),
                        ..Why::of(COLLECTOR, now_us)
                    };
                    move_on(t, request, to, why, &telling)?;
                    ended += 1;
                }
            }
            Ok(ended)
        };
        Ok(self.database.transact(work).await?)
    }
}

/// Where a request goes that has been where it is for too long.
fn overdue(
    request: &Request,
    settings: &RetrainingSettings,
    now_us: i64,
) -> Option<(State, &'static str)> {
    let (limit, to, why) = match request.state {
        state if state.waits_for_reports() => (
            settings.report_within,
            State::Expired,
            "no report within retraining.report_within",
        ),
        State::Succeeded => (
            settings.prove_within,
            State::Unproven,
            "not shown to be better within retraining.prove_within",
        ),
        // A person may take their time.
        _ => return None,
    };
    let limit_us = i64::try_from(limit.as_micros()).unwrap_or(i64::MAX);
    (now_us.saturating_sub(request.changed_us) >= limit_us).then_some((to, why))
}

fn record(
    transaction: &Transaction<'_>,
    request: &Request,
    act: Act,
    (by, now_us): (&str, i64),
) -> Result<(), DatabaseError> {
    let entry = AuditEntry {
        time_us: now_us,
        actor: by.to_owned(),
        action: match act {
            Act::Approve => "retraining.approve",
            Act::Decline => "retraining.decline",
            Act::Cancel => "retraining.cancel",
        },
        subject: request.id.clone(),
        detail: "{}".to_owned(),
    };
    audit::record(transaction, &entry)
}

#[cfg(test)]
pub(crate) mod tests;
