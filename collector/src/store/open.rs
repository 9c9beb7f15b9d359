//! Opening the store: lock, tables, checkpoint, replay; then the writer and the committer start.
//! What was acknowledged before is visible before the first new request is accepted.

use std::{io, path::PathBuf, sync::Arc, time::Instant};

use deltalake_core::DeltaTableError;
use fathomline_queries::{
    lake::Lake,
    schema::{FORMAT_VERSION, Table},
};
use tokio::{
    runtime::{Handle, Runtime},
    sync::{Mutex, mpsc},
    task::{JoinHandle, spawn_blocking},
};

use crate::observe::Observer;

use super::{
    ControlTables, Earliest, Folder, Offer, QUEUE_ARRIVALS_MAX, Store, StoreHealth, StoreSettings,
    committer::{Committer, read_checkpoint},
    erase::Eraser,
    frame::Frame,
    ledger::Ledger,
    tables::Tables,
    upkeep::{Ground, Upkeep},
    wal::{self, Replayed, Wal},
    writer::{Sealed, Writer},
};

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made, read or written.
    #[error("cannot {action} the data folder {path}: {source}; check that it exists, is writable and has space, or choose another with --data", path = path.display())]
    Folder {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another collector writes to it.
    #[error("the data folder {path} is in use by another collector; stop that one or choose another with --data", path = .0.display())]
    Locked(PathBuf),
    /// What the collector is called is lost, and by that its tables know what they hold.
    #[error("{path}/fathomline.json is missing from a data folder that is in use, and under a new name everything in its log would be counted again; restore that file from a backup, or choose an empty folder with --data", path = .0.display())]
    Nameless(PathBuf),
    /// The folder has a layout this version does not know.
    #[error("the data folder {path} has format {found}, this version knows {FORMAT_VERSION}; use the version that wrote it", path = path.display())]
    Format {
        /// Where.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// A table cannot be opened.
    #[error("cannot open the tables: {0}; restore the folder from a backup if it is damaged")]
    Tables(#[from] DeltaTableError),
    /// The log cannot be read.
    #[error("cannot replay the log: {0}")]
    Log(String),
}

/// A store at work.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) health: StoreHealth,
    /// Everything acknowledged, for queries.
    pub(crate) lake: Arc<Lake>,
    /// How far back it reaches.
    pub(crate) earliest: Earliest,
    /// To be run beside everything else.
    pub(crate) upkeep: Upkeep,
    /// Where verdicts and events go.
    pub(crate) control: ControlTables,
    /// Erases devices; the store drains once it is gone, too.
    pub(crate) eraser: Eraser,
    /// Ends once every clone of `store` is gone and everything acknowledged is committed.
    pub(crate) drained: JoinHandle<()>,
}

/// Opens the folder and starts the writer and the committer.
pub(crate) async fn open(
    folder: Folder,
    settings: StoreSettings,
    observer: Observer,
) -> Result<Opened, StoreError> {
    observer.limited(&settings.limits);
    let folder = Arc::new(folder);
    let place = settings
        .tables
        .clone()
        .unwrap_or_else(|| folder.tables().into());
    let tables = Arc::new(Mutex::new(Tables::open(place).await?));
    let committer = Committer::new(&folder, &tables, &settings, &observer);
    let backlog = committer.backlog.clone();
    let (committer, last) = caught_up(committer).await?;
    let lake = Arc::new(lake(&tables, last, &observer).await?);
    let ground = Ground {
        folder: folder.clone(),
        tables: tables.clone(),
        lake: lake.clone(),
        observer: observer.clone(),
        building: Arc::default(),
    };
    let erasing = Upkeep::new(ground.clone(), settings.upkeep.clone())?;
    let upkeep = Upkeep::new(ground, settings.upkeep.clone())?;
    let mut control = ControlTables::new(tables, lake.clone(), settings.seal_after);
    if settings.tables.is_some() {
        control = control.shared_by(&folder.collector);
    }
    let wal = Wal::create(&folder.log(), last + 1).map_err(log_error)?;
    let (sealed, segments) = mpsc::unbounded_channel();
    let (health, earliest) = (StoreHealth::good(backlog.clone()), Earliest::default());
    let writer = Writer {
        settings,
        folder: folder.clone(),
        wal,
        ledger: Ledger::clone(&committer.ledger),
        lake: lake.clone(),
        sealed,
        backlog: backlog.clone(),
        rows: Frame::default(),
        erased: vec![],
        forgets: vec![],
        opened: Instant::now(),
        earliest: earliest.clone(),
        health: health.clone(),
        observer: observer.clone(),
    };
    let (queue, offers) = mpsc::channel(QUEUE_ARRIVALS_MAX);
    write(writer, offers)?;
    let (shown, runtime) = (lake.clone(), Handle::current());
    // On a thread of its own: making files keeps a processor for longer than a door may wait.
    let drained = spawn_blocking(move || runtime.block_on(committer.run(segments, shown)));
    let eraser = Eraser {
        folder,
        queue: queue.clone(),
        lake: lake.clone(),
        upkeep: erasing,
    };
    Ok(Opened {
        store: Store {
            queue,
            backlog,
            observer,
        },
        health,
        lake,
        earliest,
        upkeep,
        control,
        eraser,
        drained,
    })
}

/// Begins to write, on a thread of its own.
fn write(writer: Writer, offers: mpsc::Receiver<Offer>) -> Result<(), StoreError> {
    let health = writer.health.clone();
    let thread = std::thread::Builder::new().name("store-writer".into());
    let started = thread.spawn(move || match alarm() {
        Ok(alarm) => writer.run(offers, &alarm),
        Err(error) => {
            tracing::error!(%error, "cannot begin to write the log; restart the collector");
            health.set(false);
        }
    });
    started.map(drop).map_err(log_error)
}

/// The committer with the ledger as it was when an earlier run ended, and the last segment number
/// in use.
async fn caught_up(mut committer: Committer) -> Result<(Committer, i64), StoreError> {
    let checkpoint = read_checkpoint(&committer.folder.log()).map_err(log_error)?;
    committer.known = checkpoint.segment;
    committer.ledger = Arc::new(checkpoint.ledger);
    let last = replay(&mut committer).await?;
    let ledger = Arc::make_mut(&mut committer.ledger);
    let erased = committer.erased.digests();
    erased.iter().for_each(|digest| ledger.erase(digest));
    committer.observer.held(&ledger.held());
    Ok((committer, last))
}

/// Commits what an earlier run acknowledged and did not commit. Gives the last segment number in
/// use.
async fn replay(committer: &mut Committer) -> Result<i64, StoreError> {
    let (folder, known) = (committer.folder.log(), committer.known);
    let committed = committer.last_committed().await?;
    let segments = wal::replay(&folder).map_err(log_error)?;
    // The first commit comes before the first checkpoint; then its segment is still there.
    let from_the_start = segments.first().is_some_and(|first| first <= 1);
    if known == 0 && committed > 0 && !from_the_start {
        return Err(StoreError::Log(format!(
            "{} is missing, and without it windows that are sent again would be counted again; restore the data folder from a backup",
            folder.join("checkpoint").display()
        )));
    }
    if known > 0 && committed == 0 {
        tracing::warn!(
            segments = known,
            "the tables hold nothing of what this data folder committed; if they were moved, copy them to where store.tables says"
        );
    }
    let mut last = known.max(committed);
    for replayed in segments {
        let replayed = replayed.map_err(log_error)?;
        let segment = replayed.segment;
        let mut sealed = again(replayed)?;
        if segment > known {
            committer.take_over(&mut sealed);
        }
        let shown_later = None;
        let committed = committer.commit(&sealed, shown_later).await;
        committed.map_err(log_error)?;
        last = last.max(segment);
    }
    Ok(last)
}

/// A segment as it was sealed, or would have been.
fn again(replayed: Replayed) -> Result<Sealed, StoreError> {
    let Replayed {
        segment,
        frames,
        torn,
        damaged,
        ..
    } = replayed;
    let (mut rows, mut bytes) = (Frame::default(), 0);
    for frame in frames {
        bytes += frame.len() as u64;
        rows.append(Frame::decode(&frame).map_err(log_error)?);
    }
    tracing::info!(
        segment,
        rows = rows.distributions.len(),
        torn,
        damaged,
        "replaying a log segment"
    );
    Ok(Sealed {
        segment,
        rows,
        bytes,
        erased: vec![],
        ledger: None,
    })
}

async fn lake(
    tables: &Mutex<Tables>,
    last: i64,
    observer: &Observer,
) -> Result<Lake, DeltaTableError> {
    let tables = tables.lock().await;
    let mut providers = Vec::new();
    for table in Table::ALL {
        providers.push((table, tables.provider(table).await?));
        observer.files(table, tables.files(table));
    }
    Ok(Lake::new(providers, last))
}

/// Timers for a thread that has no runtime.
fn alarm() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
}

fn log_error(error: impl std::fmt::Display) -> StoreError {
    StoreError::Log(error.to_string())
}
