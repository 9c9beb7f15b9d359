//! The rules that are common, on the same lanes as the detector and with the distances that the
//! product shows.
//!
//! In: verdicts. Out: pages, each followed by an hour of silence as a person would ask for.

use fathomline_queries::{
    drift::{Distances, Lane, Reference, Summary},
    stats::{Aligned, bin, psi, reference_cuts},
};
use fathomline_wire::histogram::ExponentialHistogram;

use crate::world::{BEGINNING_US, HOUR, MINUTE_US};

const HOURS_A_WEEK: usize = 168;
const BINS: usize = 10;

/// A rule that looks at one window and remembers nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    Psi,
    PsiOfTheHour,
    PsiDebiased,
    Ks,
    Wasserstein,
}

pub(crate) const RULES: [Rule; 5] = [
    Rule::Psi,
    Rule::PsiOfTheHour,
    Rule::PsiDebiased,
    Rule::Ks,
    Rule::Wasserstein,
];

impl Rule {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Psi => "PSI >= 0.2",
            Self::PsiOfTheHour => "PSI >= 0.2, same hour of the week",
            Self::PsiDebiased => "PSI less its noise >= 0.1",
            Self::Ks => "KS, p < 0.05",
            Self::Wasserstein => "Wasserstein / deviation >= 0.1",
        }
    }
}

/// What rules hold windows against.
pub(crate) struct Held {
    records: f64,
    hours: Vec<Option<ExponentialHistogram>>,
}

impl Held {
    pub(crate) fn of(reference: &Reference, lanes: &[Lane]) -> Self {
        let mut hours: Vec<Option<ExponentialHistogram>> = vec![None; HOURS_A_WEEK];
        for lane in lanes {
            let Summary::Histogram(histogram) = &lane.summary else {
                continue;
            };
            match &mut hours[hour(lane)] {
                Some(sum) => sum.merge(histogram),
                none => *none = Some(histogram.clone()),
            }
        }
        let records = reference.count() as f64;
        Self { records, hours }
    }

    /// Whether the rule would page for this window.
    pub(crate) fn pages(&self, rule: Rule, window: &Lane, distances: &Distances) -> bool {
        match rule {
            Rule::Psi => distances.psi >= 0.2,
            Rule::PsiDebiased => distances.psi_debiased >= 0.1,
            Rule::Wasserstein => distances.wasserstein_normalized.is_some_and(|w| w >= 0.1),
            Rule::Ks => kolmogorov(distances.ks, window.count as f64, self.records) < 0.05,
            Rule::PsiOfTheHour => self.psi_of_the_hour(window).is_some_and(|psi| psi >= 0.2),
        }
    }

    fn psi_of_the_hour(&self, window: &Lane) -> Option<f64> {
        let (Some(then), Summary::Histogram(now)) = (&self.hours[hour(window)], &window.summary)
        else {
            return None;
        };
        let aligned = Aligned::of(then, now);
        let cuts = reference_cuts(&aligned.reference, BINS);
        Some(psi(
            &bin(&aligned.reference, &cuts),
            &bin(&aligned.current, &cuts),
        ))
    }
}

fn hour(lane: &Lane) -> usize {
    let hours = (lane.start_us - BEGINNING_US) / (HOUR * MINUTE_US);
    (hours % HOURS_A_WEEK as i64) as usize
}

/// Asymptotic p-value of the distance, with Stephens' correction.
fn kolmogorov(distance: f64, n: f64, m: f64) -> f64 {
    let effective = libm::sqrt(n * m / (n + m));
    let x = (effective + 0.12 + 0.11 / effective) * distance;
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 2.0 } else { -2.0 };
        sign * libm::exp(-2.0 * f64::from(k * k) * x * x)
    };
    (1..=100).map(term).sum::<f64>().clamp(0.0, 1.0)
}

/// Pages with an hour of silence after each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pages {
    pub(crate) count: u64,
    /// End of the first one's window after a moment.
    pub(crate) first_us: Option<i64>,
    muted_until_us: i64,
}

impl Pages {
    /// Counts an alarm at `now_us`; those before `after_us` are not looked for.
    pub(crate) fn alarm(&mut self, now_us: i64, after_us: i64) {
        if now_us <= self.muted_until_us {
            return;
        }
        self.muted_until_us = now_us + HOUR * MINUTE_US;
        self.count += 1;
        if now_us > after_us && self.first_us.is_none() {
            self.first_us = Some(now_us);
        }
    }
}
