//! What a series was: frozen, named by the hash of its content, never rolled.
//!
//! In: closed lanes of a past. Out: streams with their expected share, noise and tolerance, frozen
//! bins, and the hours of a season if there is one; or what is missing. A reference without a
//! season says so: an hour knows nothing of nights.

use std::fmt;

use fathomline_wire::CONTRACT_VERSION;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Bins, Lane, Level, Policy, SeriesKey, Stream, Summary, lane::middle, parts::Site, reporting,
};
use crate::stats::{Expectation, Season, SeasonWindow};

/// A reference travels with verdicts, pages and files.
pub const REFERENCE_BYTES_MAX: usize = 64 << 10;

/// Smallest shift worth a page, in standard deviations of one event: Cohen's h of about 0.05.
const TOLERANCE_DEVIATIONS: f64 = 0.05;

/// The tolerance also covers this many standard errors of the reference's own share.
const TOLERANCE_ERRORS: f64 = 3.0;

/// Block lengths, in lanes, at which noise is looked for; the noisiest counts. A device's mood
/// lasts for longer than a few minutes.
const BLOCK_LENGTHS: [usize; 7] = [1, 2, 4, 8, 15, 60, 180];

/// Blocks that must remain for a block length to say anything.
const BLOCKS_MIN: usize = 5;

const DAY_US: i64 = 86_400_000_000;

/// A span of whole days whose first or last lanes are missing is still one of so many days.
const DAY_SLACK_US: i64 = 3_600_000_000;

/// What a series was over a span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Of the contract that says what the values mean.
    contract: u32,
    level: Level,
    season: Season,
    start_us: i64,
    end_us: i64,
    lane_us: i64,
    count: u64,
    lanes: u32,
    devices: u64,
    /// Records of each hour of the season; empty without one.
    hour_counts: Vec<u64>,
    /// Expected share of each hour, stream by stream; empty without a season.
    hour_shares: Vec<Vec<f64>>,
    key: SeriesKey,
    bins: Bins,
    summary: Summary,
    streams: Vec<(Stream, Expectation)>,
    /// Where its devices were, in the last day of its span; empty where nobody knows.
    sites: Vec<Site>,
}

/// Which reference to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Making {
    /// The series, as it is called at that level.
    pub key: SeriesKey,
    /// What its lanes were taken together from.
    pub level: Level,
    /// Which hours are told apart.
    pub season: Season,
}

/// Why there is no reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// Records found.
    pub records: u64,
    /// Records needed.
    pub records_needed: u64,
    /// Lanes found.
    pub lanes: u32,
    /// Lanes needed.
    pub lanes_needed: u32,
    /// Days found.
    pub days: u32,
    /// Days that the season needs.
    pub days_needed: u32,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            records,
            records_needed,
            lanes,
            lanes_needed,
            days,
            days_needed,
        } = self;
        write!(
            f,
            "the span holds {records} of {records_needed} records and {lanes} of {lanes_needed} lanes that a reference needs"
        )?;
        if days < days_needed {
            write!(
                f,
                ", and {days} of {days_needed} days that its season needs"
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Shortfall {}

impl Making {
    /// Freezes what `lanes` hold, in the order of time. Lanes without records count for nothing.
    ///
    /// # Errors
    /// When there are too few records, lanes or days to know shares and noise.
    pub fn freeze(self, lanes: &[Lane], policy: &Policy) -> Result<Reference, Shortfall> {
        let lanes = reporting::of_known(&self.key, lanes);
        let lanes: Vec<&Lane> = lanes.iter().filter(|lane| lane.count > 0).collect();
        let shortfall = self.shortfall(&lanes, policy);
        let Some((first, rest)) = lanes.split_first() else {
            return Err(shortfall);
        };
        if !shortfall.is_enough() {
            return Err(shortfall);
        }
        let mut summary = first.summary.clone();
        rest.iter().for_each(|lane| summary.merge(&lane.summary));
        if let Summary::Histogram(histogram) = &mut summary {
            // Its last bits depend on the order in which device windows arrived.
            *histogram = histogram.without_sum();
        }
        let (streams, hour_shares) = self.learn(&summary, &lanes, policy.lane_us);
        let (start, end) = (
            lanes.iter().map(|lane| lane.start_us),
            lanes.iter().map(|l| l.end_us),
        );
        Ok(Reference {
            contract: CONTRACT_VERSION,
            level: self.level,
            season: self.season,
            start_us: start.min().unwrap_or(first.start_us),
            end_us: end.max().unwrap_or(first.end_us),
            lane_us: policy.lane_us,
            count: shortfall.records,
            lanes: shortfall.lanes,
            devices: lanes.iter().map(|lane| lane.devices).max().unwrap_or(0),
            hour_counts: self.hour_counts(&lanes),
            hour_shares,
            key: self.key,
            bins: Bins::of(&summary),
            summary,
            streams,
            sites: Vec::new(),
        })
    }

    /// Every stream with what is expected of it, and its shares by hour.
    fn learn(
        &self,
        summary: &Summary,
        lanes: &[&Lane],
        lane_us: i64,
    ) -> (Vec<(Stream, Expectation)>, Vec<Vec<f64>>) {
        let watched = Stream::of(summary);
        let mut hours = Vec::new();
        let learnt = watched.iter().map(|stream| {
            let window = |lane: &&Lane| SeasonWindow {
                middle_us: middle(lane.start_us, lane.end_us),
                events: stream.events(&lane.summary, &watched),
                count: lane.count as f64,
            };
            let windows: Vec<SeasonWindow> = lanes.iter().map(window).collect();
            let Some(learnt) = self.season.learn(&windows, lane_us) else {
                return expect(&windows);
            };
            hours.push(learnt.shares);
            learnt.overall
        });
        let learnt: Vec<Expectation> = learnt.collect();
        (watched.into_iter().zip(learnt).collect(), hours)
    }

    fn hour_counts(&self, lanes: &[&Lane]) -> Vec<u64> {
        let mut counts = vec![0; self.season.hours()];
        for lane in lanes {
            let hour = self.season.hour_of(middle(lane.start_us, lane.end_us));
            if let Some(count) = hour.and_then(|hour| counts.get_mut(hour)) {
                *count += lane.count;
            }
        }
        counts
    }

    fn shortfall(&self, lanes: &[&Lane], policy: &Policy) -> Shortfall {
        Shortfall {
            records: lanes.iter().map(|lane| lane.count).sum(),
            records_needed: policy.min_records,
            lanes: u32::try_from(lanes.len()).unwrap_or(u32::MAX),
            lanes_needed: policy.min_blocks,
            days: days(lanes),
            days_needed: self.season.days_needed(),
        }
    }
}

impl Shortfall {
    fn is_enough(&self) -> bool {
        self.records >= self.records_needed
            && self.lanes >= self.lanes_needed
            && self.days >= self.days_needed
    }
}

/// Days that the lanes span, and on which there were any.
fn days(lanes: &[&Lane]) -> u32 {
    let dates = lanes.iter().map(|lane| lane.end_us.div_euclid(DAY_US));
    let dates: std::collections::BTreeSet<i64> = dates.collect();
    let (start, end) = (
        lanes.iter().map(|lane| lane.start_us),
        lanes.iter().map(|l| l.end_us),
    );
    let span_us = end
        .max()
        .unwrap_or(0)
        .saturating_sub(start.min().unwrap_or(0));
    let whole = span_us.saturating_add(DAY_SLACK_US) / DAY_US;
    u32::try_from(whole.min(dates.len() as i64)).unwrap_or(0)
}

impl Reference {
    /// Freezes one series, without a season.
    ///
    /// # Errors
    /// When there are too few records or lanes to know shares and noise.
    pub fn freeze(key: SeriesKey, lanes: &[Lane], policy: &Policy) -> Result<Self, Shortfall> {
        let (level, season) = (Level::Variant, Season::None);
        Making { key, level, season }.freeze(lanes, policy)
    }

    /// Names the reference by its content: SHA-256 in hexadecimal.
    pub fn hash(&self) -> String {
        // The encoding is canonical: fields in order, maps sorted, floats in shortest notation.
        let content = serde_json::to_vec(self).unwrap_or_default();
        let digest: [u8; 32] = Sha256::digest(content).into();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Version of the contract that says what its values mean.
    pub fn contract(&self) -> u32 {
        self.contract
    }

    /// Which series it belongs to.
    pub fn key(&self) -> &SeriesKey {
        &self.key
    }

    /// What it was taken together from.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Which hours it tells apart.
    pub fn season(&self) -> Season {
        self.season
    }

    /// Records of each hour of the season; none without one.
    pub fn hour_counts(&self) -> &[u64] {
        &self.hour_counts
    }

    /// The span it was made from, microseconds since the Unix epoch.
    pub fn span_us(&self) -> (i64, i64) {
        (self.start_us, self.end_us)
    }

    /// Width of its lanes, microseconds.
    pub fn lane_us(&self) -> i64 {
        self.lane_us
    }

    /// Records it was made from.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Lanes it was made from.
    pub fn lanes(&self) -> u32 {
        self.lanes
    }

    /// Most devices in one of its lanes.
    pub fn devices(&self) -> u64 {
        self.devices
    }

    /// All of its values.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Its bins.
    pub fn bins(&self) -> &Bins {
        &self.bins
    }

    /// What is watched, with share, noise and tolerance over all hours.
    pub fn streams(&self) -> &[(Stream, Expectation)] {
        &self.streams
    }

    /// Share of each stream's events among other values.
    pub fn shares_of(&self, summary: &Summary) -> Vec<f64> {
        let watched: Vec<Stream> = self.streams.iter().map(|(s, _)| s.clone()).collect();
        let count = summary.count().max(1) as f64;
        let share = |stream: &Stream| stream.events(summary, &watched) / count;
        watched.iter().map(share).collect()
    }

    /// What is expected of each stream in a window whose middle is `middle_us`: the share is that
    /// of its hour where there is a season.
    pub fn expected_at(&self, middle_us: i64) -> Vec<Expectation> {
        let expected = |(number, (_, overall)): (usize, &(Stream, Expectation))| {
            let hours = self.hour_shares.get(number);
            let share = hours.and_then(|hours| self.season.share_at(hours, middle_us));
            Expectation {
                share: share.unwrap_or(overall.share),
                ..*overall
            }
        };
        self.streams.iter().enumerate().map(expected).collect()
    }
}

/// Share, noise and tolerance of one stream of a fixed span.
fn expect(observed: &[SeasonWindow]) -> Expectation {
    let events: f64 = observed.iter().map(|window| window.events).sum();
    let records: f64 = observed.iter().map(|window| window.count).sum();
    let share = events / records;
    let noise = noise(observed, events, records);
    let variance = share * (1.0 - share);
    let least = TOLERANCE_DEVIATIONS * libm::sqrt(variance);
    Expectation {
        share,
        noise,
        tolerance: least.max(error_covered(share, noise, records, observed.len() as f64)),
    }
}

/// What a tolerance must be at least because the reference's own share may be off: so many records
/// in so many lanes of that noise say no more.
fn error_covered(share: f64, noise: f64, records: f64, lanes: f64) -> f64 {
    TOLERANCE_ERRORS * libm::sqrt(share * (1.0 - share) / records + noise / lanes)
}

/// Long-run excess variance of a lane's share at the noisiest block length: what correlated
/// devices, sessions and slow changes add to binomial sampling (statistics, section d.2).
fn noise(observed: &[SeasonWindow], events: f64, records: f64) -> f64 {
    let lengths = BLOCK_LENGTHS
        .iter()
        .filter(|length| observed.len() / **length >= BLOCKS_MIN);
    let excess = lengths.map(|length| {
        let blocks = observed.chunks_exact(*length);
        let count = blocks.len() as f64;
        let sum: f64 = blocks
            .map(|block| block_excess(block, events, records))
            .sum();
        *length as f64 * sum / count
    });
    excess.fold(0.0, f64::max)
}

/// Squared residual of one block against all the others, less what sampling explains.
fn block_excess(block: &[SeasonWindow], events: f64, records: f64) -> f64 {
    let (x, n) = block.iter().fold((0.0, 0.0), |(x, n), window| {
        (x + window.events, n + window.count)
    });
    let others = records - n;
    if others <= 0.0 || n <= 0.0 {
        return 0.0;
    }
    let share = (events - x) / others;
    let residual = x - n * share;
    // The others' share is an estimate too, hence the second term.
    let sampling = n * share * (1.0 - share) * (1.0 + n / others);
    (residual * residual - sampling) / (n * n)
}

mod devices;
mod sound;
#[cfg(test)]
mod tests;
