//! The rules that are common, on the same lanes as the detector and with the distances that the
//! product shows.
//!
//! In: windows. Out: pages, each followed by an hour of silence as a person would ask for.

use fathomline_queries::{
    drift::{Distances, Lane, Reference, Rule, Summary},
    stats::{Aligned, bin, psi, reference_cuts},
};
use fathomline_wire::histogram::{ExponentialHistogram, lower_bound};

use crate::world::{BEGINNING_US, DAY, HOUR, MINUTE_US};

const HOURS_A_WEEK: usize = 168;
const BINS: usize = 10;

/// What is held beside the detector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Beside {
    /// A rule at its usual limit.
    Rule(Rule),
    /// PSI against the same hour of the week.
    PsiOfTheHour,
    /// PSI beyond what chance gives once in 30 days to as many independent inferences.
    PsiOfChance,
    /// Page and Hinkley's test of window means, with the defaults of the `river` library.
    PageHinkley,
}

pub(crate) const RULES: [Beside; 7] = [
    Beside::Rule(Rule::Psi),
    Beside::PsiOfTheHour,
    Beside::PsiOfChance,
    Beside::Rule(Rule::PsiDebiased),
    Beside::Rule(Rule::Ks),
    Beside::Rule(Rule::Wasserstein),
    Beside::PageHinkley,
];

impl Beside {
    pub(crate) fn name(self) -> String {
        match self {
            Self::PsiOfTheHour => "PSI >= 0.2, same hour of the week".to_owned(),
            Self::PsiOfChance => "PSI >= its chi2 limit at n, once in 30 days".to_owned(),
            Self::PageHinkley => "Page-Hinkley of window means".to_owned(),
            Self::Rule(rule) => {
                let sign = if rule.alarms(0.0, rule.usual_limit()) {
                    "<"
                } else {
                    ">="
                };
                format!("{} {sign} {}", rule.words(), rule.usual_limit())
            }
        }
    }
}

/// What rules hold windows of one width against.
#[derive(Clone)]
pub(crate) struct Held {
    records: u64,
    hours: Vec<Option<ExponentialHistogram>>,
    /// Chance of an alarm in one window that is one alarm in 30 days.
    chance: f64,
    mean: PageHinkley,
}

impl Held {
    pub(crate) fn of(reference: &Reference, lanes: &[Lane]) -> Self {
        let mut hours: Vec<Option<ExponentialHistogram>> = vec![None; HOURS_A_WEEK];
        let mut mean = PageHinkley::default();
        for lane in lanes {
            let Summary::Histogram(histogram) = &lane.summary else {
                continue;
            };
            match &mut hours[hour(lane)] {
                Some(sum) => sum.merge(histogram),
                none => *none = Some(histogram.clone()),
            }
            mean.sees(lane);
        }
        let windows = (30 * DAY * MINUTE_US / reference.lane_us()) as f64;
        Self {
            records: reference.count(),
            hours,
            chance: 1.0 / windows,
            mean,
        }
    }

    /// Which rules would page for this window.
    pub(crate) fn alarms(&mut self, reference: &Reference, window: &Lane) -> [bool; RULES.len()] {
        let moved = self.mean.sees(window);
        let Some(distances) = Distances::of(reference, window, window.count as f64) else {
            return [false; RULES.len()];
        };
        RULES.map(|beside| match beside {
            Beside::Rule(rule) => {
                let value = rule.value(&distances, window.count, self.records);
                value.is_some_and(|value| rule.alarms(value, rule.usual_limit()))
            }
            Beside::PsiOfTheHour => self.psi_of_the_hour(window) >= Rule::Psi.usual_limit(),
            Beside::PsiOfChance => {
                let noise = 1.0 / window.count as f64 + 1.0 / self.records as f64;
                chi2_beyond(distances.psi / noise, distances.bins - 1) < self.chance
            }
            Beside::PageHinkley => moved,
        })
    }

    fn psi_of_the_hour(&self, window: &Lane) -> f64 {
        let (Some(then), Summary::Histogram(now)) = (&self.hours[hour(window)], &window.summary)
        else {
            return 0.0;
        };
        let aligned = Aligned::of(then, now);
        let cuts = reference_cuts(&aligned.reference, BINS);
        psi(
            &bin(&aligned.reference, &cuts),
            &bin(&aligned.current, &cuts),
        )
    }
}

fn hour(lane: &Lane) -> usize {
    let hours = (lane.start_us - BEGINNING_US) / (HOUR * MINUTE_US);
    (hours % HOURS_A_WEEK as i64) as usize
}

/// Chance that chi-square with so many degrees of freedom is larger than `x`.
fn chi2_beyond(x: f64, degrees: u32) -> f64 {
    let half = x / 2.0;
    let (mut sum, first) = match degrees % 2 {
        0 => (0.0, 0.0),
        _ => (libm::erfc(libm::sqrt(half)), 0.5),
    };
    for step in 0..degrees / 2 {
        let power = first + f64::from(step);
        sum += libm::pow(half, power) * libm::exp(-half) / libm::tgamma(power + 1.0);
    }
    sum
}

/// Page and Hinkley's cumulative sums of what window means differ from all means so far, either
/// way. Means are those of logarithms, in which the worlds' values have a deviation of one.
#[derive(Clone, Debug, Default)]
struct PageHinkley {
    windows: f64,
    mean: f64,
    up: f64,
    up_least: f64,
    down: f64,
    down_most: f64,
}

/// `river.drift.PageHinkley` without arguments.
const WINDOWS_MIN: f64 = 30.0;
const DELTA: f64 = 0.005;
const THRESHOLD: f64 = 50.0;
const FORGETTING: f64 = 1.0 - 1e-4;

impl PageHinkley {
    /// Whether the means moved; it begins anew after that.
    fn sees(&mut self, window: &Lane) -> bool {
        let Some(value) = mean_logarithm(window) else {
            return false;
        };
        self.windows += 1.0;
        self.mean += (value - self.mean) / self.windows;
        let off = value - self.mean;
        self.up = FORGETTING * self.up + off - DELTA;
        self.down = FORGETTING * self.down + off + DELTA;
        self.up_least = self.up_least.min(self.up);
        self.down_most = self.down_most.max(self.down);
        let most = (self.up - self.up_least).max(self.down_most - self.down);
        let moved = self.windows >= WINDOWS_MIN && most > THRESHOLD;
        if moved {
            *self = Self::default();
        }
        moved
    }
}

fn mean_logarithm(window: &Lane) -> Option<f64> {
    let Summary::Histogram(histogram) = &window.summary else {
        return None;
    };
    let middle = |index: i32| {
        let bounds = [index, index + 1].map(|at| libm::log(lower_bound(at, histogram.scale)));
        (bounds[0] + bounds[1]) / 2.0
    };
    let cells = histogram
        .positive
        .counts
        .iter()
        .zip(histogram.positive.offset..);
    let sum: f64 = cells.map(|(n, index)| *n as f64 * middle(index)).sum();
    (histogram.count > 0).then(|| sum / histogram.count as f64)
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
        if now_us < self.muted_until_us {
            return;
        }
        self.muted_until_us = now_us + HOUR * MINUTE_US;
        self.count += 1;
        if now_us > after_us && self.first_us.is_none() {
            self.first_us = Some(now_us);
        }
    }
}
