//! Room without loss: at the cap, neighbouring windows of one boot become one. In: the spool's
//! files. Out: smaller ones, each replaced in one rename, so that a crash leaves the old or the
//! new. The window at the front is never touched, because an upload of it may have begun, in this
//! boot or an earlier one; nothing else was ever sent. The finest windows go first, the oldest of
//! them before others, so that lengths grow evenly: twice as long, then twice again.

use std::io;

use super::{
    Spool, merge,
    segment::{Entry, Segment, Stored},
};

/// So few windows may share a file whatever their size: they merge next.
const JOINED_WINDOWS: u64 = 4;

impl Spool {
    /// Makes one file smaller; false when nothing can merge any more.
    pub(super) fn coarsen(&mut self) -> io::Result<bool> {
        while let Some(index) = self.finest() {
            let front = self.holds_front(index);
            if self.halve(index, front)? {
                return Ok(true);
            }
        }
        self.join()
    }

    /// The file whose windows cover the least each, of those in which two may become one.
    fn finest(&self) -> Option<usize> {
        let candidates = self.segments.iter().enumerate().filter(|(index, segment)| {
            let kept = u64::from(self.holds_front(*index));
            self.may_change(segment) && !segment.stuck && segment.windows >= 2 + kept
        });
        let coarseness = |segment: &Segment| segment.covered() / segment.windows.max(1);
        candidates
            .min_by_key(|(_, segment)| coarseness(segment))
            .map(|(index, _)| index)
    }

    /// Whether the first window of this file is the one that may be under way.
    fn holds_front(&self, index: usize) -> bool {
        index == 0
    }

    /// The cursor may point into a file that was sent in part, and the last one is being written.
    fn may_change(&self, segment: &Segment) -> bool {
        segment.is_unsent() && !self.is_written(segment)
    }

    /// Merges the windows of one file in pairs. False, and never tried again, when none of them
    /// would merge.
    fn halve(&mut self, index: usize, keeps_first: bool) -> io::Result<bool> {
        let stored = self.segments[index].stored()?;
        let before = stored.len();
        let halved = pairs(stored, usize::from(keeps_first));
        if halved.len() == before {
            self.segments[index].stuck = true;
            return Ok(false);
        }
        self.merged += (before - halved.len()) as u64;
        self.rewrite(index, &halved)?;
        Ok(true)
    }

    /// Puts two small files of one boot together, so that their windows may merge. The second is
    /// removed after the first holds everything; a crash in between leaves windows that the next
    /// start finds in both, and leaves out.
    fn join(&mut self) -> io::Result<bool> {
        let fits = |pair: &(&Segment, &Segment)| {
            let (first, second) = pair;
            let together = first.end + second.end;
            let few = first.windows + second.windows <= JOINED_WINDOWS;
            first.is_same_boot(second)
                && self.may_change(first)
                && self.may_change(second)
                && (few || together <= self.segment_bytes())
        };
        let neighbours = self.segments.iter().zip(self.segments.iter().skip(1));
        let Some(index) = neighbours.into_iter().position(|pair| fits(&pair)) else {
            return Ok(false);
        };
        let mut stored = self.segments[index].stored()?;
        stored.extend(self.segments[index + 1].stored()?);
        self.rewrite(index, &stored)?;
        if let Some(second) = self.segments.remove(index + 1) {
            std::fs::remove_file(&second.path)?;
        }
        Ok(true)
    }

    fn rewrite(&mut self, index: usize, stored: &[Stored]) -> io::Result<()> {
        let entries = stored.iter().map(|window| Entry {
            sequence: window.sequence,
            reports_dropped: window.reports_dropped,
            body: &window.body,
        });
        self.segments[index] = self.segments[index].rewritten(entries)?;
        Ok(())
    }
}

/// Merges neighbours behind the first `kept` windows; those that will not merge stay as they are.
fn pairs(stored: Vec<Stored>, kept: usize) -> Vec<Stored> {
    let mut stored = stored.into_iter();
    let mut out: Vec<Stored> = stored.by_ref().take(kept).collect();
    while let Some(first) = stored.next() {
        let Some(second) = stored.next() else {
            out.push(first);
            break;
        };
        match merge::merge(&first.body, &second.body) {
            Some(body) => out.push(Stored {
                sequence: second.sequence,
                reports_dropped: first.reports_dropped + second.reports_dropped,
                body,
            }),
            None => out.extend([first, second]),
        }
    }
    out
}
