//! The watcher's two neighbours in the data plane, behind its own traits: lanes come from the
//! query engine, copies go to the store. In: spans and batches. Out: lanes, and nothing else.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::record_batch::RecordBatch;
use fathomline_queries::{
    drift::{Lane, SeriesKey, Summary},
    engine::Engine,
    lanes::{self, SeriesLane},
    schema::Table,
    series::{self, Series, Values},
};

use super::{
    forward::{ControlRows, RowsError},
    lanes::{Asked, LaneSource, LanesError, SeriesLanes},
};
use crate::store::ControlTables;

/// Lanes of one view of the stored rollups.
pub(crate) struct EngineLanes(pub(crate) Arc<Engine>);

#[async_trait]
impl LaneSource for EngineLanes {
    async fn lanes(&self, asked: Asked<'_>) -> Result<SeriesLanes, LanesError> {
        let span = series::Span {
            width_us: asked.lane_us,
            from_us: asked.span.from_us,
            to_us: asked.span.to_us,
        };
        let metrics: Vec<&str> = asked.metrics.iter().map(String::as_str).collect();
        let mut found = SeriesLanes::new();
        for lane in lanes::closed(&self.0, span, &metrics).await? {
            let (key, lane) = split(lane);
            found.entry(key).or_default().push(lane);
        }
        Ok(found)
    }
}

fn split(lane: SeriesLane) -> (SeriesKey, Lane) {
    let Series {
        service,
        model,
        version,
        variant,
        device_class,
        metric,
    } = lane.series;
    let key = SeriesKey {
        service,
        model,
        version,
        variant,
        device_class,
        metric,
    };
    let summary = match lane.values {
        Values::Histogram(histogram) => Summary::Histogram(histogram),
        Values::Categories(counts) => Summary::Categories(counts),
    };
    let lane = Lane {
        start_us: lane.start_us,
        end_us: lane.end_us,
        summary,
        count: lane.count,
        device_windows: lane.device_windows,
        devices: lane.devices,
    };
    (key, lane)
}

#[async_trait]
impl ControlRows for ControlTables {
    async fn last_row(&self, table: Table) -> Result<i64, RowsError> {
        Ok(Self::last_row(self, table).await?)
    }

    async fn append(
        &self,
        last_row: i64,
        batches: Vec<(Table, RecordBatch)>,
    ) -> Result<(), RowsError> {
        Ok(Self::append(self, last_row, batches).await?)
    }

    async fn commit(&self, now: bool) -> Result<(), RowsError> {
        Ok(Self::commit(self, now).await?)
    }
}
