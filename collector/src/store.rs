//! Where data rests. Everything that is acknowledged went through here, once.
//!
//! In: arrivals from the receiver. Out: an [`Outcome`] after the log's sync, rows in the lake at
//! once, Delta commits a little later. One writer thread decides, so that two copies of a batch
//! in flight cannot both pass; one committer task turns sealed segments into commits.
//!
//! | file | does |
//! |---|---|
//! | `ledger.rs` (+ `ledger/`) | new, repeat or conflict; cumulative to delta; clock correction |
//! | `frame.rs` | what one frame of the log holds |
//! | `wal.rs` | append, sync, replay |
//! | `writer.rs` | the one writer: decide, append, show, acknowledge, seal |
//! | `committer.rs` | sealed segment to one commit a table, then checkpoint, then drop |
//! | `control.rs` | verdicts and events: shown at once, committed a little later |
//! | `tables.rs` | Delta tables, exactly once by `txn` |
//! | `durable.rs` | a local object store whose `Ok` means durable |
//! | `folder.rs` | layout, format version and lock of the data folder |
//! | `stall.rs` | debug builds only: stop where a test wants to kill us |

mod committer;
mod control;
mod durable;
mod folder;
mod frame;
mod ledger;
mod open;
mod stall;
mod tables;
mod wal;
mod writer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fathomline_wire::rejection::Rejection;
use tokio::sync::{mpsc, oneshot};

pub(crate) use control::ControlTables;
pub(crate) use folder::Folder;
pub use open::StoreError;
pub(crate) use open::open;

use crate::intake::{Arrival, Refusal, Rejected};

/// Arrivals that may wait for the writer. Full means 503 with Retry-After, never memory: at 64
/// KiB a window this is 64 MiB.
const QUEUE_ARRIVALS_MAX: usize = 1024;

/// When a log segment is sealed and how wide cohort lanes are.
#[derive(Clone, Debug)]
pub(crate) struct StoreSettings {
    pub(crate) seal_after: Duration,
    pub(crate) seal_bytes: u64,
    pub(crate) lane_us: i64,
}

/// What became of a request that was not refused as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) rejected: Rejected,
    /// Points that were counted before; their sender is told they are stored, because they are.
    pub(crate) duplicates: u64,
}

/// Whether the store takes anything in. Shared with whoever says if the collector is ready.
#[derive(Clone, Debug)]
pub(crate) struct StoreHealth(Arc<AtomicBool>);

impl StoreHealth {
    pub(crate) fn good() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    pub(crate) fn is_good(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Nothing is taken in from now on, until a restart.
    fn fail(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The door of the store.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    queue: mpsc::Sender<Offer>,
}

#[derive(Debug)]
struct Offer {
    arrival: Arrival,
    reply: oneshot::Sender<Result<Outcome, Refusal>>,
}

impl Store {
    /// How full the queue is, 0 to 1.
    pub(crate) fn fill(&self) -> f64 {
        1.0 - self.queue.capacity() as f64 / self.queue.max_capacity() as f64
    }

    /// Returns once the arrival's rows are durable, or with the reason why they are not stored.
    pub(crate) async fn offer(&self, arrival: Arrival) -> Result<Outcome, Refusal> {
        let (reply, answer) = oneshot::channel();
        let busy = |detail: &str| Refusal::new(Rejection::Busy, detail);
        self.queue
            .try_send(Offer { arrival, reply })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => busy("the store's queue is full"),
                mpsc::error::TrySendError::Closed(_) => busy("the store is closing"),
            })?;
        answer
            .await
            .unwrap_or_else(|_| Err(busy("the store stopped before it could answer")))
    }
}
