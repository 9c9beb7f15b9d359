//! Explicit-bounds histograms from foreign SDKs, kept exactly as they came.

use serde::{Deserialize, Serialize};

use super::cells::{self, Cell, CellKind};
use super::exponential::HistogramError;
use crate::limits::{HISTOGRAM_BUCKETS_ACCEPTED_MAX, POINT_COUNT_MAX};

/// Counts in `(bounds[i-1], bounds[i]]`, one more count than bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplicitHistogram {
    /// Ascending bounds.
    pub bounds: Vec<f64>,
    /// Counts; the first and last bucket are open.
    pub counts: Vec<u64>,
    /// How many values.
    pub count: u64,
    /// Their sum, if sent.
    pub sum: Option<f64>,
    /// Smallest value, if sent.
    pub min: Option<f64>,
    /// Largest value, if sent.
    pub max: Option<f64>,
}

impl ExplicitHistogram {
    /// Checks every claim of a histogram from outside.
    ///
    /// # Errors
    /// When bounds do not ascend, counts disagree or overflow, or a number is not finite.
    pub fn checked(self) -> Result<Self, HistogramError> {
        let ascending = self.bounds.windows(2).all(|pair| pair[0] < pair[1]);
        let shape = self.counts.len() == self.bounds.len() + 1
            || (self.counts.is_empty() && self.bounds.is_empty());
        if !ascending || !shape || self.counts.len() > HISTOGRAM_BUCKETS_ACCEPTED_MAX {
            return Err(HistogramError::Buckets(self.counts.len()));
        }
        let numbers = [self.sum, self.min, self.max];
        let finite = |value: &f64| value.is_finite();
        if !self.bounds.iter().all(finite) || !numbers.iter().flatten().all(finite) {
            return Err(HistogramError::NotFinite("a bound, sum, min or max"));
        }
        let found = self
            .counts
            .iter()
            .try_fold(0u64, |sum, count| sum.checked_add(*count));
        let found = found.filter(|sum| *sum <= POINT_COUNT_MAX);
        let counted = self.counts.is_empty() && self.count <= POINT_COUNT_MAX;
        if counted || found == Some(self.count) {
            Ok(self)
        } else {
            Err(HistogramError::Counts {
                claimed: self.count,
                found,
            })
        }
    }

    /// Adds `other` if its bounds are the same; false, and nothing changed, if not.
    pub fn merge(&mut self, other: &Self) -> bool {
        if self.bounds != other.bounds || self.counts.len() != other.counts.len() {
            return false;
        }
        for (into, from) in self.counts.iter_mut().zip(&other.counts) {
            *into += from;
        }
        self.count += other.count;
        self.sum = self.sum.zip(other.sum).map(|(a, b)| a + b);
        self.min = self.min.zip(other.min).map(|(a, b)| a.min(b));
        self.max = self.max.zip(other.max).map(|(a, b)| a.max(b));
        true
    }

    /// What a cumulative histogram gained since `earlier`, in buckets between the bounds that both
    /// have; none if a count fell. Minimum and maximum of the gain cannot be known.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let (bounds, now) = self.between_bounds_of(earlier);
        let (_, then) = earlier.between_bounds_of(self);
        let counts = now.into_iter().zip(then);
        Some(Self {
            bounds,
            counts: counts
                .map(|(now, then)| now.checked_sub(then))
                .collect::<Option<_>>()?,
            count: self.count.checked_sub(earlier.count)?,
            sum: self.sum.zip(earlier.sum).map(|(now, then)| now - then),
            min: None,
            max: None,
        })
    }

    /// The bounds that `other` has, too, and counts between those; neither if one has no buckets.
    fn between_bounds_of(&self, other: &Self) -> (Vec<f64>, Vec<u64>) {
        if self.bounds == other.bounds && self.counts.len() == other.counts.len() {
            return (self.bounds.clone(), self.counts.clone());
        }
        if self.counts.is_empty() || other.counts.is_empty() {
            return (vec![], vec![]);
        }
        let (mut bounds, mut counts, mut open) = (vec![], vec![], 0);
        for (at, count) in self.counts.iter().enumerate() {
            open += count;
            let bound = self.bounds.get(at).copied();
            let Some(bound) = bound.filter(|bound| other.bounds.contains(bound)) else {
                continue;
            };
            bounds.push(bound);
            counts.push(std::mem::take(&mut open));
        }
        counts.push(open);
        (bounds, counts)
    }

    /// Ordered cells; open ends reach to min and max where known, else to the bound.
    pub fn cells(&self) -> Vec<Cell> {
        let Some((first, last)) = self.bounds.first().zip(self.bounds.last()) else {
            let (lower, upper) = (self.min.unwrap_or(0.0), self.max.unwrap_or(0.0));
            return vec![Cell {
                lower,
                upper,
                count: self.count,
                kind: CellKind::Linear,
            }];
        };
        let low = self.min.map_or(*first, |min| min.min(*first));
        let high = self.max.map_or(*last, |max| max.max(*last));
        let lowers = std::iter::once(low).chain(self.bounds.iter().copied());
        let uppers = self.bounds.iter().copied().chain(std::iter::once(high));
        lowers
            .zip(uppers)
            .zip(&self.counts)
            .map(|((lower, upper), count)| Cell {
                lower,
                upper,
                count: *count,
                kind: CellKind::Linear,
            })
            .collect()
    }

    /// Estimate of the `q` quantile; none while empty.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 || q.is_nan() {
            return None;
        }
        let value = cells::quantile(&self.cells(), q.clamp(0.0, 1.0))?;
        Some(
            value
                .max(self.min.unwrap_or(value))
                .min(self.max.unwrap_or(value)),
        )
    }

    /// How many values exceed `threshold`: exact where it is a bound.
    pub fn count_above(&self, threshold: f64) -> f64 {
        self.count as f64 - cells::count_at_or_below(&self.cells(), threshold)
    }
}
