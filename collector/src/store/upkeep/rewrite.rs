//! The one way in which files are replaced. In: live files of one table, and which of their rows
//! stay. Out: sorted files in their place, by one Delta commit. Memory: what the session may use
//! for sorting (more goes to disk), and one row group that is being encoded.
//!
//! Delta lets two compactions of the same files both pass, and every row would be there twice. So
//! each commit of upkeep carries `txn("upkeep", ...)`: of two that began on the same version the
//! second fails, and begins again. What devices sent is committed beside it without a conflict.

use datafusion::{
    arrow::{compute::cast, error::ArrowError, record_batch::RecordBatch},
    execution::SendableRecordBatchStream,
    logical_expr::{Expr, SortExpr, col},
    prelude::SessionContext,
};
use deltalake_core::{
    DeltaTable, DeltaTableError,
    delta_datafusion::FileSelection,
    kernel::{
        Action, Add, Remove, Transaction,
        transaction::{CommitBuilder, CommitProperties, TransactionError},
    },
    protocol::DeltaOperation,
    writer::{DeltaWriter, RecordBatchWriter},
};
use fathomline_queries::{rows::Increments, schema::Table};
use futures::{Stream, StreamExt, stream};

use super::UpkeepError;
use crate::store::layout::writer_properties;

/// Application under which upkeep commits.
const UPKEEP: &str = "upkeep";

/// Files out, files in.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) removed: Vec<Remove>,
    pub(super) added: Vec<Add>,
}

/// Whether a file holds a row for which `is` holds.
pub(super) async fn holds(
    session: &SessionContext,
    delta: &DeltaTable,
    path: &str,
    is: Expr,
) -> Result<bool, DeltaTableError> {
    let selection = FileSelection::from_file_paths([path]);
    let provider = delta
        .table_provider()
        .with_file_selection(selection)
        .await?;
    let rows = session.read_table(provider)?.filter(is)?;
    Ok(rows.limit(0, Some(1))?.count().await? > 0)
}

/// Writes the rows of `paths` that `keep` holds for, sorted, into files of about `target` bytes.
/// Nothing is committed; a row is in one file before and after.
pub(super) async fn sorted(
    session: &SessionContext,
    (table, delta): (Table, &DeltaTable),
    paths: &[String],
    keep: Option<Expr>,
    target: u64,
) -> Result<Vec<Add>, UpkeepError> {
    let rows = rows(session, (table, delta), paths, keep).await?;
    written((table, delta), rows, target).await
}

/// Writes what the rows of `paths` say, sorted, into files of about `target` bytes. Nothing is
/// committed. A row is in one file before and after; increments of one lane become one row.
pub(super) async fn joined(
    session: &SessionContext,
    (table, delta): (Table, &DeltaTable),
    paths: &[String],
    target: u64,
) -> Result<Vec<Add>, UpkeepError> {
    let rows = rows(session, (table, delta), paths, None).await?;
    match table {
        Table::Rollups => written((table, delta), Box::pin(lanes(rows)), target).await,
        _ => written((table, delta), rows, target).await,
    }
}

/// Increments that lie side by side, as one for each lane.
fn lanes(rows: SendableRecordBatchStream) -> impl Stream<Item = Result<RecordBatch, UpkeepError>> {
    let begun = (rows, Some(Increments::default()));
    stream::unfold(begun, |(mut rows, increments)| async move {
        let mut increments = increments?;
        let Some(batch) = rows.next().await else {
            let last = increments.end().map_err(UpkeepError::from);
            return Some((last, (rows, None)));
        };
        let joined = batch.and_then(|batch| increments.add(&as_written(Table::Rollups, &batch)?));
        Some((joined.map_err(UpkeepError::from), (rows, Some(increments))))
    })
}

async fn rows(
    session: &SessionContext,
    (table, delta): (Table, &DeltaTable),
    paths: &[String],
    keep: Option<Expr>,
) -> Result<SendableRecordBatchStream, UpkeepError> {
    let selection = FileSelection::from_file_paths(paths.iter().map(String::as_str));
    let provider = delta
        .table_provider()
        .with_file_selection(selection)
        .await?;
    let mut rows = session.read_table(provider)?;
    if let Some(keep) = keep {
        rows = rows.filter(keep)?;
    }
    Ok(rows.sort(order(table))?.execute_stream().await?)
}

/// Writes rows as they come into files of about `target` bytes. Nothing is committed.
pub(super) async fn written<E>(
    (table, delta): (Table, &DeltaTable),
    mut rows: impl Stream<Item = Result<RecordBatch, E>> + Unpin,
    target: u64,
) -> Result<Vec<Add>, UpkeepError>
where
    UpkeepError: From<E>,
{
    let mut writer = RecordBatchWriter::for_table(delta)?
        .with_writer_properties(writer_properties(table))
        .with_target_file_size(target);
    while let Some(batch) = rows.next().await {
        let batch = as_written(table, &batch?).map_err(DeltaTableError::from)?;
        if batch.num_rows() > 0 {
            writer.write(batch).await?;
        }
    }
    Ok(writer.flush().await?)
}

/// The batch in the types that the table is written in; texts are read as views.
fn as_written(table: Table, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = table.arrow_schema();
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name()).ok_or_else(|| {
            ArrowError::SchemaError(format!("the file has no column {}", field.name()))
        })?;
        cast(column, field.data_type())
    });
    let columns = columns.collect::<Result<_, _>>()?;
    RecordBatch::try_new(schema, columns)
}

fn order(table: Table) -> Vec<SortExpr> {
    let columns = table.order().iter();
    columns.map(|name| col(*name).sort(true, true)).collect()
}

impl Change {
    /// What `removed` said is in `added`, and nothing else: readers of changes may skip it, and
    /// whoever added up increments as they came has counted what is joined here.
    pub(super) fn same_rows(removed: Vec<Remove>, mut added: Vec<Add>) -> Self {
        added.iter_mut().for_each(|add| add.data_change = false);
        Self { removed, added }
    }

    /// Commits on what was read; fails if other upkeep changed the table since.
    pub(super) async fn commit(
        self,
        delta: &DeltaTable,
        operation: DeltaOperation,
        done: Option<Transaction>,
    ) -> Result<(), DeltaTableError> {
        let version = delta
            .version()
            .and_then(|version| i64::try_from(version).ok());
        let upkeep = Transaction::new(UPKEEP, version.unwrap_or(0));
        let properties = CommitProperties::default()
            .with_application_transactions(done.into_iter().chain([upkeep]).collect())
            .with_cleanup_expired_logs(Some(false));
        let removed = self.removed.into_iter().map(Action::Remove);
        let actions = removed
            .chain(self.added.into_iter().map(Action::Add))
            .collect();
        CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(delta.snapshot()?), delta.log_store(), operation)
            .await?;
        Ok(())
    }
}

/// Whether somebody else's upkeep of a shared table was quicker: no fault, begin again.
pub(super) fn is_conflict(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::Transaction {
            source: TransactionError::CommitConflict(_) | TransactionError::MaxCommitAttempts(_)
        }
    )
}
