//! Erasing devices: no row of theirs stays, wherever rows rest or are on their way.
//!
//! In: digests of erased installations, and names whose rows are to go. Out: tables, hot rows and
//! log segments without them. Who is erased is known before anything is removed, and whoever puts
//! rows anywhere looks it up first: the writer before it admits, the committer before it commits,
//! a replay too. So an upload that races with its erasure is refused or leaves no row, and a crash
//! at any step is finished by doing all of it again. Cohort rollups keep the counts they merged.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use datafusion::arrow::{
    array::{AsArray, BooleanArray},
    compute::{cast, filter_record_batch},
    datatypes::DataType,
    error::ArrowError,
    record_batch::RecordBatch,
};
use fathomline_queries::{
    lake::Lake,
    schema::{Table, column},
};
use fathomline_wire::rejection::Rejection;
use tokio::sync::{mpsc, oneshot};

use super::{
    Folder, Offer, stall,
    upkeep::{Upkeep, UpkeepError},
};
use crate::{
    database::erasures::{self, ErasedDigest},
    intake::{Arrival, Refusal},
};

/// Pause between looks at what the committer has committed.
const LOOK: Duration = Duration::from_millis(20);

/// Tables that hold rows of devices; hours come after what they are made of.
const DEVICE_TABLES: [Table; 4] = [
    Table::Distributions,
    Table::Measurements,
    Table::Spans,
    Table::DeviceHours,
];

/// Installations from which nothing is kept. Shared by everyone who puts rows anywhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Erased(Arc<RwLock<HashSet<ErasedDigest>>>);

impl Erased {
    pub(crate) fn new(digests: impl IntoIterator<Item = ErasedDigest>) -> Self {
        Self(Arc::new(RwLock::new(digests.into_iter().collect())))
    }

    pub(super) fn insert(&self, digest: ErasedDigest) {
        let mut erased = self.0.write().unwrap_or_else(PoisonError::into_inner);
        erased.insert(digest);
    }

    /// All of them, as they are now.
    pub(super) fn digests(&self) -> HashSet<ErasedDigest> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn is_empty(&self) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    fn holds(&self, device: &str) -> bool {
        let erased = self.0.read().unwrap_or_else(PoisonError::into_inner);
        erased.contains(&erasures::digest_of(device))
    }

    /// Takes out of an arrival what erased devices sent.
    pub(super) fn strip(&self, arrival: &mut Arrival) -> Result<(), Refusal> {
        if self.is_empty() {
            return Ok(());
        }
        let sent = arrival.windows.len() + arrival.spans.len();
        let rejected = &mut arrival.rejected;
        arrival.windows.retain(|window| {
            let erased = self.holds(&window.installation);
            if erased {
                rejected.add(Rejection::Forbidden, window.points.len());
            }
            !erased
        });
        arrival.spans.retain(|span| {
            let erased = self.holds(&span.device);
            if erased {
                rejected.add(Rejection::Forbidden, 1);
            }
            !erased
        });
        let left = arrival.windows.len() + arrival.spans.len();
        if sent > 0 && left == 0 {
            let why = "the device was erased; nothing is taken from it under this name any more";
            return Err(Refusal::new(Rejection::Forbidden, why));
        }
        Ok(())
    }

    /// The batch without rows of erased devices; rollups and others as they are.
    pub(super) fn without(
        &self,
        table: Table,
        batch: &RecordBatch,
    ) -> Result<RecordBatch, ArrowError> {
        let devices = batch.column_by_name(column::DEVICE);
        let Some(devices) = devices.filter(|_| !self.is_empty() && DEVICE_TABLES.contains(&table))
        else {
            return Ok(batch.clone());
        };
        let devices = cast(devices, &DataType::Utf8)?;
        let devices = devices.as_string::<i32>().iter();
        let kept: BooleanArray = devices
            .map(|device| Some(device.is_none_or(|device| !self.holds(device))))
            .collect();
        filter_record_batch(batch, &kept)
    }
}

/// What the writer does when a device is erased.
#[derive(Debug)]
pub(super) struct Forget {
    pub(super) digest: ErasedDigest,
    /// The last segment that may hold rows of it, sealed.
    pub(super) reply: oneshot::Sender<i64>,
}

/// Why rows of a device are not gone yet; the next attempt begins again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EraseError {
    #[error("the store is closing")]
    Closing,
    #[error("cannot rewrite the table {table}: {source}")]
    Table {
        table: &'static str,
        source: UpkeepError,
    },
}

/// Erases devices from a store at work.
pub(crate) struct Eraser {
    pub(super) folder: Arc<Folder>,
    pub(super) queue: mpsc::Sender<Offer>,
    pub(super) lake: Arc<Lake>,
    /// Replaces files as compaction does.
    pub(super) upkeep: Upkeep,
}

impl Eraser {
    /// Returns once no table, no hot row and no log segment holds a row of the device.
    pub(crate) async fn erase(&self, device: &str) -> Result<(), EraseError> {
        let (reply, sealed) = oneshot::channel();
        let forget = Forget {
            digest: erasures::digest_of(device),
            reply,
        };
        let queued = self.queue.send(Offer::Forget(forget)).await;
        queued.map_err(|_| EraseError::Closing)?;
        let sealed = sealed.await.map_err(|_| EraseError::Closing)?;
        stall::at("erase-forgotten", self.folder.root());
        // What was on its way when the writer heard of it is committed, without its rows or with
        // them; then it is in the tables, where it is found.
        while self.lake.view().committed_segment() < sealed {
            if self.queue.is_closed() {
                return Err(EraseError::Closing);
            }
            tokio::time::sleep(LOOK).await;
        }
        for table in DEVICE_TABLES {
            let erased = self.upkeep.erase(table, device).await;
            erased.map_err(|source| EraseError::Table {
                table: table.name(),
                source,
            })?;
            stall::at("erase-between-tables", self.folder.root());
        }
        Ok(())
    }
}
