//! What devices add to a reference: how much they differ, which lowers what records are worth, and
//! at which sites they were.
//!
//! In: what each device did, hour by hour. Out: the reference with more noise where devices give
//! it, and with its sites. Without device hours it stays as it was: its noise is that of lanes.

use std::collections::BTreeMap;

use super::{Reference, error_covered};
use crate::drift::parts::{self, Member, Part, Site};

const HOUR_US: i64 = 3_600_000_000;

/// Devices, and hours, below which nothing is said of how they differ.
const DEVICES_MIN: usize = 5;
const HOURS_MIN: usize = 3;

/// Block lengths, in hours, at which moods are looked for; the noisiest counts. Every device tells
/// of them, so that two blocks say something: a few hours hold few of the lanes' own.
const BLOCK_HOURS: [usize; 4] = [1, 2, 4, 8];
const BLOCKS_MIN: usize = 2;

impl Reference {
    /// The same with what its devices say. `parts` are those of its span, or of the last day of
    /// it, an hour each where it is longer than one. Sites of fewer than `min_devices` devices are
    /// taken together, because references are shown.
    pub fn with_devices(mut self, parts: &[Part], min_devices: u32) -> Self {
        let members = parts::members(&self, parts);
        let most = (HOUR_US / self.lane_us.max(1)).max(1) as f64;
        let (records, lanes) = (self.count as f64, f64::from(self.lanes));
        for stream in 0..self.streams.len() {
            let hours: Vec<Hour> = by_hour(&members, stream).into_values().collect();
            // Hours at the ends of a short span are not whole.
            let lanes_an_hour = most.min(lanes / hours.len().max(1) as f64);
            let noise = between(&hours).max(lanes_an_hour * moods(&hours));
            let (_, expected) = &mut self.streams[stream];
            expected.noise = expected.noise.max(noise);
            let error = error_covered(expected.share, expected.noise, records, lanes);
            expected.tolerance = expected.tolerance.max(error);
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

/// What each device did in one hour, or in several.
type Hour<'a> = BTreeMap<&'a str, Sum>;

fn by_hour(members: &[Member], stream: usize) -> BTreeMap<i64, Hour<'_>> {
    let mut hours: BTreeMap<i64, Hour> = BTreeMap::new();
    for member in members {
        let hour = hours.entry(member.end_us).or_default();
        let own = hour.entry(&member.device).or_default();
        own.add(Sum::of(member, stream));
    }
    hours
}

/// Several hours as one.
fn together<'a>(hours: &[Hour<'a>]) -> Hour<'a> {
    let mut whole = Hour::new();
    for (device, sum) in hours.iter().flatten() {
        whole.entry(device).or_default().add(*sum);
    }
    whole
}

fn total<'a>(sums: impl IntoIterator<Item = &'a Sum>) -> Sum {
    sums.into_iter().fold(Sum::default(), |mut total, sum| {
        total.add(*sum);
        total
    })
}

/// The design effect on one lane: variance of its share because its devices are some of many that
/// differ. Each device is foretold by the others of its hour.
fn between(hours: &[Hour]) -> f64 {
    let hours = hours.iter().filter(|hour| hour.len() >= DEVICES_MIN);
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
    mean(each).unwrap_or(0.0).max(0.0)
}

/// What is left of an hour's share because devices have moods that last, for an hour or for longer:
/// the long-run variance at the noisiest block length, in hours.
fn moods(hours: &[Hour]) -> f64 {
    let devices = together(hours);
    if devices.len() < DEVICES_MIN || hours.len() < HOURS_MIN {
        return 0.0;
    }
    let lengths = BLOCK_HOURS.iter();
    let lengths = lengths.filter(|length| hours.len() / **length >= BLOCKS_MIN);
    let noise = lengths.map(|length| {
        let blocks = hours.chunks_exact(*length).map(together);
        let each = blocks.map(|block| block_excess(&block, &devices));
        *length as f64 * mean(each).unwrap_or(0.0)
    });
    noise.fold(0.0, f64::max)
}

/// Each device is foretold by itself at all other times, and by how all devices moved.
fn block_excess(block: &Hour, devices: &Hour) -> f64 {
    let (all, overall) = (total(block.values()), total(devices.values()));
    let excess = |(device, own): (&&str, &Sum)| {
        let (elsewhere, rest) = (devices[*device].less(*own), all.less(*own));
        if elsewhere.count <= 0.0 || rest.count <= 0.0 {
            return 0.0;
        }
        let moved = rest.share() - overall.share();
        let share = (elsewhere.share() + moved).clamp(0.0, 1.0);
        own.excess(share, elsewhere.count.min(rest.count))
    };
    block.iter().map(excess).sum::<f64>() / (all.count * all.count)
}

fn mean(each: impl Iterator<Item = f64>) -> Option<f64> {
    let each: Vec<f64> = each.collect();
    (!each.is_empty()).then(|| each.iter().sum::<f64>() / each.len() as f64)
}
