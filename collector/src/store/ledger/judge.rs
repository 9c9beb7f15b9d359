//! New, repeat or no: one point against what its stream remembers. In: a point in its sender's
//! times. Out: a verdict, and what to remember of it; a cumulative point becomes its increase.
//!
//! A time that lies ahead of its receipt was measured by nobody, and must not silence what is
//! measured after it. So what came ahead of its time is remembered beside the stream, under a
//! name of its own: intervals in a list of their own, totals by their start. Whatever list holds
//! exactly these times, the point is a repeat, because its time may have come since. What cannot be
//! told: a point that was ahead and is sent again once its time has come, after 64 later ones.

use fathomline_queries::rows::Distribution;
use fathomline_wire::rejection::Rejection;

use super::{
    BOOTS_REMEMBERED_US,
    streams::{Counted, Cumulative, Stream, Streams, Sum},
    times::Times,
};
use crate::intake::{Point, PointBody, Temporality};

/// Turns a stream's name into that of what came ahead of its time.
const AHEAD: u128 = 1 << 127;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Count,
    /// Remember the total; there is no increase to store yet.
    Baseline,
    Repeat,
}

/// What became of a point, and what to remember of it under which name.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) remember: Vec<(u128, Counted)>,
}

impl Judged {
    const REPEAT: Self = Self {
        verdict: Verdict::Repeat,
        remember: Vec::new(),
    };
}

/// When a point came, and what its sender's times mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipt {
    pub(super) times: Times,
    pub(super) received_us: i64,
}

impl Receipt {
    fn is_ahead(self, time_us: i64) -> bool {
        self.times.is_ahead(time_us, self.received_us)
    }
}

/// What an earlier total of the same start makes of a later one.
enum Gain {
    Grew(PointBody),
    Fell,
    /// The totals have nothing in common that could be compared.
    Untold,
}

/// Decides about one point and turns a cumulative one into its increase.
pub(super) fn judge(
    streams: &Streams,
    point: &mut Point,
    receipt: Receipt,
) -> Result<Judged, Rejection> {
    let (end, name) = (point.columns.time, point.stream);
    let start = match point.temporality {
        Temporality::Gauge => end,
        Temporality::Delta | Temporality::Cumulative => point.columns.start_time,
    };
    let ahead = streams.get(name ^ AHEAD);
    if ahead.is_some_and(|ahead| ahead.holds(start, end)) {
        return Ok(Judged::REPEAT);
    }
    let is_ahead = receipt.is_ahead(end);
    // While all that is remembered still lies ahead, it says nothing about what ends today.
    let reached = ahead.filter(|ahead| {
        let oldest = ahead.oldest();
        !is_ahead && oldest.is_some_and(|end| !receipt.is_ahead(end))
    });
    if reached.is_some_and(|ahead| ahead.forgot(end)) {
        return Err(Rejection::Overlap);
    }
    let interval = Counted::Interval { start, end };
    if point.temporality != Temporality::Cumulative {
        let name = if is_ahead { name ^ AHEAD } else { name };
        let verdict = interval_verdict(streams.get(name), (start, end))?;
        let remember = match verdict {
            Verdict::Repeat => vec![],
            Verdict::Count | Verdict::Baseline => vec![(name, interval)],
        };
        return Ok(Judged { verdict, remember });
    }
    let name = name_of_total(streams, (start, end), (name, receipt));
    let total = Counted::Total {
        start,
        end,
        total: Sum::of(&point.body),
    };
    let verdict = total_verdict(streams.get(name), point, receipt)?;
    let mut remember = vec![];
    if verdict != Verdict::Repeat {
        remember.push((name, total));
    }
    // A repeat, too: sent again when its time has come, a total that has been passed would look
    // like a reset.
    remember.extend(is_ahead.then_some((point.stream ^ AHEAD, interval)));
    Ok(Judged { verdict, remember })
}

fn interval_verdict(
    known: Option<&Stream>,
    (start, end): (i64, i64),
) -> Result<Verdict, Rejection> {
    let Some(known) = known else {
        return Ok(Verdict::Count);
    };
    if known.holds(start, end) {
        return Ok(Verdict::Repeat);
    }
    if known.overlaps(start, end) || known.forgot(end) {
        return Err(Rejection::Overlap);
    }
    Ok(Verdict::Count)
}

/// Under which name a total is remembered: one whose start was ahead goes on there.
fn name_of_total(
    streams: &Streams,
    (start, end): (i64, i64),
    (name, receipt): (u128, Receipt),
) -> u128 {
    let ahead = streams.get(name ^ AHEAD);
    let ahead = ahead.and_then(|ahead| ahead.cumulative.as_ref());
    let goes_on = ahead.is_some_and(|before| before.start == start);
    match start < end && (goes_on || receipt.is_ahead(start)) {
        true => name ^ AHEAD,
        false => name,
    }
}

fn total_verdict(
    known: Option<&Stream>,
    point: &mut Point,
    receipt: Receipt,
) -> Result<Verdict, Rejection> {
    let (start, end) = (point.columns.start_time, point.columns.time);
    let before = known.and_then(|known| Some((known.cumulative.as_ref()?, known.seen_us)));
    let Some((before, seen_us)) = before else {
        // With an unknown start there is no saying since when the total grew; and of a total that
        // began before what is remembered, a part may have been counted.
        let counts = start < end && receipt.received_us - start < BOOTS_REMEMBERED_US;
        return Ok(if counts {
            Verdict::Count
        } else {
            Verdict::Baseline
        });
    };
    let total = Sum::of(&point.body);
    let seen = Receipt {
        received_us: seen_us,
        ..receipt
    };
    let (was_ahead, is_ahead) = (seen.is_ahead(before.end), receipt.is_ahead(end));
    // A new start is a reset; an unknown one (start = end) says nothing.
    let (is_known, was_known) = (start < end, before.start < before.end);
    let same_start = is_known && was_known && start == before.start;
    if end <= before.end && !(was_ahead && (same_start || !is_ahead)) {
        return held(before, (start, end), &total);
    }
    // A start that goes back is another sender under the same name: taken for a reset, the totals
    // of both would be counted again at every turn.
    if start < before.start && is_known && was_known {
        return Err(Rejection::Overlap);
    }
    let before_end = match was_ahead && !is_ahead {
        true => before.end.min(seen.times.sent_at(seen_us)),
        false => before.end,
    };
    let before_start = if was_known { before.start } else { before_end };
    let restarted = is_known && start > before_start;
    // Without a new start, a total that fell is a reset all the same: what it holds grew since some
    // time after the last point.
    point.columns.start_time = match restarted {
        true => start.max(before_end),
        false => before_end,
    }
    .min(end);
    if restarted {
        return Ok(Verdict::Count);
    }
    // Which of the two was measured first, their times do not tell.
    let unordered = was_ahead || is_ahead;
    match total.since(&before.total) {
        Gain::Grew(_) if unordered && total == before.total => return Ok(Verdict::Repeat),
        Gain::Grew(increase) => point.body = increase,
        Gain::Fell if unordered && same_start => return Ok(Verdict::Repeat),
        Gain::Fell if !unordered => {}
        Gain::Fell | Gain::Untold => return Ok(Verdict::Baseline),
    }
    Ok(Verdict::Count)
}

/// Of a total that is not later than the last: the same again, or an earlier one, which the last
/// holds already.
fn held(before: &Cumulative, (start, end): (i64, i64), total: &Sum) -> Result<Verdict, Rejection> {
    let earlier = end < before.end && start == before.start;
    match earlier || (end == before.end && *total == before.total) {
        true => Ok(Verdict::Repeat),
        false => Err(Rejection::Overlap),
    }
}

impl Sum {
    fn of(body: &PointBody) -> Self {
        match body {
            PointBody::Integer(value) => Self::Integer(*value),
            PointBody::Number(value) => Self::Number(*value),
            PointBody::Distribution(value) => Self::Distribution(value.clone()),
        }
    }

    /// What was added since `earlier`.
    fn since(&self, earlier: &Self) -> Gain {
        use Distribution::{Explicit, Exponential};
        let grew = match (self, earlier) {
            (Self::Integer(now), Self::Integer(then)) => now
                .checked_sub(*then)
                .filter(|grew| *grew >= 0)
                .map(PointBody::Integer),
            (Self::Distribution(Explicit(now)), Self::Distribution(Explicit(then))) => now
                .since(then)
                .map(|grew| PointBody::Distribution(Explicit(grew))),
            (Self::Distribution(Exponential(now)), Self::Distribution(Exponential(then))) => now
                .since(then)
                .map(|grew| PointBody::Distribution(Exponential(grew))),
            _ => match (self.number(), earlier.number()) {
                (Some(now), Some(then)) => Some(now - then)
                    .filter(|grew| *grew >= 0.0)
                    .map(PointBody::Number),
                _ => return Gain::Untold,
            },
        };
        grew.map_or(Gain::Fell, Gain::Grew)
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            Self::Distribution(_) => None,
        }
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
            let receipt = Receipt {
                times: Times::of_boot(0),
                received_us: NOW_US + 100,
            };
            let Ok(judged) = judge(&streams, &mut point, receipt) else {
                continue;
            };
            for (name, counted) in judged.remember {
                streams.insert((name, 1), &counted, NOW_US + 100);
            }
            if judged.verdict == Verdict::Count {
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

    fn explicit(bounds: &[f64], counts: &[u64], sum: f64) -> Distribution {
        Distribution::Explicit(ExplicitHistogram {
            bounds: bounds.to_vec(),
            counts: counts.to_vec(),
            count: counts.iter().sum(),
            sum: Some(sum),
            min: None,
            max: None,
        })
    }

    fn exponential(scale: i32, zero_threshold: f64, values: &[f64]) -> Distribution {
        let mut histogram = ExponentialHistogram::new(scale);
        histogram.zero_threshold = zero_threshold;
        values.iter().for_each(|v| assert!(histogram.record(*v)));
        Distribution::Exponential(histogram)
    }

    /// How many values each row counts of two totals of one start.
    fn counts_of(then: Distribution, now: Distribution) -> Vec<u64> {
        let totals = [((0, 10), then), ((0, 20), now)];
        let rows = increases(&totals, PointBody::Distribution);
        let counts = rows.into_iter().map(|(_, _, body)| match body {
            PointBody::Distribution(Distribution::Explicit(gain)) => gain.count,
            PointBody::Distribution(Distribution::Exponential(gain)) => gain.count,
            other => panic!("{other:?}"),
        });
        counts.collect()
    }

    #[test]
    fn a_total_that_changes_its_shape_counts_what_it_gained_and_never_all_again() {
        let then = || explicit(&[1.0, 2.0, 4.0], &[1, 2, 3, 4], 30.0);
        let finer = explicit(&[0.5, 1.0, 2.0, 4.0], &[1, 0, 2, 4, 4], 33.0);
        assert_eq!(counts_of(then(), finer), [10, 1]);
        let other = explicit(&[10.0], &[8, 4], 40.0);
        assert_eq!(counts_of(then(), other), [10, 2]);
        assert_eq!(counts_of(then(), explicit(&[], &[13], 50.0)), [10, 3]);
        let small = || exponential(4, 0.0, &[0.001, 0.5, 3.0]);
        let wider = exponential(2, 0.01, &[0.001, 0.5, 3.0, 3.0, 0.0]);
        assert_eq!(counts_of(small(), wider), [3, 2]);
        let narrower = exponential(4, 0.0, &[0.001, 0.5, 3.0, 9.0]);
        assert_eq!(
            counts_of(exponential(4, 0.01, &[0.001, 0.5, 3.0]), narrower),
            [3, 1]
        );
        // What the buckets gained cannot be told.
        let kind = exponential(4, 0.0, &[0.5; 12]);
        assert_eq!(counts_of(then(), kind), [10]);
    }

    #[test]
    fn a_count_that_becomes_a_number_counts_what_it_gained() {
        let body = |n: f64| match n < 10.0 {
            true => PointBody::Integer(n as i64),
            false => PointBody::Number(n),
        };
        let rows = increases(&[((0, 10), 4.0), ((0, 20), 12.0)], body);
        assert_eq!(rows[1].2, PointBody::Number(8.0));
    }
}
