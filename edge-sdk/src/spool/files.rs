//! Files in a spool folder, whatever they hold. In: bytes and names. Out: files that are there
//! whole or not at all, also after a crash, and the list of those that hold windows. Never looks
//! into one.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Ends the name of a file of windows.
pub(super) const EXTENSION: &str = "spool";

/// Ends the name of a file that is still being written.
const UNFINISHED: &str = "new";

/// How sure a file must be to be there after a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// An older one does no harm.
    Perhaps,
    /// Synced before anybody acts on it.
    Surely,
}

/// Numbers and paths of the spool files in `folder`, oldest first.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == EXTENSION)
        {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let number = stem.and_then(|stem| stem.parse().ok());
            found.extend(number.filter(is_number).map(|number| (number, path)));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether a file may have that number: those behind it need numbers too.
pub(super) fn is_number(number: &u64) -> bool {
    *number <= u64::MAX / 2
}

/// A new or removed name is on disk only once its folder is.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Other systems have no folders that can be opened for it.
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

/// Puts `bytes` in the place of a file, and returns once they are as sure to stay as they must be.
pub(crate) fn keep(path: &Path, bytes: &[u8], kept: Kept) -> io::Result<()> {
    replace(path, bytes, kept)?;
    let folder = path.parent().filter(|_| kept == Kept::Surely);
    folder.map_or(Ok(()), sync_folder)
}

/// The same in one rename, so that whoever looks finds the old or the new; the folder is not
/// synced.
pub(super) fn replace(path: &Path, bytes: &[u8], kept: Kept) -> io::Result<()> {
    let new = path.with_extension(UNFINISHED);
    let written = File::create(&new)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            match kept {
                Kept::Surely => file.sync_all(),
                Kept::Perhaps => Ok(()),
            }
        })
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // On a full disk it would be in the way; at the next start it is removed all the same.
        fs::remove_file(&new).unwrap_or_default();
    }
    written
}

/// Removes what a crash left of a file that was to replace another.
pub(super) fn remove_unfinished(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let unfinished = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == UNFINISHED));
    unfinished.for_each(|path| fs::remove_file(path).unwrap_or_default());
}
