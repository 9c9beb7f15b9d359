//! Which intervals of one stream were counted. In: points of senders without our identity. Out:
//! count, repeat or a reason; a cumulative point becomes its increase. Memory a stream: at most 64
//! intervals (1.2 KiB, `memory_of_what_is_remembered` measures it), or the last cumulative total. A
//! stream that was silent for as long as boots are remembered goes.

use std::collections::BTreeMap;

use fathomline_queries::rows::Distribution;
use fathomline_wire::rejection::Rejection;
use serde::{Deserialize, Serialize};

use super::BOOTS_REMEMBERED_US;
use crate::intake::{Point, PointBody, Temporality};

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
    seen_us: i64,
    /// `(end, start)` of what was counted, ascending.
    intervals: Vec<(i64, i64)>,
    cumulative: Option<Box<Cumulative>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cumulative {
    start: i64,
    end: i64,
    total: Sum,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Count,
    /// Remember the total; there is no increase to store yet.
    Baseline,
    Repeat,
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

/// Decides about one point and turns a cumulative one into its increase.
pub(super) fn judge(
    known: Option<&Stream>,
    point: &mut Point,
    received_us: i64,
) -> Result<(Verdict, Option<Counted>), Rejection> {
    match point.temporality {
        Temporality::Cumulative => judge_cumulative(known, point, received_us),
        Temporality::Delta | Temporality::Gauge => judge_interval(known, point),
    }
}

fn judge_interval(
    known: Option<&Stream>,
    point: &Point,
) -> Result<(Verdict, Option<Counted>), Rejection> {
    let (start, end) = (point.columns.start_time, point.columns.time);
    let start = if point.temporality == Temporality::Gauge {
        end
    } else {
        start
    };
    let counted = Counted::Interval { start, end };
    let Some(known) = known else {
        return Ok((Verdict::Count, Some(counted)));
    };
    if known.intervals.binary_search(&(end, start)).is_ok() {
        return Ok((Verdict::Repeat, None));
    }
    let forgotten = known.intervals.len() == INTERVALS_MAX
        && known
            .intervals
            .first()
            .is_some_and(|(oldest, _)| end <= *oldest);
    let overlaps = known.intervals.iter().any(|(e, s)| start < *e && *s < end);
    if overlaps || forgotten {
        return Err(Rejection::Overlap);
    }
    Ok((Verdict::Count, Some(counted)))
}

fn judge_cumulative(
    known: Option<&Stream>,
    point: &mut Point,
    received_us: i64,
) -> Result<(Verdict, Option<Counted>), Rejection> {
    let (start, end) = (point.columns.start_time, point.columns.time);
    let total = match &point.body {
        PointBody::Integer(value) => Sum::Integer(*value),
        PointBody::Number(value) => Sum::Number(*value),
        PointBody::Distribution(value) => Sum::Distribution(value.clone()),
    };
    let counted = Some(Counted::Total {
        start,
        end,
        total: total.clone(),
    });
    let Some(before) = known.and_then(|stream| stream.cumulative.as_ref()) else {
        // With an unknown start there is no saying since when the total grew; and of a total that
        // began before what is remembered, a part may have been counted.
        let counts = start < end && received_us - start < BOOTS_REMEMBERED_US;
        let verdict = if counts {
            Verdict::Count
        } else {
            Verdict::Baseline
        };
        return Ok((verdict, counted));
    };
    if end <= before.end {
        // The same total again, or an earlier one, which the last holds already.
        let held = end < before.end && start == before.start;
        return match held || (end == before.end && total == before.total) {
            true => Ok((Verdict::Repeat, None)),
            false => Err(Rejection::Overlap),
        };
    }
    // A start that goes back is another sender under the same name: taken for a reset, the totals
    // of both would be counted again at every turn.
    if start < before.start && start < end && before.start < before.end {
        return Err(Rejection::Overlap);
    }
    // A new start is a reset; an unknown one (start = end) says nothing.
    let restarted = start > before.start && start < end;
    let increase = match restarted {
        true => None,
        false => total.since(&before.total),
    };
    // Without a new start, a total that fell is a reset all the same: what it holds grew since some
    // time after the last point.
    point.columns.start_time = match restarted {
        true => start.max(before.end),
        false => before.end,
    };
    if let Some(increase) = increase {
        point.body = increase;
    }
    Ok((Verdict::Count, counted))
}

impl Sum {
    /// What was added since `earlier`; none if the total fell or changed its shape.
    fn since(&self, earlier: &Self) -> Option<PointBody> {
        match (self, earlier) {
            (Self::Integer(now), Self::Integer(then)) => now
                .checked_sub(*then)
                .filter(|grew| *grew >= 0)
                .map(PointBody::Integer),
            (Self::Number(now), Self::Number(then)) => Some(now - then)
                .filter(|grew| *grew >= 0.0)
                .map(PointBody::Number),
            (
                Self::Distribution(Distribution::Explicit(now)),
                Self::Distribution(Distribution::Explicit(then)),
            ) => now
                .since(then)
                .map(|grew| PointBody::Distribution(Distribution::Explicit(grew))),
            (
                Self::Distribution(Distribution::Exponential(now)),
                Self::Distribution(Distribution::Exponential(then)),
            ) => now
                .since(then)
                .map(|grew| PointBody::Distribution(Distribution::Exponential(grew))),
            _ => None,
        }
    }

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
    use fathomline_wire::histogram::{ExplicitHistogram, ExponentialHistogram};

    use super::*;
    use crate::store::ledger::tests::{NOW_US, point};

    /// What a stream of totals makes of its points: start, end and increase of each row.
    fn increases<T: Clone>(
        totals: &[((i64, i64), T)],
        body: impl Fn(T) -> PointBody,
    ) -> Vec<(i64, i64, PointBody)> {
        let mut streams = Streams::default();
        let mut rows = Vec::new();
        for (times, total) in totals {
            let times = (NOW_US + times.0, NOW_US + times.1);
            let mut point = point(Temporality::Cumulative, times, 0);
            point.body = body(total.clone());
            let judged = judge(streams.get(1), &mut point, NOW_US + 100);
            let Ok((verdict, counted)) = judged else {
                continue;
            };
            if let Some(counted) = counted {
                streams.insert((1, 1), &counted, NOW_US);
            }
            if verdict == Verdict::Count {
                let columns = &point.columns;
                let times = (columns.start_time - NOW_US, columns.time - NOW_US);
                rows.push((times.0, times.1, point.body));
            }
        }
        rows
    }

    fn integers(totals: &[((i64, i64), i64)]) -> Vec<(i64, i64, i64)> {
        let rows = increases(totals, PointBody::Integer).into_iter();
        rows.map(|(start, end, body)| match body {
            PointBody::Integer(count) => (start, end, count),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    #[test]
    fn a_gap_in_a_sum_is_one_longer_increase() {
        let rows = integers(&[((0, 10), 4), ((0, 40), 9)]);
        assert_eq!(rows, [(0, 10, 4), (10, 40, 5)]);
    }

    #[test]
    fn a_sum_resets_by_its_start_and_by_its_fall() {
        // A new process that counts on beyond the old total is a reset by its start alone.
        let rows = integers(&[((0, 10), 4), ((12, 20), 9), ((12, 30), 3), ((12, 40), 5)]);
        assert_eq!(rows, [(0, 10, 4), (12, 20, 9), (20, 30, 3), (30, 40, 2)]);
    }

    #[test]
    fn of_two_processes_under_one_name_the_older_is_refused() {
        let turns = [
            ((10, 60), 6),
            ((20, 61), 5),
            ((10, 120), 12),
            ((20, 121), 10),
        ];
        let rows = integers(&turns);
        assert_eq!(rows, [(10, 60, 6), (60, 61, 5), (61, 121, 5)]);
    }

    #[test]
    fn a_sum_with_an_unknown_start_begins_at_nothing() {
        let rows = integers(&[((10, 10), 100), ((10, 20), 105), ((30, 30), 107)]);
        assert_eq!(rows, [(10, 20, 5), (20, 30, 2)]);
    }

    #[test]
    fn a_sum_from_before_what_is_remembered_begins_at_nothing() {
        let rows = integers(&[
            ((-BOOTS_REMEMBERED_US, 10), 100),
            ((-BOOTS_REMEMBERED_US, 20), 101),
        ]);
        assert_eq!(rows, [(10, 20, 1)]);
    }

    #[test]
    fn an_earlier_total_is_held_by_the_last() {
        let rows = integers(&[((0, 20), 9), ((0, 10), 4), ((0, 20), 9), ((0, 30), 9)]);
        assert_eq!(rows, [(0, 20, 9), (20, 30, 0)]);
    }

    #[test]
    fn explicit_bounds_stay_as_they_came_over_a_reset() {
        let bounds = vec![0.005, 0.1, 1.0e9];
        let total = |counts: [u64; 4], sum: f64| ExplicitHistogram {
            bounds: bounds.clone(),
            counts: counts.to_vec(),
            count: counts.iter().sum(),
            sum: Some(sum),
            min: Some(0.0),
            max: Some(2.0),
        };
        let totals = [
            ((0, 10), total([1, 2, 0, 0], 3.0)),
            ((0, 20), total([1, 5, 1, 0], 7.5)),
            ((0, 30), total([0, 1, 0, 0], 0.5)),
        ];
        let rows = increases(&totals, |total| {
            PointBody::Distribution(Distribution::Explicit(total))
        });
        let found: Vec<_> = rows
            .into_iter()
            .map(|(_, _, body)| match body {
                PointBody::Distribution(Distribution::Explicit(found)) => {
                    assert_eq!(found.bounds, bounds);
                    (found.counts, found.sum)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            (vec![1, 2, 0, 0], Some(3.0)),
            (vec![0, 3, 1, 0], Some(4.5)),
            (vec![0, 1, 0, 0], Some(0.5)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_exponential_total_that_grows_coarser_gains_exactly() {
        let mut fine = ExponentialHistogram::new(4);
        [0.1, 0.2].iter().for_each(|v| assert!(fine.record(*v)));
        let mut coarse = fine.clone();
        coarse.downscale(2);
        assert!(coarse.record(3.0));
        let mut restarted = ExponentialHistogram::new(4);
        assert!(restarted.record(7.0));
        let totals = [((0, 10), fine), ((0, 20), coarse), ((0, 30), restarted)];
        let rows = increases(&totals, |total| {
            PointBody::Distribution(Distribution::Exponential(total))
        });
        let found = rows.into_iter().map(|(_, _, body)| match body {
            PointBody::Distribution(Distribution::Exponential(gain)) => (gain.scale, gain.count),
            other => panic!("{other:?}"),
        });
        assert_eq!(found.collect::<Vec<_>>(), [(4, 2), (2, 1), (4, 1)]);
    }

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
