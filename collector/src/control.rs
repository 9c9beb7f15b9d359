//! Changes that people ask for: making references, and saying which of them are in force.
//!
//! In: a request and an actor whose role was checked at the door. Out: what was done, as an answer
//! and as entries in the audit, written in the same transaction. Never: roles (that is `access`),
//! HTTP (that is `api`).
//!
//! | file | does |
//! |---|---|
//! | `request.rs` | which lanes a wish means (pure) |
//! | `making.rs` | lanes to references |
//! | `kept.rs` | lists, shows, pins, retires |
//! | `comparison.rs` | one reference held against another (pure) |
//! | `file.rs` | a reference as a file, out and in |

mod comparison;
mod file;
mod kept;
mod making;
mod request;

use std::{path::Path, sync::Arc};

use fathomline_queries::{
    engine::{
        EngineLimits,
        committed::{self, OpenError},
    },
    published::Publication,
};
use rusqlite::Transaction;
use serde::Serialize;

pub use self::{
    comparison::{Comparison, StreamPair},
    kept::{Imported, KeptError, Listed, References, Shown},
    request::CreateRequest,
};
use crate::{
    clock::{Clock, SystemClock},
    config::Config,
    database::{
        self, Database, DatabaseError,
        references::{self, ReferenceRow},
    },
    watch::{
        WatchSettings,
        lanes::{LaneSource, LanesError},
        tables::EngineLanes,
    },
};
pub(crate) use kept::content_of;
use making::{Made, Maker};

/// A reference made long ago is not held against everything since: judging begins at its end, or so
/// long before it was made. Older lanes are for reports.
const BACKLOG_MAX_US: i64 = 48 * 3_600 * 1_000_000;

/// What became of each series in the span.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CreateAnswer {
    /// References that were made.
    pub references: Vec<ReferenceRow>,
    /// Series without one.
    pub shortfalls: Vec<Missing>,
}

/// A series that has too little for a reference, and how much it lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Id of the series.
    pub series: String,
    /// The series in words.
    pub name: String,
    /// What it lacks.
    pub shortfall: String,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The wish is not clear.
    #[error("cannot make a reference: {0}")]
    Request(String),
    /// The span cannot be used.
    #[error("cannot freeze the span from {from_us} to {to_us}: {why}")]
    Span {
        /// Its begin.
        from_us: i64,
        /// Its end.
        to_us: i64,
        /// What is wrong with it.
        why: String,
    },
    /// There are no lanes.
    #[error(
        "no watched series of model {model:?} has a lane between {from_us} and {to_us}; check model, version and span against GET /api/v1/verdicts"
    )]
    Nothing {
        /// Of which model.
        model: String,
        /// From when.
        from_us: i64,
        /// To when.
        to_us: i64,
    },
    /// Rows cannot be read.
    #[error("cannot read the lanes of the span: {0}")]
    Lanes(LanesError),
    /// A reference is too large.
    #[error("cannot keep the reference of {name}: {why}")]
    Reference {
        /// The series in words.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The tables lie where only their collector reads them.
    #[error(
        "cannot read tables outside of the data folder; ask the collector itself: POST /api/v1/references"
    )]
    Elsewhere,
    /// The folder holds no references.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// The folder's tables cannot be read.
    #[error(transparent)]
    Tables(#[from] OpenError),
    /// The database failed; its message says what to do.
    #[error("{0}")]
    Database(Box<dyn std::error::Error + Send + Sync>),
}

impl From<DatabaseError> for ControlError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(Box::new(error))
    }
}

/// Makes references.
pub(crate) struct Control {
    database: Database,
    lanes: Arc<dyn LaneSource>,
    clock: Arc<dyn Clock>,
    settings: WatchSettings,
}

impl Control {
    pub(crate) fn new(
        database: Database,
        lanes: Arc<dyn LaneSource>,
        clock: Arc<dyn Clock>,
        settings: &WatchSettings,
    ) -> Self {
        Self {
            database,
            lanes,
            clock,
            settings: settings.clone(),
        }
    }

    /// Those that are kept.
    pub(crate) fn references(&self) -> References {
        References::new(self.database.clone(), Arc::clone(&self.clock))
    }

    /// Makes a reference for every watched series of the request, and puts it in force if that is
    /// asked for. A series with too little is left as it was and named with its shortfall.
    pub(crate) async fn create(
        &self,
        request: &CreateRequest,
        actor: &str,
    ) -> Result<CreateAnswer, ControlError> {
        let now_us = self.clock.now_us();
        let maker = Maker {
            database: &self.database,
            lanes: self.lanes.as_ref(),
            settings: &self.settings,
            request,
            span: request.span(self.settings.cadence, now_us)?,
        };
        let Made {
            references,
            shortfalls,
        } = maker.make().await?;
        let mut made = vec![];
        for (reference, excluded) in &references {
            let made_from = request.made_from();
            let row = kept::row(reference, now_us, actor);
            // What is kept of a version, or was of some weeks, may begin later than what was asked.
            let (from_us, to_us) = match made_from {
                "span" => (maker.span.from_us, maker.span.to_us),
                _ => (row.from_us, row.to_us),
            };
            let row = ReferenceRow {
                made_from: made_from.to_owned(),
                from_us,
                to_us,
                excluded_lanes: i64::try_from(*excluded).unwrap_or(i64::MAX),
                ..row
            };
            made.push((row, making::encode(reference)?));
        }
        let (pin, actor) = (request.pin, actor.to_owned());
        let work = move |t: &Transaction<'_>| {
            let keep = |(row, body)| keep(t, row, body, pin.then_some(actor.as_str()));
            made.into_iter()
                .map(keep)
                .collect::<database::Result<Vec<_>>>()
        };
        Ok(CreateAnswer {
            references: self.database.transact(work).await?,
            shortfalls,
        })
    }
}

/// Keeps what was made, puts it in force if somebody `pins` it, and writes down who made it.
fn keep(
    transaction: &Transaction<'_>,
    row: ReferenceRow,
    body: Vec<u8>,
    pins: Option<&str>,
) -> database::Result<ReferenceRow> {
    let now_us = row.created_us;
    let detail = serde_json::json!({
        "name": row.name, "made_from": row.made_from, "level": row.level, "season": row.season,
        "from_us": row.from_us, "to_us": row.to_us, "excluded_lanes": row.excluded_lanes,
        "pinned": pins.is_some(),
    });
    references::keep(transaction, &row, &body)?;
    if let Some(by) = pins {
        let judged_from_us = row.to_us.max(now_us.saturating_sub(BACKLOG_MAX_US));
        references::put_in_force(transaction, &row, by, now_us, judged_from_us)?;
    }
    kept::note(
        transaction,
        (&row.created_by, now_us),
        "reference.create",
        &row.hash,
        &detail,
    )?;
    kept::stored(transaction, row)
}

/// Makes references from the committed rows of a data folder, whether its collector runs or not.
///
/// # Errors
/// When the folder cannot be read, or the request is none.
pub async fn create_in(
    data_folder: &Path,
    config: &Config,
    request: &CreateRequest,
    actor: &str,
) -> Result<CreateAnswer, ControlError> {
    let references = References::open(data_folder)?;
    if config.store.tables.is_some() {
        return Err(ControlError::Elsewhere);
    }
    // Judging needs small groups as they are; what is shown of them is decided where it is shown.
    let (limits, publication) = (EngineLimits::default(), Publication::everything());
    let engine = committed::open(data_folder, limits, publication).await?;
    let lanes = Arc::new(EngineLanes(Arc::new(engine)));
    let clock = Arc::new(SystemClock);
    let control = Control::new(references.database(), lanes, clock, &config.watch);
    control.create(request, actor).await
}

#[cfg(test)]
mod tests;
