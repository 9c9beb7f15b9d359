//! Digests of the files a model is made of. In: paths. Out: a digest of all their bytes,
//! remembered by path, size, times and inode, so that gigabytes are read once and not at every
//! start. Never believes a memory that is older than a change, and never fails because of one.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};

use super::hex;
use crate::{clock::nanos, error::Error};

/// Weights are read in pieces of this size, so that a large model costs no memory.
const READ_BYTES: usize = 64 * 1024;

/// Sets of files that are remembered; a device runs a few.
const REMEMBERED_MAX: usize = 64;

/// Far more than that many lines take. A longer memory is not ours.
const MEMORY_BYTES_MAX: u64 = 64 * 1024;

/// File systems stamp changes with clocks that tick every few milliseconds, some every second or
/// two. A file that changed less than this ago may change once more under the same stamp, so its
/// digest is not remembered yet.
const SETTLED: Duration = Duration::from_secs(3);

/// Digest of all bytes of all files, in the order they are given.
///
/// # Errors
/// When a file cannot be read; the error names it.
pub(super) fn digest(paths: &[PathBuf]) -> Result<String, Error> {
    if let [path] = paths {
        // One file has the digest that `sha256sum` prints.
        return digest_of_file(path);
    }
    let mut hash = Sha256::new();
    for path in paths {
        hash.update(digest_of_file(path)?);
    }
    Ok(hex(&hash.finalize()))
}

/// The same, remembering in `folder` what was read. A memory that cannot be kept, is damaged or
/// may be outdated costs a read and nothing else. `now` is the system's time.
///
/// # Errors
/// When a file cannot be read; the error names it.
pub(super) fn remembered_digest(
    paths: &[PathBuf],
    folder: &Path,
    now_unix_nano: u64,
) -> Result<String, Error> {
    let memory = Memory::read(folder);
    let before = State::of(paths);
    let known = before.as_ref().and_then(|state| memory.recall(&state.key));
    if let Some(digest) = known {
        return Ok(digest.to_owned());
    }
    let digest = digest(paths)?;
    // What changed while it was read is not remembered either.
    if let Some(state) = before
        && state.is_settled(now_unix_nano)
        && State::of(paths).is_some_and(|after| after.key == state.key)
    {
        memory.keep(&state.key, &digest);
    }
    Ok(digest)
}

fn digest_of_file(path: &Path) -> Result<String, Error> {
    let named = |source| Error::Weights {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(named)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; READ_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(read) => hash.update(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(named(error)),
        }
    }
}

/// What names the content of files without reading it.
struct State {
    key: String,
    /// When the last of them changed.
    changed_unix_nano: u64,
}

impl State {
    fn of(paths: &[PathBuf]) -> Option<Self> {
        let mut hash = Sha256::new();
        let mut last = 0;
        for path in paths {
            let path = fs::canonicalize(path).ok()?;
            let found = fs::metadata(&path).ok()?;
            let modified = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            let name = path.as_os_str().as_encoded_bytes();
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update(found.len().to_le_bytes());
            hash.update(modified.as_nanos().to_le_bytes());
            last = last.max(nanos(modified)).max(touch(&found, &mut hash));
        }
        Some(Self {
            key: hex(&hash.finalize()),
            changed_unix_nano: last,
        })
    }

    /// A stamp in the future says nothing: a clock is wrong somewhere.
    fn is_settled(&self, now_unix_nano: u64) -> bool {
        let age = now_unix_nano.checked_sub(self.changed_unix_nano);
        age.is_some_and(|age| age >= nanos(SETTLED))
    }
}

/// The file itself, and the one of its times that no program can set back.
#[cfg(unix)]
fn touch(found: &Metadata, hash: &mut Sha256) -> u64 {
    use std::os::unix::fs::MetadataExt;
    hash.update(found.dev().to_le_bytes());
    hash.update(found.ino().to_le_bytes());
    hash.update(found.ctime().to_le_bytes());
    hash.update(found.ctime_nsec().to_le_bytes());
    let seconds = u64::try_from(found.ctime()).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(found.ctime_nsec()).unwrap_or(0))
}

#[cfg(not(unix))]
fn touch(_: &Metadata, _: &mut Sha256) -> u64 {
    0
}

/// A line each: what names the files, their digest, and a checksum of both. The newest comes last.
struct Memory {
    folder: PathBuf,
    lines: Vec<(String, String)>,
}

impl Memory {
    const FILE: &'static str = "digests";

    fn read(folder: &Path) -> Self {
        let mut text = String::new();
        let read = File::open(folder.join(Self::FILE))
            .and_then(|file| file.take(MEMORY_BYTES_MAX).read_to_string(&mut text));
        if read.is_err() {
            text.clear();
        }
        let entry = |line: &str| {
            let (key, rest) = line.split_once(' ')?;
            let (digest, _) = rest.split_once(' ')?;
            (line == Self::line(key, digest)).then(|| (key.to_owned(), digest.to_owned()))
        };
        Self {
            folder: folder.to_owned(),
            lines: text.lines().filter_map(entry).collect(),
        }
    }

    fn line(key: &str, digest: &str) -> String {
        let both = format!("{key} {digest}");
        let checksum = crc32c::crc32c(both.as_bytes());
        format!("{both} {checksum:08x}")
    }

    fn recall(&self, key: &str) -> Option<&str> {
        let line = self.lines.iter().find(|(known, _)| known == key)?;
        Some(&line.1)
    }

    fn keep(mut self, key: &str, digest: &str) {
        self.lines.push((key.to_owned(), digest.to_owned()));
        let old = self.lines.len().saturating_sub(REMEMBERED_MAX);
        let lines = self.lines.drain(old..);
        let text: String = lines
            .map(|(key, digest)| Self::line(&key, &digest) + "\n")
            .collect();
        // Another application may be keeping its own at this moment.
        let chance = getrandom::u64().unwrap_or_default();
        let new = self
            .folder
            .join(format!("{}.{chance:016x}.new", Self::FILE));
        let kept = fs::create_dir_all(&self.folder)
            .and_then(|()| fs::write(&new, text))
            .and_then(|()| fs::rename(&new, self.folder.join(Self::FILE)));
        if let Err(error) = kept {
            tracing::debug!(%error, "digest not remembered; the weights are read again next time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When everything on this disk has long settled.
    const LATER: u64 = u64::MAX;

    fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Puts a lie in place of a digest; whoever repeats it did not read the file.
    fn forge(memory: &Path, digest: &str) -> String {
        let path = memory.join(Memory::FILE);
        let lie = "0".repeat(64);
        let kept = Memory::read(memory);
        assert!(kept.lines.iter().any(|(_, known)| known == digest));
        let lines = kept
            .lines
            .iter()
            .map(|(key, _)| Memory::line(key, &lie) + "\n");
        fs::write(path, lines.collect::<String>()).unwrap();
        lie
    }

    #[test]
    fn a_digest_is_remembered_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("state");
        let paths = [file(&folder, "w", b"weights")];
        let read = || remembered_digest(&paths, &memory, LATER).unwrap();
        let first = read();
        assert_eq!(first, digest(&paths).unwrap());
        let lie = forge(&memory, &first);
        assert_eq!(read(), lie);
        // Another size.
        fs::write(&paths[0], b"other weights").unwrap();
        let longer = read();
        assert_eq!(longer, digest(&paths).unwrap());
        // Another time.
        let lie = forge(&memory, &longer);
        let opened = File::options().write(true).open(&paths[0]).unwrap();
        opened.set_modified(UNIX_EPOCH).unwrap();
        assert_ne!(read(), lie);
        // Another file under the same name, with the same size and time.
        let lie = forge(&memory, &longer);
        let new = file(&folder, "new", b"other weighty");
        let opened = File::options().write(true).open(&new).unwrap();
        opened.set_modified(UNIX_EPOCH).unwrap();
        fs::rename(new, &paths[0]).unwrap();
        let replaced = read();
        assert!(replaced != lie && replaced == digest(&paths).unwrap());
    }

    #[test]
    fn a_file_that_changed_just_now_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("state");
        let paths = [file(&folder, "w", b"weights")];
        let changed = State::of(&paths).unwrap().changed_unix_nano;
        for now in [changed, changed + nanos(SETTLED) - 1, 0] {
            remembered_digest(&paths, &memory, now).unwrap();
            assert!(!memory.exists(), "remembered at {now}");
        }
        remembered_digest(&paths, &memory, changed + nanos(SETTLED)).unwrap();
        assert!(memory.join(Memory::FILE).exists());
    }

    #[test]
    fn a_damaged_memory_costs_a_read() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("state");
        let paths = [file(&folder, "w", b"weights")];
        let whole = remembered_digest(&paths, &memory, LATER).unwrap();
        let kept = fs::read(memory.join(Memory::FILE)).unwrap();
        for at in 0..kept.len() {
            let mut damaged = kept.clone();
            damaged[at] ^= 1;
            for bytes in [&damaged[..], &kept[..at]] {
                fs::write(memory.join(Memory::FILE), bytes).unwrap();
                let digest = remembered_digest(&paths, &memory, LATER).unwrap();
                assert_eq!(digest, whole, "damaged at {at}");
            }
        }
        // No folder can be made below a file.
        let nowhere = paths[0].join("state");
        assert_eq!(remembered_digest(&paths, &nowhere, LATER).unwrap(), whole);
    }

    #[test]
    fn the_memory_stays_small_and_forgets_the_oldest() {
        let folder = tempfile::tempdir().unwrap();
        let memory = folder.path().join("state");
        for n in 0..=REMEMBERED_MAX {
            let paths = [file(&folder, &n.to_string(), &n.to_le_bytes())];
            remembered_digest(&paths, &memory, LATER).unwrap();
        }
        let kept = Memory::read(&memory);
        let known = |n: usize| {
            let state = State::of(&[folder.path().join(n.to_string())]).unwrap();
            kept.recall(&state.key).is_some()
        };
        assert_eq!(kept.lines.len(), REMEMBERED_MAX);
        assert!(!known(0) && known(1) && known(REMEMBERED_MAX));
    }

    #[test]
    fn every_shard_counts_and_so_does_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (file(&folder, "a", b"one"), file(&folder, "b", b"two"));
        let both = digest(&[a.clone(), b.clone()]).unwrap();
        assert_ne!(both, digest(&[b.clone(), a.clone()]).unwrap());
        for (path, bytes) in [(&a, b"onf"), (&b, b"twp")] {
            let kept = fs::read(path).unwrap();
            fs::write(path, bytes).unwrap();
            assert_ne!(both, digest(&[a.clone(), b.clone()]).unwrap());
            fs::write(path, kept).unwrap();
        }
        assert_eq!(both, digest(&[a, b]).unwrap());
    }

    #[test]
    fn the_shard_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let there = file(&folder, "a", b"one");
        let paths = [there, folder.path().join("b")];
        let error = remembered_digest(&paths, folder.path(), LATER).unwrap_err();
        assert!(matches!(error, Error::Weights { path, .. } if path == paths[1]));
    }
}
