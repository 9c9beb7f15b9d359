//! Merging: lossless in counts, coarser in resolution where scales differ.
//!
//! In: two valid histograms. Out: one that any other order of merging gives too, but for the
//! last bits of `sum`. Order of work (data model, "Zero Count and Zero Threshold"): common scale,
//! at which both fit, add, fold what the larger zero threshold covers, downscale until that fits.

use super::{ExponentialHistogram, exponential::Buckets, index::lower_bound};
use crate::limits::HISTOGRAM_BUCKETS_MAX;

/// Most buckets a side has while a zero threshold has yet to fold some of them away.
const BUCKETS_BEFORE_FOLDING_MAX: usize = 1 << 16;

/// A span of indexes at a scale that is `by` coarser.
fn shifted((low, high): (i32, i32), by: i32) -> (i32, i32) {
    let by = by.min(31);
    (low >> by, high >> by)
}

impl ExponentialHistogram {
    /// Adds `other` to this histogram.
    pub fn merge(&mut self, other: &Self) {
        self.merge_within(other, HISTOGRAM_BUCKETS_MAX);
    }

    /// As [`Self::merge`] with another limit on the buckets of each side.
    pub fn merge_within(&mut self, other: &Self, buckets_max: usize) {
        self.zero_threshold = self.zero_threshold.max(other.zero_threshold);
        let room = match self.zero_threshold > 0.0 {
            true => buckets_max.max(BUCKETS_BEFORE_FOLDING_MAX),
            false => buckets_max,
        };
        let spans = [other.positive.span(), other.negative.span()];
        let shift = self.make_room(other.scale, spans, room);
        for (into, from) in [
            (&mut self.positive, &other.positive),
            (&mut self.negative, &other.negative),
        ] {
            if let Some(span) = from.span() {
                let filled = &from.counts[(span.0 - from.offset) as usize..];
                into.add_all(span, filled.iter().copied(), shift);
            }
        }
        self.zero_count += other.zero_count;
        self.count += other.count;
        self.add_to_sum(other.sum);
        self.add_to_sum(other.sum_low);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.fit(buckets_max);
    }

    /// Coarsens this histogram until each side holds the buckets of `spans` too, given at `scale`,
    /// in `buckets_max`: before they are added, because one value far away at a fine scale would
    /// take gigabytes for the empty buckets between. Gives how far to shift the indexes of `spans`.
    pub(super) fn make_room(
        &mut self,
        scale: i32,
        spans: [Option<(i32, i32)>; 2],
        buckets_max: usize,
    ) -> u32 {
        let own = [self.positive.span(), self.negative.span()];
        let mut common = self.scale.min(scale);
        let fits = |common: i32| {
            own.iter().zip(&spans).all(|(own, other)| {
                let own = own.map(|span| shifted(span, self.scale - common));
                let other = other.map(|span| shifted(span, scale - common));
                let both = own.into_iter().chain(other);
                let joined = both.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
                joined
                    .is_none_or(|(low, high)| i64::from(high) - i64::from(low) < buckets_max as i64)
            })
        };
        while !fits(common) {
            common -= 1;
        }
        self.downscale((self.scale - common) as u32);
        (scale - common) as u32
    }

    /// What a cumulative histogram gained since `earlier`, at the coarser scale and above the wider
    /// zero threshold of the two; none if a count fell. Minimum and maximum of the gain cannot be
    /// known.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let (mut now, mut then) = (self.clone(), earlier.clone());
        now.downscale((self.scale - earlier.scale).max(0) as u32);
        then.downscale((earlier.scale - self.scale).max(0) as u32);
        // A bucket that the wider one cuts may pull it up further.
        while now.zero_threshold != then.zero_threshold {
            let wider = now.zero_threshold.max(then.zero_threshold);
            for histogram in [&mut now, &mut then] {
                histogram.zero_threshold = wider;
                histogram.fold_zero();
            }
        }
        let mut gained = Self::new(now.scale);
        gained.zero_threshold = now.zero_threshold;
        gained.zero_count = now.zero_count.checked_sub(then.zero_count)?;
        gained.count = now.count.checked_sub(then.count)?;
        gained.sum = now.sum - then.sum;
        gained.positive = now.positive.since(&then.positive)?;
        gained.negative = now.negative.since(&then.negative)?;
        Some(gained)
    }

    /// Halves the resolution `by` times: pairs of buckets become one, exactly.
    pub fn downscale(&mut self, by: u32) {
        if by == 0 {
            return;
        }
        for side in [&mut self.positive, &mut self.negative] {
            let mut coarser = Buckets::default();
            for (index, count) in side.filled() {
                coarser.add(index >> by, count);
            }
            *side = coarser;
        }
        self.scale -= by as i32;
    }

    /// Folds what the zero threshold covers, then coarsens until both sides fit.
    pub(super) fn fit(&mut self, buckets_max: usize) {
        self.fold_zero();
        while self.positive.counts.len().max(self.negative.counts.len()) > buckets_max {
            self.downscale(1);
            self.fold_zero();
        }
    }

    /// A populated bucket that the threshold cuts pulls it up to its upper bound; buckets below
    /// the threshold count as zero.
    fn fold_zero(&mut self) {
        if self.zero_threshold <= 0.0 {
            return;
        }
        let scale = self.scale;
        for (index, _) in self.positive.filled().chain(self.negative.filled()) {
            let (lower, upper) = (lower_bound(index, scale), lower_bound(index + 1, scale));
            if lower < self.zero_threshold && self.zero_threshold < upper {
                self.zero_threshold = upper;
            }
        }
        for side in [&mut self.positive, &mut self.negative] {
            let mut kept = Buckets::default();
            for (index, count) in side.filled() {
                if lower_bound(index + 1, scale) <= self.zero_threshold {
                    self.zero_count += count;
                } else {
                    kept.add(index, count);
                }
            }
            *side = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(scale: i32, values: &[f64]) -> ExponentialHistogram {
        let mut histogram = ExponentialHistogram::new(scale);
        for value in values {
            assert!(histogram.record(*value));
        }
        histogram
    }

    #[test]
    fn one_value_far_away_coarsens_instead_of_growing() {
        let histogram = of(5, &[1e-9, 1.0, 1e9]);
        assert!(histogram.positive.counts.len() <= HISTOGRAM_BUCKETS_MAX);
        assert_eq!(histogram.count, 3);
        assert!(histogram.scale < 5);
    }

    #[test]
    fn nan_and_infinity_are_not_counted() {
        let mut histogram = ExponentialHistogram::new(4);
        assert!(!histogram.record(f64::NAN) && !histogram.record(f64::INFINITY));
        assert_eq!(histogram, ExponentialHistogram::new(4));
        assert_eq!(histogram.quantile(0.5), None);
    }

    /// Values of every size and sign, also zero and the ends of what floats can hold.
    fn histogram() -> impl Strategy<Value = ExponentialHistogram> {
        let value = prop_oneof![
            4 => -1e6f64..1e6,
            2 => 1e-9f64..1e-3,
            1 => prop::sample::select(vec![0.0, f64::MIN_POSITIVE, f64::from_bits(1), 1e300]),
        ];
        (0i32..6, prop::collection::vec(value, 0..24))
            .prop_map(|(scale, values)| of(scale, &values))
    }

    fn merged(left: &ExponentialHistogram, right: &ExponentialHistogram) -> ExponentialHistogram {
        let mut both = left.clone();
        both.merge(right);
        both
    }

    /// Sums may differ by what the largest terms round to: values of both signs cancel out.
    fn same(left: &ExponentialHistogram, right: &ExponentialHistogram) -> bool {
        let largest = [left.min, left.max]
            .map(f64::abs)
            .into_iter()
            .fold(0.0, f64::max);
        let terms = if left.count == 0 {
            0.0
        } else {
            largest * left.count as f64
        };
        (left.sum - right.sum).abs() <= 1e-12 * terms && left.without_sum() == right.without_sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn merging_is_commutative(a in histogram(), b in histogram()) {
            prop_assert!(same(&merged(&a, &b), &merged(&b, &a)), "{a:?} {b:?}");
        }

        #[test]
        fn merging_is_associative(a in histogram(), b in histogram(), c in histogram()) {
            let left = merged(&merged(&a, &b), &c);
            let right = merged(&a, &merged(&b, &c));
            prop_assert!(same(&left, &right), "{left:?} {right:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        /// Does not prove associativity under differing zero thresholds: ours are always 0.
        #[test]
        fn any_order_and_grouping_of_merges_agrees(
            groups in prop::collection::vec(
                (0i32..6, prop::collection::vec(-1e6f64..1e6, 0..20)), 1..8),
        ) {
            let parts: Vec<_> = groups.iter().map(|(scale, v)| of(*scale, v)).collect();
            let mut forward = parts[0].clone();
            parts[1..].iter().for_each(|part| forward.merge(part));
            let mut backward = parts[parts.len() - 1].clone();
            parts[..parts.len() - 1].iter().rev().for_each(|part| backward.merge(part));
            let mut grouped = ExponentialHistogram::new(20);
            for pair in parts.chunks(2) {
                let mut merged = pair[0].clone();
                pair[1..].iter().for_each(|part| merged.merge(part));
                grouped.merge(&merged);
            }
            prop_assert_eq!(&forward.positive, &backward.positive);
            prop_assert_eq!(&forward.negative, &grouped.negative);
            prop_assert!((forward.sum - backward.sum).abs() <= 1e-12 * forward.sum.abs().max(1.0));
            prop_assert_eq!(forward.scale, grouped.scale);
            prop_assert_eq!(forward.min, grouped.min);
            let held: u64 = forward.cells().iter().map(|cell| cell.count).sum();
            prop_assert_eq!(held, forward.count);
        }
    }
}
