//! What becomes of tables after their commits: many small files become few sorted ones, increments
//! of one lane one row, and what is old goes.
//!
//! In: the tables, the clock, how much memory. Out: the same facts in fewer files, shown by one
//! swap.
//! A thread and a runtime of its own with one partition, so that ingest and questions keep their
//! cores; the tables' lock is held for a commit and never while files are read or written. Never in
//! the way of an acknowledgement, which waits for the log alone. Whatever stops it leaves files
//! that no table names; vacuum removes them.
//!
//! | file | does |
//! |---|---|
//! | `coarse.rs` | hours and days out of what is finer |
//! | `plan.rs` | which files of a day are made one |
//! | `live.rs` | the live files of a table, as its log describes them |
//! | `rewrite.rs` | the one way in which files are replaced |
//! | `erase.rs` | a table without one device |
//! | `expire.rs` | days that are kept no longer, and files that no table names |

mod coarse;
mod erase;
mod expire;
mod live;
mod plan;
mod rewrite;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use datafusion::{common::DataFusionError, prelude::SessionContext};
use deltalake_core::{DeltaTable, DeltaTableError, protocol::DeltaOperation};
use fathomline_queries::{
    engine::{self, QueryError},
    lake::Lake,
    schema::Table,
};
use tokio::{
    sync::{Mutex, oneshot, watch},
    time::Instant,
};

pub(crate) use self::expire::Retention;
use self::{
    coarse::{Coarse, Pending},
    live::{Day, Live},
    plan::File,
    rewrite::Change,
};
use super::{Folder, StoreError, stall, tables::Tables};
use crate::{
    clock::{Careful, Clock, DAY_US, HOUR_US, rfc3339},
    observe::{Compacted, Observer},
};

/// So many small files of a day that has long closed become one: few more will come.
const FILES_OF_OLD_DAYS: usize = 4;

/// What upkeep may use, and when it acts.
#[derive(Clone, Debug)]
pub(crate) struct UpkeepSettings {
    /// Pause between rounds.
    pub(crate) every: Duration,
    /// So many small files of a day become one.
    pub(crate) files: usize,
    /// A file of half this size is left alone.
    pub(crate) file_bytes: u64,
    /// For sorting and merging; what is more goes to disk.
    pub(crate) memory_bytes: usize,
    /// How long after its end an hour is left alone: by then most of its rows are committed.
    pub(crate) closes_after_us: i64,
    /// How long after it was built an hour waits for more late rows before it is built again.
    pub(crate) rebuild_after_us: i64,
    pub(crate) retention: Retention,
    /// How long a file is kept that no table names: whoever reads an older state may need it.
    pub(crate) vacuum_after: Duration,
}

/// The task that keeps tables in shape.
pub(crate) struct Upkeep {
    folder: Arc<Folder>,
    tables: Arc<Mutex<Tables>>,
    lake: Arc<Lake>,
    session: SessionContext,
    settings: UpkeepSettings,
    observer: Observer,
    vacuumed_us: AtomicI64,
    /// What changed since hours and days were built.
    pending: Mutex<BTreeMap<Table, Pending>>,
    building: Arc<Mutex<()>>,
}

/// Why a piece of work was not done; the next round tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpkeepError {
    #[error(transparent)]
    Delta(#[from] DeltaTableError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Files(#[from] DataFusionError),
}

/// What upkeep works on.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) folder: Arc<Folder>,
    pub(super) tables: Arc<Mutex<Tables>>,
    pub(super) lake: Arc<Lake>,
    pub(super) observer: Observer,
    /// Held while device hours are built, and while a device is taken out of them.
    pub(super) building: Arc<Mutex<()>>,
}

impl Upkeep {
    pub(super) fn new(ground: Ground, settings: UpkeepSettings) -> Result<Self, StoreError> {
        let Ground {
            folder,
            tables,
            lake,
            observer,
            building,
        } = ground;
        let spill = folder.spill()?;
        let session = engine::bench(settings.memory_bytes, &spill)
            .map_err(|error| StoreError::Log(error.to_string()))?;
        Ok(Self {
            folder,
            tables,
            lake,
            session,
            settings,
            observer,
            vacuumed_us: AtomicI64::new(0),
            pending: Mutex::default(),
            building,
        })
    }

    /// Works in rounds until `stop` turns true; what is under way then is given up.
    pub(crate) async fn run(self, clock: Arc<dyn Clock>, stop: watch::Receiver<bool>) {
        let (ended, end) = oneshot::channel::<()>();
        let started = std::thread::Builder::new()
            .name("store-upkeep".into())
            .spawn(move || {
                let _ended = ended;
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                match runtime.enable_all().build() {
                    Ok(runtime) => runtime.block_on(self.rounds(clock, stop)),
                    Err(error) => tracing::error!(%error, "cannot begin the upkeep of tables"),
                }
            });
        if let Err(error) = started {
            tracing::error!(%error, "cannot begin the upkeep of tables; restart the collector");
        }
        // The other end is dropped when the thread ends.
        let _ = end.await;
    }

    async fn rounds(self, clock: Arc<dyn Clock>, mut stop: watch::Receiver<bool>) {
        let mut stopped = std::pin::pin!(async move {
            // A dropped sender means that the collector is gone.
            let _ = stop.wait_for(|stop| *stop).await;
        });
        let (mut careful, stopwatch) = (Careful::default(), Instant::now());
        loop {
            let round = async {
                tokio::time::sleep(self.settings.every).await;
                let elapsed_us = i64::try_from(stopwatch.elapsed().as_micros());
                let now_us = clock.now_us();
                match careful.believe(now_us, elapsed_us.unwrap_or(i64::MAX)) {
                    Some(now_us) => self.round(now_us).await,
                    None => tracing::warn!(
                        now = rfc3339(now_us),
                        "the clock jumped ahead by more than a day; the upkeep of tables waits for \
                         it to stay there for an hour, because it would take away what is not old"
                    ),
                }
            };
            tokio::select! {
                () = &mut stopped => return,
                () = round => {}
            }
        }
    }

    /// Does what is due. A table that cannot be worked on does not keep others waiting.
    async fn round(&self, now_us: i64) {
        // First, because it looks at new files, which compaction replaces and retention removes.
        for coarse in Coarse::ALL {
            if let Err(error) = self.coarsen(coarse, now_us).await {
                self.failed(coarse.table(), &error);
            }
        }
        for table in Table::ALL {
            let done = async {
                self.retire(table, now_us).await?;
                self.compact(table, now_us).await
            };
            if let Err(error) = done.await {
                self.failed(table, &error);
            }
        }
        self.vacuum_daily(now_us).await;
    }

    fn failed(&self, table: Table, error: &UpkeepError) {
        if let UpkeepError::Delta(error) = error
            && rewrite::is_conflict(error)
        {
            tracing::info!(%error, table = table.name(), "another collector keeps up the same table; going on later");
            return;
        }
        tracing::error!(%error, table = table.name(), "cannot keep up a table; trying again");
        self.observer.upkeep_failed();
    }

    /// Joins the small files of closed hours, day by day.
    pub(super) async fn compact(&self, table: Table, now_us: i64) -> Result<(), UpkeepError> {
        loop {
            let delta = self.tables.lock().await.latest(table).await?;
            let groups = self.groups(live::files(&delta)?, now_us);
            let Some(group) = groups.into_iter().next() else {
                return Ok(());
            };
            self.join(table, &delta, group).await?;
        }
    }

    fn groups(&self, files: Vec<Live>, now_us: i64) -> Vec<Vec<Live>> {
        let closed_us = (now_us - self.settings.closes_after_us).div_euclid(HOUR_US) * HOUR_US;
        let mut days: BTreeMap<Day, Vec<Live>> = BTreeMap::new();
        for file in files {
            if let (Some(day), Some((_, last_us))) = (file.day, file.times_us)
                && last_us <= closed_us
            {
                days.entry(day).or_default().push(file);
            }
        }
        let today = closed_us.div_euclid(DAY_US);
        let groups = days.into_iter().flat_map(|(day, files)| {
            let least = if i64::from(day) < today {
                FILES_OF_OLD_DAYS.min(self.settings.files)
            } else {
                self.settings.files
            };
            let planned = files.iter().map(|file| File {
                path: file.path.clone(),
                bytes: file.bytes,
            });
            let groups = plan::groups(planned.collect(), least, self.settings.file_bytes);
            let of = |group: Vec<File>| {
                let named = |file: &&Live| group.iter().any(|named| named.path == file.path);
                files.iter().filter(named).cloned().collect()
            };
            groups.into_iter().map(of).collect::<Vec<_>>()
        });
        groups.collect()
    }

    async fn join(
        &self,
        table: Table,
        delta: &DeltaTable,
        group: Vec<Live>,
    ) -> Result<(), UpkeepError> {
        let began = std::time::Instant::now();
        let paths: Vec<_> = group.iter().map(|file| file.path.clone()).collect();
        let target = self.settings.file_bytes;
        let added = rewrite::joined(&self.session, (table, delta), &paths, target).await?;
        stall::at("upkeep-written", self.folder.root());
        let removed = group.iter().map(|file| file.view.remove_action(false));
        let compacted = Compacted {
            table,
            files: (group.len(), added.len()),
            bytes: (
                group.iter().map(|file| file.bytes).sum(),
                added.iter().map(|add| add.size.unsigned_abs()).sum(),
            ),
            took: began.elapsed(),
        };
        let change = Change::same_rows(removed.collect(), added);
        let operation = DeltaOperation::Optimize {
            predicate: None,
            target_size: i64::try_from(target).unwrap_or(i64::MAX),
        };
        self.commit(table, change.commit(delta, operation, None))
            .await?;
        self.observer.compacted(compacted);
        Ok(())
    }

    /// Commits, and shows the table. The committer waits meanwhile, so that it does not commit on
    /// what was replaced; acknowledgements do not wait for either.
    async fn commit(
        &self,
        table: Table,
        change: impl Future<Output = Result<(), DeltaTableError>>,
    ) -> Result<(), DeltaTableError> {
        let mut tables = self.tables.lock().await;
        change.await?;
        if !table.is_coarse() {
            stall::at("upkeep-committed", self.folder.root());
        }
        tables.latest(table).await?;
        self.observer.files(table, tables.files(table));
        if tables.may_be_shown(table) {
            self.lake
                .publish_table(table, tables.provider(table).await?);
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
