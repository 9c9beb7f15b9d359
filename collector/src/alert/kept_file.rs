//! What a file holds, read again each time it is used, so that a secret is changed by writing it.
//!
//! In: a path, and how to understand what is there. Out: what the file holds now, or what it held
//! when it could last be read: a file that is being replaced must not cost an attempt. Never: what
//! it holds in a log.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// A file with something in it that changes.
pub(crate) struct KeptFile<T> {
    path: PathBuf,
    last: Mutex<T>,
}

impl<T: Clone> KeptFile<T> {
    /// Reads it for the first time.
    pub(crate) fn open<E>(path: &Path, read: impl Fn(&Path) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            path: path.to_owned(),
            last: Mutex::new(read(path)?),
        })
    }

    /// What it holds now.
    pub(crate) fn now<E: std::fmt::Display>(&self, read: impl Fn(&Path) -> Result<T, E>) -> T {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read(&self.path) {
            Ok(found) => *last = found,
            Err(error) => tracing::warn!(%error, "cannot read a file again; what it held is used"),
        }
        last.clone()
    }
}

/// One line that is sent as it is, such as a token.
pub(crate) fn line(path: &Path) -> Result<String, LineError> {
    let shown = || path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| LineError::Read {
        path: shown(),
        source,
    })?;
    let text = text.trim();
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    match plain && !text.is_empty() {
        true => Ok(text.to_owned()),
        false => Err(LineError::Malformed(shown())),
    }
}

/// Why a file holds no line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("{path}: {source}; put it into this file, readable by the collector")]
    Read {
        path: String,
        source: std::io::Error,
    },
    #[error("{0} must hold one line of printable ASCII")]
    Malformed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_and_survives_its_own_absence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(KeptFile::open(&path, line).is_err());
        std::fs::write(&path, "first\n").unwrap();
        let file = KeptFile::open(&path, line).unwrap();
        std::fs::write(&path, "second\n").unwrap();
        assert_eq!(file.now(line), "second");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.now(line), "second");
        for bad in ["", " \n", "two\nlines", "caf\u{e9}"] {
            std::fs::write(&path, bad).unwrap();
            let error = line(&path).unwrap_err().to_string();
            assert!(error.contains("one line of printable ASCII"), "{error}");
        }
    }
}
