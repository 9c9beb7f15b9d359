//! Where lanes come from. A trait, because the watcher and the freezing of references need lanes
//! and not an engine, and because tests bring their own.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fathomline_queries::{
    drift::{Lane, SeriesKey},
    lanes::parts::SeriesParts,
};

use super::{late, schedule::Span};

/// Lanes of each series, oldest first. A lane without records is absent.
pub(crate) type SeriesLanes = BTreeMap<SeriesKey, Vec<Lane>>;

/// What lanes hold, by series and the end of the lane: records, or devices where those are counted.
pub(crate) type LaneCounts = BTreeMap<SeriesKey, BTreeMap<i64, i64>>;

/// Why there are no lanes.
pub(crate) type LanesError = Box<dyn std::error::Error + Send + Sync>;

/// Which lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// When they ended.
    pub(crate) span: Span,
    /// How wide they are.
    pub(crate) lane_us: i64,
    /// Of which metrics.
    pub(crate) metrics: &'a [String],
}

/// Which parts of lanes, device by device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskedParts<'a> {
    /// When they ended.
    pub(crate) span: Span,
    /// Of which metrics.
    pub(crate) metrics: &'a [&'a str],
    /// Of which models.
    pub(crate) models: &'a [&'a str],
    /// Hour by hour, of the hours that were built; together otherwise.
    pub(crate) hourly: bool,
}

/// Reads lanes from one view of the stored rollups.
#[async_trait]
pub(crate) trait LaneSource: Send + Sync {
    /// The lanes that were asked for, hot rows included.
    async fn lanes(&self, asked: Asked<'_>) -> Result<SeriesLanes, LanesError>;

    /// How much those lanes hold, for whoever wants to know whether that is more than it was.
    async fn counts(&self, asked: Asked<'_>) -> Result<LaneCounts, LanesError> {
        let lanes = self.lanes(asked).await?.into_iter();
        let counts = lanes.map(|(key, lanes)| {
            let of = lanes
                .iter()
                .map(|lane| (lane.end_us, late::held(&key, lane)));
            let of = of.collect();
            (key, of)
        });
        Ok(counts.collect())
    }

    /// What each device did; nothing where nobody knows.
    async fn parts(&self, _: AskedParts<'_>) -> Result<SeriesParts, LanesError> {
        Ok(SeriesParts::new())
    }
}
