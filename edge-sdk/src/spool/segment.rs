//! One spool file: windows of one boot, in order. In: frames to append. Out: windows to send, and
//! what a scan of an old file found. Appends are synced before they count; a failed append is
//! rolled back. A window once written is never changed. Never decides what to drop or to send.
//!
//! The first frame names the installation and the boot, because a file outlives both: what it
//! holds must be sent under the identity it was recorded under. Every other frame is a window:
//! ```text
//! u64 sequence | u64 windows lost before it, as the body reports them | body as it will be sent
//! ```
//! Nothing in a frame is a time: the body has the window's own, and a clock that changes later
//! must not make two descriptions of one window.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use fathomline_wire::identity::{self, Identity};

use super::{
    files::{self, EXTENSION, Kept, sync_folder},
    frame, notes,
};

const MAGIC: &[u8] = b"fathspl1";
/// Sequence and lost windows, in front of the body.
const WINDOW_HEAD_BYTES: usize = 16;
const FRAME_HEAD: u64 = frame::HEAD_BYTES as u64;

/// Bytes that are checked at most to find windows behind damage: a file made so that every byte
/// seems to begin a long one would hold up a start for minutes.
const SEARCHED_BYTES_MAX: usize = 64 << 20;

/// A window to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) sequence: u64,
    /// Lost windows that the body reports; counted again if this window is lost itself.
    pub(crate) reports_dropped: u64,
    pub(crate) body: &'a [u8],
}

/// A window that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) identity: Identity,
    pub(crate) body: Vec<u8>,
    pub(super) reports_dropped: u64,
    /// Which file, and where in it.
    segment: u64,
    start: u64,
    end: u64,
}

impl Pending {
    /// A window that no file holds: its number is none that a file has.
    pub(crate) fn in_memory(identity: Identity, body: Vec<u8>) -> Self {
        Self {
            identity,
            body,
            reports_dropped: 0,
            segment: 0,
            start: 0,
            end: 0,
        }
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.segment == 0
    }
}

/// How an append ended.
#[derive(Debug)]
pub(crate) enum Appended {
    /// On disk.
    Kept,
    /// Nothing is on disk; the same window may be asked for again.
    RolledBack(io::Error),
    /// The window has no place, or nobody knows what of it is on disk: it counts as dropped and
    /// its sequence must not be used again.
    Lost(io::Error),
}

/// One file, by what is known about it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    installation: String,
    boot: String,
    /// Where the first window begins.
    first: u64,
    /// Where the next window to send begins.
    pub(super) position: u64,
    /// Where the last whole frame ends.
    pub(super) end: u64,
    /// Windows from `position` to `end`.
    pub(super) windows: u64,
    /// Lost windows that those report.
    pub(super) reports_dropped: u64,
    /// Sequences of the first window in the file and of the last.
    sequences: Option<(u64, u64)>,
    /// Its windows were tried and would not merge.
    pub(super) stuck: bool,
    /// Its windows can no longer be read.
    pub(super) damaged: bool,
}

/// A window as it lies in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) sequence: u64,
    pub(super) reports_dropped: u64,
    pub(super) body: Vec<u8>,
}

/// What an old file holds.
#[derive(Debug)]
pub(super) struct Scanned {
    /// `None` when nobody knows whose windows it held.
    pub(super) segment: Option<Segment>,
    /// Windows that were kept and can no longer be read.
    pub(super) lost: u64,
}

impl Segment {
    /// Creates the file and writes whose windows it will hold.
    pub(super) fn create(
        folder: &Path,
        number: u64,
        installation: &str,
        boot: &str,
    ) -> io::Result<(Self, File)> {
        let path = folder.join(format!("{number:016}.{EXTENSION}"));
        let head = encoded_head(installation, boot);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        file.write_all(&head)?;
        file.sync_all()?;
        sync_folder(folder)?;
        let end = head.len() as u64;
        let segment = Self {
            number,
            path,
            installation: installation.to_owned(),
            boot: boot.to_owned(),
            first: end,
            position: end,
            end,
            windows: 0,
            reports_dropped: 0,
            sequences: None,
            stuck: false,
            damaged: false,
        };
        Ok((segment, file))
    }

    /// Reads an old file from `position` (0: from its first window) to the last whole frame. What
    /// follows that is a torn tail, which was never kept, or damage, whose windows are counted;
    /// neither is ever sent.
    pub(super) fn scan(path: &Path, number: u64, position: u64) -> io::Result<Scanned> {
        notes::regular(path)?;
        let bytes = fs::read(path)?;
        // A cursor behind the end was not written for this file.
        let position = if position > bytes.len() as u64 {
            0
        } else {
            position
        };
        let Some((head, head_bytes)) = frame::decode(&bytes) else {
            let mut left = SEARCHED_BYTES_MAX;
            let first = next_window(&bytes, 0, &mut left);
            let lost = first.map_or(0, |first| lost(&bytes, first, position));
            return Ok(Scanned {
                segment: None,
                lost,
            });
        };
        let Some((installation, boot)) = head.strip_prefix(MAGIC).and_then(owners) else {
            let message = "the file is of a version this SDK does not read";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        };
        let first = head_bytes as u64;
        let mut segment = Self {
            number,
            path: path.to_owned(),
            installation,
            boot,
            first,
            position: first,
            end: first,
            windows: 0,
            reports_dropped: 0,
            sequences: None,
            stuck: false,
            damaged: false,
        };
        let mut at = head_bytes;
        while let Some((sequence, reports_dropped, length)) = window_at(&bytes, at) {
            at += length;
            segment.saw(sequence);
            segment.end = at as u64;
            if segment.end <= position {
                segment.position = segment.end;
            } else {
                segment.windows += 1;
                segment.reports_dropped += reports_dropped;
            }
        }
        let (torn, lost) = (bytes.len() - at, lost(&bytes, at, position));
        if torn > 0 {
            tracing::info!(torn, lost, path = %path.display(), "spool file ends in a torn window");
        }
        Ok(Scanned {
            segment: Some(segment),
            lost,
        })
    }

    /// Writes and syncs one window, or leaves the file as it was.
    pub(super) fn append(&mut self, file: &mut File, entry: Entry<'_>) -> Appended {
        let Some(frame) = encoded(entry) else {
            return Appended::Lost(io::ErrorKind::FileTooLarge.into());
        };
        let written = file.write_all(&frame).and_then(|()| file.sync_data());
        if let Err(error) = written {
            return self.roll_back(file, error);
        }
        self.end += frame.len() as u64;
        self.windows += 1;
        self.reports_dropped += entry.reports_dropped;
        self.saw(entry.sequence);
        Appended::Kept
    }

    /// The first window that was not sent yet.
    pub(super) fn first(&self) -> io::Result<Option<Pending>> {
        if self.windows == 0 {
            return Ok(None);
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.position))?;
        let mut length = [0; 4];
        file.read_exact(&mut length)?;
        // Bounded by what was found or written, whatever the length on disk says by now.
        let rest =
            (self.end - self.position).min(FRAME_HEAD + u64::from(u32::from_le_bytes(length)));
        let mut bytes = length.to_vec();
        file.take(rest.saturating_sub(4)).read_to_end(&mut bytes)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a window is damaged");
        let (payload, length) = frame::decode(&bytes).ok_or_else(damaged)?;
        let (sequence, reports_dropped, body) = window(payload).ok_or_else(damaged)?;
        Ok(Some(Pending {
            identity: Identity {
                installation: self.installation.clone(),
                boot: self.boot.clone(),
                sequence,
            },
            body: body.to_vec(),
            reports_dropped,
            segment: self.number,
            start: self.position,
            end: self.position + length as u64,
        }))
    }

    /// Goes on behind `pending`, which this segment gave.
    pub(super) fn advance(&mut self, pending: &Pending) {
        self.position = pending.end;
        self.windows = self.windows.saturating_sub(1);
        self.reports_dropped = self.reports_dropped.saturating_sub(pending.reports_dropped);
    }

    /// Whether `pending` is what this segment would give next.
    pub(super) fn is_first(&self, pending: &Pending) -> bool {
        self.number == pending.segment && self.position == pending.start
    }

    /// Whose windows the file holds: installation and boot.
    pub(super) fn owners(&self) -> (&str, &str) {
        (&self.installation, &self.boot)
    }

    /// Windows of the file that were not sent yet.
    pub(super) fn stored(&self) -> io::Result<Vec<Stored>> {
        let bytes = fs::read(&self.path)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a window is damaged");
        let (mut at, mut found) = (self.position as usize, Vec::new());
        while (at as u64) < self.end {
            let (payload, length) = bytes
                .get(at..)
                .and_then(frame::decode)
                .ok_or_else(damaged)?;
            let (sequence, reports_dropped, body) = window(payload).ok_or_else(damaged)?;
            found.push(Stored {
                sequence,
                reports_dropped,
                body: body.to_vec(),
            });
            at += length;
        }
        Ok(found)
    }

    /// The same file with other windows: written beside it, synced, and renamed over it.
    pub(super) fn rewritten<'a>(
        &self,
        entries: impl Iterator<Item = Entry<'a>>,
    ) -> io::Result<Self> {
        let head = encoded_head(&self.installation, &self.boot);
        let mut segment = Self {
            path: self.path.clone(),
            installation: self.installation.clone(),
            boot: self.boot.clone(),
            first: head.len() as u64,
            position: head.len() as u64,
            end: head.len() as u64,
            windows: 0,
            reports_dropped: 0,
            sequences: None,
            stuck: false,
            damaged: false,
            number: self.number,
        };
        let mut bytes = head;
        for entry in entries {
            bytes.extend(encoded(entry).ok_or(io::ErrorKind::FileTooLarge)?);
            segment.windows += 1;
            segment.reports_dropped += entry.reports_dropped;
            segment.saw(entry.sequence);
        }
        segment.end = bytes.len() as u64;
        files::replace(&self.path, &bytes, Kept::Surely)?;
        // The new file is there; until the folder is synced a power cut may bring the old one
        // back, which holds the same.
        if let Err(error) = self.path.parent().map_or(Ok(()), sync_folder) {
            tracing::debug!(%error, "spool folder not synced");
        }
        Ok(segment)
    }

    /// Sequences that the file's windows cover together.
    pub(super) fn covered(&self) -> u64 {
        self.sequences
            .map_or(0, |(first, last)| last.saturating_sub(first) + 1)
    }

    /// Sequence of the last window in the file.
    pub(super) fn last_sequence(&self) -> Option<u64> {
        self.sequences.map(|(_, last)| last)
    }

    pub(super) fn is_same_boot(&self, other: &Self) -> bool {
        (&self.installation, &self.boot) == (&other.installation, &other.boot)
    }

    fn saw(&mut self, sequence: u64) {
        let first = self.sequences.map_or(sequence, |(first, _)| first);
        self.sequences = Some((first, sequence));
    }

    /// Whether a window was ever appended.
    pub(super) fn is_used(&self) -> bool {
        self.end > self.first
    }

    fn roll_back(&self, file: &mut File, error: io::Error) -> Appended {
        let back = file
            .set_len(self.end)
            .and_then(|()| file.seek(SeekFrom::Start(self.end)))
            .and_then(|_| file.sync_data());
        match back {
            Ok(()) => Appended::RolledBack(error),
            Err(_) => Appended::Lost(error),
        }
    }
}

/// Bytes a window takes on disk.
pub(super) fn bytes_on_disk(body: &[u8]) -> u64 {
    FRAME_HEAD + (WINDOW_HEAD_BYTES + body.len()) as u64
}

fn encoded_head(installation: &str, boot: &str) -> Vec<u8> {
    // Identifiers hold no zero byte, so one separates them.
    let head = frame::encode(&[MAGIC, installation.as_bytes(), b"\0", boot.as_bytes()]);
    head.unwrap_or_default()
}

fn encoded(entry: Entry<'_>) -> Option<Vec<u8>> {
    let sequence = entry.sequence.to_le_bytes();
    frame::encode(&[&sequence, &entry.reports_dropped.to_le_bytes(), entry.body])
}

/// The window at `at`, if it is whole: its sequence, what it reports as lost, its length on disk.
fn window_at(bytes: &[u8], at: usize) -> Option<(u64, u64, usize)> {
    let (payload, length) = frame::decode(bytes.get(at..)?)?;
    let (sequence, reports_dropped, _) = window(payload)?;
    Some((sequence, reports_dropped, length))
}

/// Where the first whole window behind `from` begins. Any byte may be it: the length that should
/// lead there may be what is damaged. None, too, once `left` bytes were checked.
fn next_window(bytes: &[u8], from: usize, left: &mut usize) -> Option<usize> {
    for at in from + 1..bytes.len() {
        let claimed = frame::claimed_bytes(&bytes[at..]);
        let checked = claimed.filter(|claimed| *claimed <= bytes.len() - at);
        *left = left.checked_sub(checked.unwrap_or(frame::HEAD_BYTES))?;
        if window_at(bytes, at).is_some() {
            return Some(at);
        }
    }
    None
}

/// Windows from `from` to the end of a file that is damaged there, those ending by `sent` aside. A
/// run of damaged ones counts as one, and so does all that is not searched.
fn lost(bytes: &[u8], from: usize, sent: u64) -> u64 {
    let (mut count, mut at, mut left) = (0, from, SEARCHED_BYTES_MAX);
    while at < bytes.len() {
        let whole = window_at(bytes, at).map(|(_, _, length)| at + length);
        // At the end of the file only a frame of full length was more than torn.
        let claimed = || {
            let end = at + frame::claimed_bytes(&bytes[at..])?;
            let holds_window = end >= at + frame::HEAD_BYTES + WINDOW_HEAD_BYTES;
            (holds_window && end <= bytes.len()).then_some(bytes.len())
        };
        let Some(end) = whole
            .or_else(|| next_window(bytes, at, &mut left))
            .or_else(claimed)
        else {
            break;
        };
        count += u64::from(end as u64 > sent);
        at = end;
    }
    count
}

fn owners(head: &[u8]) -> Option<(String, String)> {
    let (installation, boot) = std::str::from_utf8(head).ok()?.split_once('\0')?;
    let valid = identity::is_identifier(installation) && identity::is_identifier(boot);
    valid.then(|| (installation.to_owned(), boot.to_owned()))
}

fn window(payload: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (sequence, rest) = payload.split_first_chunk::<8>()?;
    let (reports_dropped, body) = rest.split_first_chunk::<8>()?;
    Some((
        u64::from_le_bytes(*sequence),
        u64::from_le_bytes(*reports_dropped),
        body,
    ))
}
