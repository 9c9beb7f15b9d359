//! Bins that are frozen with the reference. In: counts in ordered cells. Out: counts in few bins,
//! each of which the reference fills.

use fathomline_wire::histogram::{ExponentialHistogram, lower_bound};

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
    /// Brings two histograms onto common buckets.
    pub fn of(reference: &ExponentialHistogram, current: &ExponentialHistogram) -> Self {
        let scale = reference.scale.min(current.scale);
        let at_scale = |histogram: &ExponentialHistogram| {
            let mut coarser = histogram.clone();
            coarser.downscale((histogram.scale - scale) as u32);
            coarser
        };
        let (reference, current) = (at_scale(reference), at_scale(current));
        let span = [&reference, &current].into_iter().filter_map(|histogram| {
            let buckets = &histogram.positive;
            let last = buckets.offset + buckets.counts.len() as i32 - 1;
            (!buckets.counts.is_empty()).then_some((buckets.offset, last))
        });
        let span = span.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
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
            (lower_bound(index, self.scale) * lower_bound(index + 1, self.scale)).sqrt()
        });
        std::iter::once(0.0).chain(middles).collect()
    }
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
