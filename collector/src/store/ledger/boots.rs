//! Which windows of one boot were counted. In: sequences in any order. Out: new, repeat,
//! conflict; and which pieces of windows are copies. Memory per boot is bounded: a high-water mark,
//! ranges missing below it, a few digests.

use serde::{Deserialize, Serialize};

/// Ranges missing below the high-water mark that are remembered. The SDK sends in order, so gaps
/// come from relays and are few; older ones are given up and their windows refused as too old.
pub(super) const GAPS_MAX: usize = 64;

/// Windows whose body digest is remembered: the SDK has one window under way, and a repeat of an
/// older one is a repeat on trust.
const DIGESTS_MAX: usize = 2;

/// Windows that are told apart by their streams, because they came in parts or through a relay.
const BY_STREAM_MAX: usize = 256;

/// Windows counted whole that ended ahead of their receipt.
const AHEAD_MAX: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Boot {
    high: u64,
    /// Gaps below this were given up.
    floor: u64,
    /// Sequence and digest, the newest first; sequence 0 is none.
    digests: [(u64, u64); DIGESTS_MAX],
    /// Most boots have neither gaps nor relayed windows.
    rare: Option<Box<Rare>>,
    /// What to add to the boot's times, frozen at first contact.
    pub(super) offset_us: i64,
    /// When the last of its windows was received.
    pub(super) seen_us: i64,
    /// The sender's end of the newest window that was counted whole, without its streams.
    whole_end_us: Option<i64>,
    /// When a later boot of the same installation made contact; 0 if none did.
    pub(super) superseded_us: i64,
    /// Alive at the same time as another boot of its installation.
    pub(super) cloned: bool,
    /// Counts parts of another boot's windows.
    pub(super) is_part: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Rare {
    /// First and last of each missing range, ascending.
    gaps: Vec<(u64, u64)>,
    by_stream: Vec<u64>,
    /// The sender's ends of windows that were counted whole before their time, ascending. The time
    /// of such an end was measured by nobody, and says nothing about windows of today.
    ahead: Vec<i64>,
}

/// What pieces of windows are held against: windows of their boot that were counted whole, without
/// their streams.
#[derive(Clone, Debug, Default)]
pub(super) struct Whole {
    /// The sender's end of the newest; none if there is none.
    end_us: Option<i64>,
    /// Some before it never came.
    has_gaps: bool,
    ahead: Vec<i64>,
}

/// What a piece is, by the windows that were counted whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Its stream tells.
    Own,
    Copy,
    /// It may be a copy, and it cannot be told.
    Untold,
}

impl Whole {
    /// Tells of a piece by its sender's end.
    pub(super) fn tell(&self, end_us: i64, is_ahead: bool) -> Piece {
        if self.ahead.binary_search(&end_us).is_ok() {
            return Piece::Copy;
        }
        if self.end_us.is_some_and(|whole| end_us <= whole) {
            return match self.has_gaps {
                true => Piece::Untold,
                false => Piece::Copy,
            };
        }
        let is_full = self.ahead.len() == AHEAD_MAX;
        match is_ahead && is_full && end_us < self.ahead[0] {
            true => Piece::Untold,
            false => Piece::Own,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    New,
    Repeat,
    Conflict,
    /// Came through a relay or in parts: judge point by point.
    ByStream,
    /// It cannot be told any more.
    Forgotten,
}

impl Boot {
    pub(super) fn new(offset_us: i64) -> Self {
        Self {
            offset_us,
            ..Self::default()
        }
    }

    pub(super) fn seen(&self, sequence: u64, digest: u64) -> Seen {
        if sequence > self.high || self.is_missing(sequence) {
            return Seen::New;
        }
        match self.digest(sequence) {
            Some(known) if known != digest => Seen::Conflict,
            Some(_) => Seen::Repeat,
            None if self.is_by_stream(sequence) => Seen::ByStream,
            None if self.has_forgotten(sequence) => Seen::Forgotten,
            None => Seen::Repeat,
        }
    }

    /// Whether it cannot be told any more if the window was counted.
    pub(super) fn has_forgotten(&self, sequence: u64) -> bool {
        sequence < self.floor
            && !self.is_missing(sequence)
            && !self.is_by_stream(sequence)
            && self.digest(sequence).is_none()
    }

    /// Whether the window was counted whole, without its streams.
    pub(super) fn holds_whole(&self, sequence: u64) -> bool {
        sequence <= self.high && !self.is_missing(sequence) && !self.is_by_stream(sequence)
    }

    /// Remembers where a window ended that was counted whole.
    pub(super) fn insert_whole(&mut self, end_us: i64, is_ahead: bool) {
        if !is_ahead {
            self.whole_end_us = self.whole_end_us.max(Some(end_us));
            return;
        }
        let ahead = &mut self.rare().ahead;
        if let Err(at) = ahead.binary_search(&end_us) {
            ahead.insert(at, end_us);
        }
        if ahead.len() > AHEAD_MAX {
            ahead.remove(0);
        }
    }

    pub(super) fn whole(&self) -> Whole {
        let rare = self.rare.as_ref();
        Whole {
            end_us: self.whole_end_us,
            has_gaps: self.missing() > 0,
            ahead: rare.map_or(vec![], |rare| rare.ahead.clone()),
        }
    }

    /// How many windows between its first and its last are missing.
    pub(super) fn missing(&self) -> u64 {
        // What came before the first contact may have gone to another collector.
        let between = self.gaps().iter().filter(|(first, _)| *first > 1);
        between.map(|(first, last)| last - first + 1).sum()
    }

    pub(super) fn insert(&mut self, sequence: u64, digest: Option<u64>, by_stream: bool) {
        if let Some(digest) = digest {
            self.digests.rotate_right(1);
            self.digests[0] = (sequence, digest);
        }
        if by_stream && !self.is_by_stream(sequence) {
            let by_stream = &mut self.rare().by_stream;
            by_stream.push(sequence);
            by_stream.sort_unstable();
            if by_stream.len() > BY_STREAM_MAX {
                by_stream.remove(0);
            }
        }
        if sequence > self.high {
            if sequence > self.high + 1 {
                let gap = (self.high + 1, sequence - 1);
                self.rare().gaps.push(gap);
            }
            self.high = sequence;
        } else {
            self.fill(sequence);
        }
        self.give_up_gaps();
    }

    fn fill(&mut self, sequence: u64) {
        let Some(rare) = &mut self.rare else { return };
        let holds = |(first, last): &(u64, u64)| (*first..=*last).contains(&sequence);
        let Some(at) = rare.gaps.iter().position(holds) else {
            return;
        };
        let (first, last) = rare.gaps[at];
        let below = (first < sequence).then(|| (first, sequence - 1));
        let above = (sequence < last).then(|| (sequence + 1, last));
        rare.gaps.splice(at..=at, below.into_iter().chain(above));
    }

    fn give_up_gaps(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        while rare.gaps.len() > GAPS_MAX {
            let (_, last) = rare.gaps.remove(0);
            self.floor = self.floor.max(last + 1);
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn gaps(&self) -> &[(u64, u64)] {
        self.rare.as_ref().map_or(&[], |rare| &rare.gaps)
    }

    fn is_missing(&self, sequence: u64) -> bool {
        let mut gaps = self.gaps().iter();
        gaps.any(|(first, last)| (*first..=*last).contains(&sequence))
    }

    fn is_by_stream(&self, sequence: u64) -> bool {
        let rare = self.rare.as_ref();
        rare.is_some_and(|rare| rare.by_stream.binary_search(&sequence).is_ok())
    }

    fn digest(&self, sequence: u64) -> Option<u64> {
        let mut known = self.digests.iter();
        known
            .find(|(known, _)| *known == sequence)
            .map(|(_, digest)| *digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_new_once_in_any_order() {
        let mut boot = Boot::new(0);
        for sequence in [1, 4, 2, 3] {
            assert_eq!(boot.seen(sequence, 7), Seen::New);
            boot.insert(sequence, Some(7), false);
            assert_eq!(boot.seen(sequence, 7), Seen::Repeat);
            assert_eq!(boot.seen(sequence, 8), Seen::Conflict);
        }
        assert!(boot.gaps().is_empty());
        assert_eq!((boot.high, boot.missing()), (4, 0));
    }

    #[test]
    fn a_hostile_sequence_does_not_grow_memory() {
        let mut boot = Boot::new(0);
        for sequence in (1..=10_000).map(|n| n * 2) {
            boot.insert(sequence, Some(1), true);
        }
        assert!(boot.gaps().len() <= GAPS_MAX);
        assert_eq!(boot.rare().by_stream.len(), BY_STREAM_MAX);
        assert_eq!(boot.seen(5, 1), Seen::Forgotten);
        assert!(boot.has_forgotten(5) && !boot.has_forgotten(20_000));
        boot.insert(u64::MAX - 1, Some(1), false);
        assert_eq!(boot.seen(u64::MAX - 2, 1), Seen::New, "one jump is one gap");
    }

    #[test]
    fn what_came_before_first_contact_is_not_missing() {
        let mut boot = Boot::new(0);
        boot.insert(100, None, false);
        assert_eq!((boot.missing(), boot.seen(50, 0)), (0, Seen::New));
        boot.insert(110, None, false);
        assert_eq!(boot.missing(), 9);
        boot.insert(105, None, false);
        assert_eq!(boot.missing(), 8);
    }
}
