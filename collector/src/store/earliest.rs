//! How far back what arrived reaches, so that nobody looks for late rows where none came. In: times
//! of rows, once they are shown. Out: the earliest since it was last asked. Lost with the process:
//! whoever relies on it looks at everything after a start.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use fathomline_queries::rows::Clock;

use super::frame::Frame;

/// The earliest end of a window that was stored since it was last taken. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Earliest(Arc<AtomicI64>);

impl Default for Earliest {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MAX)))
    }
}

impl Earliest {
    /// Takes note of rows that queries can see by now. Those of unknown time are in no lane.
    pub(super) fn note_rows(&self, rows: &Frame) {
        let distributions = rows.distributions.iter().map(|row| &row.columns);
        let measurements = rows.measurements.iter().map(|row| &row.columns);
        let known = distributions
            .chain(measurements)
            .filter(|columns| columns.clock != Clock::Unknown);
        if let Some(time_us) = known.map(|columns| columns.time).min() {
            self.note(time_us);
        }
    }

    /// Takes note of a time.
    pub(crate) fn note(&self, time_us: i64) {
        self.0.fetch_min(time_us, Ordering::AcqRel);
    }

    /// The earliest, which is forgotten.
    pub(crate) fn take(&self) -> Option<i64> {
        let time_us = self.0.swap(i64::MAX, Ordering::AcqRel);
        (time_us != i64::MAX).then_some(time_us)
    }
}
