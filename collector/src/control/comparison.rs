//! Two references held against each other (pure). In: both. Out: how far apart they are, and the
//! first one's streams with their shares in both.

use fathomline_queries::{
    drift::{Distances, Lane, Reference, Stream},
    stats::Expectation,
};
use serde::Serialize;

/// One reference held against another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Hash of the one whose bins are used.
    pub from: String,
    /// Hash of the other.
    pub to: String,
    /// How far apart they are.
    pub distances: Distances,
    /// The first one's streams, each with its share in both.
    pub streams: Vec<StreamPair>,
}

/// A stream of two references.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamPair {
    /// Which, in words.
    pub stream: String,
    /// Share of the first, 0 to 1.
    pub from_share: f64,
    /// Share of the other.
    pub to_share: f64,
    /// Smallest difference from the first that would page.
    pub tolerance: f64,
}

impl Comparison {
    /// None where one holds values and the other categories.
    pub(super) fn of(from: &Reference, to: &Reference) -> Option<Self> {
        let (start_us, end_us) = to.span_us();
        let lane = Lane {
            start_us,
            end_us,
            summary: to.summary().clone(),
            count: to.count(),
            device_windows: 0,
            devices: to.devices(),
        };
        let distances = Distances::of(from, &lane, to.count() as f64)?;
        let shares = from.shares_of(to.summary());
        let pair =
            |((stream, expected), share): (&(_, _), f64)| StreamPair::of(stream, expected, share);
        Some(Self {
            from: from.hash(),
            to: to.hash(),
            distances,
            streams: from.streams().iter().zip(shares).map(pair).collect(),
        })
    }
}

impl StreamPair {
    fn of(stream: &Stream, expected: &Expectation, share: f64) -> Self {
        Self {
            stream: stream.to_string(),
            from_share: expected.share,
            to_share: share,
            tolerance: expected.tolerance,
        }
    }
}
