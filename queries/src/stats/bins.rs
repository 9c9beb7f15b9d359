//! Bins that are frozen with the reference. In: counts in ordered cells. Out: counts in few bins,
//! each of which the reference fills.

use fathomline_wire::histogram::{ExponentialHistogram, lower_bound};

/// Most cells that two histograms have together. Values that any scale up to 5 tells apart never
/// need so many; a bucket at each end of scale 20 would be sixteen gigabytes of empty ones.
const CELLS_MAX: i64 = 1 << 17;

/// Bins of a distribution; of few records fewer (Cochran).
pub const BINS: usize = 10;
const RECORDS_A_BIN: u64 = 5;

/// Bins that so many records fill with at least five each, 2 to [`BINS`].
pub fn bins_for(records: u64) -> usize {
    (records / RECORDS_A_BIN).clamp(2, BINS as u64) as usize
}

/// Two histograms on the union of their buckets at the coarser scale of the two, positive values
/// only; everything at or below zero is the first cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Aligned {
    /// Common scale.
    pub scale: i32,
    /// Index of the second cell's bucket; the first cell holds what is not positive.
    pub first_index: i32,
    /// Counts of the reference.
    pub reference: Vec<u64>,
    /// Counts of the current window.
    pub current: Vec<u64>,
}

impl Aligned {
    /// Brings two histograms onto common buckets, coarser where those were more than memory is
    /// for; values that the larger zero threshold of the two covers count as zero on both sides.
    pub fn of(reference: &ExponentialHistogram, current: &ExponentialHistogram) -> Self {
        let (mut reference, mut current) = (reference.clone(), current.clone());
        share_zero_threshold(&mut reference, &mut current);
        let mut scale = reference.scale.min(current.scale);
        let span = loop {
            for histogram in [&mut reference, &mut current] {
                histogram.downscale(histogram.scale.abs_diff(scale));
            }
            let span = span(&reference, &current);
            match span {
                Some((first, last)) if i64::from(last) - i64::from(first) >= CELLS_MAX => {
                    scale -= 1;
                }
                _ => break span,
            }
        };
        let counts = |histogram: &ExponentialHistogram| {
            let positive: u64 = histogram.positive.counts.iter().sum();
            let mut counts = vec![histogram.count - positive];
            if let Some((first, last)) = span {
                counts.resize((last - first + 2) as usize, 0);
                for (i, count) in histogram.positive.counts.iter().enumerate() {
                    counts[(histogram.positive.offset - first) as usize + i + 1] = *count;
                }
            }
            counts
        };
        Self {
            scale,
            first_index: span.map_or(0, |(first, _)| first),
            reference: counts(&reference),
            current: counts(&current),
        }
    }

    /// Where each cell's mass is taken to lie: the geometric middle of its bucket, or zero.
    pub fn positions(&self) -> Vec<f64> {
        let middles = (1..self.reference.len()).map(|cell| {
            let index = self.first_index + cell as i32 - 1;
            let (lower, upper) = (
                lower_bound(index, self.scale),
                lower_bound(index + 1, self.scale),
            );
            match lower * upper {
                product if product.is_normal() => product.sqrt(),
                // Beyond 1e154, and below its inverse, the product is out of reach.
                _ => lower.sqrt() * upper.sqrt(),
            }
        });
        std::iter::once(0.0).chain(middles).collect()
    }
}

/// Each side may pull the threshold up to the end of a bucket of its own.
fn share_zero_threshold(a: &mut ExponentialHistogram, b: &mut ExponentialHistogram) {
    if a.zero_threshold == b.zero_threshold {
        return;
    }
    let nothing = |like: &ExponentialHistogram| {
        let mut nothing = ExponentialHistogram::new(like.scale);
        nothing.zero_threshold = like.zero_threshold;
        nothing
    };
    a.merge(&nothing(b));
    b.merge(&nothing(a));
    a.merge(&nothing(b));
}

/// The first and the last bucket of both.
fn span(a: &ExponentialHistogram, b: &ExponentialHistogram) -> Option<(i32, i32)> {
    let spans = [a, b].into_iter().filter_map(|histogram| {
        let buckets = &histogram.positive;
        let last = buckets.offset + buckets.counts.len() as i32 - 1;
        (!buckets.counts.is_empty()).then_some((buckets.offset, last))
    });
    spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// Where the mass of each bucket of explicit bounds is taken to lie: its middle, and as far beyond
/// the ends as half their neighbour is wide. None for fewer than two bounds: no bucket has a width.
pub fn explicit_positions(bounds: &[f64]) -> Option<Vec<f64>> {
    let [first, second, ..] = bounds else {
        return None;
    };
    let [.., before, last] = bounds else {
        return None;
    };
    let middles = bounds.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
    let below = first - (second - first) / 2.0;
    let above = last + (last - before) / 2.0;
    let ends = (std::iter::once(below), std::iter::once(above));
    Some(ends.0.chain(middles).chain(ends.1).collect())
}

/// Last cell of every bin but the last: right-closed bins with about `1/bins` of the reference
/// each, the last one never empty (statistics, section c).
pub fn reference_cuts(reference: &[u64], bins: usize) -> Vec<usize> {
    let total: u64 = reference.iter().sum();
    let (mut cuts, mut below, mut next) = (Vec::new(), 0u64, 1u64);
    for (cell, count) in reference.iter().enumerate() {
        below += count;
        if below * bins as u64 >= next * total && next < bins as u64 {
            cuts.push(cell);
            while below * bins as u64 >= next * total {
                next += 1;
            }
        }
    }
    while cuts
        .last()
        .is_some_and(|cut| reference[cut + 1..].iter().sum::<u64>() == 0)
    {
        cuts.pop();
    }
    cuts
}

/// Counts in the bins that `cuts` define.
pub fn bin(counts: &[u64], cuts: &[usize]) -> Vec<u64> {
    let starts = std::iter::once(0).chain(cuts.iter().map(|cut| cut + 1));
    let ends = cuts
        .iter()
        .map(|cut| cut + 1)
        .chain(std::iter::once(counts.len()));
    starts
        .zip(ends)
        .map(|(start, end)| counts[start..end].iter().sum())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(scale: i32, threshold: f64, values: &[f64]) -> ExponentialHistogram {
        let mut histogram = ExponentialHistogram::new(scale);
        histogram.zero_threshold = threshold;
        for value in values {
            assert!(histogram.record(*value));
        }
        histogram
    }

    #[test]
    fn far_apart_at_a_fine_scale_is_coarser_and_not_larger_than_memory() {
        let (low, high) = (1e-300, 1e300);
        let aligned = Aligned::of(&histogram(20, 0.0, &[low]), &histogram(20, 0.0, &[high]));
        assert!(aligned.reference.len() as i64 <= CELLS_MAX + 1);
        let total = |counts: &[u64]| counts.iter().sum::<u64>();
        assert_eq!((total(&aligned.reference), total(&aligned.current)), (1, 1));
        let positions = aligned.positions();
        let near = |position: f64, value: f64| (position / value - 1.0).abs() < 0.02;
        assert!(near(positions[1], low), "{}", positions[1]);
        assert!(near(positions[positions.len() - 1], high));
    }

    #[test]
    fn what_one_side_takes_for_zero_is_zero_on_both() {
        let coarse = histogram(3, 1.0, &[0.5, 4.0]);
        let fine = histogram(3, 0.0, &[0.0, 0.25, 0.5, 4.0]);
        for (a, b) in [(&coarse, &fine), (&fine, &coarse)] {
            let aligned = Aligned::of(a, b);
            let zeros = (aligned.reference[0], aligned.current[0]);
            assert_eq!(zeros, if a == &coarse { (1, 3) } else { (3, 1) });
            assert_eq!(aligned.reference.len(), 2);
        }
    }

    #[test]
    fn explicit_buckets_lie_at_their_middles_and_ends_half_a_width_beyond() {
        let found = explicit_positions(&[0.0, 1.0, 3.0]);
        assert_eq!(found, Some(vec![-0.5, 0.5, 2.0, 4.0]));
        assert_eq!(explicit_positions(&[1.0]), None);
    }
}
