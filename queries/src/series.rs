//! One metric of one cohort: which it is, what it looked like over a span, and how it moved.
//!
//! In: a series and a span of lanes `(from, to]`. Out: merged histograms or category counts.
//! Numbers come from rollups, so the cost grows with cohorts and not with devices.

use std::{collections::BTreeMap, fmt};

use datafusion::{arrow::record_batch::RecordBatch, common::ScalarValue};
use fathomline_wire::{histogram::ExponentialHistogram, names};
use serde::{Deserialize, Serialize};

use crate::{
    catalog::{BUILT, SERIES_SPAN, SERIES_TREND, SERIES_TREND_LONG},
    drift::SeriesKey,
    engine::{Engine, QueryError},
    row::{Row, rows, timestamp},
    rows::DeviceSketch,
    schema::column,
};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// Which series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Series {
    /// `service.name`.
    pub service: String,
    /// Model name.
    pub model: String,
    /// Model version.
    pub version: String,
    /// Model variant.
    pub variant: String,
    /// `fathomline.device.class`.
    pub device_class: String,
    /// Metric name.
    pub metric: String,
}

/// Lanes of `width_us` that ended in `(from_us, to_us]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Width of the collector's lanes.
    pub width_us: i64,
    /// Before the first lane end.
    pub from_us: i64,
    /// The last lane end.
    pub to_us: i64,
}

/// What values looked like.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Of a distribution.
    Histogram(ExponentialHistogram),
    /// Of a counter split by category.
    Categories(BTreeMap<String, u64>),
}

/// A series over a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesSpan {
    /// UCUM unit.
    pub unit: String,
    /// What it looked like.
    pub values: Values,
    /// How many values.
    pub count: u64,
    /// Device windows merged; for categories at least this many.
    pub device_windows: u64,
    /// Distinct devices, approximate above 128.
    pub devices: u64,
}

/// A series over one step of a trend.
#[derive(Clone, Debug, PartialEq)]
pub struct TrendPoint {
    /// Start of the step.
    pub start_us: i64,
    /// How many values.
    pub count: u64,
    /// Their mean; none for categories.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// Distinct devices, approximate above 128.
    pub devices: u64,
}

/// What one series looked like over a span; none where nothing was counted.
///
/// # Errors
/// When the engine's limits are reached.
pub async fn span(
    engine: &Engine,
    series: &Series,
    span: Span,
) -> Result<Option<SeriesSpan>, QueryError> {
    let batches = engine.ask(&SERIES_SPAN, parameters(series, span)).await?;
    let mut sum = Sum::default();
    let mut unit = String::new();
    for row in rows(&batches) {
        unit = row.text(column::UNIT)?;
        sum.add(row)?;
    }
    let Some((values, count)) = sum.values() else {
        return Ok(None);
    };
    let (device_windows, devices) = (sum.device_windows, sum.devices.count());
    Ok(Some(SeriesSpan {
        unit,
        values,
        count,
        device_windows,
        devices,
    }))
}

/// How one series moved over a span, in steps of `step_us` that start at its beginning. A step of
/// an hour or more is rounded up to whole hours (of a day or more, to whole days), begins on one,
/// and is read from what was built of them; rows that came late since then are not in it yet.
///
/// # Errors
/// When the engine's limits are reached.
pub async fn trend(
    engine: &Engine,
    series: &Series,
    span: Span,
    step_us: i64,
) -> Result<Vec<TrendPoint>, QueryError> {
    // Hours of outputs are not published: less their lanes, they would tell of few devices.
    let hours = names::shown_per_device(&series.metric) || !engine.publication().folds();
    let batches = if step_us < HOUR_US || !hours {
        let mut parameters = parameters(series, span);
        parameters.push(("step", interval(step_us)));
        engine.ask(&SERIES_TREND, parameters).await?
    } else {
        long_trend(engine, series, span, step_us).await?
    };
    let point = |row: Row<'_>| {
        Ok(TrendPoint {
            start_us: row.time(column::START_TIME)?,
            count: row.count(column::COUNT)?,
            mean: row.float("mean")?,
            p50: row.float("p50")?,
            p95: row.float("p95")?,
            devices: row.count(column::DEVICES)?,
        })
    };
    rows(&batches).map(point).collect()
}

/// Hours and days are few and kept for long: a trend over a year reads no lane but the last ones.
async fn long_trend(
    engine: &Engine,
    series: &Series,
    span: Span,
    step_us: i64,
) -> Result<Vec<RecordBatch>, QueryError> {
    let unit_us = if step_us < DAY_US { HOUR_US } else { DAY_US };
    let step_us = step_us.saturating_add(unit_us - 1) / unit_us * unit_us;
    let span = Span {
        from_us: span.from_us.div_euclid(unit_us) * unit_us,
        ..span
    };
    let asked = vec![
        ("from", timestamp(span.from_us)),
        ("to", timestamp(span.to_us)),
    ];
    let batches = engine.ask(&BUILT, asked).await?;
    let (mut hours_to, mut days_to) = (span.from_us, span.from_us);
    for row in rows(&batches) {
        let built = |name| Ok::<_, QueryError>(row.optional_time(name)?.unwrap_or(span.from_us));
        if unit_us == DAY_US {
            days_to = built("days_to")?;
        }
        hours_to = built("hours_to")?.max(days_to);
    }
    let mut parameters = parameters(series, span);
    parameters.extend([
        ("step", interval(step_us)),
        ("days_to", timestamp(days_to)),
        ("hours_to", timestamp(hours_to)),
    ]);
    engine.ask(&SERIES_TREND_LONG, parameters).await
}

fn interval(step_us: i64) -> ScalarValue {
    ScalarValue::new_interval_mdn(0, 0, step_us.saturating_mul(1000))
}

impl Series {
    pub(crate) fn of(row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            service: row.text(column::SERVICE)?,
            model: row.text(column::MODEL)?,
            version: row.text(column::VERSION)?,
            variant: row.text(column::VARIANT)?,
            device_class: row.text(column::DEVICE_CLASS)?,
            metric: row.text(column::METRIC)?,
        })
    }
}

impl From<Series> for SeriesKey {
    fn from(series: Series) -> Self {
        Self {
            service: series.service,
            model: series.model,
            version: series.version,
            variant: series.variant,
            device_class: series.device_class,
            metric: series.metric,
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {}",
            self.model, self.version, self.device_class, self.metric
        )
    }
}

impl Span {
    pub(crate) fn parameters(self) -> Vec<(&'static str, ScalarValue)> {
        vec![
            (column::WIDTH_US, ScalarValue::from(self.width_us)),
            ("from", timestamp(self.from_us)),
            ("to", timestamp(self.to_us)),
        ]
    }
}

fn parameters(series: &Series, span: Span) -> Vec<(&'static str, ScalarValue)> {
    let mut parameters = span.parameters();
    parameters.extend([
        (column::SERVICE, ScalarValue::from(series.service.as_str())),
        (column::MODEL, ScalarValue::from(series.model.as_str())),
        (column::VERSION, ScalarValue::from(series.version.as_str())),
        (column::VARIANT, ScalarValue::from(series.variant.as_str())),
        (
            column::DEVICE_CLASS,
            ScalarValue::from(series.device_class.as_str()),
        ),
        (column::METRIC, ScalarValue::from(series.metric.as_str())),
    ]);
    parameters
}

/// Rows of one series and lane or span, one a category, taken together.
#[derive(Default)]
pub(crate) struct Sum {
    histogram: Option<ExponentialHistogram>,
    categories: BTreeMap<String, u64>,
    pub(crate) device_windows: u64,
    pub(crate) devices: DeviceSketch,
}

impl Sum {
    pub(crate) fn add(&mut self, row: Row<'_>) -> Result<(), QueryError> {
        self.add_values(row)?;
        // One device window counts in each of its categories, so their sum would be too many.
        let device_windows = row.count(column::DEVICE_WINDOWS)?;
        self.device_windows = self.device_windows.max(device_windows);
        self.devices.merge(&row.devices(column::DEVICES)?);
        Ok(())
    }

    /// Of rows that say nothing of who is behind them.
    pub(crate) fn add_values(&mut self, row: Row<'_>) -> Result<(), QueryError> {
        match (row.histogram("histogram")?, &mut self.histogram) {
            (Some(histogram), Some(sum)) => sum.merge(&histogram),
            (Some(histogram), none) => *none = Some(histogram),
            (None, _) => {
                // Intake lets no negative count in; one that an older version stored must not
                // stop every other series from being read.
                let count = row.integer(column::COUNT)?.max(0).unsigned_abs();
                let category = row.text(column::CATEGORY)?;
                let sum = self.categories.entry(category).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        Ok(())
    }

    /// The values and how many there are; none for an empty sum.
    pub(crate) fn values(&self) -> Option<(Values, u64)> {
        match &self.histogram {
            Some(histogram) => Some((Values::Histogram(histogram.clone()), histogram.count)),
            None if self.categories.is_empty() => None,
            None => {
                let count = self.categories.values().sum();
                Some((Values::Categories(self.categories.clone()), count))
            }
        }
    }
}

#[cfg(test)]
mod tests;
