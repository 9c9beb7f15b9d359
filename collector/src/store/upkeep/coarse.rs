//! Hours and days out of what is finer: built when they close, built again when late rows came.
//!
//! In: commits of the finer table, in order. Out: the rows of one hour or day, put in place of what
//! was there by one commit, so that they are there once whatever is killed or repeated. It carries
//! `txn("coarse", version)`: every commit of the finer table up to that version is reflected. What
//! came after it is looked at again after a restart, and building an hour twice changes nothing.
//! Hours are not hot: they follow a minute or so behind the rows they are made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use datafusion::{
    arrow::{
        array::{Array, AsArray},
        datatypes::TimestampMicrosecondType,
        record_batch::RecordBatch,
    },
    logical_expr::{col, lit},
    prelude::SessionContext,
    scalar::ScalarValue,
};
use deltalake_core::{
    DeltaTable, DeltaTableError,
    delta_datafusion::FileSelection,
    kernel::{Action, Transaction},
    logstore::get_actions,
    protocol::{DeltaOperation, SaveMode},
};
use fathomline_queries::{
    engine::coarse::{self, Batches, Stretch},
    rows::lane_end,
    schema::{Table, column},
};
use futures::StreamExt;

use super::{
    Upkeep, UpkeepError,
    live::{self, Live},
    rewrite::{self, Change},
};
use crate::{
    clock::{DAY_US, HOUR_US},
    observe::Built,
};

/// Application under which hours and days are committed.
const COARSE: &str = "coarse";

/// A table made of a finer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coarse {
    DeviceHours,
    CohortHours,
    CohortDays,
}

/// What is known of one coarse table: which hours (days) changed since they were built.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The last version of the finer table that was looked at.
    seen: Option<i64>,
    /// By their end.
    changed: BTreeMap<i64, Changed>,
    /// When an hour was built by this process.
    built_us: BTreeMap<i64, i64>,
}

/// The first version of the finer table that changed an hour since it was built.
#[derive(Clone, Copy, Debug)]
struct Changed {
    first: i64,
}

/// A file that a commit added.
struct New {
    path: String,
    times_us: Option<(i64, i64)>,
}

impl Coarse {
    /// In the order in which they are built: a later one reads an earlier one.
    pub(super) const ALL: [Self; 3] = [Self::DeviceHours, Self::CohortHours, Self::CohortDays];

    pub(super) fn table(self) -> Table {
        match self {
            Self::DeviceHours => Table::DeviceHours,
            Self::CohortHours => Table::RollupHours,
            Self::CohortDays => Table::RollupDays,
        }
    }

    /// The table whose commits say what changed. Lanes are committed after the device rows they
    /// were made of.
    fn finer(self) -> Table {
        match self {
            Self::DeviceHours | Self::CohortHours => Table::Rollups,
            Self::CohortDays => Table::RollupHours,
        }
    }

    /// What its rows are read from, besides.
    fn sources(self) -> &'static [Table] {
        match self {
            Self::DeviceHours => &[Table::Distributions, Table::Measurements],
            Self::CohortHours => &[Table::DeviceHours],
            Self::CohortDays => &[],
        }
    }

    fn width_us(self) -> i64 {
        match self {
            Self::DeviceHours | Self::CohortHours => HOUR_US,
            Self::CohortDays => DAY_US,
        }
    }
}

impl Pending {
    fn note(&mut self, version: i64, ends: impl IntoIterator<Item = i64>) {
        for end in ends {
            self.changed
                .entry(end)
                .or_insert(Changed { first: version });
        }
    }

    /// Closed hours that changed, the earliest first; one that was built a moment ago waits for
    /// more late rows, so that a trickle of them does not build it again each minute.
    fn due(&self, closed_us: i64, now_us: i64, pause_us: i64) -> Vec<i64> {
        let rested = |end: &i64| {
            self.built_us
                .get(end)
                .is_none_or(|built_us| now_us - built_us >= pause_us)
        };
        let changed = self.changed.keys().copied();
        changed
            .take_while(|end| *end <= closed_us)
            .filter(rested)
            .collect()
    }

    /// The version up to which everything is reflected once `end` is built on `version`.
    fn reflected(&self, end: i64, version: i64) -> i64 {
        let others = self.changed.iter().filter(|(other, _)| **other != end);
        let first = others.map(|(_, changed)| changed.first).min();
        first.map_or(version, |first| first - 1)
    }

    fn built(&mut self, end: i64, now_us: i64, pause_us: i64) {
        self.changed.remove(&end);
        self.built_us.insert(end, now_us);
        self.built_us
            .retain(|_, built_us| now_us - *built_us <= pause_us);
    }
}

impl Upkeep {
    /// Builds what closed or changed.
    pub(super) async fn coarsen(&self, coarse: Coarse, now_us: i64) -> Result<(), UpkeepError> {
        let mut pending = self.pending.lock().await;
        let pending = pending.entry(coarse.table()).or_default();
        let width_us = coarse.width_us();
        let closed_us = (now_us - self.settings.closes_after_us).div_euclid(width_us) * width_us;
        let finer = self.tables.lock().await.latest(coarse.finer()).await?;
        self.look(coarse, &finer, pending).await?;
        let pause_us = self.settings.rebuild_after_us;
        for end in pending.due(closed_us, now_us, pause_us) {
            // Fresh for each: the version that a build is known under is the one it read.
            let finer = self.tables.lock().await.latest(coarse.finer()).await?;
            self.look(coarse, &finer, pending).await?;
            let reflected = pending.reflected(end, version(&finer));
            if self.is_whole(coarse, end, now_us) {
                self.build(coarse, &finer, end, reflected).await?;
            }
            pending.built(end, now_us, pause_us);
        }
        Ok(())
    }

    /// Notes which hours the commits since the last look touched.
    async fn look(
        &self,
        coarse: Coarse,
        finer: &DeltaTable,
        pending: &mut Pending,
    ) -> Result<(), UpkeepError> {
        let latest = version(finer);
        let mut seen = pending.seen;
        if seen.is_none() {
            let mut tables = self.tables.lock().await;
            seen = tables.last_version(coarse.table(), COARSE).await?;
        }
        let mut touched = match seen {
            Some(seen) => commits(finer, seen, latest).await?,
            None => None,
        };
        if touched.is_none() {
            // Nothing is known of its past: everything that is there counts as new.
            let new = |file: Live| New {
                path: file.path,
                times_us: file.times_us,
            };
            let files = live::files(finer)?.into_iter().map(new);
            touched = Some(vec![(0, files.collect())]);
        }
        for (version, files) in touched.unwrap_or_default() {
            let ends = self.ends(finer, files, coarse.width_us()).await?;
            pending.note(version, ends);
        }
        pending.seen = Some(latest);
        Ok(())
    }

    /// Ends of the hours that rows of these files lie in. Of a file that was replaced in the
    /// meantime every hour counts that its rows can lie in.
    async fn ends(
        &self,
        finer: &DeltaTable,
        files: Vec<New>,
        width_us: i64,
    ) -> Result<BTreeSet<i64>, UpkeepError> {
        let live: BTreeSet<_> = live::files(finer)?
            .into_iter()
            .map(|file| file.path)
            .collect();
        let (there, replaced): (Vec<_>, Vec<_>) = files
            .into_iter()
            .partition(|file| live.contains(&file.path));
        let mut ends = BTreeSet::new();
        for (first, last) in replaced.iter().filter_map(|file| file.times_us) {
            let lanes = lane_end(first, width_us)..=lane_end(last, width_us);
            ends.extend(lanes.step_by(usize::try_from(width_us).unwrap_or(usize::MAX)));
        }
        if there.is_empty() {
            return Ok(ends);
        }
        let paths = there.iter().map(|file| file.path.as_str());
        let selection = FileSelection::from_file_paths(paths);
        let provider = finer
            .table_provider()
            .with_file_selection(selection)
            .await?;
        let times = self.session.read_table(provider)?;
        let times = times
            .select_columns(&[column::TIME])
            .and_then(|times| times.distinct())?;
        let mut batches = times.execute_stream().await?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            ends.extend(micros(&batch)?.map(|time| lane_end(time, width_us)));
        }
        Ok(ends)
    }

    /// Whether everything an hour is made of is still kept. If not, what was built of it stands:
    /// a row that comes that late stays out of it.
    fn is_whole(&self, coarse: Coarse, end: i64, now_us: i64) -> bool {
        let retention = self.settings.retention;
        let days = match coarse {
            Coarse::DeviceHours => retention.device_rows_days,
            Coarse::CohortHours => retention.lanes_days,
            Coarse::CohortDays => retention.hours_days,
        };
        let first_kept = now_us.div_euclid(DAY_US) - i64::from(days);
        (end - coarse.width_us()).div_euclid(DAY_US) >= first_kept
    }

    async fn build(
        &self,
        coarse: Coarse,
        finer: &DeltaTable,
        end: i64,
        reflected: i64,
    ) -> Result<(), UpkeepError> {
        let began = Instant::now();
        let table = coarse.table();
        let stretch = Stretch {
            from_us: end - coarse.width_us(),
            to_us: end,
        };
        // An erasure that goes on at the same time must not find the hour before it is there.
        let _building = self.building.lock().await;
        self.lay_out(coarse, finer).await?;
        let rows = rows(coarse, &self.session, stretch).await?;
        let delta = self.tables.lock().await.latest(table).await?;
        let target = self.settings.file_bytes;
        let mut added = rewrite::written((table, &delta), rows, target).await?;
        let built = added.iter().filter_map(live::rows).sum();
        let replaced: Vec<Live> = live::files(&delta)?
            .into_iter()
            .filter(|file| file.can_hold(end))
            .collect();
        if !replaced.is_empty() {
            let time = ScalarValue::TimestampMicrosecond(Some(end), Some("UTC".into()));
            let others = col(column::TIME).not_eq(lit(time));
            let paths: Vec<_> = replaced.iter().map(|file| file.path.clone()).collect();
            let source = (table, &delta);
            added.extend(
                rewrite::sorted(&self.session, source, &paths, Some(others), target).await?,
            );
        }
        crate::store::stall::at("upkeep-built", self.folder.root());
        let change = Change {
            removed: replaced
                .iter()
                .map(|file| file.view.remove_action(true))
                .collect(),
            added,
        };
        let operation = DeltaOperation::Write {
            mode: SaveMode::Overwrite,
            partition_by: None,
            predicate: None,
        };
        let done = Some(Transaction::new(COARSE, reflected));
        self.commit(table, change.commit(&delta, operation, done))
            .await?;
        self.observer.built(Built {
            table,
            end_us: end,
            rows: built,
            took: began.elapsed(),
        });
        Ok(())
    }

    /// Lets the session read what a coarse table is made of, in one state.
    async fn lay_out(&self, coarse: Coarse, finer: &DeltaTable) -> Result<(), UpkeepError> {
        self.register(coarse.finer(), finer).await?;
        for table in coarse.sources() {
            let delta = self.tables.lock().await.latest(*table).await?;
            self.register(*table, &delta).await?;
        }
        Ok(())
    }

    async fn register(&self, table: Table, delta: &DeltaTable) -> Result<(), UpkeepError> {
        let provider = delta.table_provider().await?;
        self.session.deregister_table(table.name())?;
        self.session.register_table(table.name(), provider)?;
        Ok(())
    }
}

async fn rows(
    coarse: Coarse,
    session: &SessionContext,
    stretch: Stretch,
) -> Result<Batches, UpkeepError> {
    Ok(match coarse {
        Coarse::DeviceHours => coarse::device_hours(session, stretch).await?,
        Coarse::CohortHours => coarse::cohort_hours(session, stretch).await?,
        Coarse::CohortDays => coarse::cohort_days(session, stretch).await?,
    })
}

fn micros(batch: &RecordBatch) -> Result<impl Iterator<Item = i64> + '_, DeltaTableError> {
    let times = batch
        .column(0)
        .as_primitive_opt::<TimestampMicrosecondType>();
    let times = times.ok_or_else(|| {
        DeltaTableError::Generic(format!("time is stored as {}", batch.column(0).data_type()))
    })?;
    Ok(times.values().iter().copied())
}

fn version(delta: &DeltaTable) -> i64 {
    let version = delta.version().unwrap_or_default();
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// Files that commits after `seen` added, by commit; none if one of these commits is gone.
async fn commits(
    delta: &DeltaTable,
    seen: i64,
    latest: i64,
) -> Result<Option<Vec<(i64, Vec<New>)>>, DeltaTableError> {
    let mut found = vec![];
    for version in seen + 1..=latest {
        let number = version.unsigned_abs();
        let Some(bytes) = delta.log_store().read_commit_entry(number).await? else {
            return Ok(None);
        };
        let added = get_actions(number, &bytes)?.into_iter();
        let added = added.filter_map(|action| match action {
            // Compaction changes no data, and says so.
            Action::Add(add) if add.data_change => Some(New {
                times_us: live::times_us(&add),
                path: add.path,
            }),
            _ => None,
        });
        found.push((version, added.collect()));
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: i64 = 100;

    #[test]
    fn what_is_reflected_never_passes_what_is_not_built() {
        let mut pending = Pending::default();
        pending.note(1, [10, 20]);
        pending.note(2, [20]);
        pending.note(3, [20, 30]);
        assert_eq!(pending.due(20, 0, PAUSE), [10, 20]);
        assert_eq!(pending.reflected(10, 3), 0, "20 changed in 1");
        pending.built(10, 0, PAUSE);
        assert_eq!(pending.reflected(20, 3), 2, "30 changed in 3");
        pending.built(20, 0, PAUSE);
        assert_eq!(pending.due(20, 0, PAUSE), [] as [i64; 0]);
        assert_eq!(pending.reflected(30, 3), 3);
    }

    #[test]
    fn an_hour_that_was_built_waits_for_more_late_rows() {
        let mut pending = Pending::default();
        pending.note(1, [10]);
        pending.built(10, 1000, PAUSE);
        pending.note(2, [10]);
        assert!(pending.due(10, 1000 + PAUSE - 1, PAUSE).is_empty());
        assert_eq!(pending.due(10, 1000 + PAUSE, PAUSE), [10]);
    }
}
