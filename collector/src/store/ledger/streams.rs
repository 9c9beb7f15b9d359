//! What was counted of each stream. In: what `ledger/judge.rs` counted. Out: which intervals and
//! which total are known. Memory a stream: at most 64 intervals (1.2 KiB,
//! `memory_of_what_is_remembered` measures it), or the last total; what came ahead of its time
//! takes as much again. A stream that was silent for as long as boots are remembered goes.

use std::collections::BTreeMap;

use fathomline_queries::rows::Distribution;
use serde::{Deserialize, Serialize};

use super::BOOTS_REMEMBERED_US;

/// Intervals remembered a stream; older ones are taken as counted.
const INTERVALS_MAX: usize = 64;

/// What a stream takes beside its intervals and its total: keys, lengths and the tree around them.
const STREAM_BYTES: u64 = 160;
const INTERVAL_BYTES: u64 = 16;

/// Every stream there is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Streams {
    known: BTreeMap<u128, Stream>,
    bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Stream {
    device: u128,
    /// When the last of it was received that counts.
    pub(super) seen_us: i64,
    /// `(end, start)` of what was counted, ascending.
    intervals: Vec<(i64, i64)>,
    pub(super) cumulative: Option<Box<Cumulative>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cumulative {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) total: Sum,
}

/// Running total of a cumulative stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Sum {
    Integer(i64),
    Number(f64),
    Distribution(Distribution),
}

/// What a stream must remember of a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Counted {
    /// Delta or gauge.
    Interval { start: i64, end: i64 },
    /// Cumulative.
    Total { start: i64, end: i64, total: Sum },
}

impl Streams {
    pub(super) fn get(&self, stream: u128) -> Option<&Stream> {
        self.known.get(&stream)
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// What all streams take, estimated from what they hold.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Remembers a point of a stream of a device.
    pub(super) fn insert(&mut self, place: (u128, u128), counted: &Counted, seen_us: i64) -> Grown {
        let (name, device) = place;
        let new = !self.known.contains_key(&name);
        let stream = self.known.entry(name).or_insert_with(|| Stream {
            device,
            ..Stream::default()
        });
        let before = if new { 0 } else { stream.bytes() };
        stream.seen_us = stream.seen_us.max(seen_us);
        stream.insert(counted);
        let after = stream.bytes();
        self.bytes = self.bytes + after - before;
        Grown {
            device: stream.device,
            streams: new.into(),
            bytes: after as i64 - before as i64,
        }
    }

    /// Forgets streams that were silent for too long.
    pub(super) fn forget(&mut self, latest_us: i64) -> Vec<Grown> {
        self.keep(|stream| latest_us - stream.seen_us < BOOTS_REMEMBERED_US)
    }

    /// Forgets the streams of a device.
    pub(super) fn erase(&mut self, device: u128) {
        self.keep(|stream| stream.device != device);
    }

    fn keep(&mut self, keep: impl Fn(&Stream) -> bool) -> Vec<Grown> {
        let mut gone = Vec::new();
        self.known.retain(|_, stream| {
            let keep = keep(stream);
            if !keep {
                gone.push(Grown {
                    device: stream.device,
                    streams: -1,
                    bytes: -(stream.bytes() as i64),
                });
            }
            keep
        });
        let freed: i64 = gone.iter().map(|stream| -stream.bytes).sum();
        self.bytes -= freed as u64;
        gone
    }
}

/// How much more a device's streams take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grown {
    pub(super) device: u128,
    pub(super) streams: i32,
    pub(super) bytes: i64,
}

impl Stream {
    /// Whether exactly this interval was counted.
    pub(super) fn holds(&self, start: i64, end: i64) -> bool {
        self.intervals.binary_search(&(end, start)).is_ok()
    }

    pub(super) fn overlaps(&self, start: i64, end: i64) -> bool {
        let mut known = self.intervals.iter();
        known.any(|(e, s)| start < *e && *s < end)
    }

    /// The end of the oldest interval that is remembered.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.intervals.first().map(|(end, _)| *end)
    }

    /// Whether an interval that ends there may have been counted and forgotten.
    pub(super) fn forgot(&self, end: i64) -> bool {
        let is_full = self.intervals.len() == INTERVALS_MAX;
        is_full && self.oldest().is_some_and(|oldest| end <= oldest)
    }

    fn insert(&mut self, counted: &Counted) {
        match counted {
            Counted::Interval { start, end } => {
                let interval = (*end, *start);
                let at = self.intervals.partition_point(|known| *known < interval);
                self.intervals.reserve_exact(1);
                self.intervals.insert(at, interval);
                if self.intervals.len() > INTERVALS_MAX {
                    self.intervals.remove(0);
                }
            }
            Counted::Total { start, end, total } => {
                self.cumulative = Some(Box::new(Cumulative {
                    start: *start,
                    end: *end,
                    total: total.clone(),
                }));
            }
        }
    }

    fn bytes(&self) -> u64 {
        let total = self.cumulative.as_ref();
        let intervals = self.intervals.len() as u64 * INTERVAL_BYTES;
        STREAM_BYTES + intervals + total.map_or(0, |cumulative| cumulative.total.bytes())
    }
}

impl Counted {
    /// How many bytes more a stream takes that remembers this.
    pub(super) fn grows(&self, known: Option<&Stream>) -> u64 {
        let new = if known.is_none() { STREAM_BYTES } else { 0 };
        let full = known.is_some_and(|stream| stream.intervals.len() == INTERVALS_MAX);
        new + match self {
            Self::Interval { .. } if full => 0,
            Self::Interval { .. } => INTERVAL_BYTES,
            Self::Total { total, .. } => {
                let before = known.and_then(|stream| stream.cumulative.as_ref());
                let before = before.map_or(0, |cumulative| cumulative.total.bytes());
                total.bytes().saturating_sub(before)
            }
        }
    }
}

impl Sum {
    fn bytes(&self) -> u64 {
        let heap = match self {
            Self::Integer(_) | Self::Number(_) => 0,
            Self::Distribution(Distribution::Explicit(explicit)) => {
                explicit.bounds.len() + explicit.counts.len()
            }
            Self::Distribution(Distribution::Exponential(exponential)) => {
                exponential.positive.counts.len() + exponential.negative.counts.len()
            }
        };
        (size_of::<Cumulative>() + 8 * heap) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_what_inserts_and_forgetting_add_up_to() {
        let mut streams = Streams::default();
        let (mut of_device, mut estimated) = (0, 0);
        for n in 0..1_000 {
            let counted = Counted::Interval {
                start: n * 10,
                end: n * 10 + 10,
            };
            let name = (n % 5) as u128;
            estimated += counted.grows(streams.get(name));
            of_device += streams.insert((name, 9), &counted, n).bytes;
        }
        let expected = 5 * (STREAM_BYTES + INTERVALS_MAX as u64 * INTERVAL_BYTES);
        assert_eq!(streams.bytes(), expected);
        assert_eq!((of_device as u64, estimated), (expected, expected));
        let gone = streams.forget(1_000 + BOOTS_REMEMBERED_US);
        assert_eq!((gone.len(), streams.bytes(), streams.len()), (5, 0, 0));
    }
}
