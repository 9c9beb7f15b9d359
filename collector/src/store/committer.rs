//! Sealed segments to Delta commits: one commit a table, then the checkpoint, then the log
//! segments it covers go, then one swap. In that order, so that a crash anywhere replays into the
//! same state.
//!
//! The committer keeps a ledger of its own, led by the same entries as the writer's: so neither
//! waits for the other, however large the ledger is. Its checkpoint is written when the log has
//! grown by as much as the checkpoint is large; until then committed segments stay in the log.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use deltalake_core::DeltaTableError;
use fathomline_queries::{lake::Lake, rows::RowError, schema::Table};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, mpsc},
    task::spawn_blocking,
};

use crate::observe::{Commit, Observer};

use super::{
    Backlog, Folder, StoreSettings, erase::Erased, folder::write_durably, ledger::Ledger, stall,
    tables::Tables, wal, writer::Sealed,
};

/// Wait between attempts to commit a segment that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The ledger as of the end of a segment.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) segment: i64,
    pub(super) ledger: Ledger,
}

pub(super) struct Committer {
    pub(super) folder: Arc<Folder>,
    pub(super) tables: Arc<Mutex<Tables>>,
    pub(super) lane_us: i64,
    pub(super) erased: Erased,
    pub(super) observer: Observer,
    pub(super) backlog: Backlog,
    /// The last segment whose entries the ledger knows.
    pub(super) known: i64,
    pub(super) ledger: Arc<Ledger>,
    since: Since,
}

/// What was written since the last checkpoint.
#[derive(Debug, Default)]
struct Since {
    log_bytes: u64,
    checkpoint_bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    #[error("cannot commit to the table {table}: {source}")]
    Table {
        table: &'static str,
        source: DeltaTableError,
    },
    #[error(transparent)]
    Rows(#[from] RowError),
    #[error("cannot write the checkpoint: {0}")]
    Checkpoint(#[from] io::Error),
    #[error("cannot encode the checkpoint: {0}")]
    Encode(#[from] postcard::Error),
}

impl Committer {
    /// A committer that knows nothing yet.
    pub(super) fn new(
        folder: &Arc<Folder>,
        tables: &Arc<Mutex<Tables>>,
        settings: &StoreSettings,
        observer: &Observer,
    ) -> Self {
        Self {
            folder: folder.clone(),
            tables: tables.clone(),
            lane_us: settings.lane_us,
            erased: settings.erased.clone(),
            observer: observer.clone(),
            backlog: Backlog::new(settings.waiting_bytes),
            known: 0,
            ledger: Arc::default(),
            since: Since::default(),
        }
    }

    /// Commits segments in order until the writer is gone. A segment that cannot be committed
    /// (no space, say) is tried again: its rows stay in the log and visible meanwhile.
    pub(super) async fn run(
        mut self,
        mut sealed: mpsc::UnboundedReceiver<Sealed>,
        lake: Arc<Lake>,
    ) {
        while let Some(mut segment) = sealed.recv().await {
            self.take_over(&mut segment);
            self.observer.held(&self.ledger.held());
            while let Err(error) = self.commit(&segment, Some(&lake)).await {
                tracing::error!(%error, segment = self.known, "cannot commit a log segment; trying again");
                self.observer.commit_failed();
                tokio::time::sleep(RETRY_AFTER).await;
            }
            self.backlog.committed(segment.bytes);
            if let Some(reply) = segment.ledger.take() {
                // A writer that is gone needs no ledger.
                let _ = reply.send(Ledger::clone(&self.ledger));
            }
        }
        // The next start has less to replay.
        if self.since.log_bytes > 0
            && let Err(error) = self.checkpoint().await
        {
            tracing::error!(%error, "cannot write the checkpoint; the log keeps what it would hold");
        }
    }

    /// The ledger learns what the writer's knew when it sealed the segment.
    pub(super) fn take_over(&mut self, sealed: &mut Sealed) {
        let ledger = Arc::make_mut(&mut self.ledger);
        let entries = std::mem::take(&mut sealed.rows.entries);
        entries.iter().for_each(|entry| ledger.apply(entry));
        sealed.erased.iter().for_each(|digest| ledger.erase(digest));
        ledger.forget();
        self.known = sealed.segment;
    }

    /// Commits one segment to every table it feeds, once, and shows the tables as they are then.
    /// Nobody else may show them in between: the rows are hot until then.
    pub(super) async fn commit(
        &mut self,
        sealed: &Sealed,
        lake: Option<&Lake>,
    ) -> Result<(), CommitError> {
        let began = Instant::now();
        let segment = sealed.segment;
        let tables = self.tables.clone();
        let mut tables = tables.lock().await;
        let mut committed = Vec::new();
        for (table, batch) in sealed.rows.batches(self.lane_us)? {
            let batch = self.erased.without(table, &batch).map_err(RowError::from)?;
            if batch.num_rows() == 0 {
                continue;
            }
            let at = |source| CommitError::Table {
                table: table.name(),
                source,
            };
            if !committed.is_empty() {
                stall::at("between-tables", self.folder.root());
            }
            let transaction = (self.folder.collector.as_str(), segment);
            tables
                .append_once(table, transaction, vec![batch])
                .await
                .map_err(at)?;
            committed.push((table, tables.provider(table).await.map_err(at)?));
            self.observer.files(table, tables.files(table));
        }
        let grown = self.since.log_bytes + sealed.bytes;
        if sealed.must_leave_the_log() || grown >= self.since.checkpoint_bytes {
            self.checkpoint().await?;
        } else {
            self.since.log_bytes = grown;
        }
        tables.shown(committed.iter().map(|(table, _)| *table));
        if let Some(lake) = lake {
            lake.publish(committed, segment);
            self.observer.committed(Commit {
                segment,
                rows: sealed.rows.len(),
                took: began.elapsed(),
            });
        }
        Ok(())
    }

    /// Writes the ledger, and drops what the log holds up to the last segment it knows, all of
    /// which are committed.
    async fn checkpoint(&mut self) -> Result<(), CommitError> {
        let (folder, segment, ledger) = (self.folder.log(), self.known, self.ledger.clone());
        // A million devices are a hundred megabytes: not on a thread that serves others.
        let written = spawn_blocking(move || -> Result<u64, CommitError> {
            let bytes = write_checkpoint(&folder, segment, &ledger)?;
            wal::drop_segments(&folder, segment)?;
            Ok(bytes)
        });
        let written = written.await.map_err(io::Error::other)?;
        self.since = Since {
            log_bytes: 0,
            checkpoint_bytes: written?,
        };
        Ok(())
    }

    /// The highest segment any table holds.
    pub(super) async fn last_committed(&self) -> Result<i64, DeltaTableError> {
        let mut tables = self.tables.lock().await;
        let mut last = 0;
        for table in Table::ALL {
            let found = tables.last_version(table, &self.folder.collector).await?;
            last = last.max(found.unwrap_or(0));
        }
        Ok(last)
    }
}

pub(super) fn read_checkpoint(folder: &Path) -> io::Result<Checkpoint> {
    match std::fs::read(folder.join("checkpoint")) {
        Ok(bytes) => {
            let (body, checksum) = bytes
                .split_last_chunk::<4>()
                .filter(|(body, checksum)| crc32c::crc32c(body).to_le_bytes() == **checksum)
                .ok_or_else(|| {
                    io::Error::other(format!(
                        "{} is damaged, and without it windows that are sent again would be counted again; restore the data folder from a backup",
                        folder.join("checkpoint").display()
                    ))
                })?;
            debug_assert_eq!(checksum.len(), 4);
            postcard::from_bytes(body).map_err(io::Error::other)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Checkpoint::default()),
        Err(error) => Err(error),
    }
}

fn write_checkpoint(folder: &Path, segment: i64, ledger: &Ledger) -> Result<u64, CommitError> {
    let mut bytes = postcard::to_stdvec(&(segment, ledger))?;
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    write_durably(&folder.join("checkpoint"), &bytes)?;
    Ok(bytes.len() as u64)
}
