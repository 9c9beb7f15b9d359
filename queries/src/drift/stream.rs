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
                match above(histogram, *threshold) {
                    (least, most) if least == most => least,
                    _ => histogram.count_above(*threshold),
                }
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

    /// The fewest and the most that the lane's events can be: they differ where its buckets are
    /// coarser than the thresholds.
    pub(super) fn events_within(&self, summary: &Summary, watched: &[Self]) -> (f64, f64) {
        match (self, summary) {
            (Self::Above { threshold, .. }, Summary::Histogram(histogram)) => {
                above(histogram, *threshold)
            }
            _ => {
                let events = self.events(summary, watched);
                (events, events)
            }
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

/// How many values exceed a threshold: the fewest and the most that there can be. They are the
/// same whole number where a bucket ends at the threshold, on every machine, and differ by what is
/// in the bucket that the threshold cuts in two.
pub(crate) fn above(histogram: &ExponentialHistogram, threshold: f64) -> (f64, f64) {
    let place = libm::log2(threshold) * libm::exp2(f64::from(histogram.scale));
    if !place.is_finite() {
        let between = histogram.count_above(threshold);
        return (between, between);
    }
    let boundary = libm::round(place);
    let ends = (place - boundary).abs() < 1e-6;
    let first = if ends { boundary } else { libm::floor(place) };
    let buckets = &histogram.positive;
    let below = (first as i64 - i64::from(buckets.offset)).max(-1);
    let mut from = buckets.counts.iter().skip(below.max(0) as usize);
    let cut = match ends || below < 0 {
        true => 0,
        false => from.next().copied().unwrap_or(0),
    };
    let least = from.sum::<u64>();
    (least as f64, (least + cut) as f64)
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
pub(crate) fn snap(value: f64, scale: i32) -> f64 {
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
                let (whole, most) = above(&histogram, threshold);
                let between = histogram.count_above(threshold);
                assert!(
                    (whole - between).abs() < 1e-6,
                    "{threshold}: {whole}, {between}"
                );
                assert_eq!((whole.fract(), whole), (0.0, most));
            }
        }
    }

    #[test]
    fn coarser_histograms_than_thresholds_say_between_what_they_count() {
        let fine = histogram(4);
        for coarser in 2..=8 {
            let mut coarse = histogram(4);
            coarse.downscale(coarser);
            for stream in exceedances(&fine) {
                let Stream::Above { threshold, .. } = stream else {
                    unreachable!()
                };
                let (true_count, _) = above(&fine, threshold);
                let (least, most) = above(&coarse, threshold);
                assert!(
                    (least..=most).contains(&true_count),
                    "{threshold}: {true_count} within {least} and {most}"
                );
            }
        }
    }

    #[test]
    fn thresholds_outside_of_all_buckets_are_exceeded_by_all_or_none() {
        let histogram = histogram(1);
        assert_eq!(above(&histogram, 1e-9), (2_000.0, 2_000.0));
        assert_eq!(above(&histogram, 1e9), (0.0, 0.0));
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
