//! Which windows of one boot were counted. In: sequences in any order. Out: new, repeat,
//! conflict. Memory per boot is bounded: a high-water mark, gaps below it, a few digests.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Gaps that are remembered below the high-water mark. The SDK sends in order, so gaps come from
/// relays and are few; older ones are given up and their windows refused as too old.
const GAPS_MAX: usize = 1024;

/// Windows whose body digest is remembered: a repeat of an older one is a repeat on trust.
const DIGESTS_MAX: usize = 16;

/// Windows a relay brought, perhaps in parts, that are told apart by their streams.
const RELAYED_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Boot {
    high: u64,
    gaps: BTreeSet<u64>,
    /// Gaps below this were given up.
    floor: u64,
    digests: BTreeMap<u64, u64>,
    relayed: BTreeSet<u64>,
    offset_us: i64,
    seen_us: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    New,
    Repeat,
    Conflict,
    /// Came through a relay, perhaps in parts: judge point by point.
    Relayed,
    /// It cannot be told any more.
    Forgotten,
}

impl Boot {
    pub(super) fn new(offset_us: i64) -> Self {
        Self {
            high: 0,
            gaps: BTreeSet::new(),
            floor: 0,
            digests: BTreeMap::new(),
            relayed: BTreeSet::new(),
            offset_us,
            seen_us: 0,
        }
    }

    pub(super) fn offset_us(&self) -> i64 {
        self.offset_us
    }

    pub(super) fn seen_us(&self) -> i64 {
        self.seen_us
    }

    pub(super) fn seen(&self, sequence: u64, digest: u64) -> Seen {
        if self.relayed.contains(&sequence) {
            return Seen::Relayed;
        }
        if sequence > self.high || self.gaps.contains(&sequence) {
            return Seen::New;
        }
        match self.digests.get(&sequence) {
            Some(known) if *known != digest => Seen::Conflict,
            Some(_) => Seen::Repeat,
            None if self.has_forgotten(sequence) => Seen::Forgotten,
            None => Seen::Repeat,
        }
    }

    /// Whether it cannot be told any more if the window was counted.
    pub(super) fn has_forgotten(&self, sequence: u64) -> bool {
        sequence < self.floor
            && !self.gaps.contains(&sequence)
            && !self.relayed.contains(&sequence)
            && !self.digests.contains_key(&sequence)
    }

    /// Whether the window was counted from a direct upload.
    pub(super) fn holds_direct(&self, sequence: u64) -> bool {
        sequence <= self.high && !self.gaps.contains(&sequence) && !self.relayed.contains(&sequence)
    }

    pub(super) fn insert(&mut self, sequence: u64, digest: Option<u64>, seen_us: i64) {
        self.seen_us = self.seen_us.max(seen_us);
        match digest {
            Some(digest) => {
                self.relayed.remove(&sequence);
                self.digests.insert(sequence, digest);
                while self.digests.len() > DIGESTS_MAX {
                    self.digests.pop_first();
                }
            }
            None => {
                self.relayed.insert(sequence);
                while self.relayed.len() > RELAYED_MAX {
                    self.relayed.pop_first();
                }
            }
        }
        if sequence > self.high {
            let first = (self.high + 1).max(sequence.saturating_sub(GAPS_MAX as u64));
            self.floor = self
                .floor
                .max(if first > self.high + 1 { first } else { 0 });
            self.gaps.extend(first..sequence);
            self.high = sequence;
            while self.gaps.len() > GAPS_MAX {
                let given_up = self.gaps.pop_first();
                self.floor = self.floor.max(given_up.map_or(0, |gap| gap + 1));
            }
        } else {
            self.gaps.remove(&sequence);
        }
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
            boot.insert(sequence, Some(7), 1);
            assert_eq!(boot.seen(sequence, 7), Seen::Repeat);
            assert_eq!(boot.seen(sequence, 8), Seen::Conflict);
        }
        assert!(boot.gaps.is_empty());
        assert_eq!(boot.high, 4);
    }

    #[test]
    fn a_hostile_sequence_does_not_grow_memory() {
        let mut boot = Boot::new(0);
        boot.insert(u64::MAX - 1, Some(1), 1);
        assert!(boot.gaps.len() <= GAPS_MAX);
        assert_eq!(boot.seen(5, 1), Seen::Forgotten);
        assert!(boot.has_forgotten(5) && !boot.has_forgotten(u64::MAX - 1));
    }
}
