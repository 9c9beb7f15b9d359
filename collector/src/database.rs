//! The one place of changing state: `<data>/control.sqlite`.
//!
//! In: functions that read or write within one transaction. Out: what they return. Owns opening,
//! durability settings, the schema version and its migrations; the rows themselves are in
//! `database/`, one file per noun. Never: device rows (they are Delta's), secrets, a clock.

pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod credentials;
pub(crate) mod deliveries;
pub(crate) mod detectors;
pub(crate) mod endpoints;
pub(crate) mod erasures;
pub(crate) mod events;
pub(crate) mod outbox;
pub(crate) mod references;
pub(crate) mod retraining;
pub(crate) mod rollouts;
pub(crate) mod silences;
pub(crate) mod snapshots;
pub(crate) mod verdicts;

use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

const FILE: &str = "control.sqlite";
/// Somebody inspecting the file with `sqlite3` may hold it for a moment; longer is an error.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Applied in order; entry `n` brings the schema to version `n + 1`.
const MIGRATIONS: [&str; 10] = [
    include_str!("../sql/control/0001_control.sql"),
    include_str!("../sql/control/0002_access.sql"),
    include_str!("../sql/control/0003_erasures.sql"),
    include_str!("../sql/control/0004_references.sql"),
    include_str!("../sql/control/0005_snapshots.sql"),
    include_str!("../sql/control/0006_deliveries.sql"),
    include_str!("../sql/control/0007_retraining.sql"),
    include_str!("../sql/control/0008_rollouts.sql"),
    include_str!("../sql/control/0009_alerts.sql"),
    include_str!("../sql/control/0010_silences.sql"),
];
/// As many rows as one page of an answer may have.
pub(crate) const PAGE_ROWS_MAX: u32 = 1_000;

/// Why the control database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error("cannot create {path}: {source}; the collector needs to write its data folder")]
    Create {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot open {path}: {source}; check the file, or restore it from a backup")]
    Open {
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error(
        "cannot use {path}: its schema version is {found} and this collector knows up to {known}; run the newer collector that wrote it"
    )]
    Newer {
        path: PathBuf,
        found: usize,
        known: usize,
    },
    #[error("cannot read or write the control database: {0}; nothing of this step was kept")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the control database's task did not end; the collector is stopping")]
    Stopped,
}

pub(crate) type Result<T> = std::result::Result<T, DatabaseError>;

/// A handle to the control database. Clones share one connection: SQLite has one writer anyway,
/// and every statement here is short.
#[derive(Clone)]
pub(crate) struct Database {
    connection: Arc<Mutex<Connection>>,
}

impl Database {
    /// Opens `<data_folder>/control.sqlite`, creates it at the first start, and brings its schema
    /// up to date.
    pub(crate) fn open(data_folder: &Path) -> Result<Self> {
        let path = data_folder.join(FILE);
        create_private(&path)?;
        let opened = connect(&path);
        let mut connection = opened.map_err(|source| DatabaseError::Open {
            path: path.clone(),
            source,
        })?;
        migrate(&mut connection, &path)?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    /// Runs `work` in one transaction off the async threads; commits if it returns `Ok`. When this
    /// returns, what was written is on the disk (`synchronous = FULL`).
    pub(crate) async fn transact<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let connection = Arc::clone(&self.connection);
        tokio::task::spawn_blocking(move || {
            // A panic in an earlier step rolled its transaction back; the connection is sound.
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let answer = work(&transaction)?;
            transaction.commit()?;
            Ok(answer)
        })
        .await
        .map_err(|_| DatabaseError::Stopped)?
    }
}

impl Database {
    /// Empties SQLite's log, which holds pages as they were before.
    pub(crate) async fn settle(&self) -> Result<()> {
        let connection = Arc::clone(&self.connection);
        tokio::task::spawn_blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
            Ok(connection.query_row(sql, [], |_| Ok(()))?)
        })
        .await
        .map_err(|_| DatabaseError::Stopped)?
    }
}

/// Whether a collector ever ran on this folder.
pub(crate) fn exists(data_folder: &Path) -> bool {
    data_folder.join(FILE).is_file()
}

/// Creates the file readable by its owner alone; SQLite gives its log the same mode.
fn create_private(path: &Path) -> Result<()> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|source| DatabaseError::Create {
            path: path.to_owned(),
            source,
        })
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    // What is deleted is overwritten: an erased device must not be read out of a free page.
    connection.pragma_update(None, "secure_delete", "ON")?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let found = version as usize;
    if found > MIGRATIONS.len() {
        return Err(DatabaseError::Newer {
            path: path.to_owned(),
            found,
            known: MIGRATIONS.len(),
        });
    }
    for (version, sql) in (1_u32..).zip(MIGRATIONS).skip(found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// How far something has come, if it has begun.
pub(crate) fn mark(transaction: &Transaction<'_>, name: &str) -> Result<Option<i64>> {
    let mut statement = transaction.prepare_cached("SELECT value FROM marks WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

/// Moves a mark.
pub(crate) fn set_mark(transaction: &Transaction<'_>, name: &str, value: i64) -> Result<()> {
    let sql = "INSERT INTO marks (name, value) VALUES (?1, ?2)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    transaction.prepare_cached(sql)?.execute((name, value))?;
    Ok(())
}

/// The number of the next verdict or event.
fn next_row(transaction: &Transaction<'_>) -> Result<i64> {
    let row = mark(transaction, "row")?.unwrap_or(0) + 1;
    set_mark(transaction, "row", row)?;
    Ok(row)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_committed_is_there_after_a_restart_and_what_failed_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        database.transact(|t| set_mark(t, "kept", 7)).await.unwrap();
        let failed: Result<()> = database
            .transact(|t| {
                set_mark(t, "lost", 8)?;
                Err(DatabaseError::Stopped)
            })
            .await;
        assert!(failed.is_err());
        drop(database);
        let database = Database::open(folder.path()).unwrap();
        let marks = database
            .transact(|t| Ok((mark(t, "kept")?, mark(t, "lost")?)))
            .await;
        assert_eq!(marks.unwrap(), (Some(7), None));
    }

    #[tokio::test]
    async fn writes_reach_the_disk_and_only_the_owner_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let settings = database
            .transact(|t| {
                let mode: String = t.pragma_query_value(None, "journal_mode", |r| r.get(0))?;
                let sync: i64 = t.pragma_query_value(None, "synchronous", |r| r.get(0))?;
                Ok((mode, sync))
            })
            .await
            .unwrap();
        assert_eq!(settings, ("wal".to_owned(), 2));
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let mode = file.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn what_was_told_before_there_were_incidents_is_one_that_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let raw = Connection::open(folder.path().join(FILE)).unwrap();
        for sql in &MIGRATIONS[..8] {
            raw.execute_batch(sql).unwrap();
        }
        raw.pragma_update(None, "user_version", 8).unwrap();
        let before = "INSERT INTO verdicts (id, time_us, series, service, device_class, model,
                version, variant, metric, revision, state, method, count, devices, evidence)
              VALUES (1, 10, 's', 'a', 'kiosk', 'tiny', '1', 'v', 'm', 0, 'drifting', 'QX', 9, 6, '{}');
            INSERT INTO current_verdicts VALUES ('s', 1);
            INSERT INTO alert_states VALUES ('s', 'drifting', 10), ('q', 'steady', 5);
            INSERT INTO events VALUES (2, 10, 'evt_1', 'fathomline.verdict.changed', 's', '{}');";
        raw.execute_batch(before).unwrap();
        drop(raw);
        let database = Database::open(folder.path()).unwrap();
        let kept = database.transact(|t| Ok((alerts::live(t, 0)?, alerts::firing(t)?)));
        let (incidents, firing) = kept.await.unwrap();
        assert_eq!(firing, [("s".to_owned(), 10)]);
        let [incident] = incidents.as_slice() else {
            panic!("{incidents:?}");
        };
        assert_eq!(
            (incident.rule.as_str(), incident.told, incident.pages),
            ("m", true, 1)
        );
        let member = &incident.members["s"];
        assert_eq!((member.fired_event.as_str(), member.told), ("evt_1", true));
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        drop(Database::open(folder.path()).unwrap());
        let raw = Connection::open(folder.path().join(FILE)).unwrap();
        raw.pragma_update(None, "user_version", 99).unwrap();
        drop(raw);
        let refused = Database::open(folder.path()).err().unwrap();
        assert!(
            refused.to_string().contains("run the newer collector"),
            "{refused}"
        );
    }

    #[test]
    fn a_file_that_is_no_database_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "not a database, not at all").unwrap();
        let refused = Database::open(folder.path()).err().unwrap();
        assert!(refused.to_string().contains(FILE), "{refused}");
    }
}
