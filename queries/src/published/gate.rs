//! The operators behind which rows are ours to show. In: the stored rows of one table. Out: those
//! that may be shown, masked or folded.
//!
//! They are a barrier: nothing above them reaches below, neither a filter, which could fail on a
//! hidden row and so tell of it, nor a limit or a count from file statistics. Operators of the
//! engine push only through those that say they may; these say nothing.

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, AsArray, BooleanArray, new_null_array},
        compute::filter_record_batch,
        datatypes::{DataType, SchemaRef},
        record_batch::{RecordBatch, RecordBatchOptions},
    },
    common::{
        DataFusionError, Result, exec_datafusion_err, exec_err, tree_node::TreeNodeRecursion,
    },
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
        InputDistributionRequirements, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
};
use fathomline_wire::names::shown_per_device;
use futures::{StreamExt, TryStreamExt, stream};

use super::fold::Fold;
use crate::{
    lake::as_stored,
    rows::{RollupRow, rollups, stored_rollups},
    schema::{Table, column},
};

/// Rows a batch of what was folded.
const BATCH_ROWS: usize = 8192;

/// What happens to rows on their way out.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// Rows of metrics that are shown per device pass, as they are.
    Metrics,
    /// All rows pass; columns named here are null.
    Masked(&'static [&'static str]),
    /// Rollup rows of all other metrics, of these lanes, are folded.
    Fold { min_devices: usize, lanes: Lanes },
}

/// Lanes whose outputs are published.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes {
    /// Of this width alone, where one is named.
    pub(super) width_us: Option<i64>,
    /// That ended by then.
    pub(super) closed_us: i64,
}

impl Lanes {
    fn hold(self, row: &RollupRow) -> bool {
        row.time <= self.closed_us && self.width_us.is_none_or(|width| width == row.width_us)
    }
}

/// One such operator.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    input: Arc<dyn ExecutionPlan>,
    work: Work,
    /// What it gives: columns of its input, by name.
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl Gate {
    /// Gives the columns of `schema` from `input`, which has them and whatever `work` reads.
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, work: Work, schema: SchemaRef) -> Self {
        let partitions = match work {
            Work::Fold { .. } => 1,
            _ => input.output_partitioning().partition_count(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            input,
            work,
            schema,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for Gate {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.work {
            Work::Metrics => write!(f, "Published: metrics shown per device"),
            Work::Masked(columns) => write!(f, "Published: without {}", columns.join(", ")),
            Work::Fold { min_devices, .. } => {
                write!(f, "Published: cohorts of at least {min_devices} devices")
            }
        }
    }
}

impl ExecutionPlan for Gate {
    fn name(&self) -> &str {
        "Published"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![match self.work {
            Work::Fold { .. } => Distribution::SinglePartition,
            _ => Distribution::UnspecifiedDistribution,
        }])
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children)
            .map_err(|_| exec_datafusion_err!("what is published has one input"))?;
        let schema = Arc::clone(&self.schema);
        Ok(Arc::new(Self::new(input, self.work.clone(), schema)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schema = Arc::clone(&self.schema);
        let rows = self.input.execute(partition, Arc::clone(&context))?;
        let out = match self.work.clone() {
            Work::Metrics => rows
                .map(move |batch| project(&shown(&batch?)?, &schema, &[]))
                .boxed(),
            Work::Masked(columns) => rows
                .map(move |batch| project(&batch?, &schema, columns))
                .boxed(),
            Work::Fold { min_devices, lanes } => {
                let consumer = MemoryConsumer::new("published rollups");
                let reserved = consumer.register(context.memory_pool());
                let fold = Fold::new(min_devices);
                let folded = folded(rows, fold, lanes, reserved);
                let batch = async move { Ok::<_, DataFusionError>(slices(&folded.await?, schema)) };
                stream::once(batch).try_flatten().boxed()
            }
        };
        let schema = Arc::clone(&self.schema);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, out)))
    }
}

/// Rows of metrics that are shown per device.
fn shown(batch: &RecordBatch) -> Result<RecordBatch> {
    let kept = metrics(batch, shown_per_device)?;
    Ok(filter_record_batch(batch, &kept)?)
}

fn metrics(batch: &RecordBatch, wanted: fn(&str) -> bool) -> Result<BooleanArray> {
    let Some(names) = batch.column_by_name(column::METRIC) else {
        return exec_err!("rows without a metric cannot be published");
    };
    let wanted = |name: Option<&str>| name.is_some_and(wanted);
    if let Some(names) = names.as_string_view_opt() {
        return Ok(names.iter().map(|name| Some(wanted(name))).collect());
    }
    match names.as_string_opt::<i32>() {
        Some(names) => Ok(names.iter().map(|name| Some(wanted(name))).collect()),
        None => exec_err!("metric is of the unexpected type {}", names.data_type()),
    }
}

/// The columns of `schema`, those in `masked` without their values.
fn project(batch: &RecordBatch, schema: &SchemaRef, masked: &[&str]) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let column = |name: &str, of: &DataType| match batch.column_by_name(name) {
        _ if masked.contains(&name) => Ok(new_null_array(of, rows)),
        Some(column) => Ok(Arc::clone(column)),
        None => Err(exec_datafusion_err!(
            "the rows to publish have no column {name}"
        )),
    };
    let columns = schema
        .fields()
        .iter()
        .map(|field| column(field.name(), field.data_type()));
    let columns = columns.collect::<Result<_>>()?;
    // Counting rows needs no column.
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

/// Adds up everything that comes.
async fn folded(
    mut rows: SendableRecordBatchStream,
    mut fold: Fold,
    lanes: Lanes,
    reserved: MemoryReservation,
) -> Result<RecordBatch> {
    let schema = Table::Rollups.arrow_schema();
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let kept = metrics(&batch, |name| !shown_per_device(name))?;
        let batch = as_stored(&filter_record_batch(&batch, &kept)?, &schema)?;
        for row in stored_rollups(&batch)? {
            if lanes.hold(&row) {
                fold.add(row);
            }
        }
        reserved.try_resize(fold.bytes())?;
    }
    rollups(&fold.finish()).map_err(|error| DataFusionError::External(Box::new(error)))
}

fn slices(
    batch: &RecordBatch,
    schema: SchemaRef,
) -> impl stream::Stream<Item = Result<RecordBatch>> + use<> {
    let starts = (0..batch.num_rows()).step_by(BATCH_ROWS);
    let slices = starts.map(|start| {
        let rows = BATCH_ROWS.min(batch.num_rows() - start);
        batch.slice(start, rows)
    });
    let slices: Vec<_> = slices.collect();
    stream::iter(slices).map(move |batch| match schema.fields().is_empty() {
        true => project(&batch, &schema, &[]),
        false => Ok(as_stored(&batch, &schema)?),
    })
}
