//! A stored table as it is published. In: the stored table and what to do with its rows. Out: a
//! table that looks the same and gives only what may be shown. Never writes.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session, TableProvider},
    common::{Result, internal_err, project_schema},
    datasource::{TableType, empty::EmptyTable},
    logical_expr::{Expr, TableProviderFilterPushDown},
    physical_plan::{ExecutionPlan, union::UnionExec},
};
use fathomline_wire::names;

use super::{
    filters,
    gate::{Gate, Lanes, Work},
};
use crate::schema::column;

/// Columns that siblings of one lane share: a filter on them keeps whole lanes, and no other may
/// go below a fold, or it would fold what it left over.
const WHOLE_LANES: [&str; 8] = [
    column::TIME,
    column::START_TIME,
    column::DATE,
    column::WIDTH_US,
    column::SERVICE,
    column::MODEL,
    column::METRIC,
    column::UNIT,
];

/// Columns that hold what was measured.
const VALUES: [&str; 16] = [
    column::CATEGORY,
    column::COUNT,
    column::VALUE,
    column::SUM,
    column::MIN,
    column::MAX,
    column::SCALE,
    column::ZERO_COUNT,
    column::ZERO_THRESHOLD,
    column::POS_OFFSET,
    column::POS_COUNTS,
    column::NEG_OFFSET,
    column::NEG_COUNTS,
    column::EXPLICIT_BOUNDS,
    column::DEVICE_WINDOWS,
    column::DEVICES,
];

/// What is done to a table.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// Rows of metrics that are shown per device.
    Metrics,
    /// All rows, these columns without values.
    Masked(&'static [&'static str]),
    /// Rollups: metrics that are shown per device as they are, the others folded.
    Folded { min_devices: usize, lanes: Lanes },
}

/// The table.
#[derive(Debug)]
pub(super) struct Published {
    stored: Arc<dyn TableProvider>,
    rule: Rule,
}

impl Published {
    pub(super) fn new(stored: Arc<dyn TableProvider>, rule: Rule) -> Self {
        Self { stored, rule }
    }

    /// Whether the filter may see stored rows: it cannot fail on one, and which files it skips,
    /// which a plan shows, tells when and where something was measured and not what.
    fn plain(&self, filter: &Expr) -> bool {
        let told: &[&str] = match self.rule {
            Rule::Masked(columns) => columns,
            Rule::Metrics | Rule::Folded { .. } => &VALUES,
        };
        filters::is_plain(filter, &|name| !told.contains(&name))
    }

    async fn scan_all(
        &self,
        session: &dyn Session,
        filters: Vec<Expr>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // Every column: the work needs some that nobody asked for.
        self.stored.scan(session, None, &filters, None).await
    }

    /// Rows that pass one by one, with the columns that were asked for.
    async fn rows(
        &self,
        session: &dyn Session,
        asked: (SchemaRef, Vec<Expr>),
        work: Work,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (schema, mut pushed) = asked;
        let stored = self.stored.schema();
        let mut columns = vec![];
        for field in schema.fields() {
            columns.push(stored.index_of(field.name())?);
        }
        if matches!(work, Work::Metrics) {
            pushed.push(filters::shown_per_device(&stored)?);
            let metric = stored.index_of(column::METRIC)?;
            if !columns.contains(&metric) {
                columns.push(metric);
            }
        }
        let input = self.stored.scan(session, Some(&columns), &pushed, None);
        Ok(Arc::new(Gate::new(input.await?, work, schema)))
    }

    async fn folded(
        &self,
        session: &dyn Session,
        asked: (SchemaRef, Vec<Expr>),
        (min_devices, lanes): (usize, Lanes),
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (schema, pushed) = asked;
        let stored = self.stored.schema();
        let whole = |name: &str| WHOLE_LANES.contains(&name);
        let mut pushed: Vec<_> = pushed
            .into_iter()
            .filter(|filter| filters::is_plain(filter, &whole))
            .collect();
        pushed.push(filters::closed(&stored, lanes.closed_us)?);
        pushed.extend(lanes.width_us.map(filters::width));
        let input = self.scan_all(session, pushed).await?;
        let work = Work::Fold { min_devices, lanes };
        Ok(Arc::new(Gate::new(input, work, schema)))
    }
}

#[async_trait]
impl TableProvider for Published {
    fn schema(&self) -> SchemaRef {
        self.stored.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Plain filters go below to skip files, and are applied again above; others stay above.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.plain(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !filters.iter().all(|filter| self.plain(filter)) {
            return internal_err!("a filter that could fail was pushed to what is published");
        }
        let schema = project_schema(&self.schema(), projection)?;
        let metrics = filters::metrics(filters);
        let asked = (Arc::clone(&schema), filters.to_vec());
        let folded = match self.rule {
            Rule::Metrics => return self.rows(session, asked, Work::Metrics).await,
            Rule::Masked(columns) => {
                return self.rows(session, asked, Work::Masked(columns)).await;
            }
            Rule::Folded { min_devices, lanes } => (min_devices, lanes),
        };
        let may = |shown: bool| {
            let is = |name: &String| names::shown_per_device(name) == shown;
            metrics.as_ref().is_none_or(|names| names.iter().any(is))
        };
        let mut parts = vec![];
        if may(true) {
            parts.push(self.rows(session, asked.clone(), Work::Metrics).await?);
        }
        if may(false) {
            parts.push(self.folded(session, asked, folded).await?);
        }
        match parts.len() {
            0 => {
                let nothing = EmptyTable::new(schema);
                nothing.scan(session, None, &[], None).await
            }
            1 => Ok(parts.remove(0)),
            _ => UnionExec::try_new(parts),
        }
    }
}
