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

/// Share of the values above the lowest threshold below which its bucket is a lump.
const LUMP_ABOVE: f64 = 0.9;

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
                above(histogram, *threshold)
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
    streams.extend(below_a_lump(histogram));
    streams
}

/// How many values exceed a threshold. One that [`snap`] chose is found among the buckets as a
/// whole number, so that the count is whole and the same on every machine; below the scale of
/// thresholds, and for thresholds that are not positive, it is interpolated.
fn above(histogram: &ExponentialHistogram, threshold: f64) -> f64 {
    let place = libm::log2(threshold) * f64::from(1 << SNAP_SCALE);
    let finer = histogram.scale - SNAP_SCALE;
    let boundary = libm::round(place);
    let snapped = (place - boundary).abs() < 1e-6;
    if !snapped || !(0..=20).contains(&finer) {
        return histogram.count_above(threshold);
    }
    let first = (boundary as i64) << finer;
    let buckets = &histogram.positive;
    let below = (first - i64::from(buckets.offset)).max(0);
    let above = buckets.counts.iter().skip(below as usize);
    above.sum::<u64>() as f64
}

/// Where a single bucket holds the lowest values and many others, no threshold lies below it, and
/// values that fall would be seen by nobody: its lower boundary is watched, too.
fn below_a_lump(histogram: &ExponentialHistogram) -> Option<Stream> {
    let lowest = histogram.quantile(QUANTILES[0])?;
    let scale = SNAP_SCALE.min(histogram.scale);
    let above = histogram.count_above(snap(lowest, scale));
    let lump = above < LUMP_ABOVE * histogram.count as f64;
    (lump && lowest > 0.0).then(|| Stream::Above {
        quantile: 0.0,
        threshold: lower_bound(bucket_index(lowest, scale), scale),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(scale: i32) -> ExponentialHistogram {
        let mut histogram = ExponentialHistogram::new(scale);
        for value in 0..2_000 {
            histogram.record(libm::exp(f64::from(value) / 300.0 - 3.0));
        }
        histogram
    }

    #[test]
    fn whole_counts_above_a_threshold_are_those_between_boundaries() {
        for scale in [3, 4, 5] {
            let histogram = histogram(scale);
            for stream in exceedances(&histogram) {
                let Stream::Above { threshold, .. } = stream else {
                    unreachable!()
                };
                let (whole, between) = (
                    above(&histogram, threshold),
                    histogram.count_above(threshold),
                );
                assert!(
                    (whole - between).abs() < 1e-6,
                    "{threshold}: {whole}, {between}"
                );
                assert_eq!(whole.fract(), 0.0);
            }
        }
    }

    #[test]
    fn coarser_histograms_than_thresholds_are_interpolated() {
        let (fine, mut coarse) = (histogram(4), histogram(4));
        coarse.downscale(3);
        for stream in exceedances(&fine) {
            let Stream::Above { threshold, .. } = stream else {
                unreachable!()
            };
            let (fine, coarse) = (above(&fine, threshold), above(&coarse, threshold));
            assert!(
                (fine - coarse).abs() < 100.0,
                "{threshold}: {fine}, {coarse}"
            );
        }
    }

    #[test]
    fn values_that_fall_out_of_a_single_bucket_are_seen() {
        let mut lump = ExponentialHistogram::new(4);
        (0..1_000).for_each(|_| assert!(lump.record(5.0)));
        let streams = exceedances(&lump);
        let mut fallen = ExponentialHistogram::new(4);
        (0..1_000).for_each(|_| assert!(fallen.record(2.0)));
        let shares = |of: &ExponentialHistogram| -> Vec<f64> {
            let of = Summary::Histogram(of.clone());
            streams
                .iter()
                .map(|stream| stream.events(&of, &streams))
                .collect()
        };
        assert_ne!(shares(&lump), shares(&fallen));
    }
}
