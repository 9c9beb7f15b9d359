//! What operators change about tokens and devices. In: a data folder, whether a collector runs on
//! it or not, and a wish. Out: a token, shown this once, or rows. Every change is one transaction
//! with its line in the audit. A running collector learns of it within seconds.

use std::path::{Path, PathBuf};

use fathomline_wire::identity;
use rusqlite::Transaction;

pub use crate::database::credentials::{DeviceRow, TokenRow};
use crate::{
    access::secret::{self, Secret},
    clock::{Clock, DAY_US, SystemClock, rfc3339},
    database::{
        self, Database, DatabaseError,
        audit::{self, AuditEntry},
        credentials as rows, erasures,
    },
    store::{Folder, StoreError},
};

const COMMAND_LINE: &str = "command line";

/// Whom a token is for, and so what it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Sends for the devices of a fleet, and for those that belong to none.
    Fleet(String),
    /// Sends as one device.
    Device(String),
    /// Reads.
    Reader(String),
    /// Reads, changes and sends.
    Admin(String),
}

/// A new token.
pub struct Issued {
    /// Names it in lists.
    pub key: String,
    /// The token itself; it is kept nowhere.
    pub token: String,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// There is no collector's data.
    #[error("{} holds no data of a collector; name the folder with --data, or start `fathomline serve` there once", .0.display())]
    Nowhere(PathBuf),
    /// A name is outside of the alphabet.
    #[error("cannot use the name {0:?}: use 1 to 64 bytes of [A-Za-z0-9_.:-]")]
    Name(String),
    /// No token has this key, or it was revoked before.
    #[error("no token {0:?} is in force; `fathomline token list` shows keys")]
    NoToken(String),
    /// Once is enough.
    #[error(
        "the device {0:?} is enrolled already; `fathomline token create --device {0}` gives it another token, `fathomline device revoke {0}` ends those it has"
    )]
    Enrolled(String),
    /// Its tokens would open nothing.
    #[error("the device {0:?} was revoked; `fathomline device enrol {0}` takes it back")]
    Revoked(String),
    /// Nothing comes back under this name.
    #[error("the device was erased; give it a new installation id to take it back")]
    Erased,
    /// It is another's.
    #[error("the device {0:?} belongs to another fleet")]
    OtherFleet(String),
    /// The system's random source failed.
    #[error("cannot draw a token: {0}; check the system's random source")]
    Random(#[from] getrandom::Error),
    /// The folder cannot be asked; its message says what to do.
    #[error(transparent)]
    Folder(#[from] StoreError),
    /// The database failed; its message says what to do.
    #[error("{0}")]
    Database(Box<dyn std::error::Error + Send + Sync>),
}

impl From<DatabaseError> for CredentialError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(Box::new(error))
    }
}

type Result<T> = std::result::Result<T, CredentialError>;

/// Tokens and devices of one collector.
pub struct Credentials {
    folder: PathBuf,
    database: Database,
    clock: SystemClock,
}

impl Credentials {
    /// Opens those of a data folder.
    ///
    /// # Errors
    /// When the folder holds none.
    pub fn open(data_folder: &Path) -> Result<Self> {
        if !database::exists(data_folder) {
            return Err(CredentialError::Nowhere(data_folder.to_owned()));
        }
        Ok(Self {
            folder: data_folder.to_owned(),
            database: Database::open(data_folder)?,
            clock: SystemClock,
        })
    }

    /// Makes a token. A device gets its row in the list with its first one.
    ///
    /// # Errors
    /// When the name is none, or the device was revoked.
    pub async fn create(&self, holder: Holder) -> Result<Issued> {
        check_name(holder.name())?;
        let (now_us, secret) = (self.clock.now_us(), Secret::random()?);
        let row = token_row(&holder, &secret, now_us, COMMAND_LINE);
        self.change(move |t| {
            if let Holder::Device(device) = &holder {
                if erasures::holds(t, device)? {
                    return Ok(Err(CredentialError::Erased));
                }
                let known = rows::find_device(t, device)?;
                if known.as_ref().is_some_and(|row| row.revoked_us.is_some()) {
                    return Ok(Err(CredentialError::Revoked(device.clone())));
                }
                let fleet = known.and_then(|known| known.fleet);
                rows::put_device(t, &enrolled(device, fleet, now_us))?;
            }
            rows::insert_token(t, &row)?;
            note(t, now_us, "token.create", &row.key)?;
            Ok(Ok(()))
        })
        .await?;
        Ok(secret.into())
    }

    /// Ends a token.
    ///
    /// # Errors
    /// When none of this key is in force.
    pub async fn revoke_token(&self, key: &str) -> Result<()> {
        let (key, now_us) = (key.to_owned(), self.clock.now_us());
        self.change(move |t| {
            if !rows::revoke_token(t, &key, now_us)? {
                return Ok(Err(CredentialError::NoToken(key)));
            }
            note(t, now_us, "token.revoke", &key)?;
            Ok(Ok(()))
        })
        .await
    }

    /// Gives a device its first token, or takes a revoked one back.
    ///
    /// # Errors
    /// When the name is none, or the device is enrolled.
    pub async fn enrol(&self, device: &str, fleet: Option<&str>) -> Result<Issued> {
        let enrolment = Enrolment {
            device: device.to_owned(),
            fleet: fleet.map(str::to_owned),
            by: COMMAND_LINE.to_owned(),
            now_us: self.clock.now_us(),
            takes_back: true,
        };
        enrol(&self.database, enrolment).await
    }

    /// Ends a device: its tokens, and everything that is sent for it by others.
    ///
    /// # Errors
    /// When the name is none.
    pub async fn revoke_device(&self, device: &str) -> Result<usize> {
        // Foreign senders have names that enrolled ones could not have.
        let (device, now_us) = (device.to_owned(), self.clock.now_us());
        self.change(move |t| {
            let known = rows::find_device(t, &device)?;
            let tokens = rows::revoke_tokens_of(t, &device, now_us)?;
            let known = known.unwrap_or_else(|| DeviceRow {
                device: device.clone(),
                fleet: None,
                enrolled_us: None,
                revoked_us: None,
            });
            let revoked_us = Some(known.revoked_us.unwrap_or(now_us));
            rows::put_device(
                t,
                &DeviceRow {
                    revoked_us,
                    ..known
                },
            )?;
            note(t, now_us, "device.revoke", &device)?;
            Ok(Ok(tokens))
        })
        .await
    }

    /// Writes down that a device is to be erased: from then on nothing is taken from it, and a
    /// running collector, or the next that starts, removes its rows. False if it was asked before.
    ///
    /// # Errors
    /// When the name is empty, or the database cannot be written.
    pub async fn erase_device(&self, device: &str) -> Result<bool> {
        let by = COMMAND_LINE.to_owned();
        erase(&self.database, device, by, self.clock.now_us()).await
    }

    /// Whether a collector works on the folder at this moment.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn collector_runs(&self) -> Result<bool> {
        Ok(Folder::is_locked(&self.folder)?)
    }

    /// The day by which files are gone that hold rows of what is erased now, UTC.
    pub fn files_gone_by(&self) -> String {
        files_gone_by(self.clock.now_us())
    }

    /// Whether the rows of erased devices are gone, all of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn erasures_are_done(&self) -> Result<bool> {
        let pending = self.database.transact(erasures::pending).await?;
        Ok(pending.is_empty())
    }

    /// Every token, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>> {
        Ok(self.database.transact(rows::tokens).await?)
    }

    /// Every device that was enrolled or revoked.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn devices(&self) -> Result<Vec<DeviceRow>> {
        Ok(self.database.transact(rows::devices).await?)
    }

    async fn change<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> database::Result<Result<T>> + Send + 'static,
    {
        self.database.transact(work).await?
    }
}

/// A day more than files are kept that no table names, unless configured otherwise.
pub(crate) fn files_gone_by(now_us: i64) -> String {
    let mut day = rfc3339(now_us.saturating_add(8 * DAY_US));
    day.truncate("2026-11-26".len());
    day
}

/// Asks for the erasure of a device, with a line in the audit that does not name it.
pub(crate) async fn erase(
    database: &Database,
    device: &str,
    by: String,
    now_us: i64,
) -> Result<bool> {
    if identity::installation_of(device).is_empty() {
        return Err(CredentialError::Name(device.to_owned()));
    }
    let device = device.to_owned();
    let asked = database.transact(move |t| {
        let first = erasures::ask(t, &device, now_us)?;
        audit::record(t, &entry(now_us, by, "device.erase", erasures::ERASED))?;
        Ok(first)
    });
    let first = asked.await?;
    database.settle().await?;
    Ok(first)
}

/// A device's way to a token of its own.
pub(crate) struct Enrolment {
    pub(crate) device: String,
    pub(crate) fleet: Option<String>,
    pub(crate) by: String,
    pub(crate) now_us: i64,
    /// Whether a revoked device may come back; only an operator says so.
    pub(crate) takes_back: bool,
}

/// Enrols a device, once.
pub(crate) async fn enrol(database: &Database, enrolment: Enrolment) -> Result<Issued> {
    let names = enrolment.fleet.iter().chain([&enrolment.device]);
    names.into_iter().try_for_each(|name| check_name(name))?;
    let secret = Secret::random()?;
    let holder = Holder::Device(enrolment.device.clone());
    let row = token_row(&holder, &secret, enrolment.now_us, &enrolment.by);
    let decided = database.transact(move |t| {
        let device = enrolment.device;
        if erasures::holds(t, &device)? {
            return Ok(Err(CredentialError::Erased));
        }
        let known = rows::find_device(t, &device)?;
        let revoked = known.as_ref().is_some_and(|row| row.revoked_us.is_some());
        let own = known.as_ref().is_some_and(|row| row.enrolled_us.is_some());
        let fleet = known.and_then(|row| row.fleet);
        let other = fleet.is_some() && enrolment.fleet.is_some() && fleet != enrolment.fleet;
        if revoked && !enrolment.takes_back {
            return Ok(Err(CredentialError::Revoked(device)));
        }
        if own && !revoked {
            return Ok(Err(CredentialError::Enrolled(device)));
        }
        if other && !enrolment.takes_back {
            return Ok(Err(CredentialError::OtherFleet(device)));
        }
        let fleet = enrolment.fleet.or(fleet);
        rows::put_device(t, &enrolled(&device, fleet, enrolment.now_us))?;
        rows::insert_token(t, &row)?;
        let entry = entry(enrolment.now_us, enrolment.by, "device.enrol", &device);
        audit::record(t, &entry)?;
        Ok(Ok(()))
    });
    decided.await??;
    Ok(secret.into())
}

impl Holder {
    fn name(&self) -> &str {
        match self {
            Self::Fleet(name) | Self::Device(name) | Self::Reader(name) | Self::Admin(name) => name,
        }
    }
}

impl From<Secret> for Issued {
    fn from(secret: Secret) -> Self {
        Self {
            key: secret.key,
            token: secret.text,
        }
    }
}

fn check_name(name: &str) -> Result<()> {
    match identity::is_identifier(name) {
        true => Ok(()),
        false => Err(CredentialError::Name(name.to_owned())),
    }
}

fn token_row(holder: &Holder, secret: &Secret, now_us: i64, by: &str) -> TokenRow {
    let name = Some(holder.name().to_owned());
    let (scope, [fleet, device, name]) = match holder {
        Holder::Fleet(_) => ("ingest", [name, None, None]),
        Holder::Device(_) => ("ingest", [None, name, None]),
        Holder::Reader(_) => ("read", [None, None, name]),
        Holder::Admin(_) => ("admin", [None, None, name]),
    };
    TokenRow {
        key: secret.key.clone(),
        digest: secret::digest(&secret.text),
        scope: scope.to_owned(),
        fleet,
        device,
        name,
        created_us: now_us,
        created_by: by.to_owned(),
        revoked_us: None,
    }
}

fn enrolled(device: &str, fleet: Option<String>, now_us: i64) -> DeviceRow {
    DeviceRow {
        device: device.to_owned(),
        fleet,
        enrolled_us: Some(now_us),
        revoked_us: None,
    }
}

fn entry(time_us: i64, actor: String, action: &'static str, subject: &str) -> AuditEntry {
    AuditEntry {
        time_us,
        actor,
        action,
        subject: subject.to_owned(),
        detail: "{}".to_owned(),
    }
}

fn note(
    transaction: &Transaction<'_>,
    now_us: i64,
    action: &'static str,
    subject: &str,
) -> database::Result<()> {
    let entry = entry(now_us, COMMAND_LINE.to_owned(), action, subject);
    audit::record(transaction, &entry)
}
