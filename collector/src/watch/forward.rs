//! Copies of verdicts and events for the Delta tables, in order and each once.
//!
//! In: rows of the control database that the tables do not hold yet. Out: batches, each naming the
//! last row it holds. The tables say how far they have come, so nothing here has to be remembered
//! across a restart and a copy that was cut off between two tables is completed.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use datafusion::arrow::record_batch::RecordBatch;
use fathomline_queries::{
    rows::{self, EventRow, RowError, VerdictRow},
    schema::Table,
};
use rusqlite::Transaction;

use crate::database::{
    self, Database, DatabaseError, PAGE_ROWS_MAX, events,
    verdicts::{self, Wanted},
};

/// What went wrong where the rows are kept.
pub(crate) type RowsError = Box<dyn std::error::Error + Send + Sync>;

/// Where copies of verdicts and events go. Both tables share one numbering of rows.
#[async_trait]
pub(crate) trait ControlRows: Send + Sync {
    /// The last row that `table` has taken; after a start, the last one it had committed. 0 for
    /// none.
    async fn last_row(&self, table: Table) -> Result<i64, RowsError>;

    /// Takes the rows up to `last_row`, one batch a table that has any, and shows them to queries;
    /// each table commits them under `txn("control", last row)`, soon. All of them or none.
    async fn append(
        &self,
        last_row: i64,
        batches: Vec<(Table, RecordBatch)>,
    ) -> Result<(), RowsError>;

    /// Commits what has waited long enough; everything if `now`.
    async fn commit(&self, now: bool) -> Result<(), RowsError>;
}

/// Why rows were not copied; they stay where they are and are tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Batch(#[from] RowError),
    #[error("cannot store rows of {table}: {source}")]
    Store {
        table: &'static str,
        source: RowsError,
    },
}

/// Knows how far the copies have come.
pub(super) struct Forwarder {
    database: Database,
    rows: Arc<dyn ControlRows>,
    /// Last row given to each table; asked for at the first use.
    reached: BTreeMap<&'static str, i64>,
}

impl Forwarder {
    pub(super) fn new(database: Database, rows: Arc<dyn ControlRows>) -> Self {
        Self {
            database,
            rows,
            reached: BTreeMap::new(),
        }
    }

    /// Copies everything that is there, and commits what is due; everything if `last`.
    pub(super) async fn forward(&mut self, last: bool) -> Result<(), ForwardError> {
        self.copy().await?;
        self.rows.commit(last).await.map_err(stored)
    }

    async fn copy(&mut self) -> Result<(), ForwardError> {
        loop {
            let verdicts = self.reached(Table::Verdicts).await?;
            let events = self.reached(Table::Events).await?;
            let page = self
                .database
                .transact(move |t| page(t, verdicts, events))
                .await?;
            let Some(last_row) = page.last_row() else {
                return Ok(());
            };
            let stored = self.rows.append(last_row, page.batches()?).await;
            stored.map_err(self::stored)?;
            // After a cut-off copy one table may be ahead of the other's next row.
            for reached in self.reached.values_mut() {
                *reached = last_row.max(*reached);
            }
        }
    }

    async fn reached(&mut self, table: Table) -> Result<i64, ForwardError> {
        if let Some(row) = self.reached.get(table.name()) {
            return Ok(*row);
        }
        let row = self.rows.last_row(table).await;
        let row = row.map_err(|source| ForwardError::Store {
            table: table.name(),
            source,
        })?;
        self.reached.insert(table.name(), row);
        Ok(row)
    }
}

fn stored(source: RowsError) -> ForwardError {
    let table = "verdicts and events";
    ForwardError::Store { table, source }
}

/// Rows to copy, none of them newer than the last of a full page.
struct Page {
    verdicts: Vec<(i64, VerdictRow)>,
    events: Vec<(i64, EventRow)>,
}

fn page(
    transaction: &Transaction<'_>,
    verdicts_after: i64,
    events_after: i64,
) -> database::Result<Page> {
    let wanted = Wanted {
        after: verdicts_after,
        series: None,
        limit: PAGE_ROWS_MAX,
    };
    let mut page = Page {
        verdicts: verdicts::history(transaction, &wanted)?,
        events: events::after(transaction, events_after, PAGE_ROWS_MAX)?,
    };
    // Where one table's page is full, the other's rows beyond it have to wait: the number of the
    // last row must mean that everything before it is there.
    let full = |rows: usize, last: Option<i64>| last.filter(|_| rows == PAGE_ROWS_MAX as usize);
    let verdicts_end = full(page.verdicts.len(), page.verdicts.last().map(|(id, _)| *id));
    let events_end = full(page.events.len(), page.events.last().map(|(id, _)| *id));
    let end = [verdicts_end, events_end]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(i64::MAX);
    page.verdicts.retain(|(id, _)| *id <= end);
    page.events.retain(|(id, _)| *id <= end);
    Ok(page)
}

impl Page {
    fn last_row(&self) -> Option<i64> {
        let verdict = self.verdicts.last().map(|(id, _)| *id);
        let event = self.events.last().map(|(id, _)| *id);
        verdict.max(event)
    }

    fn batches(&self) -> Result<Vec<(Table, RecordBatch)>, RowError> {
        let verdicts: Vec<_> = self.verdicts.iter().map(|(_, row)| row.clone()).collect();
        let events: Vec<_> = self.events.iter().map(|(_, row)| row.clone()).collect();
        let mut batches = Vec::new();
        if !verdicts.is_empty() {
            batches.push((Table::Verdicts, rows::verdicts(&verdicts)?));
        }
        if !events.is_empty() {
            batches.push((Table::Events, rows::events(&events)?));
        }
        Ok(batches)
    }
}
