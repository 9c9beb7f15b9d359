//! Whether a reference from outside can be judged by: a file may say anything. In: a reference as
//! it was read. Out: nothing, or what is wrong with it.

use fathomline_wire::{
    CONTRACT_VERSION,
    histogram::{ExponentialHistogram, Parts},
    limits::{ATTRIBUTE_VALUE_BYTES_MAX, INTEGER_MAX},
};

use super::{Reference, Site, Stream, Summary};
use crate::{
    drift::parts::{Counted, SITES_MAX},
    stats::Expectation,
};

/// A stream for each quantile or category, and some to spare.
const STREAMS_MAX: usize = 64;

impl Reference {
    /// Whether everything in it fits together.
    ///
    /// # Errors
    /// Says in words what does not.
    pub fn check(&self) -> Result<(), String> {
        if self.contract != CONTRACT_VERSION {
            let contract = self.contract;
            return Err(format!(
                "it is of contract version {contract} and this collector judges by {CONTRACT_VERSION}; make one from what devices send now"
            ));
        }
        self.check_key()?;
        self.check_summary()?;
        self.check_streams()?;
        self.check_hours()?;
        self.check_sites()
    }

    fn check_key(&self) -> Result<(), String> {
        let key = &self.key;
        let names = [&key.service, &key.model, &key.version, &key.variant];
        let mut names = names.into_iter().chain([&key.device_class, &key.metric]);
        if let Some(name) = names.find(|name| name.len() > ATTRIBUTE_VALUE_BYTES_MAX) {
            let bytes = name.len();
            return Err(format!(
                "a name of its series has {bytes} bytes and {ATTRIBUTE_VALUE_BYTES_MAX} are allowed"
            ));
        }
        if *key != key.at(self.level) {
            let level = self.level.name();
            return Err(format!("its series is not one of the level {level:?}"));
        }
        Ok(())
    }

    fn check_summary(&self) -> Result<(), String> {
        let held = match &self.summary {
            Summary::Histogram(histogram) => {
                let parts = Parts {
                    scale: histogram.scale,
                    zero_threshold: histogram.zero_threshold,
                    zero_count: histogram.zero_count,
                    count: histogram.count,
                    sum: histogram.sum,
                    min: histogram.min.is_finite().then_some(histogram.min),
                    max: histogram.max.is_finite().then_some(histogram.max),
                    positive: histogram.positive.clone(),
                    negative: histogram.negative.clone(),
                };
                let checked = ExponentialHistogram::from_merged(parts);
                let checked = checked.map_err(|error| format!("its histogram: {error}"))?;
                Some(checked.count)
            }
            Summary::Categories(categories) => {
                let mut counts = categories.values();
                counts.try_fold(0_u64, |sum, count| sum.checked_add(*count))
            }
        };
        if held != Some(self.count) || self.count == 0 || self.count > INTEGER_MAX {
            let count = self.count;
            return Err(format!(
                "it says {count} records and its values are not as many"
            ));
        }
        if self.start_us >= self.end_us || self.lane_us <= 0 || self.lanes == 0 {
            return Err("its span holds no lane".to_owned());
        }
        match self.bins.is_sound() {
            true => Ok(()),
            false => Err("its bins do not ascend".to_owned()),
        }
    }

    fn check_streams(&self) -> Result<(), String> {
        let number = self.streams.len();
        if number == 0 || number > STREAMS_MAX {
            return Err(format!(
                "it watches {number} streams, not 1 to {STREAMS_MAX}"
            ));
        }
        let histogram = matches!(self.summary, Summary::Histogram(_));
        for (stream, expected) in &self.streams {
            let fits = match stream {
                Stream::Above {
                    threshold,
                    quantile,
                } => histogram && threshold.is_finite() && quantile.is_finite(),
                Stream::Category { .. } | Stream::OtherCategory => !histogram,
            };
            if !fits {
                return Err(format!("it cannot watch {stream} among its values"));
            }
            let Expectation {
                share,
                noise,
                tolerance,
            } = *expected;
            let sound = (0.0..=1.0).contains(&share)
                && (0.0..f64::INFINITY).contains(&noise)
                && (0.0..f64::INFINITY).contains(&tolerance);
            if !sound {
                return Err(format!(
                    "what it expects of {stream} is no share, noise and tolerance"
                ));
            }
        }
        Ok(())
    }

    fn check_hours(&self) -> Result<(), String> {
        let hours = self.season.hours();
        let streams = if hours == 0 { 0 } else { self.streams.len() };
        let shares = self.hour_shares.iter();
        let sound = self.hour_counts.len() == hours
            && self.hour_shares.len() == streams
            && shares.clone().all(|shares| shares.len() == hours)
            && shares.flatten().all(|share| (0.0..=1.0).contains(share));
        match sound {
            true => Ok(()),
            false => {
                let season = self.season.name();
                Err(format!("its hours are not those of the season {season:?}"))
            }
        }
    }

    fn check_sites(&self) -> Result<(), String> {
        let bins = self.bins.count();
        let streams = self.streams.len();
        let sound = |site: &Site| {
            let Counted {
                count,
                events,
                bins: in_bins,
            } = &site.counted;
            let held = in_bins.iter().try_fold(0_u64, |sum, n| sum.checked_add(*n));
            let events_fit = |events: &f64| (0.0..=*count as f64).contains(events);
            site.name.len() <= ATTRIBUTE_VALUE_BYTES_MAX
                && (1..=INTEGER_MAX).contains(count)
                && events.len() == streams
                && events.iter().all(events_fit)
                && (in_bins.is_empty() || (in_bins.len() == bins && held == Some(*count)))
        };
        match self.sites.len() <= SITES_MAX && self.sites.iter().all(sound) {
            true => Ok(()),
            false => Err("its sites do not count what it watches".to_owned()),
        }
    }
}
