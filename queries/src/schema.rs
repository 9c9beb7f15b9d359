//! What each table looks like. Owns names, order and types of every stored column, for Arrow and
//! for Delta, from one list.
//!
//! Types are those every engine reads: strings, 64-bit integers and floats, UTC timestamps of
//! microseconds, dates, lists. No unsigned numbers and no maps: see `ARCHITECTURE.md`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel::{ArrayType, DataType as DeltaType, PrimitiveType, StructField};

/// Version of the layout of the data folder; written when it is created, checked when opened.
pub const FORMAT_VERSION: u32 = 1;

/// Column that every table is partitioned by: the UTC day of `time`.
pub const PARTITION: &str = "date";

/// The tables there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// One device's histogram of one metric over one interval.
    Distributions,
    /// One device's counter or gauge over one interval.
    Measurements,
    /// Cohort increments a lane.
    Rollups,
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
}

type Column = (&'static str, Type, bool);

const REQUIRED: bool = false;
const OPTIONAL: bool = true;

const DEVICE_COLUMNS: [Column; 20] = [
    ("time", Type::Time, REQUIRED),
    ("start_time", Type::Time, REQUIRED),
    ("sender_time", Type::Time, REQUIRED),
    (PARTITION, Type::Date, REQUIRED),
    ("service", Type::Text, REQUIRED),
    ("environment", Type::Text, OPTIONAL),
    ("device", Type::Text, REQUIRED),
    ("device_class", Type::Text, REQUIRED),
    ("site", Type::Text, OPTIONAL),
    ("boot", Type::Text, OPTIONAL),
    ("sequence", Type::Integer, OPTIONAL),
    ("clock", Type::Text, REQUIRED),
    ("model", Type::Text, REQUIRED),
    ("version", Type::Text, REQUIRED),
    ("variant", Type::Text, REQUIRED),
    ("quantization", Type::Text, OPTIONAL),
    ("operation", Type::Text, OPTIONAL),
    ("provider", Type::Text, OPTIONAL),
    ("metric", Type::Text, REQUIRED),
    ("unit", Type::Text, REQUIRED),
];

/// A histogram's columns. Explicit-bounds histograms have bounds and `pos_counts`, no scale.
const HISTOGRAM_COLUMNS: [Column; 12] = [
    ("count", Type::Integer, REQUIRED),
    ("sum", Type::Float, OPTIONAL),
    ("min", Type::Float, OPTIONAL),
    ("max", Type::Float, OPTIONAL),
    ("scale", Type::Small, OPTIONAL),
    ("zero_count", Type::Integer, OPTIONAL),
    ("zero_threshold", Type::Float, OPTIONAL),
    ("pos_offset", Type::Small, OPTIONAL),
    ("pos_counts", Type::Integers, OPTIONAL),
    ("neg_offset", Type::Small, OPTIONAL),
    ("neg_counts", Type::Integers, OPTIONAL),
    ("explicit_bounds", Type::Floats, OPTIONAL),
];

const COHORT_COLUMNS: [Column; 13] = [
    ("time", Type::Time, REQUIRED),
    ("start_time", Type::Time, REQUIRED),
    (PARTITION, Type::Date, REQUIRED),
    ("width_us", Type::Integer, REQUIRED),
    ("service", Type::Text, REQUIRED),
    ("device_class", Type::Text, REQUIRED),
    ("model", Type::Text, REQUIRED),
    ("version", Type::Text, REQUIRED),
    ("variant", Type::Text, REQUIRED),
    ("quantization", Type::Text, OPTIONAL),
    ("metric", Type::Text, REQUIRED),
    ("unit", Type::Text, REQUIRED),
    ("category", Type::Text, REQUIRED),
];

const VERDICT_COLUMNS: [Column; 20] = [
    ("time", Type::Time, REQUIRED),
    (PARTITION, Type::Date, REQUIRED),
    ("series", Type::Text, REQUIRED),
    ("service", Type::Text, REQUIRED),
    ("device_class", Type::Text, REQUIRED),
    ("model", Type::Text, REQUIRED),
    ("version", Type::Text, REQUIRED),
    ("variant", Type::Text, REQUIRED),
    ("metric", Type::Text, REQUIRED),
    ("revision", Type::Small, REQUIRED),
    ("state", Type::Text, REQUIRED),
    ("method", Type::Text, REQUIRED),
    ("score", Type::Float, OPTIONAL),
    ("threshold", Type::Float, OPTIONAL),
    ("count", Type::Integer, REQUIRED),
    ("effective_count", Type::Float, OPTIONAL),
    ("devices", Type::Integer, REQUIRED),
    ("since", Type::Time, OPTIONAL),
    ("reference", Type::Text, OPTIONAL),
    ("evidence", Type::Text, REQUIRED),
];

const EVENT_COLUMNS: [Column; 6] = [
    ("time", Type::Time, REQUIRED),
    (PARTITION, Type::Date, REQUIRED),
    ("id", Type::Text, REQUIRED),
    ("kind", Type::Text, REQUIRED),
    ("subject", Type::Text, REQUIRED),
    ("body", Type::Text, REQUIRED),
];

impl Table {
    /// Every table.
    pub const ALL: [Self; 5] = [
        Self::Distributions,
        Self::Measurements,
        Self::Rollups,
        Self::Verdicts,
        Self::Events,
    ];

    /// Name in SQL, and of the folder under `tables/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Distributions => "distributions",
            Self::Measurements => "measurements",
            Self::Rollups => "rollups",
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

    fn columns(self) -> Vec<Column> {
        let category = [("category", Type::Text, OPTIONAL)];
        match self {
            Self::Distributions => [&DEVICE_COLUMNS[..], &category, &HISTOGRAM_COLUMNS].concat(),
            Self::Measurements => {
                let own = [
                    ("kind", Type::Text, REQUIRED),
                    ("count", Type::Integer, OPTIONAL),
                    ("value", Type::Float, OPTIONAL),
                ];
                [&DEVICE_COLUMNS[..], &category, &own].concat()
            }
            Self::Rollups => {
                let own = [
                    ("device_windows", Type::Integer, REQUIRED),
                    ("devices", Type::Integers, REQUIRED),
                ];
                [&COHORT_COLUMNS[..], &HISTOGRAM_COLUMNS, &own].concat()
            }
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
        }
    }
}
