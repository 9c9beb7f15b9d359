//! Deliveries as operators see them, and what they may do: send a letter again, enable an endpoint
//! that was stopped. In: a data folder, whether a collector runs on it or not, and a wish. Out:
//! lists, and what was done. Every change is one transaction with its line in the audit; a running
//! collector acts on it within a second.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::Transaction;
use serde::Serialize;
use serde_json::json;

use super::endpoint::Endpoint;
use crate::{
    clock::{Clock, SystemClock},
    database::{
        self, Database, DatabaseError,
        audit::{self, AuditEntry},
        deliveries::{self, Delivery},
        endpoints, retraining,
    },
};

/// Why nothing was shown or done.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// There is no collector's data.
    #[error("{} holds no data of a collector; name the folder with --data, or start `fathomline serve` there once", .0.display())]
    Nowhere(PathBuf),
    /// No letter has this number.
    #[error(
        "there is no delivery {0}; `fathomline webhook list` shows those there are, of which the oldest are forgotten"
    )]
    Unknown(i64),
    /// It would not be sent.
    #[error(
        "cannot send it again: the endpoint {0} answered 410 and is stopped; enable it first, with `fathomline webhook enable {0}`"
    )]
    Stopped(String),
    /// Nobody knows where to send it.
    #[error("cannot send it again: the endpoint {0} is not configured any more")]
    Gone(String),
    /// Whoever acted on it would act in vain.
    #[error("cannot send it again: the request {0} is over, and its trainer would train in vain")]
    Over(String),
    /// Nothing to do.
    #[error("the endpoint {0} is not stopped")]
    NotStopped(String),
    /// The database failed; its message says what to do.
    #[error("{0}")]
    Database(Box<dyn std::error::Error + Send + Sync>),
}

impl From<DatabaseError> for DeskError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(Box::new(error))
    }
}

type Result<T> = std::result::Result<T, DeskError>;

/// A configured endpoint, without its secrets.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) name: String,
    kind: &'static str,
    events: Vec<String>,
    url_digest: String,
}

impl Known {
    pub(crate) fn new(endpoint: &Endpoint, url_digest: String) -> Self {
        let events = endpoint
            .events
            .iter()
            .map(|event| event.as_str().to_owned());
        Self {
            name: endpoint.name.clone(),
            kind: endpoint.kind.word(),
            events: events.collect(),
            url_digest,
        }
    }
}

/// An endpoint and how it fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointState {
    /// Its name in the configuration.
    pub name: String,
    /// `webhook`, `alertmanager`, `github`, `slack` or `http`.
    pub kind: String,
    /// Which events it asks for.
    pub events: Vec<String>,
    /// Since when it is stopped, microseconds since the Unix epoch.
    pub stopped_since_us: Option<i64>,
    /// Letters on their way to it.
    pub pending: i64,
    /// Letters that wait for it to be enabled.
    pub stopped: i64,
    /// Letters that were given up.
    pub failed: i64,
}

/// What was enabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Enabled {
    /// Which endpoint.
    pub endpoint: String,
    /// Letters that had waited and are sent now.
    pub letters: usize,
}

/// Where deliveries are looked at.
#[derive(Clone)]
pub struct Desk {
    database: Database,
    clock: Arc<dyn Clock>,
    /// What is configured; nothing is known of it on a data folder alone.
    known: Option<Arc<[Known]>>,
}

impl Desk {
    pub(crate) fn new(database: Database, clock: Arc<dyn Clock>, known: Arc<[Known]>) -> Self {
        Self {
            database,
            clock,
            known: Some(known),
        }
    }

    /// Opens the deliveries of a data folder.
    ///
    /// # Errors
    /// When no collector ever ran there, or its database cannot be opened.
    pub fn open(data_folder: &Path) -> Result<Self> {
        if !database::exists(data_folder) {
            return Err(DeskError::Nowhere(data_folder.to_owned()));
        }
        Ok(Self {
            database: Database::open(data_folder)?,
            clock: Arc::new(SystemClock),
            known: None,
        })
    }

    /// Letters with their attempts, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self, limit: u32) -> Result<Vec<Delivery>> {
        let work = move |t: &Transaction<'_>| deliveries::list(t, limit);
        Ok(self.database.transact(work).await?)
    }

    /// The configured endpoints, in the order of the configuration.
    pub(crate) async fn endpoints(&self) -> Result<Vec<EndpointState>> {
        let known = self.known.clone().unwrap_or_default();
        let work = move |t: &Transaction<'_>| known.iter().map(|known| state(t, known)).collect();
        Ok(self.database.transact(work).await?)
    }

    /// Sends a letter again, under the id it has and with the whole retry schedule before it.
    ///
    /// # Errors
    /// When there is no such letter, or its endpoint would not be asked.
    pub async fn replay(&self, id: i64, actor: &str) -> Result<Delivery> {
        let (known, now_us) = (self.known.clone(), self.clock.now_us());
        let actor = actor.to_owned();
        let work = move |t: &Transaction<'_>| {
            let Some(found) = deliveries::find(t, id)? else {
                return Ok(Err(DeskError::Unknown(id)));
            };
            let known = known.as_deref();
            if known.is_some_and(|known| known.iter().all(|one| one.name != found.endpoint)) {
                return Ok(Err(DeskError::Gone(found.endpoint)));
            }
            if is_stopped(t, known, &found.endpoint)? {
                return Ok(Err(DeskError::Stopped(found.endpoint)));
            }
            if retraining::find(t, &found.event_id)?.is_some_and(|of| !of.state.is_open()) {
                return Ok(Err(DeskError::Over(found.event_id)));
            }
            deliveries::replay(t, id, now_us)?;
            let detail = json!({ "endpoint": found.endpoint, "delivery": id });
            note(
                t,
                (actor, now_us),
                "delivery.replay",
                &found.event_id,
                &detail,
            )?;
            Ok(deliveries::find(t, id)?.ok_or(DeskError::Unknown(id)))
        };
        self.database.transact(work).await?
    }

    /// Enables an endpoint that answered 410: what was kept for it is sent.
    ///
    /// # Errors
    /// When it is not stopped.
    pub async fn enable(&self, endpoint: &str, actor: &str) -> Result<Enabled> {
        let now_us = self.clock.now_us();
        let (endpoint, actor) = (endpoint.to_owned(), actor.to_owned());
        let work = move |t: &Transaction<'_>| {
            let Some(letters) = endpoints::enable(t, &endpoint, now_us)? else {
                return Ok(Err(DeskError::NotStopped(endpoint)));
            };
            let detail = json!({ "letters": letters });
            note(t, (actor, now_us), "endpoint.enable", &endpoint, &detail)?;
            Ok(Ok(Enabled { endpoint, letters }))
        };
        self.database.transact(work).await?
    }
}

fn state(transaction: &Transaction<'_>, known: &Known) -> database::Result<EndpointState> {
    let count = |state| deliveries::count(transaction, &known.name, state);
    Ok(EndpointState {
        name: known.name.clone(),
        kind: known.kind.to_owned(),
        events: known.events.clone(),
        stopped_since_us: endpoints::stopped_since(transaction, &known.name, &known.url_digest)?,
        pending: count("pending")?,
        stopped: count("stopped")?,
        failed: count("failed")?,
    })
}

/// A configured endpoint is stopped under the URL that it has now.
fn is_stopped(
    transaction: &Transaction<'_>,
    known: Option<&[Known]>,
    endpoint: &str,
) -> database::Result<bool> {
    let mut known = known.into_iter().flatten();
    match known.find(|known| known.name == endpoint) {
        Some(known) => {
            let since = endpoints::stopped_since(transaction, endpoint, &known.url_digest)?;
            Ok(since.is_some())
        }
        None => endpoints::is_stopped(transaction, endpoint),
    }
}

/// Writes who changed what into the audit.
pub(super) fn note(
    transaction: &Transaction<'_>,
    (actor, time_us): (String, i64),
    action: &'static str,
    subject: &str,
    detail: &serde_json::Value,
) -> database::Result<()> {
    let entry = AuditEntry {
        time_us,
        actor,
        action,
        subject: subject.to_owned(),
        detail: detail.to_string(),
    };
    audit::record(transaction, &entry)
}
