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
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use fathomline_queries::schema::FORMAT_VERSION;
use serde::{Deserialize, Serialize};

use super::{StoreError, wal::sync_folder};

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
        lock.try_lock()
            .map_err(|_| StoreError::Locked(root.to_owned()))?;
        let manifest = read_or_create(&root.join("fathomline.json"))
            .map_err(at("read or write fathomline.json in"))?;
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

fn read_or_create(path: &Path) -> io::Result<Manifest> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
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
        Err(error) => Err(error),
    }
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
