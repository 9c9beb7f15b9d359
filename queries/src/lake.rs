//! One atomic view of everything that can be asked about: committed tables and the rows that are
//! acknowledged but not committed yet.
//!
//! In: hot batches after the log's sync, snapshots after a commit. Out: a [`View`] whose tables
//! all belong to one moment. A commit swaps the new snapshots in and its hot rows out with one
//! store; splitting that in two counts rows twice or not at all. Never: IO, or a clock.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use datafusion::{
    arrow::{compute::cast, datatypes::SchemaRef, record_batch::RecordBatch},
    catalog::{Session, TableProvider},
    common::Result,
    datasource::{TableType, memory::MemorySourceConfig},
    logical_expr::{Expr, TableProviderFilterPushDown},
    physical_plan::{ExecutionPlan, union::UnionExec},
};

use crate::schema::Table;

/// Hot batches of one segment and table are joined once there are more than this many, so that a
/// scan does not walk thousands of small batches.
const HOT_BATCHES_MAX: usize = 64;

/// The current view, and the one way to change it.
#[derive(Debug)]
pub struct Lake {
    view: ArcSwap<View>,
    /// Serialises edits; readers never wait for it.
    edit: Mutex<()>,
}

/// All tables at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    tables: BTreeMap<Table, Arc<dyn TableProvider>>,
    hot: BTreeMap<i64, BTreeMap<Table, Vec<RecordBatch>>>,
    committed: i64,
}

impl Lake {
    /// A lake over committed tables, everything up to log segment `committed` among them.
    pub fn new(
        tables: impl IntoIterator<Item = (Table, Arc<dyn TableProvider>)>,
        committed: i64,
    ) -> Self {
        let tables = tables.into_iter().collect();
        let view = View {
            tables,
            hot: BTreeMap::new(),
            committed,
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
    /// When a batch does not have its table's schema.
    pub fn push(
        &self,
        segment: i64,
        batches: impl IntoIterator<Item = (Table, RecordBatch)>,
    ) -> Result<()> {
        let batches: Vec<_> = batches.into_iter().collect();
        self.change(|view| {
            if segment <= view.committed {
                return Ok(());
            }
            for (table, batch) in batches {
                let Some(provider) = view.tables.get(&table) else {
                    continue;
                };
                let batch = as_stored(&batch, &provider.schema())?;
                let rows = view
                    .hot
                    .entry(segment)
                    .or_default()
                    .entry(table)
                    .or_default();
                rows.push(batch);
                if rows.len() > HOT_BATCHES_MAX {
                    let schema = rows[0].schema();
                    *rows = vec![datafusion::arrow::compute::concat_batches(&schema, &*rows)?];
                }
            }
            Ok(())
        })
    }

    /// Swaps in the tables that hold log segment `segment` and drops its hot rows, at once.
    pub fn publish(
        &self,
        tables: impl IntoIterator<Item = (Table, Arc<dyn TableProvider>)>,
        segment: i64,
    ) {
        let changed: Result<()> = self.change(|view| {
            view.tables.extend(tables);
            view.committed = view.committed.max(segment);
            view.hot = view.hot.split_off(&(view.committed + 1));
            Ok(())
        });
        debug_assert!(changed.is_ok());
    }

    /// Swaps in one table that no log segment feeds (verdicts and events).
    pub fn publish_table(&self, table: Table, provider: Arc<dyn TableProvider>) {
        self.publish([(table, provider)], i64::MIN);
    }

    fn change(&self, edit: impl FnOnce(&mut View) -> Result<()>) -> Result<()> {
        let _one_at_a_time = self.edit.lock().unwrap_or_else(PoisonError::into_inner);
        let mut view = View::clone(&self.view.load());
        edit(&mut view)?;
        self.view.store(Arc::new(view));
        Ok(())
    }
}

impl View {
    /// The tables of this view, ready to be registered with a session.
    pub fn tables(self: &Arc<Self>) -> Vec<(Table, Arc<dyn TableProvider>)> {
        let live = |(table, provider): (&Table, &Arc<dyn TableProvider>)| {
            let hot = self
                .hot
                .values()
                .filter_map(|tables| tables.get(table))
                .flatten();
            let provider = LiveTable {
                cold: provider.clone(),
                hot: hot.cloned().collect(),
            };
            (*table, Arc::new(provider) as Arc<dyn TableProvider>)
        };
        self.tables.iter().map(live).collect()
    }
}

/// Committed rows and hot rows as one table.
#[derive(Debug)]
struct LiveTable {
    cold: Arc<dyn TableProvider>,
    hot: Vec<RecordBatch>,
}

#[async_trait]
impl TableProvider for LiveTable {
    fn schema(&self) -> SchemaRef {
        self.cold.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Inexact: the committed side prunes by statistics, the plan filters what is left.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let cold = self.cold.scan(session, projection, filters, limit).await?;
        if self.hot.is_empty() {
            return Ok(cold);
        }
        let projection = projection.cloned();
        let hot = MemorySourceConfig::try_new_exec(
            std::slice::from_ref(&self.hot),
            self.schema(),
            projection,
        )?;
        UnionExec::try_new(vec![cold, hot])
    }
}

/// Hot rows in the types the committed side reads back (strings come back as views).
fn as_stored(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name()).ok_or_else(|| {
            datafusion::common::exec_datafusion_err!("the batch has no column {}", field.name())
        })?;
        Ok(cast(column, field.data_type())?)
    });
    Ok(RecordBatch::try_new(
        schema.clone(),
        columns.collect::<Result<Vec<_>>>()?,
    )?)
}
