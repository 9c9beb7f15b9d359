//! Windows that no folder takes, within a few hundred kibibytes. In: a window. Out: the oldest one.
//! At the cap neighbours of which none was ever sent become one, the shortest first; only when
//! nothing can merge any more is the oldest dropped and counted. Never touches a file but to hand
//! a window over.

use std::collections::VecDeque;

use fathomline_wire::identity::Identity;

use crate::spool::{self, Appended, Entry, Parts, Pending, Spool};

/// Most bytes of windows: hours of a device, and little beside a model.
const CAP_BYTES: u64 = 256 * 1024;

#[derive(Debug)]
struct Window {
    sequence: u64,
    /// Lost windows that the body reports.
    reports_dropped: u64,
    /// How many windows it once was.
    span: u64,
    body: Vec<u8>,
}

impl Window {
    fn entry(&self) -> Entry<'_> {
        Entry {
            sequence: self.sequence,
            reports_dropped: self.reports_dropped,
            body: &self.body,
        }
    }

    fn bytes(&self) -> u64 {
        self.body.len() as u64
    }
}

/// Windows of one boot, oldest first.
#[derive(Debug, Default)]
pub(super) struct Memory {
    windows: VecDeque<Window>,
    /// An upload of the window with this sequence, or an earlier one, may have begun.
    attempted: u64,
    /// The window that goes in parts.
    in_parts: Option<(u64, Parts)>,
    /// Windows lost here and not yet reported by a window that is kept.
    pub(super) unreported: u64,
    /// Windows lost here since the start.
    pub(super) dropped: u64,
    /// Windows that became part of another since the start.
    pub(super) merged: u64,
}

impl Memory {
    /// Keeps a window, making room by merging and then by dropping. False when it has no place.
    pub(super) fn push(&mut self, entry: Entry<'_>) -> bool {
        let bytes = entry.body.len() as u64;
        if bytes > CAP_BYTES {
            (self.dropped, self.unreported) = (self.dropped + 1, self.unreported + 1);
            return false;
        }
        while self.bytes() + bytes > CAP_BYTES {
            if !self.coarsen() {
                self.drop_oldest();
            }
        }
        self.windows.push_back(Window {
            sequence: entry.sequence,
            reports_dropped: entry.reports_dropped,
            span: 1,
            body: entry.body.to_vec(),
        });
        true
    }

    /// The oldest window; from now on an upload of it may have begun.
    pub(super) fn first(&mut self, installation: &str, boot: &str) -> Option<Pending> {
        let window = self.windows.front()?;
        self.attempted = window.sequence;
        let identity = Identity {
            installation: installation.to_owned(),
            boot: boot.to_owned(),
            sequence: window.sequence,
        };
        Some(Pending::in_memory(identity, window.body.clone()))
    }

    pub(super) fn remove(&mut self, sequence: u64) {
        // It may have gone to the disk, or been dropped, while it was under way.
        if self
            .windows
            .front()
            .is_some_and(|first| first.sequence == sequence)
        {
            self.windows.pop_front();
            self.in_parts = None;
        }
    }

    pub(super) fn parts(&self, sequence: u64) -> Parts {
        let known = self.in_parts.filter(|(known, _)| *known == sequence);
        known.map_or_else(Parts::default, |(_, parts)| parts)
    }

    pub(super) fn keep_parts(&mut self, sequence: u64, parts: Parts) {
        self.in_parts = Some((sequence, parts));
    }

    /// Hands the oldest window to the disk. False when there is none, or the disk does not take it.
    pub(super) fn move_first(&mut self, spool: &mut Spool, installation: &str, boot: &str) -> bool {
        let Some(window) = self.windows.front() else {
            return false;
        };
        let parts = self.parts(window.sequence);
        let identity = Identity {
            installation: installation.to_owned(),
            boot: boot.to_owned(),
            sequence: window.sequence,
        };
        // Parts that are stored must stay what they are.
        if parts != Parts::default() && spool.split(&identity, parts).is_err() {
            return false;
        }
        let attempted = window.sequence <= self.attempted;
        match spool.take_over(window.entry(), attempted) {
            Appended::RolledBack(_) => return false,
            Appended::Kept => {}
            Appended::Lost(_) => self.unreported += window.reports_dropped,
        }
        self.windows.pop_front();
        self.in_parts = None;
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    pub(super) fn windows(&self) -> u64 {
        self.windows.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.windows.iter().map(Window::bytes).sum()
    }

    /// Lost windows that those here report.
    #[cfg(test)]
    pub(super) fn reports(&self) -> u64 {
        let reports = self.windows.iter().map(|window| window.reports_dropped);
        reports.sum()
    }

    /// Merges two neighbours; false when none may or can.
    fn coarsen(&mut self) -> bool {
        let from = self
            .windows
            .partition_point(|window| window.sequence <= self.attempted);
        let pairs = from..self.windows.len().saturating_sub(1);
        let span = |index: &usize| self.windows[*index].span + self.windows[index + 1].span;
        let Some(index) = pairs.min_by_key(span) else {
            return false;
        };
        let (first, second) = (&self.windows[index], &self.windows[index + 1]);
        let Some(body) = spool::merge(&first.body, &second.body) else {
            return false;
        };
        let merged = Window {
            sequence: second.sequence,
            reports_dropped: first.reports_dropped + second.reports_dropped,
            span: first.span + second.span,
            body,
        };
        self.windows[index] = merged;
        self.windows.remove(index + 1);
        self.merged += 1;
        true
    }

    fn drop_oldest(&mut self) {
        if let Some(window) = self.windows.pop_front() {
            self.dropped += 1;
            self.unreported += 1 + window.reports_dropped;
            self.in_parts = None;
        }
    }
}
