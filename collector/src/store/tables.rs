//! The Delta tables: plain Parquet behind a commit protocol, written by one collector.
//!
//! In: batches with the number they must be committed under. Out: exactly one commit for that
//! number, whatever is replayed. The number travels as Delta's `txn` action; the writer reads the
//! last one from the snapshot it commits on, because Delta itself refuses only races, not repeats.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::{arrow::record_batch::RecordBatch, catalog::TableProvider};
use deltalake_core::{
    DeltaTable, DeltaTableError,
    kernel::{Transaction, transaction::CommitProperties},
    writer::{DeltaWriter, RecordBatchWriter},
};
use fathomline_queries::schema::{PARTITION, Table};

use super::{layout::writer_properties, place::Place};

/// Commits between two checkpoints of a table's log; opening reads one checkpoint and the rest.
const CHECKPOINT_INTERVAL: &str = "100";

/// Columns whose minimum and maximum prune files; nested ones would only cost.
const STATISTICS: &str = "time,start_time,service,device_class,model,version,metric,count";

/// Every table, open for writing.
#[derive(Debug)]
pub(crate) struct Tables {
    tables: BTreeMap<Table, DeltaTable>,
    /// Tables that may hold rows which the lake still shows as hot: whoever shows such a table
    /// without dropping them would count them twice.
    ahead: BTreeSet<Table>,
}

impl Tables {
    /// Opens the tables of a place, creating what is missing.
    pub(crate) async fn open(place: impl Into<Place>) -> Result<Self, DeltaTableError> {
        let place = place.into();
        let mut tables = BTreeMap::new();
        for table in Table::ALL {
            tables.insert(table, open_or_create(&place, table).await?);
        }
        let ahead = BTreeSet::new();
        Ok(Self { tables, ahead })
    }

    /// Commits `batches` under `(application, version)`. False if that was done before.
    pub(crate) async fn append_once(
        &mut self,
        table: Table,
        (application, version): (&str, i64),
        batches: Vec<RecordBatch>,
    ) -> Result<bool, DeltaTableError> {
        if self
            .last_version(table, application)
            .await?
            .is_some_and(|last| last >= version)
        {
            return Ok(false);
        }
        self.ahead.insert(table);
        let delta = self.table(table)?;
        let properties = CommitProperties::default()
            .with_application_transaction(Transaction::new(application, version))
            .with_cleanup_expired_logs(Some(false));
        let mut writer = RecordBatchWriter::for_table(delta)?
            .with_writer_properties(writer_properties(table))
            .with_commit_properties(properties);
        for batch in batches {
            writer.write(batch).await?;
        }
        if let Err(error) = writer.flush_and_commit(delta).await {
            // The answer may be what got lost, not the commit; the next attempt must see it.
            delta.update_state().await?;
            return Err(error);
        }
        Ok(true)
    }

    /// The last number `application` committed to `table`.
    pub(crate) async fn last_version(
        &mut self,
        table: Table,
        application: &str,
    ) -> Result<Option<i64>, DeltaTableError> {
        let delta = self.table(table)?;
        let log_store = delta.log_store();
        delta
            .snapshot()?
            .snapshot()
            .transaction_version(&*log_store, application)
            .await
    }

    /// The table as of its last commit.
    pub(crate) async fn provider(
        &self,
        table: Table,
    ) -> Result<Arc<dyn TableProvider>, DeltaTableError> {
        let delta = self
            .tables
            .get(&table)
            .ok_or(DeltaTableError::NotInitialized)?;
        Ok(delta.table_provider().await?)
    }

    /// The lake shows the tables as they are now, and nothing of them as hot.
    pub(crate) fn shown(&mut self, tables: impl IntoIterator<Item = Table>) {
        for table in tables {
            self.ahead.remove(&table);
        }
    }

    /// Whether the table may be shown although nothing hot is dropped with it.
    pub(super) fn may_be_shown(&self, table: Table) -> bool {
        !self.ahead.contains(&table)
    }

    /// The table as of its last commit by anyone, to read from and to commit on.
    pub(super) async fn latest(&mut self, table: Table) -> Result<DeltaTable, DeltaTableError> {
        let delta = self.table(table)?;
        delta.update_state().await?;
        Ok(delta.clone())
    }

    /// How many live files a table has, as of its last commit.
    pub(crate) fn files(&self, table: Table) -> usize {
        let snapshot = self
            .tables
            .get(&table)
            .and_then(|table| table.snapshot().ok());
        snapshot.map_or(0, |snapshot| snapshot.log_data().num_files())
    }

    fn table(&mut self, table: Table) -> Result<&mut DeltaTable, DeltaTableError> {
        self.tables
            .get_mut(&table)
            .ok_or(DeltaTableError::NotInitialized)
    }
}

async fn open_or_create(place: &Place, table: Table) -> Result<DeltaTable, DeltaTableError> {
    let mut found = place.table(table)?;
    if !found.verify_deltatable_existence().await? {
        match create(place.table(table)?, table).await {
            Ok(created) => return Ok(created),
            // Another collector may have been quicker; then it exists now.
            Err(error) if !found.verify_deltatable_existence().await? => return Err(error),
            Err(_) => {}
        }
    }
    found.load().await?;
    Ok(found)
}

async fn create(missing: DeltaTable, table: Table) -> Result<DeltaTable, DeltaTableError> {
    let setting = |name: &str, value: &str| (format!("delta.{name}"), Some(value.to_owned()));
    missing
        .create()
        .with_columns(table.delta_fields())
        .with_partition_columns([PARTITION])
        .with_configuration([
            setting("checkpointInterval", CHECKPOINT_INTERVAL),
            setting("dataSkippingStatsColumns", &statistics(table)),
        ])
        .await
}

fn statistics(table: Table) -> String {
    let schema = table.arrow_schema();
    let present = STATISTICS
        .split(',')
        .filter(|name| schema.field_with_name(name).is_ok());
    present.collect::<Vec<_>>().join(",")
}
