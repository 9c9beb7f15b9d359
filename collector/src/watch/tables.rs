//! The watcher's two neighbours in the data plane, behind its own traits: lanes come from the
//! query engine, copies go to the store. In: spans and batches. Out: lanes, and nothing else.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::record_batch::RecordBatch;
use fathomline_queries::{
    drift::{self, DEVICES_REPORTING, SeriesKey},
    engine::Engine,
    lanes::{
        self,
        parts::{self, SeriesParts, Wanted},
    },
    schema::Table,
    series,
};

use super::{
    forward::{ControlRows, RowsError},
    lanes::{Asked, AskedParts, LaneCounts, LaneSource, LanesError, SeriesLanes},
};
use crate::store::ControlTables;

/// Lanes of one view of the stored rollups.
pub(crate) struct EngineLanes(pub(crate) Arc<Engine>);

fn span_of(asked: Asked<'_>) -> series::Span {
    series::Span {
        width_us: asked.lane_us,
        from_us: asked.span.from_us,
        to_us: asked.span.to_us,
    }
}

#[async_trait]
impl LaneSource for EngineLanes {
    async fn lanes(&self, asked: Asked<'_>) -> Result<SeriesLanes, LanesError> {
        let span = span_of(asked);
        let metrics = asked.metrics.iter().map(String::as_str);
        let (counted, metrics): (Vec<&str>, Vec<&str>) =
            metrics.partition(|metric| *metric == DEVICES_REPORTING);
        let mut found = SeriesLanes::new();
        for lane in lanes::closed(&self.0, span, &metrics).await? {
            let (key, lane) = lane.keyed();
            found.entry(key).or_default().push(lane);
        }
        if !counted.is_empty() {
            found.append(&mut drift::devices_reporting(&found));
        }
        Ok(found)
    }

    async fn counts(&self, asked: Asked<'_>) -> Result<LaneCounts, LanesError> {
        let metrics = asked.metrics.iter().map(String::as_str);
        let (reporting, metrics): (Vec<&str>, Vec<&str>) =
            metrics.partition(|metric| *metric == DEVICES_REPORTING);
        let mut counts = LaneCounts::new();
        for lane in lanes::counted(&self.0, span_of(asked), &metrics).await? {
            if !reporting.is_empty() {
                let cohort = SeriesKey {
                    metric: DEVICES_REPORTING.to_owned(),
                    ..lane.key.clone()
                };
                let most = counts.entry(cohort).or_default();
                let most = most.entry(lane.end_us).or_default();
                *most = (*most).max(i64::try_from(lane.devices)?);
            }
            let of = counts.entry(lane.key).or_default();
            of.insert(lane.end_us, i64::try_from(lane.count)?);
        }
        Ok(counts)
    }

    async fn parts(&self, asked: AskedParts<'_>) -> Result<SeriesParts, LanesError> {
        let wanted = Wanted {
            from_us: asked.span.from_us,
            to_us: asked.span.to_us,
            metrics: asked.metrics,
            models: asked.models,
        };
        Ok(match asked.hourly {
            true => parts::hours(&self.0, wanted).await?,
            false => parts::together(&self.0, wanted).await?,
        })
    }
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
