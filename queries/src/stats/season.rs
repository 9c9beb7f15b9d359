//! Seasons: what share of events an hour of the day, or of the week, usually has (statistics,
//! section d.2).
//!
//! In: the windows of a past, each with its events. Out: an expected share for every hour, noise
//! and tolerance. A thin hour leans on its kind of hour (the same hour on weekdays, or on
//! weekends), that on all hours together; between the middles of two hours shares are interpolated.
//! Hours are those of UTC, weeks begin on Monday.

use serde::{Deserialize, Serialize};

use super::Expectation;

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
const WEEK_US: i64 = 7 * DAY_US;

/// The epoch was a Thursday.
const MONDAY_US: i64 = 3 * DAY_US;

/// The first hour of the weekend, from Monday.
const WEEKEND: usize = 120;

/// Records that the level above is worth to an hour with few of its own.
const PSEUDO_COUNT: f64 = 20.0;

/// Weeks after which an hour of the week says as much as its kind of hour.
const WEEKS_HALF: f64 = 4.0;

/// Block lengths, in minutes, at which noise is looked for; the noisiest counts.
const BLOCK_MINUTES: [i64; 5] = [1, 5, 15, 60, 180];

/// Smallest shift worth a page, in standard deviations of one event: Cohen's h of about 0.05.
const TOLERANCE_DEVIATIONS: f64 = 0.05;

/// The tolerance also covers so many times what days usually differ by.
const TOLERANCE_DAYS: f64 = 2.0;

/// A share that is expected never or always leaves nothing to bet on.
const SHARES: (f64, f64) = (1e-4, 1.0 - 1e-4);

/// Which hours are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Season {
    /// None: all hours are one.
    #[default]
    None,
    /// 24 hours of the day, UTC.
    HourOfDay,
    /// 168 hours of the week from Monday, UTC.
    HourOfWeek,
}

/// One window of the past: events of one stream among its records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeasonWindow {
    /// Its middle, microseconds since the Unix epoch.
    pub middle_us: i64,
    /// Events.
    pub events: f64,
    /// Records.
    pub count: f64,
}

/// One stream through a season.
#[derive(Clone, Debug, PartialEq)]
pub struct SeasonalShares {
    /// Expected share of each hour of the season.
    pub shares: Vec<f64>,
    /// The share over all hours, with the noise and the tolerance of every hour.
    pub overall: Expectation,
}

impl Season {
    /// The word in files, tables and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::HourOfDay => "hour-of-day",
            Self::HourOfWeek => "hour-of-week",
        }
    }

    /// The season of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::None, Self::HourOfDay, Self::HourOfWeek];
        all.into_iter().find(|season| season.name() == name)
    }

    /// Hours that are told apart; 0 without a season.
    pub const fn hours(self) -> usize {
        match self {
            Self::None => 0,
            Self::HourOfDay => 24,
            Self::HourOfWeek => 168,
        }
    }

    /// Days of data below which its shares are guesses.
    pub const fn days_needed(self) -> u32 {
        match self {
            Self::None => 0,
            Self::HourOfDay => 7,
            Self::HourOfWeek => 14,
        }
    }

    /// The hour that a moment lies in; none without a season.
    pub fn hour_of(self, time_us: i64) -> Option<usize> {
        let hours = self.hours() as i64;
        let of = |hours| {
            time_us
                .saturating_add(MONDAY_US)
                .div_euclid(HOUR_US)
                .rem_euclid(hours)
        };
        (hours > 0).then(|| of(hours) as usize)
    }

    /// The share expected at a moment, from those of the season's hours.
    pub fn share_at(self, shares: &[f64], time_us: i64) -> Option<f64> {
        let shifted = time_us.saturating_sub(HOUR_US / 2);
        let before = self.hour_of(shifted)?;
        let part = shifted.rem_euclid(HOUR_US) as f64 / HOUR_US as f64;
        let (low, high) = (
            shares.get(before)?,
            shares.get((before + 1) % self.hours())?,
        );
        Some(((1.0 - part) * low + part * high).clamp(SHARES.0, SHARES.1))
    }

    /// What is left out in turn to see how well the rest foretells it.
    const fn unit_us(self) -> i64 {
        match self {
            Self::None | Self::HourOfDay => DAY_US,
            Self::HourOfWeek => WEEK_US,
        }
    }

    /// Half as much history is half as certain.
    const fn caution(self) -> f64 {
        match self {
            Self::None | Self::HourOfWeek => 1.0,
            Self::HourOfDay => 2.0,
        }
    }

    /// Shares, noise and tolerance of a past whose windows are `width_us` wide, oldest first; none
    /// without windows or without a season.
    pub fn learn(self, windows: &[SeasonWindow], width_us: i64) -> Option<SeasonalShares> {
        let (first, last) = (windows.first()?, windows.last()?);
        if self == Self::None {
            return None;
        }
        let begin_us = first.middle_us - width_us / 2;
        let span_us = last.middle_us - begin_us;
        let units = Units::count(self, windows, begin_us);
        let weeks = (span_us as f64 / WEEK_US as f64).ceil().max(1.0);
        let shares = self.shares(&units.all, weeks);
        let foretold = self.foretold(&units, windows, begin_us, weeks);
        let share = shares.iter().sum::<f64>() / shares.len() as f64;
        let days = daily_error(windows, &foretold, begin_us);
        let tolerance = TOLERANCE_DEVIATIONS * libm::sqrt(share * (1.0 - share));
        let overall = Expectation {
            share,
            noise: noise(windows, &foretold, (begin_us, width_us)),
            tolerance: self.caution() * tolerance.max(TOLERANCE_DAYS * days),
        };
        Some(SeasonalShares { shares, overall })
    }

    /// What each window's share should have been, seen from all other units.
    fn foretold(
        self,
        units: &Units,
        windows: &[SeasonWindow],
        begin_us: i64,
        weeks: f64,
    ) -> Vec<f64> {
        let one = self.unit_us() as f64 / WEEK_US as f64;
        let without = |unit: &Hours| self.shares(&units.all.without(unit), (weeks - one).max(0.0));
        let shares: Vec<Vec<f64>> = units.each.iter().map(without).collect();
        let foretold = |window: &SeasonWindow| {
            let unit = unit_of(window, begin_us, self.unit_us());
            let share = self.share_at(&shares[unit], window.middle_us);
            share.unwrap_or(0.0)
        };
        windows.iter().map(foretold).collect()
    }

    /// Each hour leans on its kind of hour, that on all hours.
    fn shares(self, hours: &Hours, weeks: f64) -> Vec<f64> {
        let kinds = hours.grouped(48, kind_of);
        let (events, count) = hours.0.iter().fold((0.0, 0.0), |sum, hour| add(sum, *hour));
        let pooled = (events + 0.5) / (count + 1.0);
        let lean = |(events, count): (f64, f64), on: f64| {
            (events + PSEUDO_COUNT * on) / (count + PSEUDO_COUNT)
        };
        let weight = weeks / (weeks + WEEKS_HALF);
        let share = |(hour, own): (usize, &(f64, f64))| match self {
            Self::HourOfWeek => {
                let kind = lean(kinds.0[kind_of(hour)], pooled);
                weight * lean(*own, kind) + (1.0 - weight) * kind
            }
            Self::None | Self::HourOfDay => lean(*own, pooled),
        };
        hours.0.iter().enumerate().map(share).collect()
    }
}

/// The hour of the day, on weekdays and on weekends.
fn kind_of(hour: usize) -> usize {
    hour % 24 + if hour % 168 >= WEEKEND { 24 } else { 0 }
}

fn add(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    (a.0 + b.0, a.1 + b.1)
}

/// Events and records by hour.
struct Hours(Vec<(f64, f64)>);

impl Hours {
    fn without(&self, others: &Self) -> Self {
        let each = self.0.iter().zip(&others.0);
        Self(each.map(|(all, of)| (all.0 - of.0, all.1 - of.1)).collect())
    }

    fn grouped(&self, groups: usize, group_of: fn(usize) -> usize) -> Self {
        let mut grouped = vec![(0.0, 0.0); groups];
        for (hour, counts) in self.0.iter().enumerate() {
            let group = &mut grouped[group_of(hour)];
            *group = add(*group, *counts);
        }
        Self(grouped)
    }
}

/// Events and records by hour, in all and for each day or week.
struct Units {
    all: Hours,
    each: Vec<Hours>,
}

impl Units {
    fn count(season: Season, windows: &[SeasonWindow], begin_us: i64) -> Self {
        let empty = || Hours(vec![(0.0, 0.0); season.hours()]);
        let (mut all, mut each) = (empty(), Vec::new());
        for window in windows {
            let unit = unit_of(window, begin_us, season.unit_us());
            while each.len() <= unit {
                each.push(empty());
            }
            let hour = season.hour_of(window.middle_us).unwrap_or(0);
            for hours in [&mut all, &mut each[unit]] {
                hours.0[hour] = add(hours.0[hour], (window.events, window.count));
            }
        }
        Self { all, each }
    }
}

fn unit_of(window: &SeasonWindow, begin_us: i64, unit_us: i64) -> usize {
    ((window.middle_us - begin_us).max(0) / unit_us) as usize
}

/// Residual, variance of sampling, and records, added up.
#[derive(Clone, Copy, Default)]
struct Block {
    residual: f64,
    sampling: f64,
    count: f64,
}

/// Windows added up in blocks of `length_us` from `begin_us` on.
fn blocks(windows: &[SeasonWindow], foretold: &[f64], begin_us: i64, length_us: i64) -> Vec<Block> {
    let mut blocks: Vec<(usize, Block)> = Vec::new();
    for (window, share) in windows.iter().zip(foretold) {
        let number = unit_of(window, begin_us, length_us);
        if blocks.last().is_none_or(|(last, _)| *last != number) {
            blocks.push((number, Block::default()));
        }
        if let Some((_, block)) = blocks.last_mut() {
            block.residual += window.events - window.count * share;
            block.sampling += window.count * share * (1.0 - share);
            block.count += window.count;
        }
    }
    let blocks = blocks.into_iter().map(|(_, block)| block);
    blocks.filter(|block| block.count > 0.0).collect()
}

/// Long-run excess variance at the noisiest block length, in windows.
fn noise(windows: &[SeasonWindow], foretold: &[f64], (begin_us, width_us): (i64, i64)) -> f64 {
    let mut lengths = BLOCK_MINUTES.map(|minutes| (minutes * 60_000_000 / width_us).max(1));
    lengths.sort_unstable();
    let mut noisiest: f64 = 0.0;
    let mut before = 0;
    for length in lengths {
        if length == before {
            continue;
        }
        before = length;
        let blocks = blocks(windows, foretold, begin_us, length * width_us);
        let excess = |block: &Block| {
            (block.residual * block.residual - block.sampling) / (block.count * block.count)
        };
        let mean = blocks.iter().map(excess).sum::<f64>() / blocks.len().max(1) as f64;
        noisiest = noisiest.max(length as f64 * mean);
    }
    noisiest
}

/// Root mean square of what days were off.
fn daily_error(windows: &[SeasonWindow], foretold: &[f64], begin_us: i64) -> f64 {
    let days = blocks(windows, foretold, begin_us, DAY_US);
    let square = |day: &Block| (day.residual / day.count) * (day.residual / day.count);
    libm::sqrt(days.iter().map(square).sum::<f64>() / days.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hours_are_those_of_utc_and_weeks_begin_on_monday() {
        // 2026-11-23 was a Monday.
        let monday_us = 1_795_392_000_000_000;
        let hours = [0, 1, 25, 167].map(|hour| monday_us + hour * HOUR_US + 1);
        let of = |season: Season| hours.map(|us| season.hour_of(us));
        assert_eq!(
            of(Season::HourOfWeek),
            [Some(0), Some(1), Some(25), Some(167)]
        );
        assert_eq!(of(Season::HourOfDay), [Some(0), Some(1), Some(1), Some(23)]);
        assert_eq!(of(Season::None), [None; 4]);
        for season in [Season::None, Season::HourOfDay, Season::HourOfWeek] {
            assert_eq!(Season::from_name(season.name()), Some(season));
        }
    }

    #[test]
    fn an_hour_without_records_leans_on_its_kind_and_then_on_all() {
        let mut hours = Hours(vec![(0.0, 0.0); 168]);
        // Every weekday at nine, but for Wednesday: three in four. All other hours: one in four.
        for (hour, counts) in hours.0.iter_mut().enumerate() {
            let nine = hour % 24 == 9 && hour < WEEKEND;
            *counts = (if nine { 7_500.0 } else { 2_500.0 }, 10_000.0);
        }
        hours.0[57] = (0.0, 0.0);
        let shares = Season::HourOfWeek.shares(&hours, 4.0);
        assert!((shares[57] - 0.75).abs() < 1e-3, "{}", shares[57]);
        assert!((shares[58] - 0.25).abs() < 1e-3, "{}", shares[58]);
        hours
            .0
            .iter_mut()
            .step_by(24)
            .for_each(|hour| *hour = (0.0, 0.0));
        let shares = Season::HourOfWeek.shares(&hours, 4.0);
        assert!(
            (shares[0] - 0.264).abs() < 0.01,
            "all hours together: {}",
            shares[0]
        );
    }

    proptest! {
        #[test]
        fn shares_are_shares_whatever_the_past_was(
            past in prop::collection::vec((0_u32..50, 0_u32..50), 1..400),
            begin_hours in -10_000_i64..500_000,
            weekly: bool,
        ) {
            let window = |(number, (a, b)): (usize, &(u32, u32))| SeasonWindow {
                middle_us: (begin_hours + number as i64) * HOUR_US + HOUR_US / 2,
                events: f64::from(*a.min(b)),
                count: f64::from(*a.max(b)),
            };
            let windows: Vec<_> = past.iter().enumerate().map(window).collect();
            let season = if weekly { Season::HourOfWeek } else { Season::HourOfDay };
            let learnt = season.learn(&windows, HOUR_US).unwrap();
            prop_assert_eq!(learnt.shares.len(), season.hours());
            prop_assert!(learnt.shares.iter().all(|share| (0.0..=1.0).contains(share)));
            let Expectation { share, noise, tolerance } = learnt.overall;
            prop_assert!((0.0..=1.0).contains(&share) && noise >= 0.0 && noise.is_finite());
            prop_assert!(tolerance > 0.0 && tolerance.is_finite());
            let at = season.share_at(&learnt.shares, windows[0].middle_us).unwrap();
            prop_assert!((SHARES.0..=SHARES.1).contains(&at));
        }
    }
}
