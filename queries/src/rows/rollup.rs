//! Device rows to cohort increments. Pure, so that a log segment gives the same rollups however
//! often it is replayed.
//!
//! In: admitted device rows. Out: one [`RollupRow`] a lane and cohort. Gauges do not roll up
//! (levels do not add), and rows whose time is unknown enter no lane.

use std::collections::BTreeMap;

use super::{
    Clock, Cohort, DeviceColumns, DeviceSketch, Distribution, DistributionRow, MeasurementKind,
    MeasurementRow, RollupRow,
};

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
        rows: BTreeMap::new(),
    };
    for row in distributions {
        lanes.add(
            &row.columns,
            row.category.as_deref(),
            Increment::Values(&row.distribution),
        );
    }
    for row in measurements
        .iter()
        .filter(|row| row.kind == MeasurementKind::Delta)
    {
        // Only counts roll up: a floating sum has no number of events behind it.
        if let Some(count) = row.count {
            lanes.add(
                &row.columns,
                row.category.as_deref(),
                Increment::Count(count),
            );
        }
    }
    lanes.rows.into_values().flatten().collect()
}

enum Increment<'a> {
    Values(&'a Distribution),
    Count(i64),
}

/// Rows of one lane and cohort; several only where bounds of foreign histograms differ.
struct Lanes {
    width_us: i64,
    rows: BTreeMap<(i64, Cohort), Vec<RollupRow>>,
}

impl Lanes {
    fn add(&mut self, columns: &DeviceColumns, category: Option<&str>, increment: Increment<'_>) {
        if columns.clock == Clock::Unknown {
            return;
        }
        let time = lane_end(columns.time, self.width_us);
        let cohort = cohort(columns, category.unwrap_or_default());
        let rows = self.rows.entry((time, cohort.clone())).or_default();
        let (count, distribution) = match increment {
            Increment::Count(count) => (count, None),
            Increment::Values(values) => (
                i64::try_from(values.count()).unwrap_or(i64::MAX),
                Some(values),
            ),
        };
        let devices = DeviceSketch::of(&columns.device);
        for row in rows.iter_mut() {
            // A sum beyond 63 bits goes to a row of its own: rows of one lane add up anyway.
            let Some(sum) = row.count.checked_add(count) else {
                continue;
            };
            if merged(&mut row.distribution, distribution) {
                row.count = sum;
                row.device_windows += 1;
                row.devices.merge(&devices);
                return;
            }
        }
        rows.push(RollupRow {
            time,
            width_us: self.width_us,
            cohort,
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
