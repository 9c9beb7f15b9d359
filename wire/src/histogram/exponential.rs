//! The exponential histogram itself: record, check, read. Merging lives in `merge.rs`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    cells::{self, Cell, CellKind},
    index::{bucket_index, lower_bound},
};
use crate::limits::{
    HISTOGRAM_BUCKETS_ACCEPTED_MAX, HISTOGRAM_BUCKETS_MAX, HISTOGRAM_SCALES, INTEGER_MAX,
    POINT_COUNT_MAX,
};

/// Dense counts of consecutive buckets on one side of zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buckets {
    /// Index of the first count.
    pub offset: i32,
    /// Counts; the first and the last are not zero once normalised.
    pub counts: Vec<u64>,
}

/// Counts of values in logarithmic buckets, mergeable without loss but for resolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExponentialHistogram {
    /// Resolution: the base is `2^(2^-scale)`.
    pub scale: i32,
    /// Values of at most this size are counted as zero.
    pub zero_threshold: f64,
    /// How many were.
    pub zero_count: u64,
    /// How many values in all.
    pub count: u64,
    /// Their sum, compensated: exact to 1e-12 in any order of merging.
    pub sum: f64,
    /// Rounding that `sum` does not show yet (Neumaier).
    pub(super) sum_low: f64,
    /// Smallest value; infinity while empty or unknown.
    #[serde(with = "unless_infinite_min", default = "unless_infinite_min::absent")]
    pub min: f64,
    /// Largest value; negative infinity while empty or unknown.
    #[serde(with = "unless_infinite_max", default = "unless_infinite_max::absent")]
    pub max: f64,
    /// Values above zero.
    pub positive: Buckets,
    /// Values below zero, by absolute value.
    pub negative: Buckets,
}

/// What a histogram from outside claims about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// Claimed scale.
    pub scale: i32,
    /// Claimed zero threshold.
    pub zero_threshold: f64,
    /// Claimed zero count.
    pub zero_count: u64,
    /// Claimed total.
    pub count: u64,
    /// Sum, zero if not sent.
    pub sum: f64,
    /// Smallest value, if sent.
    pub min: Option<f64>,
    /// Largest value, if sent.
    pub max: Option<f64>,
    /// Values above zero.
    pub positive: Buckets,
    /// Values below zero.
    pub negative: Buckets,
}

/// Why a histogram from outside cannot be trusted.
#[derive(Clone, Debug, PartialEq)]
pub enum HistogramError {
    /// The scale is outside of `limits::HISTOGRAM_SCALES`.
    Scale(i32),
    /// Bucket counts do not add up to the total, or a number does not fit 63 bits.
    Counts {
        /// What the point said.
        claimed: u64,
        /// What its buckets hold, if that can be said.
        found: Option<u64>,
    },
    /// A number that must be finite is not.
    NotFinite(&'static str),
    /// More buckets than a point may carry, or indexes that no float can reach.
    Buckets(usize),
}

impl fmt::Display for HistogramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scale(scale) => write!(f, "scale {scale} is outside of {HISTOGRAM_SCALES:?}"),
            Self::Counts {
                claimed,
                found: Some(found),
            } => {
                write!(
                    f,
                    "the point counts {claimed} values, its buckets hold {found}"
                )
            }
            Self::Counts {
                claimed,
                found: None,
            } => {
                write!(
                    f,
                    "the counts of a point of {claimed} values are more than a point may hold"
                )
            }
            Self::NotFinite(field) => write!(f, "{field} is not a finite number"),
            Self::Buckets(buckets) => {
                write!(
                    f,
                    "{buckets} buckets, or indexes out of reach, are not accepted"
                )
            }
        }
    }
}

impl std::error::Error for HistogramError {}

impl ExponentialHistogram {
    /// An empty histogram that starts at `scale` and coarsens itself as values spread.
    pub fn new(scale: i32) -> Self {
        Self {
            scale,
            zero_threshold: 0.0,
            zero_count: 0,
            count: 0,
            sum: 0.0,
            sum_low: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            positive: Buckets::default(),
            negative: Buckets::default(),
        }
    }

    /// Accepts what arrived from outside once every claim is checked, at the resolution it came;
    /// merging brings it to `limits::HISTOGRAM_BUCKETS_MAX` buckets a side.
    ///
    /// # Errors
    /// When the scale is unusable, counts disagree or overflow, or a number is not finite.
    pub fn from_parts(parts: Parts) -> Result<Self, HistogramError> {
        Self::of_at_most(POINT_COUNT_MAX, parts)
    }

    /// The same of what was merged: many points may count more than one may.
    ///
    /// # Errors
    /// As [`Self::from_parts`], but that counts may be as large as 63 bits hold.
    pub fn from_merged(parts: Parts) -> Result<Self, HistogramError> {
        Self::of_at_most(INTEGER_MAX, parts)
    }

    fn of_at_most(count_max: u64, parts: Parts) -> Result<Self, HistogramError> {
        if !HISTOGRAM_SCALES.contains(&parts.scale) {
            return Err(HistogramError::Scale(parts.scale));
        }
        check_finite(&parts)?;
        let buckets = parts.positive.counts.len().max(parts.negative.counts.len());
        let reachable = parts.positive.in_reach() && parts.negative.in_reach();
        if buckets > HISTOGRAM_BUCKETS_ACCEPTED_MAX || !reachable {
            return Err(HistogramError::Buckets(buckets));
        }
        check_counts(&parts, count_max)?;
        Ok(Self {
            scale: parts.scale,
            zero_threshold: parts.zero_threshold,
            zero_count: parts.zero_count,
            count: parts.count,
            sum: parts.sum,
            sum_low: 0.0,
            min: parts.min.unwrap_or(f64::INFINITY),
            max: parts.max.unwrap_or(f64::NEG_INFINITY),
            positive: parts.positive.normalised(),
            negative: parts.negative.normalised(),
        })
    }

    /// Counts one value. False, and nothing counted, for NaN and infinities.
    #[inline]
    pub fn record(&mut self, value: f64) -> bool {
        if !value.is_finite() {
            return false;
        }
        self.count += 1;
        self.add_to_sum(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let size = value.abs();
        if size <= self.zero_threshold {
            self.zero_count += 1;
            return true;
        }
        let index = bucket_index(size, self.scale);
        if !self.side(value).add_if_there(index) {
            self.grow(value, index);
        }
        true
    }

    /// Counts a value whose bucket is not there yet, coarser if it has to be.
    #[cold]
    fn grow(&mut self, value: f64, index: i32) {
        let shift = self.side(value).shift_to_hold(index);
        self.downscale(shift);
        self.side(value).add(index >> shift, 1);
    }

    fn side(&mut self, value: f64) -> &mut Buckets {
        if value > 0.0 {
            &mut self.positive
        } else {
            &mut self.negative
        }
    }

    /// Ordered cells from most negative to most positive, empty buckets left out.
    pub fn cells(&self) -> Vec<Cell> {
        let bound = |index| lower_bound(index, self.scale);
        let negative = self.negative.filled().rev().map(|(index, count)| Cell {
            lower: -bound(index + 1),
            upper: -bound(index),
            count,
            kind: CellKind::Negative,
        });
        let zero = (self.zero_count > 0).then(|| Cell {
            lower: if self.negative.counts.is_empty() {
                0.0
            } else {
                -self.zero_threshold
            },
            upper: if self.positive.counts.is_empty() && !self.negative.counts.is_empty() {
                0.0
            } else {
                self.zero_threshold
            },
            count: self.zero_count,
            kind: CellKind::Linear,
        });
        let positive = self.positive.filled().map(|(index, count)| Cell {
            lower: bound(index),
            upper: bound(index + 1),
            count,
            kind: CellKind::Positive,
        });
        negative.chain(zero).chain(positive).collect()
    }

    /// Estimate of the `q` quantile, in the bucket of the sample quantile; none while empty.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 || q.is_nan() {
            return None;
        }
        let known = |bound: f64| bound.is_finite().then_some(bound);
        let edge = if q <= 0.0 {
            known(self.min)
        } else if q >= 1.0 {
            known(self.max)
        } else {
            None
        };
        edge.or_else(|| {
            let value = cells::quantile(&self.cells(), q.clamp(0.0, 1.0))?;
            Some(
                value
                    .max(known(self.min).unwrap_or(value))
                    .min(known(self.max).unwrap_or(value)),
            )
        })
    }

    /// Estimate of the share of values at or below `x`; none while empty.
    pub fn cdf(&self, x: f64) -> Option<f64> {
        (self.count > 0).then(|| cells::count_at_or_below(&self.cells(), x) / self.count as f64)
    }

    /// How many values exceed `threshold`: exact where it is a bucket boundary.
    pub fn count_above(&self, threshold: f64) -> f64 {
        self.count as f64 - cells::count_at_or_below(&self.cells(), threshold)
    }

    /// The same counts without their sum, whose last bits depend on the order of merging: what a
    /// content is named by.
    #[must_use]
    pub fn without_sum(&self) -> Self {
        Self {
            sum: 0.0,
            sum_low: 0.0,
            ..self.clone()
        }
    }

    /// Whether both hold the same values as far as merging in any order may promise: everything
    /// but `sum`, which agrees to 1e-12.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let close = (self.sum - other.sum).abs() <= 1e-12 * self.sum.abs().max(1e-300);
        close && self.without_sum() == other.without_sum()
    }

    /// Adds with Neumaier's compensation, so that the order of additions does not show.
    pub(super) fn add_to_sum(&mut self, value: f64) {
        let total = self.sum + value;
        let lost = if self.sum.abs() >= value.abs() {
            (self.sum - total) + value
        } else {
            (value - total) + self.sum
        };
        let low = self.sum_low + lost;
        self.sum = total + low;
        self.sum_low = low - (self.sum - total);
    }
}

impl Buckets {
    /// `(index, count)` of every bucket that is not empty, ascending.
    pub(super) fn filled(&self) -> impl DoubleEndedIterator<Item = (i32, u64)> + '_ {
        let counts = self.counts.iter().enumerate();
        counts
            .filter(|(_, count)| **count > 0)
            .map(|(i, count)| (self.offset + i as i32, *count))
    }

    /// Counts one in a bucket of the dense range. False, and nothing counted, outside of it.
    #[inline]
    fn add_if_there(&mut self, index: i32) -> bool {
        let at = i64::from(index) - i64::from(self.offset);
        let count = usize::try_from(at)
            .ok()
            .and_then(|at| self.counts.get_mut(at));
        count.map(|count| *count += 1).is_some()
    }

    /// Adds to one bucket, growing the dense range to reach it.
    pub(super) fn add(&mut self, index: i32, count: u64) {
        if self.counts.is_empty() {
            self.offset = index;
        } else if index < self.offset {
            let missing = (self.offset - index) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.offset = index;
        }
        let at = (index - self.offset) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += count;
    }

    /// First and last index that are not empty; none where all are.
    pub(super) fn span(&self) -> Option<(i32, i32)> {
        let mut filled = self.filled().map(|(index, _)| index);
        let first = filled.next()?;
        Some((first, filled.next_back().unwrap_or(first)))
    }

    /// Adds the counts of the buckets from `first` to `last`, neither of them empty, whose indexes
    /// are shifted to this side's scale.
    pub(super) fn add_all(
        &mut self,
        (first, last): (i32, i32),
        counts: impl Iterator<Item = u64>,
        shift: u32,
    ) {
        let shift = shift.min(i32::BITS - 1);
        self.add(first >> shift, 0);
        self.add(last >> shift, 0);
        let start = self.offset;
        if shift == 0 {
            let sums = self.counts[(first - start) as usize..].iter_mut();
            sums.zip(counts).for_each(|(sum, count)| *sum += count);
            return;
        }
        for (index, count) in (first..=last).zip(counts) {
            self.counts[((index >> shift) - start) as usize] += count;
        }
    }

    /// Counts gained since `earlier`; none if one fell.
    pub(super) fn since(&self, earlier: &Self) -> Option<Self> {
        let mut gained = self.clone();
        for (index, count) in earlier.filled() {
            let at = usize::try_from(i64::from(index) - i64::from(gained.offset)).ok()?;
            let here = gained.counts.get_mut(at)?;
            *here = here.checked_sub(count)?;
        }
        Some(gained.normalised())
    }

    /// How far to downscale so that `index` fits beside what is there.
    fn shift_to_hold(&self, index: i32) -> u32 {
        if self.counts.is_empty() {
            return 0;
        }
        let (mut low, mut high) = (
            index.min(self.offset),
            index.max(self.offset + self.counts.len() as i32 - 1),
        );
        let mut shift = 0;
        while i64::from(high) - i64::from(low) >= HISTOGRAM_BUCKETS_MAX as i64 {
            low >>= 1;
            high >>= 1;
            shift += 1;
        }
        shift
    }

    /// Without empty buckets at the ends; offset 0 when nothing is left.
    pub(super) fn normalised(mut self) -> Self {
        let Some(first) = self.counts.iter().position(|count| *count > 0) else {
            return Self::default();
        };
        let last = self
            .counts
            .iter()
            .rposition(|count| *count > 0)
            .unwrap_or(first);
        self.counts.truncate(last + 1);
        self.counts.drain(..first);
        self.offset += first as i32;
        self
    }

    /// Whether shifts and additions on these indexes stay inside of 32 bits.
    fn in_reach(&self) -> bool {
        let last = i64::from(self.offset) + self.counts.len() as i64;
        self.offset > i32::MIN / 2 && last < i64::from(i32::MAX / 2)
    }
}

fn check_finite(parts: &Parts) -> Result<(), HistogramError> {
    let finite = |name, value: f64| {
        if value.is_finite() {
            Ok(())
        } else {
            Err(HistogramError::NotFinite(name))
        }
    };
    finite("sum", parts.sum)?;
    finite("min", parts.min.unwrap_or(0.0))?;
    finite("max", parts.max.unwrap_or(0.0))?;
    finite("zero_threshold", parts.zero_threshold)?;
    if parts.zero_threshold < 0.0 {
        return Err(HistogramError::NotFinite("a negative zero_threshold"));
    }
    Ok(())
}

fn check_counts(parts: &Parts, count_max: u64) -> Result<(), HistogramError> {
    let mut all = parts.positive.counts.iter().chain(&parts.negative.counts);
    let found = all.try_fold(parts.zero_count, |sum, count| sum.checked_add(*count));
    let found = found.filter(|sum| *sum <= count_max);
    if found == Some(parts.count) {
        Ok(())
    } else {
        Err(HistogramError::Counts {
            claimed: parts.count,
            found,
        })
    }
}

/// JSON has no infinity: an unknown minimum is null on the wire.
mod unless_infinite_min {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(from)?.unwrap_or_else(absent))
    }

    /// Formats without a word for nothing leave the field out.
    pub(super) fn absent() -> f64 {
        f64::INFINITY
    }
}

/// As above for the maximum.
mod unless_infinite_max {
    use serde::{Deserialize, Deserializer};

    pub(super) use super::unless_infinite_min::serialize;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(Option::<f64>::deserialize(from)?.unwrap_or_else(absent))
    }

    pub(super) fn absent() -> f64 {
        f64::NEG_INFINITY
    }
}
