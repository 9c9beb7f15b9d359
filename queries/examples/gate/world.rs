//! A rollout to decide (statistics, section e, with the constants of its simulation): one event in
//! two arms, six inferences a minute with the candidate and 54 with the baseline, a daily and
//! weekly cycle and shocks that both arms share, and noise of each arm's own.
//!
//! In: a seed, the event's share and how many times as frequent it is with the candidate. Out: a
//! rollout, the same on every machine, and what a test that is looked at every hour says of it.

use std::collections::BTreeMap;

use fathomline_queries::{
    drift::Summary,
    gate::{Arm, ArmWindow, Class, Rollout, Settings},
};

pub(crate) const WINDOW_US: i64 = 300_000_000;
/// Windows of a day.
const DAY: usize = 288;
/// Windows of 72 hours, after which a person decides.
pub(crate) const WINDOWS: usize = 3 * DAY;
/// A Thursday, 00:00 UTC; the start is a day later.
const BEGINNING_US: i64 = 1_767_830_400_000_000;
pub(crate) const STARTED_US: i64 = BEGINNING_US + DAY as i64 * WINDOW_US;

const PER_MINUTE: (f64, f64) = (6.0, 54.0);
/// Shocks of the whole fleet, and how fast they are forgotten, in minutes.
const SHOCK: f64 = 0.1;
const SHOCK_TAU: f64 = 20.0;
/// What an arm's share is multiplied by in a window: `exp` of a normal with this deviation.
const ARM_DEVIATION: f64 = 0.25;
const METRIC: &str = "fathomline.output.validity";

/// xorshift64*: enough for a simulation.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        (bits as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        radius * libm::cos(std::f64::consts::TAU * self.uniform())
    }

    /// By the distribution function, from nothing upward.
    fn poisson(&mut self, mean: f64) -> u64 {
        let (mut chance, mut count) = (libm::exp(-mean), 0);
        let (mut below, drawn) = (chance, self.uniform());
        while below < drawn && chance > 0.0 {
            count += 1;
            chance *= mean / count as f64;
            below += chance;
        }
        count
    }

    fn binomial(&mut self, records: u64, share: f64) -> u64 {
        let share = share.min(1.0 - 1e-9);
        let mut chance = libm::exp(records as f64 * libm::log(1.0 - share));
        let (mut below, drawn, mut count) = (chance, self.uniform(), 0);
        while below < drawn && count < records {
            chance *= (records - count) as f64 / (count + 1) as f64 * share / (1.0 - share);
            count += 1;
            below += chance;
        }
        count
    }
}

/// Events and records of one arm in one window.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    events: u64,
    records: u64,
}

/// Inferences relative to the mean, and how much likelier events are, in deviations.
fn season(window: usize) -> (f64, f64) {
    let day = (window % DAY) as f64 / DAY as f64;
    let weekend = (window / DAY) % 7 >= 5;
    let turn = |at: f64| libm::sin(std::f64::consts::TAU * (day - at));
    let rate = (1.0 + 0.7 * turn(0.3)) * if weekend { 0.6 } else { 1.0 };
    (rate, 0.35 * turn(0.25) + if weekend { 0.15 } else { 0.0 })
}

/// One rollout.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) rollout: Rollout,
    since: Vec<(Drawn, Drawn)>,
}

impl Trial {
    /// A day of the baseline alone, split like the arms, then three days of both.
    pub(crate) fn new(share: f64, ratio: f64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let before = draw(&mut random, share, 1.0, DAY);
        let since = draw(&mut random, share, ratio, WINDOWS);
        let class = Class {
            device_class: "kiosk".to_owned(),
            candidate_devices: 20,
            against_devices: 180,
            before: arm_windows(&before, BEGINNING_US),
            since: arm_windows(&since, STARTED_US),
        };
        let rollout = Rollout {
            service: "assistant".to_owned(),
            model: "tiny".to_owned(),
            candidate: "2".to_owned(),
            against: "1".to_owned(),
            started_us: STARTED_US,
            improve: None,
            classes: vec![class],
        };
        Self { rollout, since }
    }

    /// What is common: a one-sided z-test of the sums, looked at every hour.
    pub(crate) fn naive_rollback(&self) -> bool {
        let mut sums = [0_u64; 4];
        self.since
            .iter()
            .enumerate()
            .any(|(at, (candidate, against))| {
                let seen = [
                    candidate.events,
                    candidate.records,
                    against.events,
                    against.records,
                ];
                sums.iter_mut()
                    .zip(seen)
                    .for_each(|(sum, seen)| *sum += seen);
                (at + 1) % 12 == 0 && z(sums.map(|sum| sum as f64)) > 1.645
            })
    }
}

/// The settings of the simulation: the shipped ones, but that an event of 1 % is not too rare.
pub(crate) fn settings() -> Settings {
    Settings {
        rare: 1e-6,
        ..Settings::default()
    }
}

fn z([events, records, against_events, against]: [f64; 4]) -> f64 {
    let (records, against) = (records.max(1.0), against.max(1.0));
    let share = (events + against_events) / (records + against);
    let variance = (share * (1.0 - share)).max(1e-9) * (1.0 / records + 1.0 / against);
    (events / records - against_events / against) / libm::sqrt(variance)
}

fn draw(random: &mut Random, share: f64, ratio: f64, windows: usize) -> Vec<(Drawn, Drawn)> {
    let kept = libm::exp(-5.0 / SHOCK_TAU);
    let beyond = -quantile(share);
    let mut shock = 0.0;
    let mut drawn = Vec::new();
    for window in 0..windows {
        if window > 0 {
            shock = kept * shock + random.normal() * SHOCK * libm::sqrt(1.0 - kept * kept);
        }
        let (rate, likelier) = season(window);
        let share = 0.5 * libm::erfc((beyond - likelier - shock) / std::f64::consts::SQRT_2);
        let mut arm = |per_minute: f64, times: f64| {
            let records = random.poisson(5.0 * per_minute * rate);
            let own = libm::exp(ARM_DEVIATION * random.normal());
            let events = random.binomial(records, share * times * own);
            Drawn { events, records }
        };
        drawn.push((arm(PER_MINUTE.0, ratio), arm(PER_MINUTE.1, 1.0)));
    }
    drawn
}

/// Of the standard normal, for shares below a half, by bisection.
fn quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-10.0, 0.0);
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        match 0.5 * libm::erfc(-middle / std::f64::consts::SQRT_2) < share {
            true => low = middle,
            false => high = middle,
        }
    }
    low
}

fn arm_windows(drawn: &[(Drawn, Drawn)], from_us: i64) -> Vec<ArmWindow> {
    let window = |arm, at: usize, drawn: &Drawn| ArmWindow {
        arm,
        end_us: from_us + (at as i64 + 1) * WINDOW_US,
        metric: METRIC.to_owned(),
        source: String::new(),
        summary: Summary::Categories(BTreeMap::from([
            ("valid".to_owned(), drawn.records - drawn.events),
            ("invalid_json".to_owned(), drawn.events),
        ])),
        devices: 20,
    };
    let each = drawn.iter().enumerate();
    each.flat_map(|(at, (candidate, against))| {
        [
            window(Arm::Candidate, at, candidate),
            window(Arm::Against, at, against),
        ]
    })
    .filter(|window| window.summary.count() > 0)
    .collect()
}
