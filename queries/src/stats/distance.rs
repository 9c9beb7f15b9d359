//! Distances between two binned distributions (statistics, section c). In: counts in the same
//! bins, neither side empty. Out: one number, with its range below.

use libm::{erfc, exp, log, sqrt};

/// What one bin adds to PSI.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PsiPart {
    /// Smoothed share of the reference.
    pub reference_share: f64,
    /// Smoothed share now.
    pub share: f64,
    /// Logarithm of their ratio: what a record more in this bin weighs.
    pub weight: f64,
}

impl PsiPart {
    /// The part itself, 0 and up.
    pub fn part(&self) -> f64 {
        (self.share - self.reference_share) * self.weight
    }
}

/// Population stability index in nats, each bin smoothed by half a count; 0 and up.
pub fn psi(reference: &[u64], current: &[u64]) -> f64 {
    psi_parts(reference, current)
        .iter()
        .map(PsiPart::part)
        .sum()
}

/// The same, bin by bin.
pub fn psi_parts(reference: &[u64], current: &[u64]) -> Vec<PsiPart> {
    let weights = |counts: &[u64]| counts.iter().map(|count| *count as f64).collect::<Vec<_>>();
    psi_parts_of(&weights(reference), &weights(current))
}

/// The same of records that count for more or less than one.
pub(crate) fn psi_of(reference: &[f64], current: &[f64]) -> f64 {
    let parts = psi_parts_of(reference, current);
    parts.iter().map(PsiPart::part).sum()
}

fn psi_parts_of(reference: &[f64], current: &[f64]) -> Vec<PsiPart> {
    let smooth = |weights: &[f64]| -> Vec<f64> {
        let total = weights.iter().sum::<f64>() + 0.5 * weights.len() as f64;
        let smoothed = weights.iter().map(|weight| (weight + 0.5) / total);
        smoothed.collect()
    };
    let pairs = smooth(reference).into_iter().zip(smooth(current));
    let part = |(reference_share, share): (f64, f64)| PsiPart {
        reference_share,
        share,
        weight: log(share / reference_share),
    };
    pairs.map(part).collect()
}

/// What PSI is on average between equal distributions (Yurdakul 2018): subtract it to compare
/// windows of different size.
pub fn psi_expected_without_drift(bins: usize, reference: f64, current: f64) -> f64 {
    (bins.saturating_sub(1)) as f64 * (1.0 / current + 1.0 / reference)
}

/// PSI less what it is on average without drift, 0 and up. `effective` says what reference and
/// current are worth in independent records; their counts, where records are independent.
pub fn psi_debiased(reference: &[u64], current: &[u64], effective: (f64, f64)) -> f64 {
    let noise = psi_expected_without_drift(reference.len(), effective.0, effective.1);
    (psi(reference, current) - noise).max(0.0)
}

/// What noise for privacy adds to that average: every bin's count of `current` records carries
/// noise of `variance`, and the reference has these `shares`, none of them zero (statistics,
/// section f).
pub fn psi_expected_of_noise(shares: &[f64], current: f64, variance: f64) -> f64 {
    let spread: f64 = shares.iter().map(|share| 1.0 / share - 1.0).sum();
    variance * spread / (current * current)
}

/// Jensen-Shannon divergence in nats, 0 to ln 2.
pub fn jensen_shannon(reference: &[u64], current: &[u64]) -> f64 {
    let (p, q) = (shares(reference), shares(current));
    let towards_middle = |p: f64, q: f64| {
        if p > 0.0 {
            p * log(2.0 * p / (p + q))
        } else {
            0.0
        }
    };
    let both = |(p, q): (&f64, &f64)| towards_middle(*p, *q) + towards_middle(*q, *p);
    (p.iter().zip(&q).map(both).sum::<f64>() / 2.0).max(0.0)
}

/// Jensen-Shannon distance to base 2, 0 to 1.
pub fn jensen_shannon_distance(reference: &[u64], current: &[u64]) -> f64 {
    sqrt(jensen_shannon(reference, current) / std::f64::consts::LN_2)
}

/// Hellinger distance, 0 to 1.
pub fn hellinger(reference: &[u64], current: &[u64]) -> f64 {
    let (p, q) = (shares(reference), shares(current));
    let overlap: f64 = p.iter().zip(&q).map(|(p, q)| sqrt(p * q)).sum();
    sqrt((1.0 - overlap).max(0.0))
}

/// Kolmogorov-Smirnov distance at bin ends, 0 to 1; a lower bound of the unbinned one.
pub fn ks(reference: &[u64], current: &[u64]) -> f64 {
    differences(reference, current)
        .map(f64::abs)
        .fold(0.0, f64::max)
}

/// Wasserstein-1 distance with each bin's mass at `positions`, in their unit; and the same in
/// standard deviations of the reference, if it has any spread.
pub fn wasserstein(reference: &[u64], current: &[u64], positions: &[f64]) -> (f64, Option<f64>) {
    let steps = positions.windows(2).map(|pair| pair[1] - pair[0]);
    let distance: f64 = differences(reference, current)
        .zip(steps)
        .map(|(gap, step)| gap.abs() * step)
        .sum();
    let p = shares(reference);
    let moment = |power: i32| -> f64 {
        p.iter()
            .zip(positions)
            .map(|(p, x)| p * x.powi(power))
            .sum()
    };
    let deviation = sqrt((moment(2) - moment(1) * moment(1)).max(0.0));
    (distance, (deviation > 0.0).then(|| distance / deviation))
}

/// Sliced Wasserstein-1 distance: the mean of the distances along each projection; none without
/// one.
pub fn sliced_wasserstein(distances: &[f64]) -> Option<f64> {
    (!distances.is_empty()).then(|| distances.iter().sum::<f64>() / distances.len() as f64)
}

/// Pearson's statistic of the 2 by k table, with its degrees of freedom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChiSquare {
    /// The statistic, without Yates' correction.
    pub statistic: f64,
    /// Bins that are not empty on both sides, less one.
    pub degrees: usize,
    /// Cramer's V, 0 to 1: the size of the effect.
    pub cramers_v: f64,
}

impl ChiSquare {
    /// How likely equal distributions give this statistic or a larger one, if records are
    /// independent.
    pub fn p_value(&self) -> f64 {
        // A sum of positive terms, each by its logarithm: nothing cancels out and none overflows.
        let half = self.statistic / 2.0;
        if half <= 0.0 {
            return 1.0;
        }
        let odd = self.degrees % 2 == 1;
        let (start, mut below, mut ln_term) = match odd {
            true => {
                let ln_gamma = log(std::f64::consts::PI) / 2.0 - log(2.0);
                (erfc(sqrt(half)), 1.5, log(half) / 2.0 - half - ln_gamma)
            }
            false => (0.0, 1.0, -half),
        };
        let mut tail = start;
        for _ in 0..self.degrees / 2 {
            tail += exp(ln_term);
            ln_term += log(half) - log(below);
            below += 1.0;
        }
        tail.min(1.0)
    }
}

/// Chi-square test statistic of equal distributions; none with fewer than two filled bins.
pub fn chi_square(reference: &[u64], current: &[u64]) -> Option<ChiSquare> {
    let (n_reference, n_current) = (sum(reference), sum(current));
    let total = n_reference + n_current;
    let filled: Vec<_> = reference
        .iter()
        .zip(current)
        .filter(|(r, c)| *r + *c > 0)
        .collect();
    let degrees = filled.len().checked_sub(1).filter(|degrees| *degrees > 0)?;
    let cell = |observed: u64, side: f64, column: f64| {
        let expected = column * side / total;
        (observed as f64 - expected) * (observed as f64 - expected) / expected
    };
    let statistic: f64 = filled
        .into_iter()
        .map(|(r, c)| {
            let column = (r + c) as f64;
            cell(*r, n_reference, column) + cell(*c, n_current, column)
        })
        .sum();
    Some(ChiSquare {
        statistic,
        degrees,
        cramers_v: sqrt(statistic / total),
    })
}

fn sum(counts: &[u64]) -> f64 {
    counts.iter().sum::<u64>() as f64
}

fn shares(counts: &[u64]) -> Vec<f64> {
    let total = sum(counts).max(1.0);
    counts.iter().map(|count| *count as f64 / total).collect()
}

/// Reference less current, cumulated, at each bin's end.
fn differences(reference: &[u64], current: &[u64]) -> impl Iterator<Item = f64> {
    let (p, q) = (shares(reference), shares(current));
    p.into_iter().zip(q).scan(0.0, |gap, (p, q)| {
        *gap += p - q;
        Some(*gap)
    })
}
