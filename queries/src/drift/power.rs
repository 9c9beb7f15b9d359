//! What a series could detect at its traffic: the smallest change that its detector would page for
//! within a time, as often as not.
//!
//! In: a reference, the policy, records a lane. Out: a change of all values in deviations, or of
//! one category, with the share that it moves. Computed, not simulated: a bet wins a known mean
//! and variance a window under a change, so its winnings are a walk with a drift, and the time to
//! the threshold is that of an inverse Gaussian (Chhikara and Folks 1989). Bets that win together
//! share the threshold. Records are taken to come evenly.

use serde::Serialize;

use super::{DEVICES_REPORTING, Direction, Policy, Reference, Stream, Summary, reporting};
use crate::stats::{Expectation, ODDS_RATIOS, PER_STREAM, ln_mean, log_e_values};

/// Changes beyond so many deviations are not looked for.
const DEVIATIONS_MAX: f64 = 8.0;

/// Halvings of the interval that a change is looked for in.
const HALVINGS: usize = 30;

/// The smallest change that would be seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detectable {
    /// Within so long, microseconds.
    pub within_us: i64,
    /// Which way values or the category's share move.
    pub direction: Direction,
    /// By how much: of all values in standard deviations of their logarithms, of a category in
    /// standard deviations of one event.
    pub deviations: f64,
    /// The stream whose share moves most, in words.
    pub stream: String,
    /// Its share in the reference, 0 to 1.
    pub expected_share: f64,
    /// Its share after such a change.
    pub share: f64,
}

impl Detectable {
    /// How far the share moves, in points of a hundred.
    pub fn points(&self) -> f64 {
        100.0 * (self.share - self.expected_share)
    }
}

/// What one series could detect.
#[derive(Clone, Debug, PartialEq)]
pub struct Power<'a> {
    reference: &'a Reference,
    policy: &'a Policy,
    per_lane: f64,
}

impl<'a> Power<'a> {
    /// A series that is held against `reference` and has so many records a lane.
    pub fn of(reference: &'a Reference, policy: &'a Policy, per_lane: f64) -> Self {
        let devices = reference.key().metric == DEVICES_REPORTING;
        // Every lane of reporting devices counts all that are known.
        let per_lane = match devices {
            true => reference.devices() as f64,
            false => per_lane,
        };
        Self {
            reference,
            policy,
            per_lane,
        }
    }

    /// What a lane's records are worth as independent ones, for the stream that is nearest to half.
    pub fn effective_count(&self) -> f64 {
        let streams = self
            .reference
            .streams()
            .iter()
            .map(|(_, expected)| expected);
        let nearest = streams.max_by(|a, b| a.variance().total_cmp(&b.variance()));
        nearest.map_or(0.0, |expected| expected.effective_count(self.count(1)))
    }

    /// The smallest change in a direction that is seen within a time, in half of all cases; none
    /// where there is no such change.
    pub fn detectable(&self, within_us: i64, direction: Direction) -> Option<Detectable> {
        let changes: Vec<Change> = match self.reference.summary() {
            Summary::Histogram(_) => self.of_values(direction).into_iter().collect(),
            Summary::Categories(_) => self.of_categories(direction),
        };
        let found = changes
            .iter()
            .filter_map(|change| self.smallest(change, within_us, direction));
        found.min_by(|a, b| a.deviations.total_cmp(&b.deviations))
    }

    fn smallest(
        &self,
        change: &Change,
        within_us: i64,
        direction: Direction,
    ) -> Option<Detectable> {
        let seen =
            |deviations: f64| self.sees(&change.shares(self.reference, deviations), within_us);
        let (mut low, mut high) = (0.0, DEVIATIONS_MAX.min(change.most(self.reference)));
        if !seen(high) {
            return None;
        }
        for _ in 0..HALVINGS {
            let middle = (low + high) / 2.0;
            match seen(middle) {
                true => high = middle,
                false => low = middle,
            }
        }
        let shares = change.shares(self.reference, high);
        let streams = self.reference.streams().iter().zip(&shares);
        let moved = |(_, expected): &(Stream, Expectation), share: f64| {
            (share - expected.share).abs() / libm::sqrt(expected.variance().max(1e-12))
        };
        let (stream, share) =
            streams.max_by(|a, b| moved(a.0, *a.1).total_cmp(&moved(b.0, *b.1)))?;
        Some(Detectable {
            within_us,
            direction,
            deviations: high,
            stream: stream.0.to_string(),
            expected_share: stream.1.share,
            share: *share,
        })
    }

    /// All values grow or shrink by a factor.
    fn of_values(&self, direction: Direction) -> Option<Change> {
        let deviation = deviation_of_logarithms(self.reference.summary())?;
        Some(Change::Values {
            step: match direction {
                Direction::More => deviation,
                Direction::Less => -deviation,
            },
        })
    }

    /// One category gains or loses, all others lose or gain by their shares.
    fn of_categories(&self, direction: Direction) -> Vec<Change> {
        let more = direction == Direction::More;
        let streams = self.reference.streams().iter().enumerate();
        let held =
            streams.filter(|(_, (stream, _))| reporting::is_held(self.reference, stream, more));
        held.map(|(stream, _)| Change::Category { stream, more })
            .collect()
    }

    fn count(&self, lanes: u32) -> u64 {
        (self.per_lane * f64::from(lanes)).round().max(1.0) as u64
    }

    /// Whether half of all walks reach the threshold in time, at one of the widths.
    fn sees(&self, shares: &[f64], within_us: i64) -> bool {
        let long = self.policy.long_lanes;
        let known = long > 1 && self.reference.lanes() / long >= self.policy.min_blocks;
        let widths = [(1, true), (long, known)];
        let mut widths = widths.into_iter().filter(|(_, known)| *known);
        widths.any(|(lanes, _)| self.sees_at(shares, within_us, lanes))
    }

    fn sees_at(&self, shares: &[f64], within_us: i64, lanes: u32) -> bool {
        let width_us = self.policy.lane_us.saturating_mul(i64::from(lanes)).max(1);
        let windows = (within_us / width_us) as f64;
        let bets = (self.reference.streams().len() * PER_STREAM).max(1) as f64;
        let needed = libm::log(self.policy.page_threshold(lanes) * bets);
        let least = f64::from(self.policy.min_windows.max(1));
        if windows < least {
            return false;
        }
        let walks = self.walks(shares, lanes, needed / least);
        let gain = |walk: &Walk| (walk.mean * windows).max(0.0);
        let gains: Vec<f64> = walks.iter().map(gain).collect();
        let Some(best) = walks.iter().max_by(|a, b| a.mean.total_cmp(&b.mean)) else {
            return false;
        };
        // What all others have won is not needed of the best one.
        let others = ln_mean(&gains) + libm::log(gains.len() as f64) - gain(best);
        best.reaches(needed - others, windows) >= 0.5
    }

    /// What each bet wins a window.
    fn walks(&self, shares: &[f64], lanes: u32, cap: f64) -> Vec<Walk> {
        let count = self.count(lanes);
        let records = count as f64;
        let each = self.reference.streams().iter().zip(shares);
        let walks = each.flat_map(|((stream, overall), share)| {
            let expected = overall.over(lanes);
            let at = |events: f64| log_e_values(events, count, &expected);
            let (means, lowest, highest) = (at(share * records), at(0.0), at(records));
            let variance = share * (1.0 - share) / records + expected.noise;
            (0..PER_STREAM).filter_map(move |bet| {
                let held = reporting::is_held(self.reference, stream, bet < ODDS_RATIOS.len());
                let slope = highest[bet] - lowest[bet];
                held.then(|| Walk {
                    mean: means[bet].min(cap),
                    variance: slope * slope * variance,
                })
            })
        });
        walks.collect()
    }
}

/// What changes.
enum Change {
    /// Logarithms of all values move by this for each deviation.
    Values { step: f64 },
    /// The share of one stream.
    Category { stream: usize, more: bool },
}

impl Change {
    /// Beyond that there is nothing to move.
    fn most(&self, reference: &Reference) -> f64 {
        let Self::Category { stream, more } = self else {
            return DEVIATIONS_MAX;
        };
        reference
            .streams()
            .get(*stream)
            .map_or(0.0, |(_, expected)| {
                let room = if *more {
                    1.0 - expected.share
                } else {
                    expected.share
                };
                room / libm::sqrt(expected.variance().max(1e-12))
            })
    }

    /// Shares of all streams after a change of so many deviations.
    fn shares(&self, reference: &Reference, deviations: f64) -> Vec<f64> {
        let streams = reference.streams().iter();
        match (self, reference.summary()) {
            (Self::Values { step }, Summary::Histogram(histogram)) => {
                let factor = libm::exp(-deviations * step);
                let above =
                    |threshold: f64| histogram.count_above(threshold) / histogram.count as f64;
                let share = |(stream, expected): &(Stream, Expectation)| match stream {
                    // The reference's share may be counted or smoothed; what moves is the rest.
                    Stream::Above { threshold, .. } => {
                        let moved = above(threshold * factor) - above(*threshold);
                        (expected.share + moved).clamp(0.0, 1.0)
                    }
                    _ => expected.share,
                };
                streams.map(share).collect()
            }
            (Self::Category { stream, more }, _) => {
                let own = reference.streams()[*stream].1;
                let side = if *more { 1.0 } else { -1.0 };
                let moved = own.share + side * deviations * libm::sqrt(own.variance().max(1e-12));
                let moved = moved.clamp(0.0, 1.0);
                let others = (1.0 - moved) / (1.0 - own.share).max(1e-12);
                let share = |(number, (_, expected)): (usize, &(Stream, Expectation))| {
                    if number == *stream {
                        moved
                    } else {
                        (expected.share * others).clamp(0.0, 1.0)
                    }
                };
                streams.enumerate().map(share).collect()
            }
            (Self::Values { .. }, Summary::Categories(_)) => {
                streams.map(|(_, expected)| expected.share).collect()
            }
        }
    }
}

/// A bet's winnings, window by window.
struct Walk {
    mean: f64,
    variance: f64,
}

impl Walk {
    /// Probability that so much is won within so many windows.
    fn reaches(&self, needed: f64, windows: f64) -> f64 {
        if self.mean <= 0.0 {
            return 0.0;
        }
        // Winnings never fall below nothing, which puts the walk ahead of a free one.
        let ahead = (self.variance / (2.0 * self.mean)).min(needed / 2.0);
        let needed = needed - ahead;
        let gained = self.mean * windows;
        let spread = libm::sqrt(self.variance * windows);
        if spread <= 0.0 {
            return f64::from(u8::from(gained >= needed));
        }
        let mirrored = 2.0 * self.mean * needed / self.variance
            + libm::log(normal(-(gained + needed) / spread).max(f64::MIN_POSITIVE));
        normal((gained - needed) / spread) + libm::exp(mirrored.min(0.0))
    }
}

/// Distribution function of the normal distribution.
fn normal(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// Standard deviation of the logarithms of all values above zero; none without spread.
fn deviation_of_logarithms(summary: &Summary) -> Option<f64> {
    let Summary::Histogram(histogram) = summary else {
        return None;
    };
    let buckets = &histogram.positive;
    let width = std::f64::consts::LN_2 * libm::exp2(-f64::from(histogram.scale));
    let place = |number: usize| (f64::from(buckets.offset) + number as f64 + 0.5) * width;
    let moments =
        buckets
            .counts
            .iter()
            .enumerate()
            .fold((0.0, 0.0, 0.0), |sum, (number, count)| {
                let (n, x) = (*count as f64, place(number));
                (sum.0 + n, sum.1 + n * x, sum.2 + n * x * x)
            });
    let mean = moments.1 / moments.0;
    let deviation = libm::sqrt((moments.2 / moments.0 - mean * mean).max(0.0));
    (deviation.is_finite() && deviation > 0.0).then_some(deviation)
}
