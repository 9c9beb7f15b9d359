//! What commands share that read stored rows: the lanes of a data folder.

use std::path::Path;

use anyhow::Context as _;
use fathomline_queries::{
    drift::{Lane, SeriesKey},
    engine::{Engine, EngineLimits, committed},
    lanes,
    published::Publication,
    series::Span,
};

/// Committed lanes. Where their width was changed, the newest counts.
pub(super) struct Stored {
    engine: Engine,
    pub(super) lane_us: i64,
    /// Ends of the first lane and of the last.
    first_us: i64,
    pub(super) last_us: i64,
}

impl Stored {
    /// Those of a data folder as they are stored: judging needs small groups, too, and what is told
    /// of them is decided where it is told.
    pub(super) async fn open(data: &Path) -> anyhow::Result<Self> {
        let publication = Publication::everything();
        let engine = committed::open(data, EngineLimits::default(), publication).await?;
        let sql = "SELECT width_us, CAST(min(time) AS BIGINT), CAST(max(time) AS BIGINT) AS last
                   FROM rollups GROUP BY width_us ORDER BY last DESC LIMIT 1";
        let answer = engine.query_outside(sql).await?;
        let row = answer.rows.first();
        let row =
            row.context("there are no committed lanes yet; a collector commits them each minute")?;
        let number = |at: usize| row.get(at).and_then(serde_json::Value::as_i64);
        let numbers = number(0).zip(number(1)).zip(number(2));
        let ((lane_us, first_us), last_us) =
            numbers.context("cannot tell which lanes there are")?;
        Ok(Self {
            engine,
            lane_us,
            first_us,
            last_us,
        })
    }

    /// Where the newest lanes of so much time begin, or all of them where there are fewer.
    pub(super) fn newest_from_us(&self, time_us: i64) -> i64 {
        (self.last_us - time_us).max(self.first_us - self.lane_us)
    }

    /// The time from there to the last lane in parts so long, of which the last may be shorter.
    pub(super) fn spans(&self, mut from_us: i64, part_us: i64) -> impl Iterator<Item = Span> {
        let (width_us, last_us) = (self.lane_us, self.last_us);
        std::iter::from_fn(move || {
            let span = Span {
                width_us,
                from_us,
                to_us: (from_us + part_us).min(last_us),
            };
            from_us = span.to_us;
            (span.from_us < last_us).then_some(span)
        })
    }

    /// Lanes of the series of some metrics.
    pub(super) async fn lanes(
        &self,
        span: Span,
        metrics: &[&str],
    ) -> anyhow::Result<impl Iterator<Item = (SeriesKey, Lane)>> {
        let found = lanes::closed(&self.engine, span, metrics).await?;
        Ok(found.into_iter().map(lanes::SeriesLane::keyed))
    }
}
