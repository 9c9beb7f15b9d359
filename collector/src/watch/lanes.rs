//! Where lanes come from. A trait, because the watcher and the freezing of references need lanes
//! and not an engine, and because tests bring their own.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fathomline_queries::{
    drift::{Lane, SeriesKey},
    lanes::parts::SeriesParts,
};

use super::schedule::Span;

/// Lanes of each series, oldest first. A lane without records is absent.
pub(crate) type SeriesLanes = BTreeMap<SeriesKey, Vec<Lane>>;

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

    /// What each device did; nothing where nobody knows.
    async fn parts(&self, _: AskedParts<'_>) -> Result<SeriesParts, LanesError> {
        Ok(SeriesParts::new())
    }
}
