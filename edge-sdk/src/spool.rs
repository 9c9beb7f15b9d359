//! Windows on their way: a queue on disk, bounded in bytes. In: a window's bytes. Out: the oldest
//! window, until it is told that the window arrived. A window counts once it is synced; what was
//! sent but not yet noted is sent again, which the collector counts once. Never rewrites a window
//! and never reads a clock.
//!
//! ```text
//! <folder>/lock                  held while a line uses the folder
//! <folder>/installation          who we are, if the application does not say
//! <folder>/0000000000000001.spool ...   windows, oldest boot first
//! <folder>/cursor                how far the oldest file was sent; losing it only resends
//! <folder>/attempted             the last file of which an upload was begun
//! <folder>/parts                 what is stored of a window that goes in parts
//! <folder>/bytes-*.json          bytes of the day, if they are limited (`budget`)
//! <folder>/privacy.json          what noise has spent, if there is any (`noise`)
//! <folder>/detector, probes      what the device has learned of its models
//! <folder>/aside/                windows the collector refused for good, a few
//! ```
//! At the cap neighbouring windows that were never sent become one (`coarsen`). Only when nothing
//! can merge any more does the oldest file go; its windows are counted as dropped, and the next
//! window reports them.

mod coarsen;
mod files;
mod frame;
mod merge;
mod notes;
mod parts;
mod segment;
mod waiting;

use std::{
    collections::VecDeque,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

pub use waiting::Waiting;

pub(crate) use files::{Kept, keep};
pub(crate) use merge::merge;
pub(crate) use notes::bytes as note_bytes;
pub(crate) use parts::{Part, Parts};
pub(crate) use segment::{Appended, Entry, Pending};

use fathomline_wire::identity::Identity;

use crate::{error::Error, installation};
use segment::{Scanned, Segment};

/// Smallest cap: a few windows must always have a place.
pub(crate) const CAP_BYTES_MIN: u64 = 64 * 1024;

/// A spool is this many files when full: one of them is what a drop costs at least.
const SEGMENTS_AT_CAP: u64 = 16;

/// Refused windows that are kept to be looked at; further ones are only counted.
const ASIDE_FILES_MAX: usize = 16;

/// The queue of one line.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    cap_bytes: u64,
    installation: String,
    boot: String,
    /// Oldest first; never empty files but the last.
    segments: VecDeque<Segment>,
    /// The last segment's file, while it may be written.
    writer: Option<File>,
    next_number: u64,
    /// Files up to this number are never rewritten: an upload from them may have begun.
    attempted: u64,
    /// What is known of the window that goes in parts: its boot, its sequence, its parts.
    in_parts: Option<(String, u64, Parts)>,
    /// Windows lost and not yet reported by a window that is still here.
    unreported: u64,
    /// Windows lost since the spool was opened.
    dropped: u64,
    /// Windows that became part of another since the spool was opened.
    merged: u64,
    /// Held until the spool is dropped.
    _lock: File,
}

impl Spool {
    /// Takes the folder and finds what earlier boots left in it.
    ///
    /// # Errors
    /// When another line holds the folder, or it cannot be used.
    pub(crate) fn open(
        folder: &Path,
        cap_bytes: u64,
        installation: Option<&str>,
        boot: &str,
    ) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(in_folder("create spool", folder))?;
        let lock = lock(folder)?;
        let declared = installation.map(|declared| Ok(declared.to_owned()));
        let mut spool = Self {
            folder: folder.to_owned(),
            cap_bytes: cap_bytes.max(CAP_BYTES_MIN),
            installation: declared.unwrap_or_else(|| installation::of_folder(folder))?,
            boot: boot.to_owned(),
            segments: VecDeque::new(),
            writer: None,
            next_number: 1,
            attempted: 0,
            in_parts: parts_note(folder),
            unreported: 0,
            dropped: 0,
            merged: 0,
            _lock: lock,
        };
        spool.find_old().map_err(in_folder("read spool", folder))?;
        Ok(spool)
    }

    /// A window that waited in memory, of which an upload may have begun.
    pub(crate) fn take_over(&mut self, entry: Entry<'_>, attempted: bool) -> Appended {
        let appended = self.append(entry);
        if let (Appended::Kept, true, Some(segment)) = (&appended, attempted, self.segments.back())
        {
            self.mark_attempted(segment.number);
        }
        appended
    }

    /// A window that is kept reports so many lost ones: no longer ours to remember. Returns how
    /// many of them were not lost here.
    pub(crate) fn said(&mut self, reports_dropped: u64) -> u64 {
        let here = reports_dropped.min(self.unreported);
        self.unreported -= here;
        reports_dropped - here
    }

    /// Appends a window and syncs it. At the cap old windows make room.
    pub(crate) fn append(&mut self, entry: Entry<'_>) -> Appended {
        let bytes = segment::bytes_on_disk(entry.body);
        if bytes > self.cap_bytes {
            self.lose(1, 0);
            return Appended::Lost(io::ErrorKind::FileTooLarge.into());
        }
        if let Err(error) = self.make_room(bytes) {
            return Appended::RolledBack(error);
        }
        let (Some(segment), Some(writer)) = (self.segments.back_mut(), self.writer.as_mut()) else {
            return Appended::RolledBack(io::ErrorKind::NotFound.into());
        };
        let appended = segment.append(writer, entry);
        match appended {
            Appended::Kept | Appended::RolledBack(_) => {}
            Appended::Lost(_) => {
                self.writer = None;
                self.lose(1, 0);
            }
        }
        appended
    }

    /// The oldest window that was not sent yet; from now on an upload of it may have begun. A
    /// damaged file is given up and counted.
    pub(crate) fn first(&mut self) -> Option<Pending> {
        loop {
            let segment = self.segments.front()?;
            match segment.first() {
                Ok(Some(pending)) => {
                    let number = segment.number;
                    self.mark_attempted(number);
                    return Some(pending);
                }
                Ok(None) if self.is_written(segment) => return None,
                Ok(None) => self.remove_oldest(),
                Err(error) => {
                    let path = segment.path.display().to_string();
                    tracing::warn!(%error, path, "spool file given up");
                    self.drop_oldest();
                }
            }
        }
    }

    /// `pending` arrived, or never will: goes on behind it.
    pub(crate) fn remove(&mut self, pending: &Pending) {
        let Some(segment) = self.segments.front_mut() else {
            return;
        };
        // At the cap the file may have gone while its window was under way.
        if !segment.is_first(pending) {
            return;
        }
        if self.in_parts.take().is_some()
            && let Err(error) = fs::remove_file(self.folder.join("parts"))
        {
            tracing::debug!(%error, "a note that is spent was not removed");
        }
        segment.advance(pending);
        let (number, position, spent) = (segment.number, segment.position, segment.windows == 0);
        if spent
            && !self
                .segments
                .front()
                .is_some_and(|segment| self.is_written(segment))
        {
            self.remove_oldest();
        } else {
            self.note_cursor(number, position);
        }
    }

    /// Keeps a copy of a refused window to be looked at, then goes on behind it.
    pub(crate) fn set_aside(&mut self, pending: &Pending) {
        let aside = self.folder.join("aside");
        let Pending { identity, body, .. } = pending;
        let name = format!(
            "{}-{}.otlp",
            identity.boot.replace(':', "_"),
            identity.sequence
        );
        let kept = fs::create_dir_all(&aside)
            .and_then(|()| fs::read_dir(&aside))
            .and_then(|files| {
                if files.count() < ASIDE_FILES_MAX {
                    fs::write(aside.join(name), body)
                } else {
                    Ok(())
                }
            });
        if let Err(error) = kept {
            tracing::warn!(%error, "refused window could not be kept aside");
        }
        self.remove(pending);
    }

    /// What is known of the parts of this window.
    pub(crate) fn parts(&self, identity: &Identity) -> Parts {
        let noted = self
            .in_parts
            .as_ref()
            .filter(|(boot, sequence, _)| (boot, *sequence) == (&identity.boot, identity.sequence));
        noted.map_or_else(Parts::default, |(_, _, parts)| *parts)
    }

    /// Notes for good that a window goes in these parts, before any of them is sent: in other
    /// parts its points would count twice.
    pub(crate) fn split(&mut self, identity: &Identity, parts: Parts) -> io::Result<()> {
        self.note_parts(identity, parts)?;
        self.keep_parts(identity, parts);
        Ok(())
    }

    /// Notes that a part of a window is stored. Losing the note only sends the part again.
    pub(crate) fn part_stored(&mut self, identity: &Identity, parts: Parts) {
        self.keep_parts(identity, parts);
        if let Err(error) = self.note_parts(identity, parts) {
            tracing::debug!(%error, "a stored part is not noted; it may be sent again");
        }
    }

    fn keep_parts(&mut self, identity: &Identity, parts: Parts) {
        let Identity { boot, sequence, .. } = identity;
        self.in_parts = Some((boot.clone(), *sequence, parts));
    }

    fn note_parts(&self, identity: &Identity, parts: Parts) -> io::Result<()> {
        let Identity { boot, sequence, .. } = identity;
        let line = format!("{boot} {sequence} {}\n", parts.to_text());
        files::keep(&self.folder.join("parts"), line.as_bytes(), Kept::Surely)
    }

    /// The next window goes to a new file.
    #[cfg(test)]
    pub(crate) fn give_up_writing(&mut self) {
        self.writer = None;
    }

    /// Keeps bytes beside the windows, whole or not at all.
    pub(crate) fn keep(&self, name: &str, bytes: &[u8]) {
        if let Err(error) = files::keep(&self.folder.join(name), bytes, Kept::Surely) {
            tracing::debug!(%error, name, "not kept for the next start");
        }
    }

    /// Who this folder belongs to.
    pub(crate) fn installation(&self) -> &str {
        &self.installation
    }

    /// Windows lost that no window on disk reports yet.
    pub(crate) fn unreported(&self) -> u64 {
        self.unreported
    }

    /// Windows lost since the spool was opened.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Windows that became part of another since the spool was opened.
    pub(crate) fn merged(&self) -> u64 {
        self.merged
    }

    /// Windows that wait.
    pub(crate) fn windows(&self) -> u64 {
        self.segments.iter().map(|segment| segment.windows).sum()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| segment.end - segment.position)
            .sum()
    }

    fn find_old(&mut self) -> io::Result<()> {
        files::remove_unfinished(&self.folder);
        let cursor = notes::cursor(&self.folder);
        // Its file may be gone: another one under that number would be taken for it.
        let behind = cursor.and_then(|(number, _)| number.checked_add(1));
        self.next_number = behind.unwrap_or(1);
        for (number, path) in files::list(&self.folder)? {
            self.next_number = self.next_number.max(number + 1);
            let position = cursor
                .filter(|cursor| cursor.0 == number)
                .map_or(0, |cursor| cursor.1);
            match Segment::scan(&path, number, position) {
                Ok(Scanned { segment, lost }) => {
                    self.lose(lost, 0);
                    let segment = segment.filter(|segment| !self.is_in_last(segment));
                    match segment.filter(|segment| segment.windows > 0) {
                        Some(segment) => self.segments.push_back(segment),
                        // Sent to the end, in the file before it, or nothing in it can be read.
                        None => fs::remove_file(&path)?,
                    }
                }
                Err(error) => {
                    let path = path.display().to_string();
                    tracing::warn!(%error, path, "spool file left alone");
                }
            }
        }
        match notes::attempted(&self.folder) {
            Some(number) => self.attempted = number,
            // Without the note every file that is here may have been under way.
            None => {
                self.attempted = self.next_number - 1;
                notes::note_attempted(&self.folder, self.attempted)?;
            }
        }
        self.next_number = self.next_number.max(self.attempted + 1);
        Ok(())
    }

    fn mark_attempted(&mut self, number: u64) {
        if number <= self.attempted {
            return;
        }
        self.attempted = number;
        if let Err(error) = notes::note_attempted(&self.folder, number) {
            tracing::debug!(%error, "not noted which spool file is being sent");
        }
    }

    /// Whether a crash between joining two files and removing the second left this one behind.
    fn is_in_last(&self, segment: &Segment) -> bool {
        let last = self.segments.back();
        last.is_some_and(|last| {
            last.is_same_boot(segment) && last.last_sequence() >= segment.last_sequence()
        })
    }

    fn segment_bytes(&self) -> u64 {
        self.cap_bytes / SEGMENTS_AT_CAP
    }

    /// Brings a writable segment with room for `bytes`.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let full = |segment: &Segment| segment.end + bytes > self.segment_bytes();
        if self
            .segments
            .back()
            .is_some_and(|segment| segment.is_used() && full(segment))
        {
            self.writer = None;
        }
        while self.bytes_on_disk() + bytes > self.cap_bytes && !self.segments.is_empty() {
            // Where nothing can be rewritten, on a full disk for one, the new window has to wait.
            if !self.coarsen()? {
                self.drop_oldest();
            }
        }
        if self.writer.is_some() {
            return Ok(());
        }
        let (number, folder) = (self.next_number, &self.folder);
        let (segment, writer) = Segment::create(folder, number, &self.installation, &self.boot)?;
        self.next_number += 1;
        self.segments.push_back(segment);
        self.writer = Some(writer);
        Ok(())
    }

    /// Whole files count, whatever part of them was sent.
    fn bytes_on_disk(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end).sum()
    }

    fn drop_oldest(&mut self) {
        let lost = self
            .segments
            .front()
            .map(|s| (s.windows, s.reports_dropped));
        if let Some((windows, reports_dropped)) = lost {
            self.lose(windows, reports_dropped);
        }
        self.remove_oldest();
    }

    /// Windows are gone, and with them what they had to say about others.
    fn lose(&mut self, windows: u64, reports_dropped: u64) {
        self.dropped += windows;
        self.unreported += windows + reports_dropped;
    }

    fn remove_oldest(&mut self) {
        let Some(segment) = self.segments.pop_front() else {
            return;
        };
        if self.segments.is_empty() {
            self.writer = None;
        }
        if let Err(error) = fs::remove_file(&segment.path) {
            let path = segment.path.display().to_string();
            tracing::warn!(%error, path, "spool file could not be removed; it may be sent again");
        }
    }

    fn is_written(&self, segment: &Segment) -> bool {
        let last = self.segments.back().map(|last| last.number);
        self.writer.is_some() && last == Some(segment.number)
    }

    /// Not synced: an old cursor only sends windows again.
    fn note_cursor(&self, number: u64, position: u64) {
        let line = format!("{number} {position}\n");
        if let Err(error) = files::keep(&self.folder.join("cursor"), line.as_bytes(), Kept::Perhaps)
        {
            tracing::debug!(%error, "spool cursor not noted; windows may be sent again");
        }
    }
}

/// The window that went in parts when the folder was last used, and how far that went.
fn parts_note(folder: &Path) -> Option<(String, u64, Parts)> {
    let text = notes::read(folder, "parts");
    let (boot, rest) = text.trim_end().split_once(' ')?;
    let (sequence, parts) = rest.split_once(' ')?;
    Some((
        boot.to_owned(),
        sequence.parse().ok()?,
        Parts::from_text(parts)?,
    ))
}

fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let mut options = File::options();
    // Not truncated: whatever a link in its place leads to stays as it is.
    options.write(true).create(true).truncate(false);
    let file = notes::regular_or_none(&path)
        .and_then(|()| options.open(&path))
        .map_err(in_folder("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::SpoolInUse {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(in_folder("lock", &path)(source)),
    }
}

fn in_folder(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Spool {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
pub(crate) use merge::tests as tests_of_merge;

#[cfg(test)]
mod tests;
