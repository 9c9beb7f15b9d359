//! What each table looks like. Owns names, order and types of every stored column, for Arrow and
//! for Delta, from one list.
//!
//! Types are those every engine reads: strings, 64-bit integers and floats, UTC timestamps of
//! microseconds, dates, lists. No unsigned numbers and no maps: see `ARCHITECTURE.md`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel::{ArrayType, DataType as DeltaType, PrimitiveType, StructField};

/// Version of the layout of the data folder; written when it is created, checked when opened.
pub const FORMAT_VERSION: u32 = 4;

/// Column that every table is partitioned by: the UTC day of `time`.
pub const PARTITION: &str = column::DATE;

/// The tables there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// One device's histogram of one metric over one interval.
    Distributions,
    /// One device's counter or gauge over one interval.
    Measurements,
    /// Cohort increments a lane.
    Rollups,
    /// One device's histogram or counter of one metric over an hour.
    DeviceHours,
    /// Cohorts and sites an hour.
    RollupHours,
    /// Cohorts a day.
    RollupDays,
    /// One GenAI operation of a foreign SDK: when, how long, how many tokens. Never what was said.
    Spans,
    /// Judgements, copied from the collector's SQLite.
    Verdicts,
    /// Alerts, deliveries, operators' acts, copied likewise.
    Events,
}

#[derive(Clone, Copy)]
enum Type {
    Time,
    Date,
    Text,
    Integer,
    Small,
    Float,
    Integers,
    Floats,
    Flag,
}

/// Column names, spelt once.
pub mod column {
    /// End of the interval or lane; UTC, microseconds.
    pub const TIME: &str = "time";
    /// Its start.
    pub const START_TIME: &str = "start_time";
    /// End of the interval as the sender's clock had it.
    pub const SENDER_TIME: &str = "sender_time";
    /// UTC day of `time`, the partition.
    pub const DATE: &str = "date";
    /// Width of a lane, microseconds.
    pub const WIDTH_US: &str = "width_us";
    /// `service.name`.
    pub const SERVICE: &str = "service";
    /// `deployment.environment.name`.
    pub const ENVIRONMENT: &str = "environment";
    /// Installation id.
    pub const DEVICE: &str = "device";
    /// `fathomline.device.class`.
    pub const DEVICE_CLASS: &str = "device_class";
    /// `fathomline.site`.
    pub const SITE: &str = "site";
    /// `service.instance.id`.
    pub const BOOT: &str = "boot";
    /// Window sequence of the boot.
    pub const SEQUENCE: &str = "sequence";
    /// ok, corrected, unknown.
    pub const CLOCK: &str = "clock";
    /// It arrived after its lane had closed.
    pub const LATE: &str = "late";
    /// Model name.
    pub const MODEL: &str = "model";
    /// Model version.
    pub const VERSION: &str = "version";
    /// Model variant.
    pub const VARIANT: &str = "variant";
    /// Quantization.
    pub const QUANTIZATION: &str = "quantization";
    /// `gen_ai.operation.name`.
    pub const OPERATION: &str = "operation";
    /// `gen_ai.provider.name`.
    pub const PROVIDER: &str = "provider";
    /// Metric name.
    pub const METRIC: &str = "metric";
    /// UCUM unit.
    pub const UNIT: &str = "unit";
    /// Bounded category of the metric.
    pub const CATEGORY: &str = "category";
    /// delta or gauge, or what kind of event.
    pub const KIND: &str = "kind";
    /// How many values, or a counter's increase.
    pub const COUNT: &str = "count";
    /// A floating measurement.
    pub const VALUE: &str = "value";
    /// Sum of the values.
    pub const SUM: &str = "sum";
    /// Smallest value.
    pub const MIN: &str = "min";
    /// Largest value.
    pub const MAX: &str = "max";
    /// Resolution of an exponential histogram.
    pub const SCALE: &str = "scale";
    /// Values counted as zero.
    pub const ZERO_COUNT: &str = "zero_count";
    /// Largest size that counts as zero.
    pub const ZERO_THRESHOLD: &str = "zero_threshold";
    /// Index of the first positive bucket.
    pub const POS_OFFSET: &str = "pos_offset";
    /// Counts of the positive buckets, or of explicit ones.
    pub const POS_COUNTS: &str = "pos_counts";
    /// Index of the first negative bucket.
    pub const NEG_OFFSET: &str = "neg_offset";
    /// Counts of the negative buckets.
    pub const NEG_COUNTS: &str = "neg_counts";
    /// Bounds of an explicit histogram.
    pub const EXPLICIT_BOUNDS: &str = "explicit_bounds";
    /// Device windows merged into an increment.
    pub const DEVICE_WINDOWS: &str = "device_windows";
    /// Distinct sketch of the devices, or their number in a verdict.
    pub const DEVICES: &str = "devices";
    /// Trace of a span, hexadecimal.
    pub const TRACE_ID: &str = "trace_id";
    /// The span itself, hexadecimal.
    pub const SPAN_ID: &str = "span_id";
    /// The span around it, hexadecimal.
    pub const PARENT_SPAN_ID: &str = "parent_span_id";
    /// ok, error, unset.
    pub const STATUS: &str = "status";
    /// `error.type`.
    pub const ERROR_TYPE: &str = "error_type";
    /// `gen_ai.response.model`.
    pub const RESPONSE_MODEL: &str = "response_model";
    /// `gen_ai.response.finish_reasons`, joined by commas.
    pub const FINISH_REASONS: &str = "finish_reasons";
    /// From start to end, microseconds.
    pub const DURATION_US: &str = "duration_us";
    /// Tokens of the prompt.
    pub const INPUT_TOKENS: &str = "input_tokens";
    /// Tokens that were generated.
    pub const OUTPUT_TOKENS: &str = "output_tokens";
    /// Most tokens that were asked for.
    pub const MAX_TOKENS: &str = "max_tokens";
    /// Sampler setting that was asked for.
    pub const TEMPERATURE: &str = "temperature";
    /// Sampler setting that was asked for.
    pub const TOP_P: &str = "top_p";
    /// Stable id of a judged series.
    pub const SERIES: &str = "series";
    /// Number of the judgement of one lane.
    pub const REVISION: &str = "revision";
    /// steady, drifting, undecided.
    pub const STATE: &str = "state";
    /// How the verdict was reached.
    pub const METHOD: &str = "method";
    /// Evidence, on the threshold's scale.
    pub const SCORE: &str = "score";
    /// Limit of the score.
    pub const THRESHOLD: &str = "threshold";
    /// What the count is worth once clustering is taken into account.
    pub const EFFECTIVE_COUNT: &str = "effective_count";
    /// When the change began.
    pub const SINCE: &str = "since";
    /// Hash of the reference.
    pub const REFERENCE: &str = "reference";
    /// JSON: leading stream, distances, shortfall.
    pub const EVIDENCE: &str = "evidence";
    /// Stable id of an event.
    pub const ID: &str = "id";
    /// What an event was about.
    pub const SUBJECT: &str = "subject";
    /// JSON of an event.
    pub const BODY: &str = "body";
}

type Column = (&'static str, Type, bool);

const REQUIRED: bool = false;
const OPTIONAL: bool = true;

const DEVICE_COLUMNS: [Column; 21] = [
    (column::TIME, Type::Time, REQUIRED),
    (column::START_TIME, Type::Time, REQUIRED),
    (column::SENDER_TIME, Type::Time, REQUIRED),
    (column::DATE, Type::Date, REQUIRED),
    (column::SERVICE, Type::Text, REQUIRED),
    (column::ENVIRONMENT, Type::Text, OPTIONAL),
    (column::DEVICE, Type::Text, REQUIRED),
    (column::DEVICE_CLASS, Type::Text, REQUIRED),
    (column::SITE, Type::Text, OPTIONAL),
    (column::BOOT, Type::Text, OPTIONAL),
    (column::SEQUENCE, Type::Integer, OPTIONAL),
    (column::CLOCK, Type::Text, REQUIRED),
    (column::LATE, Type::Flag, REQUIRED),
    (column::MODEL, Type::Text, REQUIRED),
    (column::VERSION, Type::Text, REQUIRED),
    (column::VARIANT, Type::Text, REQUIRED),
    (column::QUANTIZATION, Type::Text, OPTIONAL),
    (column::OPERATION, Type::Text, OPTIONAL),
    (column::PROVIDER, Type::Text, OPTIONAL),
    (column::METRIC, Type::Text, REQUIRED),
    (column::UNIT, Type::Text, REQUIRED),
];

/// A histogram's columns. Explicit-bounds histograms have bounds and `pos_counts`, no scale.
const HISTOGRAM_COLUMNS: [Column; 12] = [
    (column::COUNT, Type::Integer, REQUIRED),
    (column::SUM, Type::Float, OPTIONAL),
    (column::MIN, Type::Float, OPTIONAL),
    (column::MAX, Type::Float, OPTIONAL),
    (column::SCALE, Type::Small, OPTIONAL),
    (column::ZERO_COUNT, Type::Integer, OPTIONAL),
    (column::ZERO_THRESHOLD, Type::Float, OPTIONAL),
    (column::POS_OFFSET, Type::Small, OPTIONAL),
    (column::POS_COUNTS, Type::Integers, OPTIONAL),
    (column::NEG_OFFSET, Type::Small, OPTIONAL),
    (column::NEG_COUNTS, Type::Integers, OPTIONAL),
    (column::EXPLICIT_BOUNDS, Type::Floats, OPTIONAL),
];

const COHORT_COLUMNS: [Column; 13] = [
    (column::TIME, Type::Time, REQUIRED),
    (column::START_TIME, Type::Time, REQUIRED),
    (column::DATE, Type::Date, REQUIRED),
    (column::WIDTH_US, Type::Integer, REQUIRED),
    (column::SERVICE, Type::Text, REQUIRED),
    (column::DEVICE_CLASS, Type::Text, REQUIRED),
    (column::MODEL, Type::Text, REQUIRED),
    (column::VERSION, Type::Text, REQUIRED),
    (column::VARIANT, Type::Text, REQUIRED),
    (column::QUANTIZATION, Type::Text, OPTIONAL),
    (column::METRIC, Type::Text, REQUIRED),
    (column::UNIT, Type::Text, REQUIRED),
    (column::CATEGORY, Type::Text, REQUIRED),
];

/// Who is behind an increment.
const REPORTING_COLUMNS: [Column; 2] = [
    (column::DEVICE_WINDOWS, Type::Integer, REQUIRED),
    (column::DEVICES, Type::Integers, REQUIRED),
];

/// Names of what `rows` makes of a histogram, in its order; `count` is made apart.
pub(crate) const HISTOGRAM_NAMES: [&str; 11] = [
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
];

const VERDICT_COLUMNS: [Column; 20] = [
    (column::TIME, Type::Time, REQUIRED),
    (column::DATE, Type::Date, REQUIRED),
    (column::SERIES, Type::Text, REQUIRED),
    (column::SERVICE, Type::Text, REQUIRED),
    (column::DEVICE_CLASS, Type::Text, REQUIRED),
    (column::MODEL, Type::Text, REQUIRED),
    (column::VERSION, Type::Text, REQUIRED),
    (column::VARIANT, Type::Text, REQUIRED),
    (column::METRIC, Type::Text, REQUIRED),
    (column::REVISION, Type::Small, REQUIRED),
    (column::STATE, Type::Text, REQUIRED),
    (column::METHOD, Type::Text, REQUIRED),
    (column::SCORE, Type::Float, OPTIONAL),
    (column::THRESHOLD, Type::Float, OPTIONAL),
    (column::COUNT, Type::Integer, REQUIRED),
    (column::EFFECTIVE_COUNT, Type::Float, OPTIONAL),
    (column::DEVICES, Type::Integer, REQUIRED),
    (column::SINCE, Type::Time, OPTIONAL),
    (column::REFERENCE, Type::Text, OPTIONAL),
    (column::EVIDENCE, Type::Text, REQUIRED),
];

const SPAN_COLUMNS: [Column; 31] = [
    (column::TIME, Type::Time, REQUIRED),
    (column::START_TIME, Type::Time, REQUIRED),
    (column::SENDER_TIME, Type::Time, REQUIRED),
    (column::DATE, Type::Date, REQUIRED),
    (column::SERVICE, Type::Text, REQUIRED),
    (column::ENVIRONMENT, Type::Text, OPTIONAL),
    (column::DEVICE, Type::Text, REQUIRED),
    (column::DEVICE_CLASS, Type::Text, REQUIRED),
    (column::SITE, Type::Text, OPTIONAL),
    (column::BOOT, Type::Text, OPTIONAL),
    (column::CLOCK, Type::Text, REQUIRED),
    (column::TRACE_ID, Type::Text, REQUIRED),
    (column::SPAN_ID, Type::Text, REQUIRED),
    (column::PARENT_SPAN_ID, Type::Text, OPTIONAL),
    (column::KIND, Type::Text, REQUIRED),
    (column::STATUS, Type::Text, REQUIRED),
    (column::ERROR_TYPE, Type::Text, OPTIONAL),
    (column::OPERATION, Type::Text, OPTIONAL),
    (column::PROVIDER, Type::Text, OPTIONAL),
    (column::MODEL, Type::Text, REQUIRED),
    (column::RESPONSE_MODEL, Type::Text, OPTIONAL),
    (column::VERSION, Type::Text, REQUIRED),
    (column::VARIANT, Type::Text, REQUIRED),
    (column::QUANTIZATION, Type::Text, OPTIONAL),
    (column::FINISH_REASONS, Type::Text, OPTIONAL),
    (column::DURATION_US, Type::Integer, REQUIRED),
    (column::INPUT_TOKENS, Type::Integer, OPTIONAL),
    (column::OUTPUT_TOKENS, Type::Integer, OPTIONAL),
    (column::MAX_TOKENS, Type::Integer, OPTIONAL),
    (column::TEMPERATURE, Type::Float, OPTIONAL),
    (column::TOP_P, Type::Float, OPTIONAL),
];

const EVENT_COLUMNS: [Column; 6] = [
    (column::TIME, Type::Time, REQUIRED),
    (column::DATE, Type::Date, REQUIRED),
    (column::ID, Type::Text, REQUIRED),
    (column::KIND, Type::Text, REQUIRED),
    (column::SUBJECT, Type::Text, REQUIRED),
    (column::BODY, Type::Text, REQUIRED),
];

const DEVICE_ORDER: [&str; 9] = [
    column::METRIC,
    column::SERVICE,
    column::MODEL,
    column::VERSION,
    column::VARIANT,
    column::DEVICE_CLASS,
    column::CATEGORY,
    column::DEVICE,
    column::TIME,
];

/// Rows of one lane and cohort lie side by side.
const COHORT_ORDER: [&str; 11] = [
    column::METRIC,
    column::SERVICE,
    column::MODEL,
    column::VERSION,
    column::VARIANT,
    column::DEVICE_CLASS,
    column::CATEGORY,
    column::TIME,
    column::WIDTH_US,
    column::QUANTIZATION,
    column::UNIT,
];

impl Table {
    /// Every table.
    pub const ALL: [Self; 9] = [
        Self::Distributions,
        Self::Measurements,
        Self::Rollups,
        Self::DeviceHours,
        Self::RollupHours,
        Self::RollupDays,
        Self::Spans,
        Self::Verdicts,
        Self::Events,
    ];

    /// Name in SQL, and of the folder under `tables/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Distributions => "distributions",
            Self::Measurements => "measurements",
            Self::Rollups => "rollups",
            Self::DeviceHours => "device_hours",
            Self::RollupHours => "rollup_hours",
            Self::RollupDays => "rollup_days",
            Self::Spans => "spans",
            Self::Verdicts => "verdicts",
            Self::Events => "events",
        }
    }

    /// Arrow schema, partition column in its place.
    pub fn arrow_schema(self) -> SchemaRef {
        let fields = self
            .columns()
            .into_iter()
            .map(|(name, of, optional)| Field::new(name, of.arrow(), optional));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The same as Delta fields, to create the table with.
    pub fn delta_fields(self) -> Vec<StructField> {
        let columns = self.columns().into_iter();
        columns
            .map(|(name, of, optional)| StructField::new(name, of.delta(), optional))
            .collect()
    }

    /// Whether its rows are made of those of finer tables, and could be made again.
    pub const fn is_coarse(self) -> bool {
        matches!(
            self,
            Self::DeviceHours | Self::RollupHours | Self::RollupDays
        )
    }

    /// Columns by which rows lie beside their like, the most telling first: files compress better,
    /// and a question about one metric or device skips most of them.
    pub const fn order(self) -> &'static [&'static str] {
        match self {
            Self::Distributions | Self::Measurements | Self::DeviceHours => &DEVICE_ORDER,
            Self::Rollups | Self::RollupHours | Self::RollupDays => &COHORT_ORDER,
            Self::Spans => &[column::MODEL, column::DEVICE, column::TIME],
            Self::Verdicts => &[column::SERIES, column::TIME],
            Self::Events => &[column::TIME],
        }
    }

    fn columns(self) -> Vec<Column> {
        let category = [(column::CATEGORY, Type::Text, OPTIONAL)];
        match self {
            Self::Distributions => [&DEVICE_COLUMNS[..], &category, &HISTOGRAM_COLUMNS].concat(),
            Self::Measurements => {
                let own = [
                    (column::KIND, Type::Text, REQUIRED),
                    (column::COUNT, Type::Integer, OPTIONAL),
                    (column::VALUE, Type::Float, OPTIONAL),
                ];
                [&DEVICE_COLUMNS[..], &category, &own].concat()
            }
            Self::Rollups | Self::RollupDays => {
                [&COHORT_COLUMNS[..], &HISTOGRAM_COLUMNS, &REPORTING_COLUMNS].concat()
            }
            Self::RollupHours => {
                let site = [(column::SITE, Type::Text, OPTIONAL)];
                let values = [&HISTOGRAM_COLUMNS[..], &REPORTING_COLUMNS].concat();
                [&COHORT_COLUMNS[..], &site, &values].concat()
            }
            Self::DeviceHours => {
                let own = [
                    (column::ENVIRONMENT, Type::Text, OPTIONAL),
                    (column::DEVICE, Type::Text, REQUIRED),
                    (column::SITE, Type::Text, OPTIONAL),
                ];
                let windows = [(column::DEVICE_WINDOWS, Type::Integer, REQUIRED)];
                let values = [&HISTOGRAM_COLUMNS[..], &windows].concat();
                [&COHORT_COLUMNS[..], &own, &values].concat()
            }
            Self::Spans => SPAN_COLUMNS.to_vec(),
            Self::Verdicts => VERDICT_COLUMNS.to_vec(),
            Self::Events => EVENT_COLUMNS.to_vec(),
        }
    }
}

impl Type {
    fn arrow(self) -> DataType {
        let list = |of| DataType::List(Arc::new(Field::new("element", of, false)));
        match self {
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Date => DataType::Date32,
            Self::Text => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Small => DataType::Int32,
            Self::Float => DataType::Float64,
            Self::Integers => list(DataType::Int64),
            Self::Floats => list(DataType::Float64),
            Self::Flag => DataType::Boolean,
        }
    }

    fn delta(self) -> DeltaType {
        let list = |of| DeltaType::from(ArrayType::new(DeltaType::Primitive(of), false));
        let one = DeltaType::Primitive;
        match self {
            Self::Time => one(PrimitiveType::Timestamp),
            Self::Date => one(PrimitiveType::Date),
            Self::Text => one(PrimitiveType::String),
            Self::Integer => one(PrimitiveType::Long),
            Self::Small => one(PrimitiveType::Integer),
            Self::Float => one(PrimitiveType::Double),
            Self::Integers => list(PrimitiveType::Long),
            Self::Floats => list(PrimitiveType::Double),
            Self::Flag => one(PrimitiveType::Boolean),
        }
    }
}
