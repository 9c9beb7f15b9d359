//! Devices with moods: values of one device resemble each other for an hour or so, and a short
//! reference has seen few such moods. What devices say of themselves must keep false pages within
//! the budget, whatever the budget is.
#![allow(clippy::unwrap_used)]

#[path = "../examples/calibration/world.rs"]
#[expect(dead_code, reason = "the report uses more of it")]
mod world;

use fathomline_queries::drift::{Detector, Lane, Part, Policy, Reference, Summary};
use fathomline_wire::histogram::ExponentialHistogram;
use world::{MINUTE_US, Random, key};

/// Lanes of the reference: four hours.
const REFERENCE: i64 = 240;
/// Lanes that are judged in each run: half a day.
const JUDGED: i64 = 720;

/// Devices with moods of an hour, correlation 0.3 of two inferences of one device.
struct Turns {
    random: Random,
    moods: Vec<f64>,
}

impl Turns {
    fn new(seed: u64, devices: u64) -> Self {
        let mut random = Random::new(seed);
        let moods = (0..devices).map(|_| random.normal()).collect();
        Self { random, moods }
    }

    fn minute(&mut self, number: i64, parts: &mut Vec<Part>) -> Lane {
        let keeps = libm::exp(-1.0 / 60.0);
        let moves = libm::sqrt(1.0 - keeps * keeps);
        let mut sum = ExponentialHistogram::new(3);
        for device in 0..self.moods.len() {
            self.moods[device] = keeps * self.moods[device] + moves * self.random.normal();
            let mut own = ExponentialHistogram::new(3);
            for _ in 0..4 {
                let noise = libm::sqrt(0.7) * self.random.normal();
                let value = libm::exp(libm::sqrt(0.3) * self.moods[device] + noise);
                assert!(own.record(value));
            }
            sum.merge(&own);
            parts.push(Part {
                device: device.to_string(),
                site: String::new(),
                end_us: (number / 60 + 1) * 60 * MINUTE_US,
                summary: Summary::Histogram(own),
            });
        }
        Lane {
            start_us: number * MINUTE_US,
            end_us: (number + 1) * MINUTE_US,
            count: sum.count,
            summary: Summary::Histogram(sum),
            device_windows: 20,
            devices: self.moods.len() as u64,
        }
    }
}

fn policy(pages_a_month: f64) -> Policy {
    Policy {
        series_budget: 1,
        false_pages_per_30_days: pages_a_month,
        ..Policy::default()
    }
}

/// False pages of so many runs: with what devices say, and without.
fn false_pages(devices: u64, runs: u64, policy: &Policy) -> [usize; 2] {
    let mut pages = [0, 0];
    for seed in 0..runs {
        let mut turns = Turns::new(seed, devices);
        let mut parts: Vec<Part> = Vec::new();
        let past: Vec<Lane> = (0..REFERENCE)
            .map(|n| turns.minute(n, &mut parts))
            .collect();
        let without = Reference::freeze(key(), &past, policy).unwrap();
        let with = without.clone().with_devices(&parts, 1);
        let lanes = REFERENCE..REFERENCE + JUDGED;
        let lanes: Vec<Lane> = lanes.map(|n| turns.minute(n, &mut Vec::new())).collect();
        for (pages, reference) in pages.iter_mut().zip([with, without]) {
            let mut detector = Detector::new(&reference, policy);
            let mut paged = |lane: &&Lane| detector.fold(&reference, lane).page;
            *pages += lanes.iter().filter(|lane| paged(lane)).count();
        }
    }
    pages
}

#[test]
fn devices_with_moods_keep_to_the_budget_after_a_reference_of_four_hours() {
    for (devices, runs, pages_a_month) in [(10, 120, 1.0), (10, 60, 30.0), (50, 24, 30.0)] {
        let [with, without] = false_pages(devices, runs, &policy(pages_a_month));
        let days = runs as f64 * JUDGED as f64 / 1440.0;
        let nominal = days / 30.0 * pages_a_month;
        let told = format!("{with} with, {without} without, budget {nominal}");
        eprintln!("{devices} devices, {pages_a_month} pages a month: {told}");
        assert!(with as f64 <= 1.5 * nominal, "{told}");
        assert!(without > 3 * with, "devices change nothing: {told}");
    }
}
