//! What a spool notes beside its windows: small files. In: a note. Out: that note, or nothing
//! where it cannot be read. A note is replaced whole (`files`), but for the one that must have its
//! place on a full disk. Never decides what a note means.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

use super::files;

/// Digits of a segment's number in [`ATTEMPTED`].
const NUMBER_DIGITS: usize = 16;

const ATTEMPTED: &str = "attempted";

/// Longest note. Goldens of all probes are some hundred KiB.
const BYTES_MAX: u64 = 4 << 20;

/// The note `name`, empty if there is none.
pub(super) fn read(folder: &Path, name: &str) -> String {
    let bytes = bytes(&folder.join(name)).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// What a small file holds.
///
/// # Errors
/// When it cannot be read, is longer than any note, or is none: a pipe in its place would never
/// end.
pub(crate) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    regular(path)?;
    let mut bytes = Vec::new();
    let mut file = File::open(path)?.take(BYTES_MAX + 1);
    if file.read_to_end(&mut bytes)? as u64 > BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// # Errors
/// When there is nothing, or something whose opening or reading may wait for others.
pub(super) fn regular(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_file() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"))
}

/// The same for a path where nothing need be yet.
pub(super) fn regular_or_none(path: &Path) -> io::Result<()> {
    match regular(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        found => found,
    }
}

/// How far which file was sent.
pub(super) fn cursor(folder: &Path) -> Option<(u64, u64)> {
    let text = read(folder, "cursor");
    let (number, position) = text.trim_end().split_once(' ')?;
    let number = number.parse().ok().filter(files::is_number)?;
    Some((number, position.parse().ok()?))
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
    regular_or_none(&path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.write_all(format!("{number:0NUMBER_DIGITS$}\n").as_bytes())?;
    file.sync_data()
}
