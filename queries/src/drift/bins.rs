//! Bins that are frozen with a reference (statistics, section c): about a tenth of its values each,
//! or its frequent categories and one for all others. In: what was, what is. Out: where to cut
//! cells that both share. A later lane moves no cut, unless it is coarser than the reference was.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Stream, Summary};
use crate::stats::{Aligned, BINS, reference_cuts};

/// The cuts of a reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bins {
    /// Of values: each bin but the last ends with a bucket.
    Values {
        /// Scale of the buckets.
        scale: i32,
        /// The first bin holds what is not positive, and nothing else.
        zero: bool,
        /// Last bucket of each bin but the last one, ascending.
        last: Vec<i32>,
    },
    /// Of categories: one for each name, and one for all others.
    Categories {
        /// The names.
        names: BTreeSet<String>,
    },
}

impl Bins {
    /// The bins of what was.
    pub(super) fn of(summary: &Summary) -> Self {
        match summary {
            Summary::Histogram(histogram) => {
                let aligned = Aligned::of(histogram, histogram);
                let cuts = reference_cuts(&aligned.reference, BINS);
                let bucket = |cell: &usize| aligned.first_index + *cell as i32 - 1;
                let positive = cuts.iter().filter(|cell| **cell > 0);
                Self::Values {
                    scale: aligned.scale,
                    zero: cuts.first() == Some(&0),
                    last: positive.map(bucket).collect(),
                }
            }
            Summary::Categories(_) => {
                let name = |stream| match stream {
                    Stream::Category { name } => Some(name),
                    Stream::Above { .. } | Stream::OtherCategory => None,
                };
                let names = Stream::of(summary).into_iter().filter_map(name).collect();
                Self::Categories { names }
            }
        }
    }

    /// How many bins there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Values { zero, last, .. } => usize::from(*zero) + last.len() + 1,
            Self::Categories { names } => names.len() + 1,
        }
    }

    /// The last cell of every bin but the last, in cells that reference and current share; at most
    /// `bins` bins, of which the reference fills each. None for categories.
    pub fn cuts(&self, aligned: &Aligned, bins: usize) -> Vec<usize> {
        let Self::Values { scale, zero, last } = self else {
            return Vec::new();
        };
        let coarser = (scale - aligned.scale).clamp(0, 31);
        let cell = |bucket: &i32| {
            let cell = i64::from(*bucket >> coarser) - i64::from(aligned.first_index) + 1;
            usize::try_from(cell).unwrap_or(0)
        };
        let mut cuts: Vec<usize> = last.iter().map(cell).collect();
        cuts.splice(0..0, zero.then_some(0));
        cuts.dedup();
        let held = |cut: &usize| {
            aligned
                .reference
                .iter()
                .skip(cut + 1)
                .any(|count| *count > 0)
        };
        cuts.retain(held);
        let have = cuts.len() + 1;
        if bins >= have {
            return cuts;
        }
        let kept = (1..bins.max(1)).map(|bin| cuts[(bin * have / bins).max(1) - 1]);
        kept.collect()
    }

    /// Counts by name in the order of names, and of all others; none for values.
    pub fn categories(&self, counts: &BTreeMap<String, u64>) -> Vec<u64> {
        let Self::Categories { names } = self else {
            return Vec::new();
        };
        let of = |name: &String| counts.get(name).copied().unwrap_or(0);
        let others = counts.iter().filter(|(name, _)| !names.contains(*name));
        let others = others.map(|(_, count)| *count).sum();
        names
            .iter()
            .map(of)
            .chain(std::iter::once(others))
            .collect()
    }

    /// Whether cuts ascend: a file may say anything.
    pub(super) fn is_sound(&self) -> bool {
        match self {
            Self::Values { last, .. } => last.is_sorted_by(|a, b| a < b),
            Self::Categories { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use fathomline_wire::histogram::ExponentialHistogram;
    use proptest::prelude::*;

    use super::*;
    use crate::stats::bin;

    fn histogram(values: impl IntoIterator<Item = f64>) -> ExponentialHistogram {
        let mut histogram = ExponentialHistogram::new(4);
        for value in values {
            assert!(histogram.record(value));
        }
        histogram
    }

    #[test]
    fn each_bin_holds_about_a_tenth_and_a_lane_elsewhere_moves_no_cut() {
        let was = histogram((1..=1_000).map(f64::from));
        let bins = Bins::of(&Summary::Histogram(was.clone()));
        assert_eq!(bins.count(), BINS);
        let counts = |is: &ExponentialHistogram| {
            let aligned = Aligned::of(&was, is);
            bin(&aligned.reference, &bins.cuts(&aligned, BINS))
        };
        let own = counts(&was);
        assert!(
            own.iter().all(|count| (50..=150).contains(count)),
            "{own:?}"
        );
        for elsewhere in [1e-6, 1e6] {
            assert_eq!(counts(&histogram([elsewhere])), own);
        }
    }

    #[test]
    fn zeros_have_a_bin_and_one_value_is_one_bin() {
        let was = histogram((0..400).map(|n| f64::from(n % 4)));
        let bins = Bins::of(&Summary::Histogram(was.clone()));
        assert!(matches!(bins, Bins::Values { zero: true, .. }), "{bins:?}");
        let aligned = Aligned::of(&was, &was);
        assert_eq!(bin(&aligned.reference, &bins.cuts(&aligned, 10)), [100; 4]);
        let one = Bins::of(&Summary::Histogram(histogram([2.0; 9])));
        assert_eq!(one.count(), 1);
    }

    #[test]
    fn rare_and_new_categories_are_counted_together() {
        let was = BTreeMap::from([("a", 900), ("b", 95), ("c", 5)]);
        let was: BTreeMap<_, _> = was.into_iter().map(|(n, k)| (n.to_owned(), k)).collect();
        let bins = Bins::of(&Summary::Categories(was.clone()));
        assert_eq!(bins.categories(&was), [900, 95, 5]);
        let is = BTreeMap::from([("b".to_owned(), 1), ("new".to_owned(), 7)]);
        assert_eq!(bins.categories(&is), [0, 1, 7]);
    }

    proptest! {
        #[test]
        fn the_reference_fills_every_bin_and_nothing_is_lost(
            was in prop::collection::vec(0.001_f64..1e4, 1..300),
            is in prop::collection::vec(1e-9_f64..1e9, 1..300),
            bins in 2_usize..=BINS,
            coarser in 0_u32..6,
        ) {
            let was = histogram(was);
            let mut is = histogram(is);
            is.downscale(coarser);
            let frozen = Bins::of(&Summary::Histogram(was.clone()));
            prop_assert!(frozen.is_sound());
            let aligned = Aligned::of(&was, &is);
            let cuts = frozen.cuts(&aligned, bins);
            let (r, c) = (bin(&aligned.reference, &cuts), bin(&aligned.current, &cuts));
            prop_assert!(r.len() <= bins && r.iter().all(|count| *count > 0), "{:?}", r);
            prop_assert_eq!(r.iter().sum::<u64>(), was.count);
            prop_assert_eq!(c.iter().sum::<u64>(), is.count);
        }
    }
}
