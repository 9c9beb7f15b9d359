//! Increments of one lane that lie in files beside each other become one.
//!
//! In: batches of `rollups`, sorted as the table is. Out: batches that hold a row for each lane and
//! cohort. Whatever adds rows up comes to the same: counts, buckets and devices exactly, sums to
//! 1e-12. Rows that would not add up so in every order stay apart.

use datafusion::{
    arrow::record_batch::RecordBatch,
    common::{DataFusionError, Result},
};

use super::{
    Distribution, RollupRow,
    rollup::{APART_MAX, added},
    stored,
};

/// Increments on their way from files to fewer.
#[derive(Debug, Default)]
pub struct Increments {
    /// Rows of the last lane and cohort, to which the next may add.
    last: Vec<RollupRow>,
}

impl Increments {
    /// Takes the next rows; gives those that no later one adds to.
    ///
    /// # Errors
    /// When the batch does not hold rows of `rollups`.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut whole = Vec::new();
        for row in stored::rollups(batch)? {
            let is_like = self.last.first().is_some_and(|last| are_like(last, &row));
            if !is_like || self.last.len() == APART_MAX {
                whole.append(&mut self.last);
            }
            if !self.last.iter_mut().any(|last| joined(last, &row)) {
                self.last.push(row);
            }
        }
        batch_of(&whole)
    }

    /// Gives the rows that were kept back.
    ///
    /// # Errors
    /// When they cannot be stored, which is a fault of ours.
    pub fn end(self) -> Result<RecordBatch> {
        batch_of(&self.last)
    }
}

fn batch_of(rows: &[RollupRow]) -> Result<RecordBatch> {
    super::rollups(rows).map_err(|error| DataFusionError::External(Box::new(error)))
}

fn are_like(a: &RollupRow, b: &RollupRow) -> bool {
    (a.time, a.width_us, &a.cohort) == (b.time, b.width_us, &b.cohort)
}

fn joined(into: &mut RollupRow, row: &RollupRow) -> bool {
    let Some(device_windows) = into.device_windows.checked_add(row.device_windows) else {
        return false;
    };
    let distribution = row.distribution.as_ref();
    if !add_up(into.distribution.as_ref(), distribution) || !added(into, row.count, distribution) {
        return false;
    }
    into.device_windows = device_windows;
    into.devices.merge(&row.devices);
    true
}

/// Whether the two come to the same in whatever order they and others are merged.
fn add_up(a: Option<&Distribution>, b: Option<&Distribution>) -> bool {
    match (a, b) {
        // How far a zero threshold widens depends on what it has met.
        (Some(Distribution::Exponential(a)), Some(Distribution::Exponential(b))) => {
            let exact = a.zero_threshold == 0.0 && b.zero_threshold == 0.0;
            exact && (a.sum + b.sum).is_finite()
        }
        // What one of the two does not know would be unknown of both.
        (Some(Distribution::Explicit(a)), Some(Distribution::Explicit(b))) => {
            let known = [(a.sum, b.sum), (a.min, b.min), (a.max, b.max)];
            let alike = known.iter().all(|(a, b)| a.is_some() == b.is_some());
            alike && a.sum.zip(b.sum).is_none_or(|(a, b)| (a + b).is_finite())
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;
