//! Device rows to cohort increments. Pure, so that a log segment gives the same rollups however
//! often it is replayed.
//!
//! In: admitted device rows. Out: one [`RollupRow`] a lane and cohort. Gauges do not roll up
//! (levels do not add), and rows whose time is unknown enter no lane. A floating increase, joules
//! say, has no number of events behind it: it is one value of a distribution without bounds, whose
//! sum is the whole and whose count is how many device windows said something.

use std::collections::HashMap;

use fathomline_wire::{histogram::ExplicitHistogram, limits::POINT_COUNT_MAX};

use super::{
    Clock, Cohort, DeviceColumns, DeviceSketch, Distribution, DistributionRow, MeasurementKind,
    MeasurementRow, RollupRow,
};

/// Rows of one lane and cohort that are looked through for one that takes more: bounds of foreign
/// histograms can all differ, and whoever sends them must not make everybody wait.
pub(super) const APART_MAX: usize = 64;

/// End of the lane that an interval ending at `time` belongs to. Lanes are `(start, end]`.
pub fn lane_end(time: i64, width_us: i64) -> i64 {
    ((time - 1).div_euclid(width_us) + 1) * width_us
}

/// What the rows add up to in lanes of `width_us`.
pub fn rollup(
    distributions: &[DistributionRow],
    measurements: &[MeasurementRow],
    width_us: i64,
) -> Vec<RollupRow> {
    let mut lanes = Lanes {
        width_us,
        found: HashMap::new(),
        rows: Vec::new(),
    };
    for row in distributions {
        lanes.add(
            &row.columns,
            row.category.as_deref().unwrap_or_default(),
            Increment::Values(&row.distribution),
        );
    }
    for row in measurements
        .iter()
        .filter(|row| row.kind == MeasurementKind::Delta)
    {
        let category = row.category.as_deref().unwrap_or_default();
        match (row.count, row.value) {
            (Some(count), _) => lanes.add(&row.columns, category, Increment::Count(count)),
            (None, Some(value)) => {
                let amount = amount(value);
                lanes.add(&row.columns, category, Increment::Values(&amount));
            }
            (None, None) => {}
        }
    }
    // Stable: rows that only bounds keep apart stay in the order they came in.
    lanes
        .rows
        .sort_by(|a, b| (a.time, &a.cohort).cmp(&(b.time, &b.cohort)));
    lanes.rows
}

/// A floating increase as the one value it is.
fn amount(value: f64) -> Distribution {
    Distribution::Explicit(ExplicitHistogram {
        bounds: vec![],
        counts: vec![1],
        count: 1,
        sum: Some(value),
        min: Some(value),
        max: Some(value),
    })
}

enum Increment<'a> {
    Values(&'a Distribution),
    Count(i64),
}

/// One lane and cohort, by the names that rows hold: none is copied to look it up.
#[derive(PartialEq, Eq, Hash)]
struct Place<'a> {
    time: i64,
    names: [&'a str; 8],
    quantization: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn of(columns: &'a DeviceColumns, category: &'a str, time: i64) -> Self {
        Self {
            time,
            names: [
                &columns.service,
                &columns.device_class,
                &columns.model,
                &columns.version,
                &columns.variant,
                &columns.metric,
                &columns.unit,
                category,
            ],
            quantization: columns.quantization.as_deref(),
        }
    }
}

struct Lanes<'a> {
    width_us: i64,
    /// Rows of one lane and cohort; several only where bounds of foreign histograms differ.
    found: HashMap<Place<'a>, Vec<usize>>,
    rows: Vec<RollupRow>,
}

impl<'a> Lanes<'a> {
    fn add(&mut self, columns: &'a DeviceColumns, category: &'a str, increment: Increment<'_>) {
        if columns.clock == Clock::Unknown {
            return;
        }
        let time = lane_end(columns.time, self.width_us);
        let found = self
            .found
            .entry(Place::of(columns, category, time))
            .or_default();
        let (count, distribution) = match increment {
            Increment::Count(count) => (count, None),
            Increment::Values(values) => (
                i64::try_from(values.count()).unwrap_or(i64::MAX),
                Some(values),
            ),
        };
        let devices = DeviceSketch::of(&columns.device);
        for at in found.iter().rev().take(APART_MAX) {
            let row = &mut self.rows[*at];
            if added(row, count, distribution) {
                row.device_windows += 1;
                row.devices.merge(&devices);
                return;
            }
        }
        found.push(self.rows.len());
        self.rows.push(RollupRow {
            time,
            width_us: self.width_us,
            cohort: cohort(columns, category),
            count,
            distribution: distribution.cloned(),
            device_windows: 1,
            devices,
        });
    }
}

fn cohort(columns: &DeviceColumns, category: &str) -> Cohort {
    Cohort {
        service: columns.service.clone(),
        device_class: columns.device_class.clone(),
        model: columns.model.clone(),
        version: columns.version.clone(),
        variant: columns.variant.clone(),
        quantization: columns.quantization.clone(),
        metric: columns.metric.clone(),
        unit: columns.unit.clone(),
        category: category.to_owned(),
    }
}

/// Adds to a row of the same lane and cohort; false, and nothing changed, where it does not mix or
/// would be more than a row can hold: rows of one lane add up anyway.
pub(super) fn added(row: &mut RollupRow, count: i64, distribution: Option<&Distribution>) -> bool {
    let Some(sum) = row.count.checked_add(count) else {
        return false;
    };
    // Whoever reads a stored histogram takes no more than a point may count.
    let is_read = distribution.is_none() || sum.unsigned_abs() <= POINT_COUNT_MAX;
    if !is_read || !merged(&mut row.distribution, distribution) {
        return false;
    }
    row.count = sum;
    true
}

/// Merges where both are of one kind (and have one set of bounds); false where they do not mix.
fn merged(into: &mut Option<Distribution>, from: Option<&Distribution>) -> bool {
    match (into, from) {
        (None, None) => true,
        (Some(into), Some(from)) => into.merge(from),
        _ => false,
    }
}

impl Distribution {
    /// How many values.
    pub fn count(&self) -> u64 {
        match self {
            Self::Exponential(histogram) => histogram.count,
            Self::Explicit(histogram) => histogram.count,
        }
    }

    /// Adds the other's values; false, and nothing changed, where kinds or bounds differ.
    pub fn merge(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exponential(into), Self::Exponential(from)) => {
                into.merge(from);
                true
            }
            (Self::Explicit(into), Self::Explicit(from)) => into.merge(from),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
