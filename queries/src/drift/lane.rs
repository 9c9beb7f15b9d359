//! What a series did in one lane. In: merged histograms or category counts. Never device rows.

use std::collections::BTreeMap;

use fathomline_wire::histogram::ExponentialHistogram;
use serde::{Deserialize, Serialize};

/// The values of a lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Summary {
    /// One value an inference.
    Histogram(ExponentialHistogram),
    /// One category an inference.
    Categories(BTreeMap<String, u64>),
}

/// One closed lane of one series: `(start, end]`, microseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// Start, exclusive.
    pub start_us: i64,
    /// End, inclusive.
    pub end_us: i64,
    /// The values.
    pub summary: Summary,
    /// How many.
    pub count: u64,
    /// Device windows that were merged.
    pub device_windows: u64,
    /// Devices that reported.
    pub devices: u64,
}

/// The moment by which a span counts for an hour of the season.
pub(super) fn middle(start_us: i64, end_us: i64) -> i64 {
    start_us + (end_us - start_us) / 2
}

impl Summary {
    /// How many values.
    pub fn count(&self) -> u64 {
        match self {
            Self::Histogram(histogram) => histogram.count,
            Self::Categories(categories) => categories.values().sum(),
        }
    }

    /// Adds the other's values; kinds that differ do not mix and change nothing.
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Histogram(into), Self::Histogram(from)) => into.merge(from),
            (Self::Categories(into), Self::Categories(from)) => {
                for (category, count) in from {
                    *into.entry(category.clone()).or_default() += count;
                }
            }
            _ => {}
        }
    }
}
