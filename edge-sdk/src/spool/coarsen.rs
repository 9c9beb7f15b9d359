//! Room without loss: at the cap, neighbouring windows of one boot become one. In: the spool's
//! files. Out: smaller ones, each replaced in one rename, so that a crash leaves the old or the
//! new. A file of which an upload was ever begun, in this boot or an earlier one, is never touched:
//! what a collector may hold must not come to it in another shape. The finest windows go first, the
//! oldest of them before others, so that lengths grow evenly: twice as long, then twice again.

use std::{fs, io};

use super::{
    Spool,
    files::sync_folder,
    merge,
    segment::{Entry, Segment, Stored},
};

/// So few windows may share a file whatever their size: they merge next.
const JOINED_WINDOWS: u64 = 4;

impl Spool {
    /// Makes one file smaller; false when nothing can merge any more.
    ///
    /// # Errors
    /// When a file cannot be written. Everything is as it was then.
    pub(super) fn coarsen(&mut self) -> io::Result<bool> {
        while let Some(index) = self.finest() {
            if self.halve(index)? {
                return Ok(true);
            }
        }
        self.join()
    }

    /// The file whose windows cover the least each, of those in which two may become one.
    fn finest(&self) -> Option<usize> {
        let candidates = self.segments.iter().enumerate().filter(|(_, segment)| {
            self.may_change(segment) && !segment.stuck && segment.windows >= 2
        });
        let coarseness = |segment: &Segment| segment.covered() / segment.windows.max(1);
        candidates
            .min_by_key(|(_, segment)| coarseness(segment))
            .map(|(index, _)| index)
    }

    fn may_change(&self, segment: &Segment) -> bool {
        segment.number > self.attempted && !segment.damaged && !self.is_written(segment)
    }

    /// Merges the windows of one file in pairs. False, and never tried again, when none of them
    /// would merge.
    fn halve(&mut self, index: usize) -> io::Result<bool> {
        let Some(stored) = self.read(index) else {
            return Ok(false);
        };
        let before = stored.len();
        let halved = pairs(stored);
        if halved.len() == before {
            self.segments[index].stuck = true;
            return Ok(false);
        }
        self.rewrite(index, &halved)?;
        self.merged += (before - halved.len()) as u64;
        Ok(true)
    }

    /// The windows of one file; none, and never tried again, when they cannot be read.
    fn read(&mut self, index: usize) -> Option<Vec<Stored>> {
        let segment = &mut self.segments[index];
        let stored = segment.stored();
        if let Err(error) = &stored {
            let path = segment.path.display().to_string();
            tracing::warn!(%error, path, "spool file cannot be read; its windows stay as they are");
            segment.damaged = true;
        }
        stored.ok()
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
        let (Some(mut stored), Some(second)) = (self.read(index), self.read(index + 1)) else {
            return self.join();
        };
        stored.extend(second);
        self.rewrite(index, &stored)?;
        if let Some(second) = self.segments.remove(index + 1) {
            // Gone for good before the first is sent: alone it would count again.
            let removed = fs::remove_file(&second.path).and_then(|()| sync_folder(&self.folder));
            if let Err(error) = removed {
                let path = second.path.display().to_string();
                tracing::warn!(%error, path, "spool file could not be removed; it may be sent again");
            }
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

/// Merges neighbours; those that will not merge stay as they are.
fn pairs(stored: Vec<Stored>) -> Vec<Stored> {
    let mut stored = stored.into_iter();
    let mut out = Vec::new();
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

#[cfg(test)]
mod tests;
