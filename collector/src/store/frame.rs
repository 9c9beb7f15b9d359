//! What one frame of the log holds: the outcome of intake, never the request, so that a
//! segment's rows and increments are a function of its bytes.

use datafusion::arrow::record_batch::RecordBatch;
use fathomline_queries::{
    rows::{self, DistributionRow, MeasurementRow, RowError, SpanRow},
    schema::Table,
};
use serde::{Deserialize, Serialize};

use super::ledger::Entry;

/// First byte of every frame; another one is another layout.
const LAYOUT: u8 = 2;

/// Admitted rows and what the ledger must remember of them.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Frame {
    pub(crate) entries: Vec<Entry>,
    pub(crate) distributions: Vec<DistributionRow>,
    pub(crate) measurements: Vec<MeasurementRow>,
    pub(crate) spans: Vec<SpanRow>,
}

/// Why a frame cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error(
        "the log frame has layout {0}, this version reads {LAYOUT}; use the version that wrote it to drain the log"
    )]
    Layout(u8),
    #[error("the log frame cannot be read: {0}")]
    Unreadable(#[from] postcard::Error),
}

impl Frame {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.distributions.is_empty()
            && self.measurements.is_empty()
            && self.spans.is_empty()
    }

    /// How many device rows it holds.
    pub(crate) fn len(&self) -> usize {
        self.distributions.len() + self.measurements.len()
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, FrameError> {
        Ok(postcard::to_extend(self, vec![LAYOUT])?)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        match bytes.split_first() {
            Some((&LAYOUT, rest)) => Ok(postcard::from_bytes(rest)?),
            other => Err(FrameError::Layout(other.map_or(0, |(layout, _)| *layout))),
        }
    }

    /// Takes over the rows and entries of `other`.
    pub(crate) fn append(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.distributions.extend(other.distributions);
        self.measurements.extend(other.measurements);
        self.spans.extend(other.spans);
    }

    /// Rows of every table this frame feeds, cohort increments among them; no empty batches.
    pub(crate) fn batches(&self, lane_us: i64) -> Result<Vec<(Table, RecordBatch)>, RowError> {
        let rollups = rows::rollup(&self.distributions, &self.measurements, lane_us);
        let batches = [
            (
                Table::Distributions,
                rows::distributions(&self.distributions)?,
            ),
            (Table::Measurements, rows::measurements(&self.measurements)?),
            (Table::Rollups, rows::rollups(&rollups)?),
            (Table::Spans, rows::spans(&self.spans)?),
        ];
        Ok(batches
            .into_iter()
            .filter(|(_, batch)| batch.num_rows() > 0)
            .collect())
    }
}
