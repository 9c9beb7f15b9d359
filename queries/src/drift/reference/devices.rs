//! What devices add to a reference: how much they differ, which lowers what records are worth, and
//! at which sites they were.
//!
//! In: what each device did, hour by hour. Out: the reference with more noise where devices give
//! it, and with its sites. Without device hours it stays as it was: its noise is that of lanes.

use std::collections::BTreeMap;

use super::Reference;
use crate::drift::parts::{self, Member, Part, Site};

const HOUR_US: i64 = 3_600_000_000;

/// Devices, and hours, below which nothing is said of how they differ.
const DEVICES_MIN: usize = 5;
const HOURS_MIN: usize = 3;

impl Reference {
    /// The same with what its devices say. `parts` are those of its span, or of the last day of
    /// it, an hour each where it is longer than one. Sites of fewer than `min_devices` devices are
    /// taken together, because references are shown.
    pub fn with_devices(mut self, parts: &[Part], min_devices: u32) -> Self {
        let members = parts::members(&self, parts);
        let lanes_an_hour = (HOUR_US / self.lane_us.max(1)).max(1) as f64;
        for stream in 0..self.streams.len() {
            let noise = between(&members, stream).max(lanes_an_hour * moods(&members, stream));
            let (_, expected) = &mut self.streams[stream];
            expected.noise = expected.noise.max(noise);
        }
        self.sites = parts::folded(parts::by_site(&members), u64::from(min_devices));
        self
    }

    /// Where its devices were; none where nobody knows.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }
}

/// Events and records of one device in one hour.
#[derive(Clone, Copy, Default)]
struct Sum {
    events: f64,
    count: f64,
}

impl Sum {
    fn of(member: &Member, stream: usize) -> Self {
        Self {
            events: member.counted.events[stream],
            count: member.counted.count as f64,
        }
    }

    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.count += other.count;
    }

    fn less(self, other: Self) -> Self {
        Self {
            events: self.events - other.events,
            count: self.count - other.count,
        }
    }

    fn share(self) -> f64 {
        self.events / self.count
    }

    /// Squared residual of a share that `others` foretell, less what sampling explains, in squared
    /// events.
    fn excess(self, share: f64, others: f64) -> f64 {
        let residual = self.events - self.count * share;
        residual * residual - self.count * share * (1.0 - share) * (1.0 + self.count / others)
    }
}

fn by_hour(members: &[Member], stream: usize) -> BTreeMap<i64, BTreeMap<&str, Sum>> {
    let mut hours: BTreeMap<i64, BTreeMap<&str, Sum>> = BTreeMap::new();
    for member in members {
        let hour = hours.entry(member.end_us).or_default();
        let own = hour.entry(&member.device).or_default();
        own.add(Sum::of(member, stream));
    }
    hours
}

fn total<'a>(sums: impl IntoIterator<Item = &'a Sum>) -> Sum {
    sums.into_iter().fold(Sum::default(), |mut total, sum| {
        total.add(*sum);
        total
    })
}

/// The design effect on one lane: variance of its share because its devices are some of many that
/// differ. Each device is foretold by the others of its hour.
fn between(members: &[Member], stream: usize) -> f64 {
    let hours = by_hour(members, stream);
    let hours = hours.values().filter(|hour| hour.len() >= DEVICES_MIN);
    let each = hours.map(|hour| {
        let all = total(hour.values());
        let excess = |own: &Sum| {
            let others = all.less(*own);
            match others.count > 0.0 {
                true => own.excess(others.share(), others.count),
                false => 0.0,
            }
        };
        hour.values().map(excess).sum::<f64>() / (all.count * all.count)
    });
    mean(each, 1)
}

/// What is left of an hour's share because devices have moods that last: each device is foretold
/// by itself in all other hours, and by how all devices moved.
fn moods(members: &[Member], stream: usize) -> f64 {
    let hours = by_hour(members, stream);
    let mut devices: BTreeMap<&str, Sum> = BTreeMap::new();
    for (device, sum) in hours.values().flatten() {
        devices.entry(device).or_default().add(*sum);
    }
    let overall = total(devices.values());
    if devices.len() < DEVICES_MIN || overall.count <= 0.0 {
        return 0.0;
    }
    let each = hours.values().map(|hour| {
        let all = total(hour.values());
        let excess = |(device, own): (&&str, &Sum)| {
            let (elsewhere, rest) = (devices[*device].less(*own), all.less(*own));
            if elsewhere.count <= 0.0 || rest.count <= 0.0 {
                return 0.0;
            }
            let moved = rest.share() - overall.share();
            let share = (elsewhere.share() + moved).clamp(0.0, 1.0);
            own.excess(share, elsewhere.count.min(rest.count))
        };
        hour.iter().map(excess).sum::<f64>() / (all.count * all.count)
    });
    mean(each, HOURS_MIN)
}

/// Mean of at least so many, nothing below.
fn mean(each: impl Iterator<Item = f64>, least: usize) -> f64 {
    let each: Vec<f64> = each.collect();
    match each.len() >= least {
        true => (each.iter().sum::<f64>() / each.len() as f64).max(0.0),
        false => 0.0,
    }
}
