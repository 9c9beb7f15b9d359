//! One atomic view of everything that can be asked about: committed tables and the rows that are
//! acknowledged but not committed yet.
//!
//! In: hot batches after their sync, snapshots after a commit. Out: a [`View`] whose tables all
//! belong to one moment. A commit swaps the new snapshots in and its hot rows out with one store;
//! splitting that in two counts rows twice or not at all. Never: IO, or a clock.

mod hot;
mod live;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use datafusion::{
    arrow::{datatypes::SchemaRef, error::ArrowError, record_batch::RecordBatch},
    catalog::TableProvider,
};

pub(crate) use self::hot::as_stored;
use self::{hot::HotRows, live::LiveTable};
use crate::schema::Table;

/// Rows of one table.
pub type Batch = (Table, RecordBatch);

/// A committed snapshot of one table.
pub type Snapshot = (Table, Arc<dyn TableProvider>);

/// The current view, and the one way to change it.
#[derive(Debug)]
pub struct Lake {
    view: ArcSwap<View>,
    /// Serialises edits; readers never wait for it.
    edit: Mutex<()>,
}

/// All tables at one moment.
#[derive(Clone, Debug)]
pub struct View {
    tables: BTreeMap<Table, Arc<dyn TableProvider>>,
    /// Device rows and rollups, by segment of the write-ahead log.
    log: HotRows,
    /// Verdicts and events, by row number in the collector's database.
    control: HotRows,
}

/// Why rows cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The lake was made without this table.
    #[error("cannot show rows of {0}: the lake was opened without that table")]
    NoTable(&'static str),
    /// The batch has other columns than the table.
    #[error("cannot show rows of {table}: they do not fit its schema: {source}")]
    Schema {
        /// Which table.
        table: &'static str,
        /// What does not fit.
        source: ArrowError,
    },
}

impl Lake {
    /// A lake over committed tables that hold everything up to log segment `segment`; -1 where
    /// nothing is committed. Control rows are announced by [`Self::publish_control`].
    pub fn new(tables: impl IntoIterator<Item = Snapshot>, segment: i64) -> Self {
        let view = View {
            tables: tables.into_iter().collect(),
            log: HotRows::new(segment),
            control: HotRows::new(-1),
        };
        Self {
            view: ArcSwap::from_pointee(view),
            edit: Mutex::new(()),
        }
    }

    /// The view at this moment; it does not change while it is held.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Shows rows of log segment `segment`; call it after their sync. Rows of a segment that is
    /// committed already are in the tables and are not shown twice.
    ///
    /// # Errors
    /// When a table is unknown or a batch does not fit its schema; then nothing is shown.
    pub fn push(
        &self,
        segment: i64,
        batches: impl IntoIterator<Item = Batch>,
    ) -> Result<(), LakeError> {
        self.change(|view| {
            let batches = view.as_stored(batches)?;
            view.log.push(segment, batches)
        })
    }

    /// Replaces acknowledged rows that wait for their commit by what `keep` leaves of them.
    ///
    /// # Errors
    /// When `keep` fails; then everything is shown as before.
    pub fn keep(
        &self,
        keep: impl Fn(Table, &RecordBatch) -> Result<RecordBatch, ArrowError>,
    ) -> Result<(), LakeError> {
        self.change(|view| view.log.keep(keep))
    }

    /// Swaps in the tables that hold everything up to log segment `segment` and drops its hot
    /// rows, at once. All tables of the segment must be committed before.
    pub fn publish(&self, tables: impl IntoIterator<Item = Snapshot>, segment: i64) {
        self.swap(tables, |view| view.log.commit(segment));
    }

    /// As [`Self::push`], for verdicts and events: `row` is the last of the database's rows in
    /// the batches.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_control(
        &self,
        row: i64,
        batches: impl IntoIterator<Item = Batch>,
    ) -> Result<(), LakeError> {
        self.change(|view| {
            let batches = view.as_stored(batches)?;
            view.control.push(row, batches)
        })
    }

    /// As [`Self::publish`], for verdicts and events up to the database's row `last_row`. A batch
    /// is dropped whole: publish at the row numbers that were pushed.
    pub fn publish_control(&self, tables: impl IntoIterator<Item = Snapshot>, last_row: i64) {
        self.swap(tables, |view| view.control.commit(last_row));
    }

    /// Swaps in one table whose hot rows stay as they are: after compaction or retention, or
    /// where rows are shown only once they are committed.
    pub fn publish_table(&self, table: Table, snapshot: Arc<dyn TableProvider>) {
        self.swap([(table, snapshot)], |_| {});
    }

    fn swap(&self, tables: impl IntoIterator<Item = Snapshot>, drop_hot: impl FnOnce(&mut View)) {
        let _one_at_a_time = self.edit.lock().unwrap_or_else(PoisonError::into_inner);
        let mut view = View::clone(&self.view.load());
        view.tables.extend(tables);
        drop_hot(&mut view);
        self.view.store(Arc::new(view));
    }

    fn change(
        &self,
        edit: impl FnOnce(&mut View) -> Result<(), LakeError>,
    ) -> Result<(), LakeError> {
        let _one_at_a_time = self.edit.lock().unwrap_or_else(PoisonError::into_inner);
        let mut view = View::clone(&self.view.load());
        edit(&mut view)?;
        self.view.store(Arc::new(view));
        Ok(())
    }
}

impl View {
    /// The tables of this view as they are stored; what strangers see of them is `published`'s.
    pub(crate) fn tables(&self) -> Vec<Snapshot> {
        let live = self.tables.iter().map(|(table, cold)| {
            let hot = self
                .log
                .of(*table)
                .chain(self.control.of(*table))
                .cloned()
                .collect();
            let provider = LiveTable::new(Arc::clone(cold), hot);
            (*table, Arc::new(provider) as Arc<dyn TableProvider>)
        });
        live.collect()
    }

    /// The last log segment whose rows are committed; -1 if none.
    pub fn committed_segment(&self) -> i64 {
        self.log.committed()
    }

    /// How many acknowledged rows of `table` wait for their commit.
    pub fn hot_rows(&self, table: Table) -> usize {
        self.log
            .of(table)
            .chain(self.control.of(table))
            .map(RecordBatch::num_rows)
            .sum()
    }

    /// Batches in the types that the committed side reads back (strings come back as views).
    fn as_stored(&self, batches: impl IntoIterator<Item = Batch>) -> Result<Vec<Batch>, LakeError> {
        let cast = |(table, batch): Batch| {
            let stored = self
                .tables
                .get(&table)
                .ok_or(LakeError::NoTable(table.name()))?
                .schema();
            let batch = as_stored(&batch, &stored).map_err(|source| LakeError::Schema {
                table: table.name(),
                source,
            })?;
            Ok((table, batch))
        };
        batches.into_iter().map(cast).collect()
    }

    /// Schema of a table as this view reads it.
    pub fn schema(&self, table: Table) -> Option<SchemaRef> {
        self.tables.get(&table).map(|table| table.schema())
    }
}

#[cfg(test)]
mod tests;
