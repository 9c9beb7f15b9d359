//! A drift that was paged, and when it is over: once as many lanes as it took to see it are, one by
//! one and taken together, within the tolerance of the stream that gave it away. A single lane
//! says little where inferences are few; the lanes that were enough to page are enough to end it.

use serde::{Deserialize, Serialize};

use super::{Observed, Reference, bets};
use crate::stats::{Expectation, PER_STREAM};

/// Lanes that a drift needs at least, and at most, to be over.
const LANES: std::ops::RangeInclusive<i64> = 6..=1440;

/// Standard errors that a share may be off beyond the tolerance.
const ERRORS: f64 = 2.0;

/// A drift that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Drift {
    /// Estimate of when it began.
    pub(super) since_us: i64,
    /// The bet that led when it was paged.
    pub(super) bet: usize,
    /// It was seen in long windows.
    pub(super) long: bool,
    needed: i64,
    calm: Calm,
}

/// Lanes in a row that were calm, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Calm {
    lanes: i64,
    /// Events beyond what was expected.
    beyond: f64,
    /// How many of them the tolerance allows.
    allowed: f64,
    /// Variance of what is beyond.
    variance: f64,
}

impl Drift {
    /// A drift that `(bet, since)` gave away in a lane of `lane_us` that ended at `now_us`.
    pub(super) fn begin((bet, since_us): (usize, i64), long: bool, lane: (i64, i64)) -> Self {
        let (lane_us, now_us) = lane;
        let took = (now_us - since_us) / lane_us.max(1);
        Self {
            since_us,
            bet,
            long,
            needed: took.clamp(*LANES.start(), *LANES.end()),
            calm: Calm::default(),
        }
    }

    /// Looks at the next lane; whether the drift is over.
    pub(super) fn is_over(&mut self, reference: &Reference, lane: &Observed) -> bool {
        let stream = self.bet / PER_STREAM;
        let expected = bets::expected(reference, lane, 1);
        let Some((expected, events)) = expected.get(stream).zip(lane.events.get(stream)) else {
            return true;
        };
        let seen = Calm::of(expected, *events, lane.count);
        self.calm = if seen.holds() {
            self.calm.and(seen)
        } else {
            Calm::default()
        };
        if self.calm.lanes < self.needed {
            return false;
        }
        let over = self.calm.holds();
        self.calm = Calm::default();
        over
    }
}

impl Calm {
    fn of(expected: &Expectation, events: f64, count: u64) -> Self {
        let records = count as f64;
        let effective = expected.effective_count(count).max(1.0);
        Self {
            lanes: 1,
            beyond: events - records * expected.share,
            allowed: records * expected.tolerance,
            variance: records * records * expected.variance() / effective,
        }
    }

    fn and(self, later: Self) -> Self {
        Self {
            lanes: self.lanes + later.lanes,
            beyond: self.beyond + later.beyond,
            allowed: self.allowed + later.allowed,
            variance: self.variance + later.variance,
        }
    }

    fn holds(self) -> bool {
        self.beyond.abs() <= self.allowed + ERRORS * libm::sqrt(self.variance)
    }
}
