//! References that are kept. In: a data folder, whether a collector runs on it or not, and a wish.
//! Out: lists, one of them with its content, what was changed. Every change is one transaction with
//! its line in the audit; a running collector holds series against what is in force from its next
//! lane on.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use fathomline_queries::drift::Reference;
use fathomline_wire::CONTRACT_VERSION;
use rusqlite::Transaction;
use serde::Serialize;
use serde_json::json;

use super::{
    comparison::Comparison,
    file::{self, FileError},
    making,
};
use crate::{
    clock::{Clock, SystemClock},
    database::{
        self, Database, DatabaseError, PAGE_ROWS_MAX,
        audit::{self, Act, AuditEntry},
        references::{self, Citing, ReferenceRow},
    },
};

/// How the acts on references begin.
const ACTS: &str = "reference.";
/// So many digits of a hash name a reference.
const DIGITS_MIN: usize = 6;
const ACTS_SHOWN: u32 = 20;

/// Why nothing was shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// There is no collector's data.
    #[error("{} holds no data of a collector; name the folder with --data, or start `fathomline serve` there once", .0.display())]
    Nowhere(PathBuf),
    /// Too short, or not hexadecimal.
    #[error(
        "cannot use {0:?} as the name of a reference: write 6 to 64 hexadecimal digits of its hash"
    )]
    Name(String),
    /// No reference has this name.
    #[error("there is no reference {0}; `fathomline reference list` shows those there are")]
    Unknown(String),
    /// Several have.
    #[error("several references begin with {0}; write more digits")]
    Ambiguous(String),
    /// It is not what it was.
    #[error(
        "the reference {0} cannot be read: it is damaged, or of another version of this program; make a new one"
    )]
    Unreadable(String),
    /// Nothing to do.
    #[error("the reference {0} is not in force and was retired before")]
    Retired(String),
    /// Values of different kinds.
    #[error("cannot compare {0} with {1}: one holds values and the other categories")]
    Kinds(String, String),
    /// The series means something else by now.
    #[error(
        "the reference {0} is of another contract version; make one from what devices send now"
    )]
    Contract(String),
    /// No reference is in it.
    #[error(transparent)]
    File(#[from] FileError),
    /// It does not fit.
    #[error("cannot keep the reference: {0}")]
    Large(String),
    /// The database failed; its message says what to do.
    #[error("{0}")]
    Database(Box<dyn std::error::Error + Send + Sync>),
}

impl KeptError {
    /// Why bytes that are kept are no reference.
    fn of_bytes(hash: String, contract: u32) -> Self {
        match contract == CONTRACT_VERSION {
            true => Self::Unreadable(hash),
            false => Self::Contract(hash),
        }
    }
}

impl From<DatabaseError> for KeptError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(Box::new(error))
    }
}

type Result<T> = std::result::Result<T, KeptError>;

/// A reference of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// What is known of it.
    #[serde(flatten)]
    pub row: ReferenceRow,
    /// Series whose newest verdict cites it.
    pub cited_by: Vec<Citing>,
}

/// One reference, with everything that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// What is known of it.
    #[serde(flatten)]
    pub row: ReferenceRow,
    /// Series whose newest verdict cites it.
    pub cited_by: Vec<Citing>,
    /// What was done with it, newest first.
    pub acts: Vec<Act>,
    /// What it holds; none where that cannot be read, or is not shown.
    pub content: Option<Reference>,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// What is known of the reference now.
    #[serde(flatten)]
    pub row: ReferenceRow,
    /// It was not here before.
    pub new: bool,
}

/// References of one collector.
#[derive(Clone)]
pub struct References {
    database: Database,
    clock: Arc<dyn Clock>,
}

impl References {
    /// Opens those of a data folder.
    ///
    /// # Errors
    /// When the folder holds none.
    pub fn open(data_folder: &Path) -> Result<Self> {
        if !database::exists(data_folder) {
            return Err(KeptError::Nowhere(data_folder.to_owned()));
        }
        let database = Database::open(data_folder)?;
        Ok(Self::new(database, Arc::new(SystemClock)))
    }

    pub(crate) fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock }
    }

    pub(super) fn database(&self) -> Database {
        self.database.clone()
    }

    /// References, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list(&self, limit: u32) -> Result<Vec<Listed>> {
        let limit = limit.min(PAGE_ROWS_MAX);
        let work = move |t: &Transaction<'_>| {
            let mut citing = references::citing(t)?;
            let listed = references::list(t, limit)?.into_iter().map(|row| Listed {
                cited_by: citing.remove(&row.hash).unwrap_or_default(),
                row,
            });
            Ok(listed.collect())
        };
        Ok(self.database.transact(work).await?)
    }

    /// One reference, by the first digits of its hash.
    ///
    /// # Errors
    /// When there is none, or several.
    pub async fn show(&self, name: &str) -> Result<Shown> {
        self.with(name, |t, row| {
            Ok(Ok(Shown {
                cited_by: references::citing(t)?.remove(&row.hash).unwrap_or_default(),
                acts: audit::acts_on(t, &row.hash, ACTS_SHOWN)?,
                content: content_of(t, &row.hash)?,
                row,
            }))
        })
        .await
    }

    /// What one reference holds, by the first digits of its hash.
    ///
    /// # Errors
    /// When there is none, or several, or it cannot be read.
    pub async fn content(&self, name: &str) -> Result<Reference> {
        self.with(name, |t, row| {
            let content = content_of(t, &row.hash)?;
            Ok(content.ok_or_else(|| KeptError::of_bytes(row.hash, row.contract)))
        })
        .await
    }

    /// What series are held against now, the busiest first.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub async fn in_force(&self) -> Result<Vec<Reference>> {
        let work = |t: &Transaction<'_>| {
            let mut found = Vec::new();
            for force in references::in_force(t)? {
                let Some(content) = content_of(t, &force.hash)? else {
                    return Ok(Err(KeptError::of_bytes(force.hash, force.contract)));
                };
                found.push(content);
            }
            Ok(Ok(found))
        };
        self.database.transact(work).await?
    }

    /// The content of a reference by its whole hash; none if there is none that can be read.
    pub(crate) async fn find(&self, hash: &str) -> Result<Option<Reference>> {
        let hash = hash.to_owned();
        let work = move |t: &Transaction<'_>| content_of(t, &hash);
        Ok(self.database.transact(work).await?)
    }

    /// What was done with references, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn acts(&self, limit: u32) -> Result<Vec<Act>> {
        let limit = limit.min(PAGE_ROWS_MAX);
        Ok(self
            .database
            .transact(move |t| audit::acts(t, ACTS, limit))
            .await?)
    }

    /// Holds the series of a reference against it, from the next lane on.
    ///
    /// # Errors
    /// When there is none, or its content cannot be judged by.
    pub async fn pin(&self, name: &str, by: &str) -> Result<ReferenceRow> {
        let (by, now_us) = (by.to_owned(), self.clock.now_us());
        self.with(name, move |t, row| {
            let Some(content) = content_of(t, &row.hash)? else {
                return Ok(Err(KeptError::Unreadable(row.hash)));
            };
            if content.check().is_err() {
                return Ok(Err(KeptError::Contract(row.hash)));
            }
            pin(t, &row, &by, now_us)?;
            Ok(Ok(stored(t, row)?))
        })
        .await
    }

    /// Takes a reference out of force: its series is undecided until another one is pinned.
    ///
    /// # Errors
    /// When there is none, or it was retired before.
    pub async fn retire(&self, name: &str, by: &str) -> Result<ReferenceRow> {
        let (by, now_us) = (by.to_owned(), self.clock.now_us());
        self.with(name, move |t, row| {
            if row.retired_us.is_some() {
                return Ok(Err(KeptError::Retired(row.hash)));
            }
            references::retire(t, &row.hash, &by, now_us)?;
            let detail =
                json!({ "name": row.name, "was_in_force": row.in_force_since_us.is_some() });
            note(t, (&by, now_us), "reference.retire", &row.hash, &detail)?;
            Ok(Ok(stored(t, row)?))
        })
        .await
    }

    /// Holds one reference against another.
    ///
    /// # Errors
    /// When one of them is not there, or they hold different kinds of values.
    pub async fn compare(&self, from: &str, to: &str) -> Result<Comparison> {
        let (from, to) = (self.content(from).await?, self.content(to).await?);
        let kinds = || KeptError::Kinds(from.hash(), to.hash());
        Comparison::of(&from, &to).ok_or_else(kinds)
    }

    /// The file of a reference.
    ///
    /// # Errors
    /// When there is none.
    pub async fn export(&self, name: &str) -> Result<String> {
        Ok(file::write(&self.content(name).await?)?)
    }

    /// Keeps the reference of a file, and holds its series against it if that is asked for.
    ///
    /// # Errors
    /// When the file holds none, or one that was changed.
    pub async fn import(&self, text: &str, pins: bool, by: &str) -> Result<Imported> {
        let reference = file::read(text)?;
        let now_us = self.clock.now_us();
        let row = row(&reference, now_us, by);
        let body =
            making::encode(&reference).map_err(|error| KeptError::Large(error.to_string()))?;
        let by = by.to_owned();
        let work = move |t: &Transaction<'_>| {
            let new = references::keep(t, &row, &body)?;
            let detail = json!({ "name": row.name, "new": new, "pinned": pins });
            note(t, (&by, now_us), "reference.import", &row.hash, &detail)?;
            if pins {
                pin(t, &row, &by, now_us)?;
            }
            let row = stored(t, row)?;
            Ok(Imported { row, new })
        };
        Ok(self.database.transact(work).await?)
    }

    /// Works on the one reference whose hash begins so.
    async fn with<T, F>(&self, name: &str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>, ReferenceRow) -> database::Result<Result<T>> + Send + 'static,
    {
        let name = name.to_ascii_lowercase();
        let digits = name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits || !(DIGITS_MIN..=64).contains(&name.len()) {
            return Err(KeptError::Name(name));
        }
        let work = move |t: &Transaction<'_>| {
            let mut found = references::begin_with(t, &name)?.into_iter();
            match (found.next(), found.next()) {
                (None, _) => Ok(Err(KeptError::Unknown(name))),
                (Some(_), Some(_)) => Ok(Err(KeptError::Ambiguous(name))),
                (Some(row), None) => work(t, row),
            }
        };
        self.database.transact(work).await?
    }
}

/// What is kept under a whole hash; none if there is nothing, or something that is not what the
/// hash names.
pub(crate) fn content_of(
    transaction: &Transaction<'_>,
    hash: &str,
) -> database::Result<Option<Reference>> {
    let body = references::body(transaction, hash)?;
    let content = body.and_then(|body| postcard::from_bytes::<Reference>(&body).ok());
    Ok(content.filter(|content| content.hash() == hash))
}

/// What is known of a reference that is new here.
pub(super) fn row(reference: &Reference, now_us: i64, by: &str) -> ReferenceRow {
    let (from_us, to_us) = reference.span_us();
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    ReferenceRow {
        hash: reference.hash(),
        contract: reference.contract(),
        series: reference.key().id(),
        name: reference.key().to_string(),
        level: reference.level().name().to_owned(),
        season: reference.season().name().to_owned(),
        made_from: "file".to_owned(),
        records: signed(reference.count()),
        devices: signed(reference.devices()),
        from_us,
        to_us,
        excluded_lanes: 0,
        created_us: now_us,
        created_by: by.to_owned(),
        retired_us: None,
        retired_by: None,
        in_force_since_us: None,
        in_force_by: None,
    }
}

/// What an old reference says of the past is for reports: judging by it begins now.
fn pin(t: &Transaction<'_>, row: &ReferenceRow, by: &str, now_us: i64) -> database::Result<()> {
    references::put_in_force(t, row, by, now_us, row.to_us.max(now_us))?;
    let detail = json!({ "name": row.name });
    note(t, (by, now_us), "reference.pin", &row.hash, &detail)
}

/// A reference as it is known after a change.
pub(super) fn stored(
    transaction: &Transaction<'_>,
    row: ReferenceRow,
) -> database::Result<ReferenceRow> {
    let stored = references::begin_with(transaction, &row.hash)?;
    Ok(stored.into_iter().next().unwrap_or(row))
}

/// Writes an act into the audit.
pub(super) fn note(
    transaction: &Transaction<'_>,
    (by, now_us): (&str, i64),
    action: &'static str,
    hash: &str,
    detail: &serde_json::Value,
) -> database::Result<()> {
    let entry = AuditEntry {
        time_us: now_us,
        actor: by.to_owned(),
        action,
        subject: hash.to_owned(),
        detail: detail.to_string(),
    };
    audit::record(transaction, &entry)
}
