//! The rules that are common, on the same lanes as the detector and with the distances that the
//! product shows.
//!
//! In: verdicts. Out: pages, each followed by an hour of silence as a person would ask for.

use fathomline_queries::{
    drift::{Distances, Lane, Reference, Rule, Summary},
    stats::{Aligned, bin, psi, reference_cuts},
};
use fathomline_wire::histogram::ExponentialHistogram;

use crate::world::{BEGINNING_US, HOUR, MINUTE_US};

const HOURS_A_WEEK: usize = 168;
const BINS: usize = 10;

/// What is held beside the detector: rules at their usual limits, and PSI against the same hour of
/// the week.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Beside {
    Rule(Rule),
    PsiOfTheHour,
}

pub(crate) const RULES: [Beside; 5] = [
    Beside::Rule(Rule::Psi),
    Beside::PsiOfTheHour,
    Beside::Rule(Rule::PsiDebiased),
    Beside::Rule(Rule::Ks),
    Beside::Rule(Rule::Wasserstein),
];

impl Beside {
    pub(crate) fn name(self) -> String {
        match self {
            Self::PsiOfTheHour => "PSI >= 0.2, same hour of the week".to_owned(),
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

/// What rules hold windows against.
pub(crate) struct Held {
    records: u64,
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
        let records = reference.count();
        Self { records, hours }
    }

    /// Whether the rule would page for this window.
    pub(crate) fn pages(&self, beside: Beside, window: &Lane, distances: &Distances) -> bool {
        match beside {
            Beside::Rule(rule) => {
                let value = rule.value(distances, window.count, self.records);
                value.is_some_and(|value| rule.alarms(value, rule.usual_limit()))
            }
            Beside::PsiOfTheHour => {
                let psi = self.psi_of_the_hour(window);
                psi.is_some_and(|psi| Rule::Psi.alarms(psi, Rule::Psi.usual_limit()))
            }
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
