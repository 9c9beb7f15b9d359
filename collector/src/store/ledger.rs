//! The ledger: counted means once.
//!
//! In: an arrival. Out: a decision (rows to store, entries to remember, reasons for no), or a
//! refusal of the whole request. Live and at replay the same [`Entry`]s lead to the same state,
//! and sealing a segment forgets the same, so a crash between any two steps cannot change what
//! counts. Never: IO, or a clock; the arrival carries the time it was received.
//!
//! - Our SDK, direct: per boot a high-water sequence, the gaps below it and recent body digests
//!   (`ledger/boots.rs`), boots of one installation together (`ledger/devices.rs`).
//! - Our SDK through a relay or in parts, and foreign senders: per stream the last intervals, or
//!   the last cumulative point (`ledger/streams.rs`), and what they make of the next
//!   (`ledger/judge.rs`).
//! - Spans: the last identifiers of all senders together (`ledger/spans.rs`).
//! - Everyone: what may be made new, and by whom (`ledger/names.rs`, `ledger/limits.rs`).
//! - One point of an admitted window (`ledger/points.rs`).
//! - Whose clock says what (`ledger/times.rs`), and who is who (`ledger/keys.rs`).

mod boots;
mod devices;
mod judge;
mod keys;
mod limits;
mod names;
mod points;
mod spans;
mod streams;
mod times;

use fathomline_wire::{identity::Identity, rejection::Rejection};
use serde::{Deserialize, Serialize};

pub(crate) use self::limits::{Limits, Rules};
use self::{
    boots::{Boot, Seen, Whole},
    devices::{Contact, Devices, Place},
    keys::{boot_key, check_sender, digest_key, no_window, place, relayed_identity, sender_key},
    names::{Kind, Maker, Names},
    spans::Spans,
    streams::Streams,
    times::Times,
};
use super::{Outcome, frame::Frame};
use crate::intake::{Arrival, Refusal, Window};

/// Boots and streams are remembered this long; what is older cannot be counted once any more.
const BOOTS_REMEMBERED_US: i64 = 30 * 86_400_000_000;

/// How often it is looked for what was silent for too long.
const FORGET_EVERY_US: i64 = 3_600_000_000;
/// What one look may go further.
const FORGET_HOURS_MAX: i64 = 24;

/// Clocks that differ by less are taken as they are: transfer and queueing look the same.
const CLOCK_TOLERANCE_US: i64 = 2_000_000;

/// Everything the collector remembers in order to count once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// The latest receipt of anything; what is forgotten is counted back from it.
    latest_us: i64,
    /// The hour of the last look for what to forget, in hours since 1970.
    forgot_in_hour: i64,
    devices: Devices,
    streams: Streams,
    names: Names,
    spans: Spans,
}

/// One thing to remember; what the log holds and replay applies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A window of our SDK was counted.
    Window {
        place: Place,
        contact: Contact,
        token: u64,
    },
    /// A point of a stream was counted.
    Point {
        stream: u128,
        device: u128,
        token: u64,
        seen_us: i64,
        counted: streams::Counted,
    },
    /// Something was made, or seen again after a day.
    Name {
        kind: Kind,
        name: String,
        device: u128,
        token: u64,
        seen_us: i64,
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

/// How much the ledger holds, for those who watch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) devices: usize,
    pub(crate) boots: usize,
    pub(crate) cloned_boots: usize,
    /// Windows between the first and the last of a boot that never came.
    pub(crate) missing_windows: u64,
    pub(crate) streams: usize,
    pub(crate) stream_bytes: u64,
    /// Services, cohorts, metrics, categories.
    pub(crate) names: [(Kind, usize); 4],
}

/// Who sends a window, and how its points are told apart from repeats.
struct Basis {
    maker: Maker,
    times: Times,
    /// Points are admitted one by one, by their stream's intervals.
    by_stream: bool,
    /// It has an identity: what its streams cannot remember is counted all the same.
    is_identified: bool,
    whole: Whole,
    sequence: Option<i64>,
    /// What stands for the device instead, because its installation was cloned.
    counts_as: Option<String>,
}

/// What [`Ledger::admit`] has in hand while it decides.
struct Case<'a> {
    rules: &'a Rules,
    received_us: i64,
    token: u64,
    decision: Decision,
}

impl Ledger {
    /// Decides what of an arrival counts and remembers it.
    pub(crate) fn admit(&mut self, arrival: Arrival, rules: &Rules) -> Result<Decision, Refusal> {
        let mut case = Case {
            rules,
            received_us: arrival.received_us,
            token: arrival.token,
            decision: Decision::default(),
        };
        case.decision.outcome.rejected = arrival.rejected.clone();
        if arrival.declared.is_none() {
            for window in arrival.windows {
                self.admit_relayed(window, &mut case);
            }
            self.admit_spans(arrival.spans, &mut case);
            return Ok(case.decision);
        }
        let Some(basis) = self.admit_direct(&arrival, &mut case)? else {
            let windows = arrival.windows.iter();
            // Answered as before: what was rejected then is rejected now.
            case.decision.outcome = Outcome {
                rejected: arrival.rejected.clone(),
                duplicates: windows.map(|window| window.points.len() as u64).sum(),
                ..Outcome::default()
            };
            return Ok(case.decision);
        };
        for window in arrival.windows {
            self.admit_points(window, &basis, &mut case);
        }
        Ok(case.decision)
    }

    /// Brings the ledger to where it was when `entry` was written.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Window {
                place,
                contact,
                token,
            } => {
                self.meet(place.device, *token, contact.seen_us);
                if let Some(device) = self.devices.get_mut(place.device) {
                    device.count(*place, contact);
                }
            }
            Entry::Point {
                stream,
                device,
                token,
                seen_us,
                counted,
            } => {
                self.meet(*device, *token, *seen_us);
                let grown = self.streams.insert((*stream, *device), counted, *seen_us);
                self.devices.grow(&grown);
            }
            Entry::Name {
                kind,
                name,
                device,
                token,
                seen_us,
            } => {
                self.meet(*device, *token, *seen_us);
                let maker = Maker {
                    device: *device,
                    token: *token,
                };
                self.names.insert(*kind, name, maker, *seen_us);
            }
            Entry::Span(key) => self.spans.insert(*key),
        }
    }

    /// Forgets what was silent for longer than it is remembered, counted back from the last receipt
    /// of anything. Sealing a segment does it, at replay too; once an hour is often enough to look
    /// through everything. Each time it goes a day further at most: were our own clock a month
    /// ahead for a moment, forgetting everything would count everything again.
    pub(crate) fn forget(&mut self) {
        let mut hour = self.latest_us / FORGET_EVERY_US;
        if self.forgot_in_hour > 0 {
            hour = hour.min(self.forgot_in_hour + FORGET_HOURS_MAX);
        }
        if hour <= self.forgot_in_hour {
            return;
        }
        self.forgot_in_hour = hour;
        let horizon_us = self.latest_us.min((hour + 1) * FORGET_EVERY_US);
        for grown in self.streams.forget(horizon_us) {
            self.devices.grow(&grown);
        }
        self.names.forget(horizon_us);
        self.devices.forget(horizon_us);
    }

    /// Forgets a device and its streams, by the digest of its name.
    pub(crate) fn erase(&mut self, digest: &[u8; 32]) {
        let device = keys::key_of(digest);
        self.streams.erase(device);
        self.devices.erase(device);
    }

    pub(crate) fn held(&self) -> Held {
        let kinds = [Kind::Service, Kind::Cohort, Kind::Metric, Kind::Category];
        let mut held = Held {
            devices: self.devices.len(),
            boots: 0,
            cloned_boots: 0,
            missing_windows: 0,
            streams: self.streams.len(),
            stream_bytes: self.streams.bytes(),
            names: kinds.map(|kind| (kind, self.names.len(kind))),
        };
        for boot in self.devices.boots().filter(|boot| !boot.is_part) {
            held.boots += 1;
            held.cloned_boots += usize::from(boot.cloned);
            held.missing_windows += boot.missing();
        }
        held
    }

    fn meet(&mut self, device: u128, token: u64, seen_us: i64) {
        // Not the largest ever: a clock that was ahead for a moment is followed back.
        self.latest_us = seen_us;
        self.devices.meet(device, token, seen_us);
    }

    fn remember(&mut self, entry: Entry, case: &mut Case<'_>) {
        self.apply(&entry);
        case.decision.frame.entries.push(entry);
    }

    /// A window with identity headers. `None` if exactly these bytes were counted before.
    fn admit_direct(
        &mut self,
        arrival: &Arrival,
        case: &mut Case<'_>,
    ) -> Result<Option<Basis>, Refusal> {
        let (Some(declared), Some(window)) = (&arrival.declared, arrival.windows.first()) else {
            return Err(no_window(0));
        };
        let identity = &declared.identity;
        check_sender(identity, &arrival.windows)?;
        let refuse = |reason| Err(Refusal::new(reason, identity.to_string()));
        let place = place(identity, &window.boot);
        let digest = digest_key(&arrival.digest);
        let device = self.devices.get(place.device);
        let known = device.and_then(|device| device.boot(place.boot));
        let mut by_stream = declared.is_part;
        match known.map_or(Seen::New, |boot| boot.seen(identity.sequence, digest)) {
            Seen::New => {}
            Seen::ByStream => by_stream = true,
            Seen::Repeat => return Ok(None),
            Seen::Conflict => return refuse(Rejection::Conflict),
            Seen::Forgotten => return refuse(Rejection::TooOld),
        }
        // A relay may have brought some of its points before.
        by_stream |= device.is_some_and(|device| device.streams > 0);
        // A part of a window goes by the clock of its boot, as the first part did.
        let of_boot = device.and_then(|device| device.boot(place.of));
        let times = match known.or(of_boot) {
            Some(boot) => Times::of_boot(boot.offset_us),
            None => Times::at_first_contact(declared.clock_unix_nano, case.received_us),
        };
        let end_us = window
            .latest_end()
            .map_or(case.received_us, |end| times.corrected(end));
        if known.is_none() {
            let forgotten_us = device.map_or(i64::MIN, |device| device.forgotten_us);
            let is_forgotten = end_us <= forgotten_us;
            if is_forgotten || times::is_too_old(end_us, case.received_us) {
                return refuse(Rejection::TooOld);
            }
        }
        if device.is_none() && self.devices.are_full(case.token, &case.rules.limits) {
            return refuse(Rejection::Cardinality);
        }
        let contact = Contact {
            digest: Some(digest),
            offset_us: times.offset_us(),
            seen_us: case.received_us,
            end_us,
            by_stream,
        };
        Ok(Some(self.counted(place, contact, case)))
    }

    /// Remembers a window of our SDK and says how its points count.
    fn counted(&mut self, place: Place, contact: Contact, case: &mut Case<'_>) -> Basis {
        let token = case.token;
        let was_cloned = self.is_cloned(place);
        self.remember(
            Entry::Window {
                place,
                contact,
                token,
            },
            case,
        );
        let cloned = self.is_cloned(place);
        case.decision.outcome.clones += u64::from(cloned && !was_cloned);
        Basis {
            maker: Maker {
                device: place.device,
                token,
            },
            times: Times::of_boot(contact.offset_us),
            by_stream: contact.by_stream,
            is_identified: contact.digest.is_some(),
            whole: Whole::default(),
            sequence: i64::try_from(place.sequence).ok(),
            counts_as: cloned.then(|| format!("{:08x}", place.of >> 32)),
        }
    }

    fn is_cloned(&self, place: Place) -> bool {
        let device = self.devices.get(place.device);
        device.is_some_and(|device| device.is_cloned(place.of))
    }

    /// A window without headers: relayed from our SDK, or foreign.
    fn admit_relayed(&mut self, window: Window, case: &mut Case<'_>) {
        let basis = match relayed_identity(&window) {
            Some(identity) => self.admit_relayed_window(&window, &identity, case),
            None => self.admit_stray(&window, case),
        };
        match basis {
            Ok(Some(basis)) => self.admit_points(window, &basis, case),
            Ok(None) => case.decision.outcome.duplicates += window.points.len() as u64,
            Err(reason) => {
                let outcome = &mut case.decision.outcome;
                outcome.rejected.add(reason, window.points.len());
            }
        }
    }

    /// A window that says which one it is.
    fn admit_relayed_window(
        &mut self,
        window: &Window,
        identity: &Identity,
        case: &mut Case<'_>,
    ) -> Result<Option<Basis>, Rejection> {
        let place = place(identity, &identity.boot);
        let device = self.devices.get(place.device);
        let known = device.and_then(|device| device.boot(place.boot));
        if known.is_some_and(|boot| boot.has_forgotten(identity.sequence)) {
            return Err(Rejection::TooOld);
        }
        if known.is_some_and(|boot| boot.holds_whole(identity.sequence)) {
            return Ok(None);
        }
        if device.is_none() && self.devices.are_full(case.token, &case.rules.limits) {
            return Err(Rejection::Cardinality);
        }
        let times = Times::of_boot(known.map_or(0, |boot| boot.offset_us));
        let contact = Contact {
            digest: None,
            offset_us: times.offset_us(),
            seen_us: case.received_us,
            end_us: window
                .latest_end()
                .map_or(case.received_us, |end| times.corrected(end)),
            by_stream: true,
        };
        Ok(Some(self.counted(place, contact, case)))
    }

    /// Points of a foreign sender, or what a relay split from its window.
    fn admit_stray(
        &mut self,
        window: &Window,
        case: &mut Case<'_>,
    ) -> Result<Option<Basis>, Rejection> {
        let key = sender_key(window);
        let device = self.devices.get(key);
        if device.is_none() && self.devices.are_full(case.token, &case.rules.limits) {
            return Err(Rejection::Cardinality);
        }
        let boot = device.and_then(|device| device.boot(boot_key(&window.boot)));
        let cloned = boot.is_some_and(|boot| boot.cloned);
        Ok(Some(Basis {
            maker: Maker {
                device: key,
                token: case.token,
            },
            times: Times::of_boot(boot.map_or(0, |boot| boot.offset_us)),
            by_stream: true,
            is_identified: false,
            whole: boot.map_or(Whole::default(), Boot::whole),
            sequence: None,
            counts_as: cloned.then(|| format!("{:08x}", boot_key(&window.boot) >> 32)),
        }))
    }
}

#[cfg(test)]
mod ahead;
#[cfg(test)]
mod tests;
