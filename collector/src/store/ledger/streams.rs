//! Which intervals of one stream were counted. In: points of senders without our identity. Out:
//! count, repeat or a reason; a cumulative point becomes its increase. Memory a stream: 64
//! intervals, or the last cumulative total.

use std::collections::BTreeSet;

use fathomline_queries::rows::Distribution;
use fathomline_wire::rejection::Rejection;
use serde::{Deserialize, Serialize};

use crate::intake::{Point, PointBody, Temporality};

/// Intervals remembered a stream; older ones are taken as counted.
const INTERVALS_MAX: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Stream {
    /// `(end, start)` of what was counted.
    intervals: BTreeSet<(i64, i64)>,
    cumulative: Option<Cumulative>,
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

impl Stream {
    pub(super) fn insert(&mut self, counted: &Counted) {
        match counted {
            Counted::Interval { start, end } => {
                self.intervals.insert((*end, *start));
                while self.intervals.len() > INTERVALS_MAX {
                    self.intervals.pop_first();
                }
            }
            Counted::Total { start, end, total } => {
                self.cumulative = Some(Cumulative {
                    start: *start,
                    end: *end,
                    total: total.clone(),
                });
            }
        }
    }
}

/// Decides about one point and turns a cumulative one into its increase.
pub(super) fn judge(
    known: Option<&Stream>,
    point: &mut Point,
) -> Result<(Verdict, Option<Counted>), Rejection> {
    match point.temporality {
        Temporality::Cumulative => judge_cumulative(known, point),
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
    if known.intervals.contains(&(end, start)) {
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
        // With an unknown start there is no saying since when the total grew.
        let verdict = if start == end {
            Verdict::Baseline
        } else {
            Verdict::Count
        };
        return Ok((verdict, counted));
    };
    if end <= before.end {
        let repeat = end == before.end && total == before.total;
        return if repeat {
            Ok((Verdict::Repeat, None))
        } else {
            Err(Rejection::Overlap)
        };
    }
    let restarted = start >= before.end && start != end;
    let increase = if restarted {
        None
    } else {
        total.since(&before.total)
    };
    if let Some(increase) = increase {
        point.columns.start_time = before.end;
        point.body = increase;
    } else if !restarted {
        // A total that fell is a reset: what it holds grew since some time after the last point.
        point.columns.start_time = before.end;
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
}
