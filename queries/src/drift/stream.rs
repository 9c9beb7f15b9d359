//! Streams of events that a reference watches: "above the p95 of the reference", "finished by
//! length". Everything downstream sees only how many of how many.

use std::{collections::BTreeMap, fmt};

use fathomline_wire::{
    histogram::{ExponentialHistogram, bucket_index, lower_bound},
    names,
};
use serde::{Deserialize, Serialize};

use super::Summary;

/// Reference quantiles whose exceedance is watched.
const QUANTILES: [f64; 7] = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];

/// Thresholds lie on bucket boundaries of this scale (9 % apart), so that every histogram with
/// this scale or a finer one counts exceedances exactly.
const SNAP_SCALE: i32 = 3;

/// Categories below this reference share are watched together as `other`.
const CATEGORY_SHARE_MIN: f64 = 0.01;

/// Categories watched one by one.
const CATEGORIES_MAX: usize = 20;

/// One kind of event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stream {
    /// The value exceeds a reference quantile.
    Above {
        /// Which quantile, 0 to 1, before snapping.
        quantile: f64,
        /// The threshold, in the metric's unit.
        threshold: f64,
    },
    /// The category is this one.
    Category {
        /// Its name.
        name: String,
    },
    /// The category is none of the watched ones.
    OtherCategory,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above {
                quantile,
                threshold,
            } => {
                let digits = if (1e-3..1e5).contains(threshold) {
                    4
                } else {
                    9
                };
                let percentile = quantile * 100.0;
                write!(
                    f,
                    "above the reference p{percentile:.0} ({threshold:.digits$})"
                )
            }
            Self::Category { name } => write!(f, "\"{name}\""),
            Self::OtherCategory => write!(f, "in none of the reference's categories"),
        }
    }
}

impl Stream {
    /// The streams worth watching for a reference with these values.
    pub(super) fn of(summary: &Summary) -> Vec<Self> {
        match summary {
            Summary::Histogram(histogram) => exceedances(histogram),
            Summary::Categories(categories) => by_category(categories),
        }
    }

    /// How many of the lane's values are events of this stream.
    pub(super) fn events(&self, summary: &Summary, watched: &[Self]) -> f64 {
        match (self, summary) {
            (Self::Above { threshold, .. }, Summary::Histogram(histogram)) => {
                histogram.count_above(*threshold)
            }
            (Self::Category { name }, Summary::Categories(categories)) => {
                categories.get(name).copied().unwrap_or(0) as f64
            }
            (Self::OtherCategory, Summary::Categories(categories)) => {
                let own = |name: &String| {
                    watched
                        .iter()
                        .any(|w| matches!(w, Self::Category { name: n } if n == name))
                };
                categories
                    .iter()
                    .filter(|(name, _)| !own(name))
                    .map(|(_, n)| *n)
                    .sum::<u64>() as f64
            }
            _ => 0.0,
        }
    }
}

fn exceedances(histogram: &ExponentialHistogram) -> Vec<Stream> {
    let mut streams: Vec<Stream> = Vec::new();
    for quantile in QUANTILES {
        let Some(value) = histogram.quantile(quantile) else {
            continue;
        };
        let threshold = snap(value, SNAP_SCALE.min(histogram.scale));
        let known = streams
            .iter()
            .any(|stream| matches!(stream, Stream::Above { threshold: t, .. } if *t == threshold));
        if !known {
            streams.push(Stream::Above {
                quantile,
                threshold,
            });
        }
    }
    streams
}

/// The upper boundary of the bucket that holds `value`.
fn snap(value: f64, scale: i32) -> f64 {
    if value > 0.0 {
        lower_bound(bucket_index(value, scale) + 1, scale)
    } else if value < 0.0 {
        -lower_bound(bucket_index(-value, scale), scale)
    } else {
        0.0
    }
}

fn by_category(categories: &BTreeMap<String, u64>) -> Vec<Stream> {
    let total: u64 = categories.values().sum();
    let mut frequent: Vec<_> = categories
        .iter()
        .filter(|(name, count)| {
            *name != names::OTHER && **count as f64 >= CATEGORY_SHARE_MIN * total as f64
        })
        .collect();
    frequent.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), (*name).clone()));
    frequent.truncate(CATEGORIES_MAX);
    let watched = frequent
        .into_iter()
        .map(|(name, _)| Stream::Category { name: name.clone() });
    watched
        .chain(std::iter::once(Stream::OtherCategory))
        .collect()
}
