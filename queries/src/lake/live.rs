//! Committed rows and hot rows as one table. In: a snapshot and batches in its schema. Out: the
//! union of both scans. Never writes: there is no `insert_into` here.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    arrow::{datatypes::SchemaRef, record_batch::RecordBatch},
    catalog::{Session, TableProvider},
    common::Result,
    datasource::{TableType, memory::MemorySourceConfig},
    logical_expr::{Expr, TableProviderFilterPushDown},
    physical_plan::{ExecutionPlan, union::UnionExec},
};

#[derive(Debug)]
pub(super) struct LiveTable {
    cold: Arc<dyn TableProvider>,
    hot: Vec<RecordBatch>,
}

impl LiveTable {
    pub(super) fn new(cold: Arc<dyn TableProvider>, hot: Vec<RecordBatch>) -> Self {
        Self { cold, hot }
    }
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
        let hot = MemorySourceConfig::try_new_exec(
            std::slice::from_ref(&self.hot),
            self.schema(),
            projection.cloned(),
        )?;
        UnionExec::try_new(vec![cold, hot])
    }
}
