//! Rows as plain structs: what the write-ahead log holds and what becomes Arrow.
//!
//! In: what intake admitted, what the watcher judged. Out: Arrow batches in the exact schema of
//! `schema.rs` (`rows/batch.rs`) and back (`rows/stored.rs`), and the cohort increments that device
//! rows add up to (`rows/rollup.rs`), once more where files are joined (`rows/increments.rs`).
//! Times are microseconds since the Unix epoch. Never: a clock, IO.

mod batch;
mod devices;
mod increments;
mod rollup;
mod spans;
mod stored;

use fathomline_wire::histogram::{ExplicitHistogram, ExponentialHistogram};
use serde::{Deserialize, Serialize};

pub(crate) use batch::histogram_columns;
pub use batch::{RowError, distributions, events, measurements, rollups, verdicts};
pub use devices::DeviceSketch;
pub use increments::Increments;
pub use rollup::{lane_end, rollup};
pub use spans::{SpanKind, SpanRow, SpanStatus, spans};
pub(crate) use stored::rollups as stored_rollups;

/// Whether a row's time can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Clock {
    /// The sender's clock agreed with the collector's.
    Ok,
    /// It did not; times were moved by the offset seen at the boot's first contact.
    Corrected,
    /// It cannot be told; the row is kept and enters no lane.
    Unknown,
}

impl Clock {
    /// The value of the `clock` column.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Corrected => "corrected",
            Self::Unknown => "unknown",
        }
    }
}

/// Columns that both device tables share: when, who, which model, which metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceColumns {
    /// End of the interval, corrected.
    pub time: i64,
    /// Start of the interval, corrected.
    pub start_time: i64,
    /// End of the interval as the sender's clock had it.
    pub sender_time: i64,
    /// `service.name`.
    pub service: String,
    /// `deployment.environment.name`.
    pub environment: Option<String>,
    /// Installation id.
    pub device: String,
    /// `fathomline.device.class`.
    pub device_class: String,
    /// `fathomline.site`.
    pub site: Option<String>,
    /// `service.instance.id`.
    pub boot: Option<String>,
    /// Window sequence of the boot, for our SDK.
    pub sequence: Option<i64>,
    /// Whether `time` can be trusted.
    pub clock: Clock,
    /// Whether it arrived after its lane had closed.
    pub late: bool,
    /// `gen_ai.request.model`.
    pub model: String,
    /// `fathomline.model.version`.
    pub version: String,
    /// `fathomline.model.variant`.
    pub variant: String,
    /// `fathomline.model.quantization`.
    pub quantization: Option<String>,
    /// `gen_ai.operation.name`.
    pub operation: Option<String>,
    /// `gen_ai.provider.name`.
    pub provider: Option<String>,
    /// Metric name.
    pub metric: String,
    /// UCUM unit.
    pub unit: String,
}

/// A distribution as it was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Distribution {
    /// Logarithmic buckets.
    Exponential(ExponentialHistogram),
    /// Fixed bounds of a foreign SDK.
    Explicit(ExplicitHistogram),
}

/// One device's histogram of one metric over one interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DistributionRow {
    /// When, who, what.
    pub columns: DeviceColumns,
    /// Bounded category, for metrics that have one.
    pub category: Option<String>,
    /// The counts.
    pub distribution: Distribution,
}

/// What a measurement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MeasurementKind {
    /// What was added in the interval.
    Delta,
    /// The last value in the interval.
    Gauge,
}

/// One device's counter or gauge over one interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasurementRow {
    /// When, who, what.
    pub columns: DeviceColumns,
    /// Bounded category, for metrics that have one.
    pub category: Option<String>,
    /// Delta or gauge.
    pub kind: MeasurementKind,
    /// Integer value, if it was one.
    pub count: Option<i64>,
    /// Floating value, if it was one.
    pub value: Option<f64>,
}

/// What one lane of one cohort adds up to, or a part of it: rows of one lane add up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RollupRow {
    /// End of the lane.
    pub time: i64,
    /// Width of the lane in microseconds.
    pub width_us: i64,
    /// Which cohort.
    pub cohort: Cohort,
    /// How many values, or the counter's increase.
    pub count: i64,
    /// The merged histogram, for distributions.
    pub distribution: Option<Distribution>,
    /// Device windows merged into this row.
    pub device_windows: i64,
    /// Which devices, approximately beyond 128.
    pub devices: DeviceSketch,
}

/// A bounded group of devices, one metric and one category of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cohort {
    /// `service.name`.
    pub service: String,
    /// `fathomline.device.class`.
    pub device_class: String,
    /// Model name.
    pub model: String,
    /// Model version.
    pub version: String,
    /// Model variant.
    pub variant: String,
    /// Quantization.
    pub quantization: Option<String>,
    /// Metric name.
    pub metric: String,
    /// UCUM unit.
    pub unit: String,
    /// Category, empty if the metric has none.
    pub category: String,
}

/// One judgement of one series, as SQLite holds it and Delta copies it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerdictRow {
    /// End of the lane judged.
    pub time: i64,
    /// Stable id of the series.
    pub series: String,
    /// `service.name`.
    pub service: String,
    /// `fathomline.device.class`.
    pub device_class: String,
    /// Model name.
    pub model: String,
    /// Model version.
    pub version: String,
    /// Model variant.
    pub variant: String,
    /// Metric name.
    pub metric: String,
    /// 0, and one more for each later judgement of the same lane.
    pub revision: i32,
    /// steady, drifting, undecided.
    pub state: String,
    /// How the verdict was reached.
    pub method: String,
    /// Evidence, on the threshold's scale; none while undecided.
    pub score: Option<f64>,
    /// Limit; none while undecided.
    pub threshold: Option<f64>,
    /// Inferences in the lane.
    pub count: i64,
    /// What they are worth once clustering is taken into account.
    pub effective_count: Option<f64>,
    /// Devices in the lane.
    pub devices: i64,
    /// When the change began.
    pub since: Option<i64>,
    /// Hash of the reference, if there is one.
    pub reference: Option<String>,
    /// JSON: leading stream, distances, shortfall.
    pub evidence: String,
}

/// Something that happened: an alert, a delivery, an operator's act.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// When.
    pub time: i64,
    /// Stable id, the webhook's id where there is one.
    pub id: String,
    /// What kind.
    pub kind: String,
    /// What it was about, a series id say.
    pub subject: String,
    /// JSON.
    pub body: String,
}
