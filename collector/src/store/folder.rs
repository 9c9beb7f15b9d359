//! The data folder: who may open it, what is where, which layout it has.
//!
//! ```text
//! <data>/fathomline.json      format version and collector id
//! <data>/lock                 held by the one writer
//! <data>/log/                 write-ahead log segments and the ledger's checkpoint
//! <data>/tables/<name>/       Delta tables
//! <data>/control.sqlite       changing state
//! <data>/spill/               what upkeep sorts and memory does not hold; emptied at start
//! ```

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use fathomline_queries::schema::FORMAT_VERSION;
use serde::{Deserialize, Serialize};

use super::{StoreError, wal::sync_folder};

const MANIFEST: &str = "fathomline.json";

/// An open data folder; the lock is held as long as this lives.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// Names this collector in every table's `txn`.
    pub(crate) collector: String,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format_version: u32,
    collector: String,
}

impl Folder {
    /// Opens the folder for writing, or makes it.
    pub(crate) fn open(root: &Path) -> Result<Self, StoreError> {
        let at = |action: &'static str| {
            let path = root.to_owned();
            move |source: io::Error| StoreError::Folder {
                action,
                path,
                source,
            }
        };
        for folder in [root.to_owned(), root.join("log"), root.join("tables")] {
            fs::create_dir_all(&folder).map_err(at("create"))?;
        }
        let lock = File::create(root.join("lock")).map_err(at("write to"))?;
        lock.try_lock().map_err(|error| not_locked(error, root))?;
        let unreadable = at("read or write fathomline.json in");
        let manifest = match read(&root.join(MANIFEST)) {
            Ok(Some(manifest)) => manifest,
            Ok(None) if is_in_use(root).map_err(at("look into"))? => {
                return Err(StoreError::Nameless(root.to_owned()));
            }
            Ok(None) => create(&root.join(MANIFEST)).map_err(unreadable)?,
            Err(error) => return Err(unreadable(error)),
        };
        if manifest.format_version != FORMAT_VERSION {
            return Err(StoreError::Format {
                path: root.to_owned(),
                found: manifest.format_version,
            });
        }
        Ok(Self {
            root: root.to_owned(),
            collector: manifest.collector,
            _lock: lock,
        })
    }

    /// Whether a collector works on the folder at this moment.
    pub(crate) fn is_locked(root: &Path) -> Result<bool, StoreError> {
        let tried = match File::open(root.join("lock")) {
            Ok(lock) => lock
                .try_lock_shared()
                .map_err(|error| not_locked(error, root)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(not_locked(TryLockError::Error(error), root)),
        };
        match tried {
            Ok(()) => Ok(false),
            Err(StoreError::Locked(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// An empty folder for what sorting does not hold in memory.
    pub(super) fn spill(&self) -> Result<PathBuf, StoreError> {
        let path = self.root.join("spill");
        let removed = match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        removed
            .and_then(|()| fs::create_dir_all(&path))
            .map_err(|source| StoreError::Folder {
                action: "empty the folder spill in",
                path: self.root.clone(),
                source,
            })?;
        Ok(path)
    }

    pub(crate) fn tables(&self) -> PathBuf {
        self.root.join("tables")
    }
}

fn not_locked(error: TryLockError, root: &Path) -> StoreError {
    let path = root.to_owned();
    match error {
        TryLockError::WouldBlock => StoreError::Locked(path),
        TryLockError::Error(source) => StoreError::Folder {
            action: "lock",
            path,
            source,
        },
    }
}

fn read(manifest: &Path) -> io::Result<Option<Manifest>> {
    match fs::read(manifest) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a collector wrote here before: its log, its tables or its changing state are there.
fn is_in_use(root: &Path) -> io::Result<bool> {
    for folder in [root.join("log"), root.join("tables")] {
        if fs::read_dir(folder)?.next().is_some() {
            return Ok(true);
        }
    }
    root.join("control.sqlite").try_exists()
}

fn create(path: &Path) -> io::Result<Manifest> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let collector = format!("collector-{:016x}", u64::from_le_bytes(random));
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        collector,
    };
    write_durably(path, &serde_json::to_vec_pretty(&manifest)?)?;
    Ok(manifest)
}

/// Replaces a small file in one step that survives a power cut.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("tmp");
    let mut file = File::create(&aside)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_folder_starts_and_keeps_its_name() {
        let root = tempfile::tempdir().unwrap();
        let first = Folder::open(root.path()).unwrap().collector;
        assert_eq!(Folder::open(root.path()).unwrap().collector, first);
    }

    #[test]
    fn a_lock_that_cannot_be_had_is_told_as_what_it_is() {
        let root = tempfile::tempdir().unwrap();
        let _held = Folder::open(root.path()).unwrap();
        let refused = Folder::open(root.path()).map(drop).unwrap_err();
        assert!(matches!(refused, StoreError::Locked(_)), "{refused}");
        let failed = io::Error::new(io::ErrorKind::Unsupported, "no locks available");
        let told = not_locked(TryLockError::Error(failed), root.path()).to_string();
        assert!(told.starts_with("cannot lock the data folder"), "{told}");
        assert!(
            told.contains("no locks available") && !told.contains("in use"),
            "{told}"
        );
    }

    #[test]
    fn whether_a_collector_runs_is_told_by_the_lock_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        assert!(!Folder::is_locked(root.path()).unwrap(), "none ever did");
        let held = Folder::open(root.path()).unwrap();
        assert!(Folder::is_locked(root.path()).unwrap());
        drop(held);
        assert!(!Folder::is_locked(root.path()).unwrap());
        // A name that leads to itself: what lies there, nobody can say.
        let lock = root.path().join("lock");
        fs::remove_file(&lock).unwrap();
        std::os::unix::fs::symlink(&lock, &lock).unwrap();
        let told = Folder::is_locked(root.path()).unwrap_err().to_string();
        assert!(told.starts_with("cannot lock the data folder"), "{told}");
    }

    #[test]
    fn a_folder_that_lost_its_name_alone_is_refused_and_left_as_it_is() {
        for held in [
            "log/00000000000000000001.wal",
            "log/checkpoint",
            "tables/rollups/_delta_log/00000000000000000000.json",
            "control.sqlite",
        ] {
            let root = tempfile::tempdir().unwrap();
            drop(Folder::open(root.path()).unwrap());
            let name = root.path().join("fathomline.json");
            let kept = fs::read(&name).unwrap();
            let path = root.path().join(held);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, b"x").unwrap();
            fs::remove_file(&name).unwrap();
            for _ in 0..2 {
                let refused = Folder::open(root.path()).map(drop).unwrap_err().to_string();
                let told = ["fathomline.json is missing", "backup", "counted again"];
                assert!(
                    told.iter().all(|word| refused.contains(word)),
                    "{held}: {refused}"
                );
                assert!(!name.exists());
            }
            fs::write(&name, kept).unwrap();
            Folder::open(root.path()).unwrap();
        }
    }
}
