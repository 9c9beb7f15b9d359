//! Merging histograms that lie elsewhere, in a column or in packed bytes, without copying them.
//!
//! In: a histogram and a row of another, in place. Out: bit for bit what
//! [`ExponentialHistogram::from_parts`] and [`ExponentialHistogram::merge`] give. Only plain rows
//! are taken; what needs a closer look is left to those two.

use super::ExponentialHistogram;
use crate::limits::{
    HISTOGRAM_BUCKETS_ACCEPTED_MAX, HISTOGRAM_BUCKETS_MAX, HISTOGRAM_SCALES, INTEGER_MAX,
    POINT_COUNT_MAX,
};

/// Consecutive buckets in place, signed as columns hold them.
#[derive(Clone, Copy, Debug, Default)]
pub struct LentBuckets<'a> {
    /// Index of the first count.
    pub offset: i32,
    /// Counts.
    pub counts: &'a [i64],
}

/// What a row claims about its histogram; nothing is checked yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct LentHistogram<'a> {
    /// Claimed scale.
    pub scale: i32,
    /// Claimed zero threshold.
    pub zero_threshold: f64,
    /// Claimed zero count.
    pub zero_count: i64,
    /// Sum, zero if there is none.
    pub sum: f64,
    /// Smallest value, if known.
    pub min: Option<f64>,
    /// Largest value, if known.
    pub max: Option<f64>,
    /// Values above zero.
    pub positive: LentBuckets<'a>,
    /// Values below zero.
    pub negative: LentBuckets<'a>,
}

impl ExponentialHistogram {
    /// Adds a plain row. False, and nothing added, where it takes the checks of
    /// [`Self::from_parts`] to say what is wrong with it, or where anything has a zero threshold.
    #[must_use]
    pub fn merge_plain(&mut self, row: &LentHistogram<'_>) -> bool {
        let Some(count) = row.count_if_plain() else {
            return false;
        };
        if self.zero_threshold != 0.0 || self.count.saturating_add(count) > INTEGER_MAX {
            return false;
        }
        let (positive, negative) = (row.positive.trimmed(), row.negative.trimmed());
        let spans = [positive.span(), negative.span()];
        let shift = self.make_room(row.scale, spans, HISTOGRAM_BUCKETS_MAX);
        for (into, from) in [
            (&mut self.positive, positive),
            (&mut self.negative, negative),
        ] {
            if let Some(span) = from.span() {
                let counts = from.counts.iter().map(|count| *count as u64);
                into.add_all(span, counts, shift);
            }
        }
        self.zero_count += row.zero_count as u64;
        self.count += count;
        self.add_to_sum(row.sum);
        self.min = self.min.min(row.min.unwrap_or(f64::INFINITY));
        self.max = self.max.max(row.max.unwrap_or(f64::NEG_INFINITY));
        true
    }
}

impl<'a> LentHistogram<'a> {
    /// How many values it counts; none unless it is certain that every check would pass.
    fn count_if_plain(&self) -> Option<u64> {
        let finite = |value: Option<f64>| value.is_none_or(f64::is_finite);
        let finite = self.sum.is_finite() && finite(self.min) && finite(self.max);
        let (positive, negative) = (self.positive.sum()?, self.negative.sum()?);
        let plain = finite
            && self.zero_threshold == 0.0
            && HISTOGRAM_SCALES.contains(&self.scale)
            && (0..=POINT_COUNT_MAX as i64).contains(&self.zero_count);
        let count = plain.then(|| positive + negative + self.zero_count as u64)?;
        (count <= POINT_COUNT_MAX).then_some(count)
    }
}

impl<'a> LentBuckets<'a> {
    /// Sum of the counts; none where a count, their number or an index is out of the ordinary.
    fn sum(self) -> Option<u64> {
        // A negative count, or one that is too large, shows in the bits of all of them.
        let (sum, bits) = self.counts.iter().fold((0i64, 0i64), |(sum, bits), count| {
            (sum.wrapping_add(*count), bits | count)
        });
        let last = i64::from(self.offset) + self.counts.len() as i64;
        let in_reach = self.offset > i32::MIN / 2 && last < i64::from(i32::MAX / 2);
        let few = self.counts.len() <= HISTOGRAM_BUCKETS_ACCEPTED_MAX;
        let small = (0..2 * POINT_COUNT_MAX as i64).contains(&bits);
        (in_reach && few && small).then_some(sum as u64)
    }

    /// Without empty buckets at the ends.
    fn trimmed(self) -> Self {
        let filled = |count: &i64| *count != 0;
        let Some(first) = self.counts.iter().position(filled) else {
            return Self::default();
        };
        let last = self.counts.iter().rposition(filled).unwrap_or(first);
        Self {
            offset: self.offset + first as i32,
            counts: &self.counts[first..=last],
        }
    }

    fn span(self) -> Option<(i32, i32)> {
        let last = self.counts.len().checked_sub(1)?;
        Some((self.offset, self.offset + last as i32))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::histogram::{Buckets, Parts};

    type Side = (i32, Vec<i64>);

    fn side() -> impl Strategy<Value = Side> {
        let count = prop_oneof![3 => Just(0i64), 5 => 1i64..50, 1 => Just(1 << 39)];
        (-400i32..400, prop::collection::vec(count, 0..30))
    }

    /// Rows of every kind, also such as no check lets through.
    fn row() -> impl Strategy<Value = (i32, i64, Option<f64>, [Side; 2], f64)> {
        let scale = prop_oneof![8 => 0i32..6, 1 => -10i32..=20, 1 => 20i32..23];
        let zeros = prop_oneof![5 => 0i64..9, 1 => -2i64..0];
        let number = prop_oneof![4 => Just(None), 3 => (-9f64..9.0).prop_map(Some),
                                 1 => Just(Some(f64::NAN))];
        let threshold = prop_oneof![9 => Just(0.0), 1 => Just(1e-3)];
        (scale, zeros, number, [side(), side()], threshold)
    }

    fn checked(row: &LentHistogram<'_>) -> Option<ExponentialHistogram> {
        let unsigned = |side: LentBuckets<'_>| -> Option<Buckets> {
            let counts = side.counts.iter().map(|count| u64::try_from(*count).ok());
            let (offset, counts) = (side.offset, counts.collect::<Option<_>>()?);
            Some(Buckets { offset, counts })
        };
        let (positive, negative) = (unsigned(row.positive)?, unsigned(row.negative)?);
        let zero_count = u64::try_from(row.zero_count).ok()?;
        let counts = positive.counts.iter().chain(&negative.counts);
        let parts = Parts {
            scale: row.scale,
            zero_threshold: row.zero_threshold,
            zero_count,
            count: counts.sum::<u64>() + zero_count,
            sum: row.sum,
            min: row.min,
            max: row.max,
            positive,
            negative,
        };
        ExponentialHistogram::from_parts(parts).ok()
    }

    fn bits(histogram: &ExponentialHistogram) -> (u64, u64, ExponentialHistogram) {
        let floats = (histogram.sum.to_bits(), histogram.sum_low.to_bits());
        (floats.0, floats.1, histogram.without_sum())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn rows_in_place_merge_to_the_same_bits(
            start in 0i32..6,
            rows in prop::collection::vec(row(), 1..9),
        ) {
            let mut slow = ExponentialHistogram::new(start);
            let mut fast = slow.clone();
            for (scale, zero_count, number, [positive, negative], zero_threshold) in &rows {
                let lent = |side: &'static str| match side {
                    "positive" => LentBuckets { offset: positive.0, counts: &positive.1 },
                    _ => LentBuckets { offset: negative.0, counts: &negative.1 },
                };
                let row = LentHistogram {
                    scale: *scale,
                    zero_threshold: *zero_threshold,
                    zero_count: *zero_count,
                    sum: number.unwrap_or(0.1),
                    min: *number,
                    max: number.map(|number| number + 1.0),
                    positive: lent("positive"),
                    negative: lent("negative"),
                };
                let valid = checked(&row);
                let before = fast.clone();
                if fast.merge_plain(&row) {
                    prop_assert!(valid.is_some(), "{row:?}");
                } else {
                    prop_assert_eq!(bits(&fast), bits(&before));
                    let ordinary = row.zero_threshold == 0.0 && fast.zero_threshold == 0.0;
                    prop_assert!(valid.is_none() || !ordinary, "{row:?}");
                    valid.iter().for_each(|part| fast.merge(part));
                }
                valid.iter().for_each(|part| slow.merge(part));
                prop_assert_eq!(bits(&fast), bits(&slow));
            }
        }
    }
}
