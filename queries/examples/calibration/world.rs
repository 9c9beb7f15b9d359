//! Worlds to judge (statistics, section d.6, with the constants of its simulation): what a fleet's
//! values look like minute by minute, with nothing wrong or with one thing wrong since a moment.
//!
//! In: a seed. Out: lanes, the same on every machine. Values are log-normal, so that they are
//! positive as real ones; shifts are in units of the noise of one inference, before the
//! exponential.

use fathomline_queries::drift::{Lane, SeriesKey, Summary};
use fathomline_wire::histogram::ExponentialHistogram;

pub(crate) const MINUTE_US: i64 = 60_000_000;
pub(crate) const HOUR: i64 = 60;
pub(crate) const DAY: i64 = 1_440;
/// Minutes that references are made of.
pub(crate) const REFERENCE: i64 = 28 * DAY;
/// A Monday, 00:00 UTC.
pub(crate) const BEGINNING_US: i64 = 1_767_571_200_000_000;

/// Inferences that come together share an offset.
const SESSION: u64 = 5;
const SESSION_DEVIATION: f64 = 0.4;
/// Correlation of two inferences of one device, where devices are clusters.
const DEVICE_CORRELATION: f64 = 0.3;
const DEVICE_TAU: f64 = 20.0;
/// What is between two classes of devices.
const APART: f64 = 2.0;

/// The series that a world's lanes belong to.
pub(crate) fn key() -> SeriesKey {
    SeriesKey {
        service: "s".into(),
        model: "m".into(),
        version: "1".into(),
        variant: "v".into(),
        device_class: "kiosk".into(),
        metric: "fathomline.output.surprisal".into(),
    }
}

/// xorshift64*: enough for a simulation.
pub(crate) struct Random {
    state: u64,
    spare: Option<f64>,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { state, spare: None }
    }

    pub(crate) fn uniform(&mut self) -> f64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let bits = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        (bits as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub(crate) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        let angle = std::f64::consts::TAU * self.uniform();
        self.spare = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }

    fn poisson(&mut self, mean: f64) -> u64 {
        let (limit, mut product, mut count) = (libm::exp(-mean), self.uniform(), 0);
        while product > limit {
            product *= self.uniform();
            count += 1;
        }
        count
    }

    /// Mean 0, deviation 1, skewness 1.
    fn skewed(&mut self) -> f64 {
        let product = (0..4).fold(1.0, |product, _| product * self.uniform());
        (-libm::log(product) - 4.0) / 2.0
    }
}

/// What the fleet is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Independent values, the same at all times.
    Independent,
    /// A daily and weekly cycle of volume, mean and spread.
    Diurnal,
    /// That, shocks of the whole fleet, good and bad days, and sessions.
    Real,
    /// The same with twice the shocks and days, lasting six times as long.
    Harsh,
    /// So many devices, each with a mood of its own.
    Clustered(u64),
    /// Two classes of devices, two deviations apart, taken as one series; the second's part of the
    /// traffic moves from 50 to 70 % after the reference.
    Mixed,
    /// The same, one class by itself: the second or the first.
    Class(bool),
}

/// Something goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shift {
    Mean(f64),
    Spread(f64),
    Skew,
    /// A share moves by three deviations.
    Part(f64),
    /// The mean moves so far within three days.
    Ramp(f64),
}

pub(crate) struct World {
    kind: Kind,
    per_minute: f64,
    random: Random,
    minute: i64,
    shock: f64,
    day: f64,
    devices: Vec<f64>,
    /// Since which minute what is wrong.
    pub(crate) shift: Option<(i64, Shift)>,
}

impl World {
    pub(crate) fn new(kind: Kind, per_minute: f64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let devices = match kind {
            Kind::Clustered(devices) => (0..devices).map(|_| random.normal()).collect(),
            _ => Vec::new(),
        };
        Self {
            kind,
            per_minute,
            random,
            minute: 0,
            shock: 0.0,
            day: 0.0,
            devices,
            shift: None,
        }
    }

    /// The same world from here on, with other luck.
    pub(crate) fn again(&self, seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            devices: self.devices.clone(),
            ..*self
        }
    }

    /// The next minute.
    pub(crate) fn lane(&mut self) -> Lane {
        let (minute, mut histogram) = (self.minute, ExponentialHistogram::new(4));
        let (rate, mean, deviation) = self.weather(minute);
        let count = self.random.poisson(self.per_minute * rate);
        let mut session = 0.0;
        for number in 0..count {
            if matches!(self.kind, Kind::Real | Kind::Harsh) && number % SESSION == 0 {
                session = SESSION_DEVIATION * self.random.normal();
            }
            let value = mean + session + self.value(minute, deviation);
            histogram.record(libm::exp(value));
        }
        self.minute += 1;
        let devices = match self.kind {
            Kind::Clustered(devices) => devices,
            _ => 20,
        };
        Lane {
            start_us: BEGINNING_US + minute * MINUTE_US,
            end_us: BEGINNING_US + (minute + 1) * MINUTE_US,
            count: histogram.count,
            summary: Summary::Histogram(histogram),
            device_windows: devices,
            devices,
        }
    }

    pub(crate) fn lanes(&mut self, minutes: i64) -> Vec<Lane> {
        (0..minutes).map(|_| self.lane()).collect()
    }

    /// Volume, mean and deviation of a minute.
    fn weather(&mut self, minute: i64) -> (f64, f64, f64) {
        let (shock, tau, day) = match self.kind {
            Kind::Independent | Kind::Mixed => return (1.0, 0.0, 1.0),
            Kind::Class(true) => return (mix(minute), APART, 1.0),
            Kind::Class(false) => return (1.0 - mix(minute), 0.0, 1.0),
            Kind::Clustered(_) => {
                self.move_devices();
                return (1.0, 0.0, 1.0);
            }
            Kind::Diurnal => return season(minute),
            Kind::Real => (0.10, 20.0, 0.05),
            Kind::Harsh => (0.20, 120.0, 0.10),
        };
        let (rate, mean, deviation) = season(minute);
        let keeps = libm::exp(-1.0 / tau);
        let moves = shock * libm::sqrt(1.0 - keeps * keeps);
        self.shock = keeps * self.shock + moves * self.random.normal();
        if minute % DAY == 0 {
            self.day = day * self.random.normal();
        }
        (rate, mean + self.shock + self.day, deviation)
    }

    fn move_devices(&mut self) {
        let keeps = libm::exp(-1.0 / DEVICE_TAU);
        let moves = libm::sqrt(1.0 - keeps * keeps);
        for device in &mut self.devices {
            *device = keeps * *device + moves * self.random.normal();
        }
    }

    fn value(&mut self, minute: i64, deviation: f64) -> f64 {
        let since = self.shift.filter(|(since, _)| minute >= *since);
        let mut noise = self.random.normal();
        match since {
            Some((_, Shift::Spread(factor))) => noise *= factor,
            Some((_, Shift::Skew)) => noise = self.random.skewed(),
            _ => {}
        }
        let value = deviation * self.in_groups(minute, noise);
        value
            + match since {
                Some((_, Shift::Mean(size))) => size,
                Some((_, Shift::Part(share))) if self.random.uniform() < share => 3.0,
                Some((since, Shift::Ramp(size))) => {
                    size * ((minute - since) as f64 / (3 * DAY) as f64).min(1.0)
                }
                _ => 0.0,
            }
    }

    /// Noise, and what the inference's device or group adds.
    fn in_groups(&mut self, minute: i64, noise: f64) -> f64 {
        match self.kind {
            Kind::Clustered(devices) => {
                let device = (self.random.uniform() * devices as f64) as usize;
                let own = self.devices.get(device).copied().unwrap_or_default();
                libm::sqrt(DEVICE_CORRELATION) * own + libm::sqrt(1.0 - DEVICE_CORRELATION) * noise
            }
            Kind::Mixed if self.random.uniform() < mix(minute) => noise + APART,
            _ => noise,
        }
    }
}

/// The second class's part of the traffic.
fn mix(minute: i64) -> f64 {
    if minute < REFERENCE { 0.5 } else { 0.7 }
}

fn season(minute: i64) -> (f64, f64, f64) {
    let hour = (minute % DAY) as f64 / DAY as f64;
    let weekend = (minute / DAY) % 7 >= 5;
    let wave = |phase: f64| libm::sin(std::f64::consts::TAU * (hour - phase));
    let rate = (1.0 + 0.7 * wave(0.3)) * if weekend { 0.6 } else { 1.0 };
    let mean = 0.35 * wave(0.25) + if weekend { 0.15 } else { 0.0 };
    (rate, mean, libm::exp(0.12 * wave(0.6)))
}

/// Lanes of an hour as one.
pub(crate) fn together(lanes: &[Lane]) -> Option<Lane> {
    let (first, rest) = lanes.split_first()?;
    Some(rest.iter().fold(first.clone(), |mut sum, lane| {
        sum.summary.merge(&lane.summary);
        sum.count += lane.count;
        sum.end_us = lane.end_us;
        sum
    }))
}
