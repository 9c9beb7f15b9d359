//! What the streams of a reference see of a lane: how many events of how many records. Everything
//! downstream knows no more than that.
//!
//! In: a lane. Out: counts that add up, or why the lane cannot be held against the reference.

use serde::{Deserialize, Serialize};

use super::{Lane, Reference, Stream, Summary, lane::middle};

/// Events of each stream in one lane, or in several that were added up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Observed {
    /// Start, exclusive.
    pub(super) start_us: i64,
    /// End, inclusive.
    pub(super) end_us: i64,
    /// Records.
    pub(super) count: u64,
    /// Events, stream by stream in the order of the reference.
    pub(super) events: Vec<f64>,
}

impl Observed {
    /// # Errors
    /// Says in words why the lane does not belong to the reference.
    pub(super) fn of(reference: &Reference, lane: &Lane) -> Result<Self, String> {
        match (reference.summary(), &lane.summary) {
            (Summary::Histogram(_), Summary::Categories(_)) => {
                return Err("the reference holds values and the lane categories".to_owned());
            }
            (Summary::Categories(_), Summary::Histogram(_)) => {
                return Err("the reference holds categories and the lane values".to_owned());
            }
            _ => {}
        }
        let holds = lane.summary.count();
        if holds != lane.count {
            let count = lane.count;
            return Err(format!("the lane says {count} records and holds {holds}"));
        }
        let watched: Vec<Stream> = reference.streams().iter().map(|(s, _)| s.clone()).collect();
        let middle_us = middle(lane.start_us, lane.end_us);
        let records = lane.count as f64;
        let (mut events, mut sees) = (Vec::with_capacity(watched.len()), false);
        for (stream, expected) in watched.iter().zip(reference.expected_at(middle_us)) {
            let (least, most) = stream.events_within(&lane.summary, &watched);
            let (least, most) = (least.clamp(0.0, records), most.clamp(0.0, records));
            // What coarse buckets cannot tell is no evidence: it counts as expected.
            let usual = records * expected.share;
            events.push(usual.clamp(least, most));
            let allowed = records * expected.tolerance;
            sees |= least >= usual - allowed || most <= usual + allowed;
        }
        if let (false, Summary::Histogram(histogram)) = (sees, &lane.summary) {
            let scale = histogram.scale;
            return Err(format!(
                "the lane's buckets (scale {scale}) are wider than what the reference tells apart"
            ));
        }
        Ok(Self {
            start_us: lane.start_us,
            end_us: lane.end_us,
            count: lane.count,
            events,
        })
    }

    /// Adds a later lane.
    pub(super) fn absorb(&mut self, later: &Self) {
        self.end_us = later.end_us;
        self.count += later.count;
        for (sum, events) in self.events.iter_mut().zip(&later.events) {
            *sum += events;
        }
    }

    /// Share of a stream's events, 0 to 1.
    pub(super) fn share(&self, stream: usize) -> Option<f64> {
        let events = self.events.get(stream)?;
        (self.count > 0).then(|| events / self.count as f64)
    }
}
