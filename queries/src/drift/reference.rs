//! What a series was: frozen from a fixed span, named by the hash of its content, never rolled.
//!
//! In: the closed lanes of the span. Out: streams with their expected share, noise and tolerance,
//! or what is missing. There is no season in a fixed span, and it says so: a reference of an hour
//! knows nothing of nights.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Lane, Policy, SeriesKey, Stream, Summary, reporting};
use crate::stats::Expectation;

/// Smallest shift worth a page, in standard deviations of one event: Cohen's h of about 0.05.
const TOLERANCE_DEVIATIONS: f64 = 0.05;

/// The tolerance also covers this many standard errors of the reference's own share.
const TOLERANCE_ERRORS: f64 = 3.0;

/// Block lengths, in lanes, at which noise is looked for; the noisiest counts. A device's mood
/// lasts for longer than a few minutes.
const BLOCK_LENGTHS: [usize; 7] = [1, 2, 4, 8, 15, 60, 180];

/// Blocks that must remain for a block length to say anything.
const BLOCKS_MIN: usize = 5;

/// What a series was over a span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    key: SeriesKey,
    start_us: i64,
    end_us: i64,
    lane_us: i64,
    count: u64,
    lanes: u32,
    devices: u64,
    summary: Summary,
    streams: Vec<(Stream, Expectation)>,
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
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            records,
            records_needed,
            lanes,
            lanes_needed,
        } = self;
        write!(
            f,
            "the span holds {records} of {records_needed} records and {lanes} of {lanes_needed} lanes that a reference needs"
        )
    }
}

impl std::error::Error for Shortfall {}

impl Reference {
    /// Freezes what `lanes` hold. Lanes without records count for nothing.
    ///
    /// # Errors
    /// When there are too few records or lanes to know shares and noise.
    pub fn freeze(key: SeriesKey, lanes: &[Lane], policy: &Policy) -> Result<Self, Shortfall> {
        let lanes = reporting::of_known(&key, lanes);
        let lanes: Vec<_> = lanes.iter().filter(|lane| lane.count > 0).collect();
        let count: u64 = lanes.iter().map(|lane| lane.count).sum();
        let blocks = lanes.len() as u32;
        let shortfall = Shortfall {
            records: count,
            records_needed: policy.min_records,
            lanes: blocks,
            lanes_needed: policy.min_blocks,
        };
        let Some((first, rest)) = lanes.split_first() else {
            return Err(shortfall);
        };
        if count < policy.min_records || blocks < policy.min_blocks {
            return Err(shortfall);
        }
        let mut summary = first.summary.clone();
        rest.iter().for_each(|lane| summary.merge(&lane.summary));
        let watched = Stream::of(&summary);
        let expectations: Vec<_> = watched
            .iter()
            .map(|stream| {
                let observed: Vec<_> = lanes
                    .iter()
                    .map(|lane| (stream.events(&lane.summary, &watched), lane.count as f64))
                    .collect();
                expect(&observed)
            })
            .collect();
        Ok(Self {
            key,
            start_us: lanes
                .iter()
                .map(|lane| lane.start_us)
                .min()
                .unwrap_or(first.start_us),
            end_us: lanes
                .iter()
                .map(|lane| lane.end_us)
                .max()
                .unwrap_or(first.end_us),
            lane_us: policy.lane_us,
            count,
            lanes: blocks,
            devices: lanes.iter().map(|lane| lane.devices).max().unwrap_or(0),
            summary,
            streams: watched.into_iter().zip(expectations).collect(),
        })
    }

    /// Names the reference by its content: SHA-256 in hexadecimal. Sums of values are left out:
    /// their last bits depend on the order in which device windows arrived, and nothing is judged
    /// by them.
    pub fn hash(&self) -> String {
        let summary = match &self.summary {
            Summary::Histogram(histogram) => Summary::Histogram(histogram.without_sum()),
            Summary::Categories(categories) => Summary::Categories(categories.clone()),
        };
        let named = Self {
            summary,
            ..self.clone()
        };
        // The encoding is canonical: fields in order, maps sorted, floats in shortest notation.
        let content = serde_json::to_vec(&named).unwrap_or_default();
        let digest: [u8; 32] = Sha256::digest(content).into();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Which series it belongs to.
    pub fn key(&self) -> &SeriesKey {
        &self.key
    }

    /// The span it was made from, microseconds since the Unix epoch.
    pub fn span_us(&self) -> (i64, i64) {
        (self.start_us, self.end_us)
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

    /// What is watched, with expected share, noise and tolerance.
    pub fn streams(&self) -> &[(Stream, Expectation)] {
        &self.streams
    }
}

/// Share, noise and tolerance of one stream from its `(events, records)` in each lane.
fn expect(observed: &[(f64, f64)]) -> Expectation {
    let events: f64 = observed.iter().map(|(events, _)| events).sum();
    let records: f64 = observed.iter().map(|(_, records)| records).sum();
    let share = events / records;
    let noise = noise(observed, events, records);
    let variance = share * (1.0 - share);
    let error = libm::sqrt(variance / records + noise / observed.len() as f64);
    let tolerance = (TOLERANCE_DEVIATIONS * libm::sqrt(variance)).max(TOLERANCE_ERRORS * error);
    Expectation {
        share,
        noise,
        tolerance,
    }
}

/// Long-run excess variance of a lane's share at the noisiest block length: what correlated
/// devices, sessions and slow changes add to binomial sampling (statistics, section d.2).
fn noise(observed: &[(f64, f64)], events: f64, records: f64) -> f64 {
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
fn block_excess(block: &[(f64, f64)], events: f64, records: f64) -> f64 {
    let (x, n) = block.iter().fold((0.0, 0.0), |(x, n), (events, records)| {
        (x + events, n + records)
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

#[cfg(test)]
mod tests {
    use fathomline_wire::histogram::ExponentialHistogram;

    use super::*;

    fn reference(sum_error: f64, shift: f64) -> Reference {
        let lane = |number: i64| {
            let mut histogram = ExponentialHistogram::new(4);
            for value in 1..=200 {
                assert!(histogram.record(shift + f64::from(value) * 0.01));
            }
            histogram.sum += sum_error;
            Lane {
                start_us: number,
                end_us: number + 1,
                count: histogram.count,
                summary: Summary::Histogram(histogram),
                device_windows: 1,
                devices: 1,
            }
        };
        let key = SeriesKey {
            service: "s".into(),
            model: "m".into(),
            version: "1".into(),
            variant: "v".into(),
            device_class: "c".into(),
            metric: "x".into(),
        };
        let lanes: Vec<_> = (0..20).map(lane).collect();
        Reference::freeze(key, &lanes, &Policy::default()).unwrap()
    }

    #[test]
    fn the_name_of_a_reference_is_its_counts_and_not_the_order_they_came_in() {
        let hash = reference(0.0, 0.0).hash();
        assert_eq!(hash.len(), 64);
        assert_eq!(hash, reference(1e-13, 0.0).hash());
        assert_ne!(hash, reference(0.0, 0.5).hash());
    }
}
