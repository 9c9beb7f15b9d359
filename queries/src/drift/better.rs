//! Whether a new version is better than an old one on the signal that drifted: the share of the
//! stream that led, by devices, because what one device sends is not independent.
//!
//! In: the reference and its stream, what each device of both versions did. Out: how far the share
//! came back, with an interval: Welch's for two ratios of clusters (Cochran 1977, 6.3;
//! Satterthwaite 1946). Pure; the same parts in any order give the same bits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Direction, Part, Reference, Stream};
use crate::stats::student_point;

/// Devices below which a side says nothing.
const DEVICES_MIN: usize = 3;

/// What is asked of both sides.
#[derive(Clone, Copy, Debug)]
pub struct MovedShare<'a> {
    /// What the series was held against.
    pub reference: &'a Reference,
    /// Its stream that led, in its own words.
    pub stream: &'a str,
    /// Which way it went.
    pub direction: Direction,
    /// How often a new version that is no better may look so, 0 to 1; half of what the interval
    /// leaves out.
    pub error: f64,
}

/// What one version's devices did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Share of the stream's events, 0 to 1.
    pub share: f64,
    /// Inferences.
    pub count: u64,
    /// Devices.
    pub devices: u64,
}

/// How far a share came back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The stream, in words.
    pub stream: String,
    /// Its share in the reference.
    pub expected_share: f64,
    /// The version that drifted.
    pub old: Side,
    /// The one after it.
    pub new: Side,
    /// How much of the share went back; negative where it went on.
    pub gain: f64,
    /// From and to where that lies, but for `2 * error` of all times.
    pub interval: (f64, f64),
}

impl Comparison {
    /// Compares both; none where a side has too few devices, or the reference no such stream.
    pub fn of(moved: MovedShare<'_>, old: &[Part], new: &[Part]) -> Option<Self> {
        let streams = moved.reference.streams();
        let watched: Vec<Stream> = streams.iter().map(|(stream, _)| stream.clone()).collect();
        let mut found = streams.iter();
        let (stream, expected) = found.find(|(stream, _)| stream.to_string() == moved.stream)?;
        let old = Cluster::of(old, |part| stream.events(&part.summary, &watched))?;
        let new = Cluster::of(new, |part| stream.events(&part.summary, &watched))?;
        let gain = match moved.direction {
            Direction::More => old.side.share - new.side.share,
            Direction::Less => new.side.share - old.side.share,
        };
        let variance = old.variance + new.variance;
        let wide = student_point(free(&old, &new), moved.error) * libm::sqrt(variance);
        Some(Self {
            stream: moved.stream.to_owned(),
            expected_share: expected.share,
            old: old.side,
            new: new.side,
            gain,
            interval: (gain - wide, gain + wide),
        })
    }

    /// Whether the new version is better beyond doubt.
    pub fn is_better(&self) -> bool {
        self.interval.0 > 0.0
    }
}

/// A share with the variance that devices give it.
struct Cluster {
    side: Side,
    variance: f64,
}

impl Cluster {
    fn of(parts: &[Part], events: impl Fn(&Part) -> f64) -> Option<Self> {
        let mut ordered: Vec<&Part> = parts.iter().collect();
        ordered.sort_by(|a, b| (&a.device, &a.site, a.end_us).cmp(&(&b.device, &b.site, b.end_us)));
        let mut devices: BTreeMap<&str, (f64, u64)> = BTreeMap::new();
        for part in ordered {
            let (sum, count) = devices.entry(&part.device).or_default();
            *sum += events(part);
            *count += part.summary.count();
        }
        devices.retain(|_, (_, count)| *count > 0);
        if devices.len() < DEVICES_MIN {
            return None;
        }
        let count: u64 = devices.values().map(|(_, count)| count).sum();
        let sum: f64 = devices.values().map(|(events, _)| events).sum();
        let share = sum / count as f64;
        let square = |(events, count): &(f64, u64)| {
            let off = events - share * *count as f64;
            off * off
        };
        let squares: f64 = devices.values().map(square).sum();
        let of = devices.len() as f64;
        let total = count as f64;
        let side = Side {
            share,
            count,
            devices: devices.len() as u64,
        };
        Some(Self {
            side,
            variance: of / (of - 1.0) * squares / (total * total),
        })
    }

    fn free(&self) -> f64 {
        self.side.devices as f64 - 1.0
    }
}

/// Degrees of freedom of a difference (Satterthwaite 1946).
fn free(old: &Cluster, new: &Cluster) -> f64 {
    let (a, b) = (old.variance, new.variance);
    let both = a + b;
    let least = old.free().min(new.free());
    if both <= 0.0 {
        return least;
    }
    let each = a * a / old.free() + b * b / new.free();
    (both * both / each).max(least)
}

#[cfg(test)]
mod tests;
