//! What a spool notes beside its windows: small files. In: a note. Out: that note, or nothing
//! where it cannot be read. A note is replaced whole; only what must outlive a power cut is
//! synced. Never decides what a note means.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use super::segment;

/// Digits of a segment's number in [`ATTEMPTED`].
const NUMBER_DIGITS: usize = 16;

const ATTEMPTED: &str = "attempted";

/// How sure a note must be to be there after a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// An older one does no harm.
    Perhaps,
    /// Synced before anybody acts on it.
    Surely,
}

/// Replaces the note `name`.
pub(super) fn write(folder: &Path, name: &str, note: &[u8], kept: Kept) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(note)?;
    if kept == Kept::Surely {
        file.sync_all()?;
    }
    fs::rename(&new, folder.join(name))?;
    if kept == Kept::Surely {
        segment::sync_folder(folder)?;
    }
    Ok(())
}

/// The note `name`, empty if there is none.
pub(super) fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_default()
}

/// How far which file was sent.
pub(super) fn cursor(folder: &Path) -> Option<(u64, u64)> {
    let text = read(folder, "cursor");
    let (number, position) = text.trim_end().split_once(' ')?;
    Some((number.parse().ok()?, position.parse().ok()?))
}

/// The last file of which an upload was ever begun; none if nobody knows.
pub(super) fn attempted(folder: &Path) -> Option<u64> {
    let text = read(folder, ATTEMPTED);
    let digits = text.strip_suffix('\n')?;
    (digits.len() == NUMBER_DIGITS)
        .then(|| digits.parse().ok())
        .flatten()
}

/// Notes in place and synced that an upload of file `number` may begin: a full disk has room for
/// it, and a torn note is one that nobody knows.
pub(super) fn note_attempted(folder: &Path, number: u64) -> io::Result<()> {
    let path = folder.join(ATTEMPTED);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.write_all(format!("{number:0NUMBER_DIGITS$}\n").as_bytes())?;
    file.sync_data()
}
