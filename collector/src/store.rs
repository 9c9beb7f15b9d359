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
//! | `earliest.rs` | how far back what arrived reaches |
//! | `layout.rs` | how rows lie in files |
//! | `upkeep.rs` (+ `upkeep/`) | what becomes of tables after their commits |
//! | `committer.rs` | sealed segment to one commit a table, then checkpoint, then drop |
//! | `control.rs` | verdicts and events: shown at once, committed a little later |
//! | `erase.rs` | devices of which nothing stays |
//! | `tables.rs` | Delta tables, exactly once by `txn` |
//! | `place.rs` | where the tables rest: a folder or a bucket |
//! | `durable.rs` | a local object store whose `Ok` means durable |
//! | `failing.rs` | tests only: a disk that fails at a chosen step |
//! | `folder.rs` | layout, format version and lock of the data folder |
//! | `stall.rs` | debug builds only: stop where a test wants to kill us |

mod committer;
mod control;
mod durable;
mod earliest;
pub(crate) mod erase;
#[cfg(test)]
mod failing;
mod folder;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod layout;
mod ledger;
mod open;
mod place;
mod stall;
mod tables;
mod upkeep;
mod wal;
mod writer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use fathomline_wire::rejection::Rejection;
use tokio::sync::{mpsc, oneshot};

pub(crate) use control::ControlTables;
pub(crate) use earliest::Earliest;
pub(crate) use folder::Folder;
pub use open::StoreError;
pub(crate) use open::{Opened, open};
pub(crate) use place::Place;
pub(crate) use upkeep::{Retention, Upkeep, UpkeepSettings};

pub(crate) use ledger::{Held, Limits};

use crate::{
    intake::{Arrival, Refusal, Rejected},
    observe::Observer,
};
use erase::{Erased, Forget};
use ledger::Rules;

/// Arrivals that may wait for the writer. Full means 503 with Retry-After, never memory: at 64
/// KiB a window this is 64 MiB.
const QUEUE_ARRIVALS_MAX: usize = 1024;

/// When a log segment is sealed and how wide cohort lanes are.
#[derive(Clone, Debug)]
pub(crate) struct StoreSettings {
    pub(crate) seal_after: Duration,
    pub(crate) seal_bytes: u64,
    /// Sealed bytes of the log that may wait for their commit.
    pub(crate) waiting_bytes: u64,
    pub(crate) lane_us: i64,
    /// How long a lane stays open after its end; rows that come later are marked late.
    pub(crate) lateness_us: i64,
    pub(crate) limits: Limits,
    /// Where the tables rest; in the data folder if nowhere else.
    pub(crate) tables: Option<Place>,
    pub(crate) upkeep: UpkeepSettings,
    /// Devices of which nothing is kept.
    pub(crate) erased: Erased,
}

impl StoreSettings {
    fn rules(&self) -> Rules {
        Rules {
            limits: self.limits,
            lane_us: self.lane_us,
            lateness_us: self.lateness_us,
        }
    }
}

/// What became of a request that was not refused as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) rejected: Rejected,
    /// Points that were counted before; their sender is told they are stored, because they are.
    pub(crate) duplicates: u64,
    /// Cumulative points that count nothing yet: it cannot be told since when their total grew, or
    /// what it gained.
    pub(crate) baselines: u64,
    /// Points that became rows.
    pub(crate) accepted: u64,
    /// Spans that became rows.
    pub(crate) spans: u64,
    /// Of the accepted points, those whose lane had closed.
    pub(crate) late: u64,
    /// Of the accepted points, those that count as `other`, because there are too many cohorts or
    /// categories.
    pub(crate) folded: u64,
    /// Boots that turned out to be alive beside another of their installation.
    pub(crate) clones: u64,
    /// End of the newest point that became a row, by the collector's clock; 0 if none did.
    pub(crate) newest_us: i64,
}

/// Whether the store takes anything in. Shared with whoever says if the collector is ready.
#[derive(Clone, Debug)]
pub(crate) struct StoreHealth {
    writes: Arc<AtomicBool>,
    backlog: Backlog,
}

impl StoreHealth {
    fn good(backlog: Backlog) -> Self {
        Self {
            writes: Arc::new(AtomicBool::new(true)),
            backlog,
        }
    }

    /// Of a store that never refuses.
    #[cfg(test)]
    pub(crate) fn always() -> Self {
        Self::good(Backlog::new(u64::MAX))
    }

    /// Why nothing is taken in, and what to do; none while windows are.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        if !self.writes.load(Ordering::Relaxed) {
            return Some(
                "the log cannot be written: make room on the disk, and it goes on by itself; if the \
                 log says that a sync failed, restart the collector",
            );
        }
        self.backlog.is_full().then_some(
            "the tables do not keep up with the log; it goes on by itself once they can be written",
        )
    }

    fn set(&self, writes: bool) {
        self.writes.store(writes, Ordering::Relaxed);
    }
}

/// Sealed bytes of the log that wait for their commit. Their rows are in memory until then, at
/// several times the size, so there is a limit: where tables do not keep up, senders keep what they
/// have.
#[derive(Clone, Debug)]
struct Backlog {
    bytes: Arc<AtomicU64>,
    max: u64,
}

impl Backlog {
    fn new(max: u64) -> Self {
        let bytes = Arc::default();
        Self { bytes, max }
    }

    fn sealed(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn committed(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.max
    }
}

/// The door of the store.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    queue: mpsc::Sender<Offer>,
    backlog: Backlog,
    observer: Observer,
}

/// What the writer is asked for, one after the other.
#[derive(Debug)]
enum Offer {
    Arrived(Arrived),
    Forget(Forget),
}

#[derive(Debug)]
struct Arrived {
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
        if self.backlog.is_full() {
            return Err(busy("the tables do not keep up with the log"));
        }
        self.observer.queued();
        let queued = self
            .queue
            .try_send(Offer::Arrived(Arrived { arrival, reply }));
        queued.map_err(|error| {
            self.observer.unqueued();
            match error {
                mpsc::error::TrySendError::Full(_) => busy("the store's queue is full"),
                mpsc::error::TrySendError::Closed(_) => busy("the store is closing"),
            }
        })?;
        answer
            .await
            .unwrap_or_else(|_| Err(busy("the store stopped before it could answer")))
    }
}
