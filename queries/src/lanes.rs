//! What the watcher judges: every series of the watched metrics, lane by lane, in one query.
//!
//! In: a span of closed lanes and metric names. Out: one [`SeriesLane`] a series and lane,
//! increments already added up, series by series and in time's order. Lanes in which a series
//! sent nothing are absent: absence is no measurement.

pub mod parts;
pub mod rollout;

use std::sync::Arc;

use datafusion::{arrow::datatypes::DataType, common::ScalarValue};

use crate::{
    catalog::{LANE_COUNTS, LANES},
    drift::{Lane, SeriesKey, Summary},
    engine::{Engine, QueryError},
    row::{Row, rows},
    schema::column,
    series::{Series, Span, Sum, Values},
};

/// One closed lane of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesLane {
    /// Which series.
    pub series: Series,
    /// Start of the lane.
    pub start_us: i64,
    /// End of the lane.
    pub end_us: i64,
    /// What it looked like.
    pub values: Values,
    /// How many values.
    pub count: u64,
    /// Device windows merged; for categories at least this many.
    pub device_windows: u64,
    /// Distinct devices, approximate above 128.
    pub devices: u64,
}

impl SeriesLane {
    /// As it is judged: the series, and what it did.
    pub fn keyed(self) -> (SeriesKey, Lane) {
        let key = SeriesKey::from(self.series);
        let summary = match self.values {
            Values::Histogram(histogram) => Summary::Histogram(histogram),
            Values::Categories(counts) => Summary::Categories(counts),
        };
        let lane = Lane {
            start_us: self.start_us,
            end_us: self.end_us,
            summary,
            count: self.count,
            device_windows: self.device_windows,
            devices: self.devices,
        };
        (key, lane)
    }
}

/// Lanes that closed in the span, of every series of `metrics`, small groups as they are: judging
/// needs them, and says nothing of them that is not published.
///
/// # Errors
/// When the engine folds small groups, or its limits are reached.
pub async fn closed(
    engine: &Engine,
    span: Span,
    metrics: &[&str],
) -> Result<Vec<SeriesLane>, QueryError> {
    shows_everything(engine)?;
    let mut parameters = span.parameters();
    parameters.push(("metrics", texts(metrics)));
    let batches = engine.ask(&LANES, parameters).await?;
    let mut lanes = vec![];
    let mut open: Option<OpenLane> = None;
    for row in rows(&batches) {
        let (series, end_us) = (Series::of(row)?, row.time(column::TIME)?);
        if open
            .as_ref()
            .is_none_or(|lane| lane.series != series || lane.end_us != end_us)
        {
            let next = OpenLane::new(series, end_us, row)?;
            lanes.extend(open.replace(next).and_then(OpenLane::close));
        }
        if let Some(lane) = &mut open {
            lane.sum.add(row)?;
        }
    }
    lanes.extend(open.and_then(OpenLane::close));
    Ok(lanes)
}

/// How much one closed lane of one series holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneCount {
    /// Which series.
    pub key: SeriesKey,
    /// End of the lane.
    pub end_us: i64,
    /// How many values.
    pub count: u64,
    /// Distinct devices, approximate above 128.
    pub devices: u64,
}

/// What [`closed`] would give, counted without reading a histogram.
///
/// # Errors
/// As [`closed`].
pub async fn counted(
    engine: &Engine,
    span: Span,
    metrics: &[&str],
) -> Result<Vec<LaneCount>, QueryError> {
    shows_everything(engine)?;
    let mut parameters = span.parameters();
    parameters.push(("metrics", texts(metrics)));
    let batches = engine.ask(&LANE_COUNTS, parameters).await?;
    let counted = |row: Row<'_>| {
        Ok(LaneCount {
            key: SeriesKey::from(Series::of(row)?),
            end_us: row.time(column::TIME)?,
            count: row.count(column::COUNT)?,
            devices: row.devices(column::DEVICES)?.count(),
        })
    };
    rows(&batches).map(counted).collect()
}

/// # Errors
/// When the engine folds small groups: what is judged is what is stored.
fn shows_everything(engine: &Engine) -> Result<(), QueryError> {
    match engine.publication().folds() {
        false => Ok(()),
        true => {
            let folded = "lanes are judged as they are stored; ask an engine that shows everything";
            Err(QueryError::Failed(folded.to_owned()))
        }
    }
}

pub(crate) fn texts(texts: &[&str]) -> ScalarValue {
    let texts: Vec<_> = texts.iter().map(|text| ScalarValue::from(*text)).collect();
    ScalarValue::List(Arc::clone(&ScalarValue::new_list_nullable(
        &texts,
        &DataType::Utf8,
    )))
}

/// A lane whose categories are still being read.
struct OpenLane {
    series: Series,
    start_us: i64,
    end_us: i64,
    sum: Sum,
}

impl OpenLane {
    fn new(series: Series, end_us: i64, row: Row<'_>) -> Result<Self, QueryError> {
        let start_us = row.time(column::START_TIME)?;
        Ok(Self {
            series,
            start_us,
            end_us,
            sum: Sum::default(),
        })
    }

    fn close(self) -> Option<SeriesLane> {
        let (values, count) = self.sum.values()?;
        Some(SeriesLane {
            series: self.series,
            start_us: self.start_us,
            end_us: self.end_us,
            values,
            count,
            device_windows: self.sum.device_windows,
            devices: self.sum.devices.count(),
        })
    }
}

#[cfg(test)]
mod tests;
