//! The ledger: counted means once.
//!
//! In: an arrival. Out: a decision (rows to store, entries to remember, reasons for no), or a
//! refusal of the whole request. Live and at replay the same [`Entry`]s lead to the same state,
//! so a crash between any two steps cannot change what counts. Never: IO, or a clock; the
//! arrival carries the time it was received.
//!
//! - Our SDK, direct: per boot a high-water sequence, the gaps below it and recent body digests
//!   (`ledger/boots.rs`).
//! - Our SDK through a relay, and foreign senders: per stream the last intervals, or the last
//!   cumulative point (`ledger/streams.rs`).
//! - Spans: the last identifiers of all senders together (`ledger/spans.rs`).

mod boots;
mod spans;
mod streams;

use std::collections::BTreeMap;

use fathomline_queries::rows::{Clock, DistributionRow, MeasurementKind, MeasurementRow};
use fathomline_wire::{
    identity::{self, Identity},
    rejection::Rejection,
};
use serde::{Deserialize, Serialize};

use self::{
    boots::{Boot, Seen},
    spans::Spans,
    streams::{Stream, Verdict},
};
use super::{Outcome, frame::Frame};
use crate::intake::{Arrival, Point, PointBody, Refusal, Temporality, Window};

/// Boots are remembered this long; windows older than that cannot be counted once any more.
const BOOTS_REMEMBERED_US: i64 = 30 * 86_400_000_000;

/// Streams that are remembered; more are rejected rather than counted twice.
const STREAMS_MAX: usize = 200_000;

/// Clocks that differ by less are taken as they are: transfer and queueing look the same.
const CLOCK_TOLERANCE_US: i64 = 2_000_000;

/// A window that claims to end further in the future has no usable time.
const FUTURE_MAX_US: i64 = 60_000_000;

/// Everything the collector remembers in order to count once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    boots: BTreeMap<(String, String), Boot>,
    streams: BTreeMap<u128, Stream>,
    spans: Spans,
}

/// One thing to remember; what the log holds and replay applies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A window of our SDK was counted.
    Window {
        identity: Identity,
        /// Start of the body's digest; none if a relay brought it, perhaps in parts.
        digest: Option<u64>,
        /// What to add to the boot's times, frozen at first contact.
        offset_us: i64,
        seen_us: i64,
    },
    /// A point of a stream was counted.
    Point {
        stream: u128,
        counted: streams::Counted,
    },
    /// A span was counted.
    Span(u64),
}

/// Rows to store and the answer to give once they are.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    pub(crate) frame: Frame,
    pub(crate) outcome: Outcome,
}

/// How a window's points are told apart from repeats.
struct Basis {
    offset_us: i64,
    /// Points are admitted one by one, by their stream's intervals.
    by_stream: bool,
    sequence: Option<i64>,
}

impl Ledger {
    /// Decides what of an arrival counts and remembers it.
    pub(crate) fn admit(&mut self, arrival: Arrival) -> Result<Decision, Refusal> {
        let mut decision = Decision::default();
        decision.outcome.rejected = arrival.rejected.clone();
        let received_us = arrival.received_us;
        if arrival.declared.is_some() {
            let windows = arrival.windows.len();
            let Some(basis) = self.admit_direct(&arrival, &mut decision)? else {
                let points = arrival
                    .windows
                    .iter()
                    .map(|window| window.points.len() as u64);
                decision.outcome = Outcome {
                    duplicates: points.sum(),
                    ..Outcome::default()
                };
                return Ok(decision);
            };
            debug_assert!(windows <= 1);
            for window in arrival.windows {
                self.admit_points(window, &basis, received_us, &mut decision);
            }
        } else {
            for window in arrival.windows {
                self.admit_relayed(window, received_us, &mut decision);
            }
            self.admit_spans(arrival.spans, received_us, &mut decision);
        }
        Ok(decision)
    }

    /// Brings the ledger to where it was when `entry` was written.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Window {
                identity,
                digest,
                offset_us,
                seen_us,
            } => {
                let key = (identity.installation.clone(), identity.boot.clone());
                let boot = self
                    .boots
                    .entry(key)
                    .or_insert_with(|| Boot::new(*offset_us));
                boot.insert(identity.sequence, *digest, *seen_us);
            }
            Entry::Point { stream, counted } => {
                self.streams.entry(*stream).or_default().insert(counted);
            }
            Entry::Span(key) => self.spans.insert(*key),
        }
    }

    /// Forgets boots that were silent for longer than they are remembered, counted back from the
    /// last window of any boot.
    pub(crate) fn forget(&mut self) {
        let latest = self.boots.values().map(Boot::seen_us).max().unwrap_or(0);
        self.boots
            .retain(|_, boot| latest - boot.seen_us() < BOOTS_REMEMBERED_US);
    }

    fn remember(&mut self, entry: Entry, decision: &mut Decision) {
        self.apply(&entry);
        decision.frame.entries.push(entry);
    }

    /// A window with identity headers. `None` if exactly these bytes were counted before.
    fn admit_direct(
        &mut self,
        arrival: &Arrival,
        decision: &mut Decision,
    ) -> Result<Option<Basis>, Refusal> {
        let Some(declared) = &arrival.declared else {
            return Ok(None);
        };
        let identity = &declared.identity;
        check_sender(identity, &arrival.windows)?;
        let digest = short(&arrival.digest);
        let known = self
            .boots
            .get(&(identity.installation.clone(), identity.boot.clone()));
        let seen = known.map_or(Seen::New, |boot| boot.seen(identity.sequence, digest));
        let by_stream = match seen {
            Seen::New => false,
            Seen::Relayed => true,
            Seen::Repeat => return Ok(None),
            Seen::Conflict => {
                return Err(Refusal::new(Rejection::Conflict, identity.to_string()));
            }
            Seen::Forgotten => {
                return Err(Refusal::new(Rejection::TooOld, identity.to_string()));
            }
        };
        // A part of a window goes by the clock of its boot, as the first part did.
        let offset_us = known.or_else(|| self.resource_boot(arrival)).map_or_else(
            || clock_offset(declared.clock_unix_nano, arrival.received_us),
            Boot::offset_us,
        );
        if known.is_none() && is_too_old(&arrival.windows, arrival.received_us - offset_us) {
            return Err(Refusal::new(Rejection::TooOld, identity.to_string()));
        }
        let entry = Entry::Window {
            identity: identity.clone(),
            digest: Some(digest),
            offset_us,
            seen_us: arrival.received_us,
        };
        self.remember(entry, decision);
        let sequence = i64::try_from(identity.sequence).ok();
        Ok(Some(Basis {
            offset_us,
            by_stream,
            sequence,
        }))
    }

    /// The boot that the resource of a window names.
    fn resource_boot(&self, arrival: &Arrival) -> Option<&Boot> {
        let window = arrival.windows.first()?;
        self.boots
            .get(&(window.installation.clone(), window.boot.clone()))
    }

    /// A window without headers: relayed from our SDK, or foreign.
    fn admit_relayed(&mut self, window: Window, received_us: i64, decision: &mut Decision) {
        let mut basis = Basis {
            offset_us: 0,
            by_stream: true,
            sequence: None,
        };
        if let Some(identity) = relayed_identity(&window) {
            let known = self
                .boots
                .get(&(identity.installation.clone(), identity.boot.clone()));
            if known.is_some_and(|boot| boot.has_forgotten(identity.sequence)) {
                let points = window.points.len();
                decision.outcome.rejected.add(Rejection::TooOld, points);
                return;
            }
            if known.is_some_and(|boot| boot.holds_direct(identity.sequence)) {
                decision.outcome.duplicates += window.points.len() as u64;
                return;
            }
            basis.offset_us = known.map_or(0, Boot::offset_us);
            basis.sequence = i64::try_from(identity.sequence).ok();
            let offset_us = basis.offset_us;
            let entry = Entry::Window {
                identity,
                digest: None,
                offset_us,
                seen_us: received_us,
            };
            self.remember(entry, decision);
        }
        self.admit_points(window, &basis, received_us, decision);
    }

    fn admit_points(
        &mut self,
        window: Window,
        basis: &Basis,
        received_us: i64,
        decision: &mut Decision,
    ) {
        for mut point in window.points {
            if received_us - (point.columns.time + basis.offset_us) > BOOTS_REMEMBERED_US {
                decision.outcome.rejected.add(Rejection::TooOld, 1);
                continue;
            }
            if basis.by_stream || point.temporality == Temporality::Cumulative {
                match self.admit_point(&mut point, decision) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(reason) => {
                        decision.outcome.rejected.add(reason, 1);
                        continue;
                    }
                }
            }
            correct_time(&mut point, basis, received_us);
            push_row(point, &mut decision.frame);
        }
    }

    /// Decides by the stream's history; turns a cumulative point into its increase.
    /// `Ok(false)` if there is nothing to store.
    fn admit_point(
        &mut self,
        point: &mut Point,
        decision: &mut Decision,
    ) -> Result<bool, Rejection> {
        let known = self.streams.get(&point.stream);
        if known.is_none() && self.streams.len() >= STREAMS_MAX {
            return Err(Rejection::Cardinality);
        }
        let (verdict, counted) = streams::judge(known, point)?;
        match verdict {
            Verdict::Repeat => {
                decision.outcome.duplicates += 1;
                return Ok(false);
            }
            Verdict::Baseline | Verdict::Count => {}
        }
        if let Some(counted) = counted {
            self.remember(
                Entry::Point {
                    stream: point.stream,
                    counted,
                },
                decision,
            );
        }
        Ok(verdict == Verdict::Count)
    }
}

/// Headers and body must speak of one device: nothing is trusted because a device sent it.
fn check_sender(identity: &Identity, windows: &[Window]) -> Result<(), Refusal> {
    let [window] = windows else {
        return Err(Refusal::new(
            Rejection::Malformed,
            format!(
                "identity headers promise one window, the body has {}",
                windows.len()
            ),
        ));
    };
    let same_boot = identity::is_of_boot(&identity.boot, &window.boot);
    if window.installation == identity.installation && same_boot {
        return Ok(());
    }
    Err(Refusal::new(
        Rejection::Malformed,
        "the identity headers name another device.id or service.instance.id than the resource",
    ))
}

/// A boot nobody knows, with windows from before boots are forgotten, may have been counted.
fn is_too_old(windows: &[Window], now_us: i64) -> bool {
    let ends = windows
        .iter()
        .flat_map(|window| &window.points)
        .map(|point| point.columns.time);
    ends.max()
        .is_some_and(|end| now_us - end > BOOTS_REMEMBERED_US)
}

fn relayed_identity(window: &Window) -> Option<Identity> {
    use identity::{is_identifier, is_sequence};
    let sequence = window.sequence.filter(|number| is_sequence(*number))?;
    let valid = is_identifier(&window.installation) && is_identifier(&window.boot);
    valid.then(|| Identity {
        installation: window.installation.clone(),
        boot: window.boot.clone(),
        sequence,
    })
}

fn short(digest: &[u8; 32]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |short, byte| short << 8 | u64::from(*byte))
}

fn clock_offset(clock_unix_nano: Option<u64>, received_us: i64) -> i64 {
    let clock_us = clock_unix_nano.and_then(|nanos| i64::try_from(nanos / 1000).ok());
    let offset = clock_us.map_or(0, |clock_us| received_us - clock_us);
    if offset.abs() <= CLOCK_TOLERANCE_US {
        0
    } else {
        offset
    }
}

fn correct_time(point: &mut Point, basis: &Basis, received_us: i64) {
    let columns = &mut point.columns;
    columns.sequence = basis.sequence;
    columns.time = columns.time.saturating_add(basis.offset_us);
    columns.start_time = columns.start_time.saturating_add(basis.offset_us);
    let ahead_us = columns.time.saturating_sub(received_us);
    columns.clock = if ahead_us > FUTURE_MAX_US {
        // It cannot have been measured later than now. What the sender believed stays beside it;
        // believing it here would spread one request over as many days as it names.
        columns.time = received_us;
        columns.start_time = columns.start_time.saturating_sub(ahead_us);
        Clock::Unknown
    } else if basis.offset_us != 0 {
        Clock::Corrected
    } else {
        Clock::Ok
    };
}

fn push_row(point: Point, frame: &mut Frame) {
    let Point {
        columns,
        category,
        temporality,
        body,
        ..
    } = point;
    let kind = match temporality {
        Temporality::Gauge => MeasurementKind::Gauge,
        Temporality::Delta | Temporality::Cumulative => MeasurementKind::Delta,
    };
    let measurement = |count, value| MeasurementRow {
        columns: columns.clone(),
        category: category.clone(),
        kind,
        count,
        value,
    };
    match body {
        PointBody::Integer(count) => frame.measurements.push(measurement(Some(count), None)),
        PointBody::Number(value) => frame.measurements.push(measurement(None, Some(value))),
        PointBody::Distribution(distribution) => {
            frame.distributions.push(DistributionRow {
                columns,
                category,
                distribution,
            });
        }
    }
}

#[cfg(test)]
mod tests;
