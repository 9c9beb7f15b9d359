//! Devices at sites: how often an interval holds what such devices would show in the long run.
//!
//! In: sites, how much devices differ, a seed. Out: lanes with what each device did in them, and
//! how many of so many intervals were right.

use std::collections::BTreeMap;

use fathomline_queries::drift::{
    Breakdown, Lane, Part, Policy, Reference, Shortfall, Summary, Window,
};
use fathomline_wire::histogram::ExponentialHistogram;

use crate::world::{MINUTE_US, Random, key};

/// Minutes that references are made of.
pub(crate) const REFERENCE: i64 = 120;
/// Minutes that are taken apart.
const WINDOW: i64 = 60;
/// Fleets of other devices whose windows together are the long run.
const LONG_RUN: u64 = 400;

pub(crate) fn policy() -> Policy {
    Policy {
        series_budget: 1,
        ..Policy::default()
    }
}

/// What each device did in some minutes.
pub(crate) type Parts = BTreeMap<(&'static str, u64), ExponentialHistogram>;

/// A site's name, its part of the traffic, where its values lie.
pub(crate) type Sites = Vec<(&'static str, f64, f64)>;

pub(crate) struct Fleet {
    random: Random,
    pub(crate) sites: Sites,
    /// What each device adds.
    devices: BTreeMap<(&'static str, u64), f64>,
    /// How much devices of one site differ.
    pub(crate) spread: f64,
    pub(crate) devices_a_site: u64,
    per_minute: u64,
}

impl Fleet {
    pub(crate) fn new(seed: u64, sites: &[(&'static str, f64, f64)]) -> Self {
        Self {
            random: Random::new(seed),
            sites: sites.to_vec(),
            devices: BTreeMap::new(),
            spread: 0.0,
            devices_a_site: 10,
            per_minute: 60,
        }
    }

    /// One minute, and what each device did in it.
    pub(crate) fn minute(&mut self, number: i64, parts: &mut Parts) -> Lane {
        let mut sum = ExponentialHistogram::new(3);
        for _ in 0..self.per_minute {
            let mut at = self.random.uniform();
            let found = self.sites.iter().find(|(_, share, _)| {
                at -= share;
                at < 0.0
            });
            let (site, _, mean) = *found.unwrap_or(&self.sites[0]);
            let number = (self.random.uniform() * self.devices_a_site as f64) as u64;
            let (random, spread) = (&mut self.random, self.spread);
            let own = *self
                .devices
                .entry((site, number))
                .or_insert_with(|| spread * random.normal());
            let value = libm::exp(mean + own + self.random.normal());
            sum.record(value);
            let part = parts.entry((site, number));
            part.or_insert_with(|| ExponentialHistogram::new(3))
                .record(value);
        }
        Lane {
            start_us: number * MINUTE_US,
            end_us: (number + 1) * MINUTE_US,
            count: sum.count,
            summary: Summary::Histogram(sum),
            device_windows: 20,
            devices: 20,
        }
    }

    /// What its devices do in the minutes before they are taken apart.
    ///
    /// # Errors
    /// When that is too little for a reference.
    pub(crate) fn reference(&mut self) -> Result<Reference, Shortfall> {
        let mut parts = Parts::new();
        let lanes: Vec<Lane> = (0..REFERENCE).map(|n| self.minute(n, &mut parts)).collect();
        let reference = Reference::freeze(key(), &lanes, &policy())?;
        Ok(reference.with_devices(&as_parts(&parts, REFERENCE), 5))
    }

    /// What its devices do in a window.
    fn window(&mut self, parts: &mut Parts) {
        (0..WINDOW).for_each(|n| drop(self.minute(REFERENCE + n, parts)));
    }
}

pub(crate) fn as_parts(parts: &Parts, minute: i64) -> Vec<Part> {
    let part = |((site, device), histogram): (&(&str, u64), &ExponentialHistogram)| Part {
        device: format!("{site}-{device}"),
        site: (*site).to_owned(),
        end_us: minute * MINUTE_US,
        summary: Summary::Histogram(histogram.clone()),
    };
    parts.iter().map(part).collect()
}

/// Sites whose devices are others than those of the reference.
pub(crate) struct SitesWorld {
    pub(crate) name: &'static str,
    sites: [(&'static str, f64, f64); 2],
    spread: f64,
    devices_a_site: u64,
}

const fn world(
    name: &'static str,
    means: (f64, f64),
    spread: f64,
    devices_a_site: u64,
) -> SitesWorld {
    SitesWorld {
        name,
        sites: [("bern", 0.5, means.0), ("oslo", 0.5, means.1)],
        spread,
        devices_a_site,
    }
}

/// The reference has one site at 0 and one at 0.5, in deviations of one inference.
pub(crate) const WORLDS: [SitesWorld; 8] = [
    world(
        "20 devices that differ by 0.6, both sites +0.4",
        (0.4, 0.9),
        0.6,
        10,
    ),
    world(
        "20 devices that differ by 0.3, one site +0.6",
        (0.6, 0.6),
        0.3,
        10,
    ),
    world(
        "10 devices that differ by 0.6, both sites +0.4",
        (0.4, 0.9),
        0.6,
        5,
    ),
    world(
        "10 devices that differ by 0.3, one site +0.6",
        (0.6, 0.6),
        0.3,
        5,
    ),
    world(
        "10 devices that differ by 0.3, both sites +1",
        (1.0, 1.5),
        0.3,
        5,
    ),
    world(
        "6 devices that differ by 0.6, both sites +1",
        (1.0, 1.5),
        0.6,
        3,
    ),
    world(
        "50 devices that differ by 0.6, both sites +0.4",
        (0.4, 0.9),
        0.6,
        25,
    ),
    world(
        "20 devices that differ by 0.6, nothing else",
        (0.0, 0.5),
        0.6,
        10,
    ),
];

/// What became of so many intervals.
#[derive(Default)]
pub(crate) struct Coverage {
    pub(crate) held: u64,
    /// Intervals that lie below the truth.
    pub(crate) below: u64,
    /// Intervals that lie above it.
    pub(crate) above: u64,
}

impl SitesWorld {
    fn fleet(&self, seed: u64) -> Fleet {
        let mut fleet = Fleet::new(seed, &self.sites);
        fleet.spread = self.spread;
        fleet.devices_a_site = self.devices_a_site;
        fleet
    }

    /// # Errors
    /// When there is too little for a reference.
    pub(crate) fn coverage(&self, trials: u64) -> Result<Coverage, Shortfall> {
        let mut truth = Parts::new();
        for other in 0..LONG_RUN {
            self.fleet(10_000 + other).window(&mut truth);
        }
        let truth = as_parts(&truth, 0);
        let was = [("bern", 0.5, 0.0), ("oslo", 0.5, 0.5)];
        let mut coverage = Coverage::default();
        for seed in 0..trials {
            let reference = Fleet::new(seed, &was).reference()?;
            let mut parts = Parts::new();
            self.fleet(500 + seed).window(&mut parts);
            let apart = |parts: &[Part]| Breakdown::of(&reference, parts, window());
            let interval = apart(&as_parts(&parts, 0)).and_then(|apart| apart.interval);
            let truth = apart(&truth).and_then(|apart| apart.psi_debiased);
            match interval.zip(truth) {
                Some(((_, high), truth)) if truth > high => coverage.below += 1,
                Some(((low, _), truth)) if truth < low => coverage.above += 1,
                Some(_) => coverage.held += 1,
                None => {}
            }
        }
        Ok(coverage)
    }
}

/// What is taken apart.
pub(crate) fn window() -> Window {
    Window {
        start_us: REFERENCE * MINUTE_US,
        end_us: (REFERENCE + WINDOW) * MINUTE_US,
        stream: Some(3),
        min_devices: 5,
    }
}
