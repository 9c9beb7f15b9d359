//! Fixed rules: a distance and a limit, one window at a time, nothing remembered. They are here to
//! be compared with (statistics, section d.6): what fires depends on how many records a window
//! happens to hold.

use super::Distances;

/// Most terms of the Kolmogorov distribution's series; far fewer matter.
const TERMS: i32 = 100;

/// A distance that people put a limit on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Population stability index.
    Psi,
    /// The same less what chance gives at this count.
    PsiDebiased,
    /// Jensen-Shannon distance.
    JensenShannon,
    /// p-value of Kolmogorov and Smirnov, as if inferences were independent.
    Ks,
    /// Wasserstein distance in deviations of the reference.
    Wasserstein,
}

impl Rule {
    /// What the rule looks at; none where it does not apply.
    pub fn value(self, distances: &Distances, count: u64, reference_count: u64) -> Option<f64> {
        match self {
            Self::Psi => Some(distances.psi),
            Self::PsiDebiased => Some(distances.psi_debiased),
            Self::JensenShannon => Some(distances.jensen_shannon),
            Self::Ks => Some(ks_p(distances.ks, count, reference_count)),
            Self::Wasserstein => distances.wasserstein_normalized,
        }
    }

    /// Whether a value is beyond the limit: p-values below, distances at or above it.
    pub fn alarms(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Ks => value < limit,
            _ => value >= limit,
        }
    }

    /// The limit that is common.
    pub const fn usual_limit(self) -> f64 {
        match self {
            Self::Psi => 0.2,
            Self::PsiDebiased | Self::JensenShannon | Self::Wasserstein => 0.1,
            Self::Ks => 0.05,
        }
    }

    /// The rule in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Psi => "PSI",
            Self::PsiDebiased => "PSI less its noise",
            Self::JensenShannon => "Jensen-Shannon distance",
            Self::Ks => "KS p-value",
            Self::Wasserstein => "Wasserstein distance in deviations",
        }
    }
}

/// Asymptotic p-value of a two-sample KS distance, with Stephens' correction for small samples.
pub fn ks_p(distance: f64, n: u64, m: u64) -> f64 {
    let (n, m) = (n as f64, m as f64);
    let effective = libm::sqrt(n * m / (n + m));
    let x = (effective + 0.12 + 0.11 / effective) * distance;
    // Below that the series converges slowly, to one.
    if !effective.is_normal() || x < 0.2 {
        return 1.0;
    }
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 2.0 } else { -2.0 };
        sign * libm::exp(-2.0 * f64::from(k * k) * x * x)
    };
    (1..=TERMS).map(term).sum::<f64>().clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_are_those_of_the_kolmogorov_distribution() {
        // Tables: the distribution's 95 % point is 1.3581, its 99 % point 1.6276.
        let many = 1_000_000;
        let at = |point: f64| ks_p(point / libm::sqrt(500_000.0), many, many);
        assert!((at(1.3581) - 0.05).abs() < 1e-3, "{}", at(1.3581));
        assert!((at(1.6276) - 0.01).abs() < 1e-3, "{}", at(1.6276));
        assert_eq!((ks_p(0.0, 10, 10), ks_p(0.5, 0, 10)), (1.0, 1.0));
        assert!(ks_p(1.0, 1_000, 1_000) < 1e-12);
    }

    #[test]
    fn a_small_p_value_alarms_and_a_small_distance_does_not() {
        assert!(Rule::Ks.alarms(0.01, 0.05) && !Rule::Ks.alarms(0.05, 0.05));
        assert!(Rule::Psi.alarms(0.2, 0.2) && !Rule::Psi.alarms(0.1, 0.2));
    }
}
