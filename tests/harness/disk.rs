//! A disk of a few megabytes that can really be full. In: a size. Out: a folder on a file system of
//! its own, gone with the value. Needs the right to mount.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::program;

pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// None, after saying so, where nothing may be mounted.
    pub(crate) fn of(megabytes: u32) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "fathomline"])
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        program::not_allowed("to mount a small file system");
        None
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the space there is, but for `kilobytes`.
    pub(crate) fn fill(&self, kilobytes: usize) {
        let block = vec![0; 1024];
        let mut file = fs::File::create(self.ballast()).unwrap();
        let mut blocks = 0;
        while std::io::Write::write_all(&mut file, &block).is_ok() {
            blocks += 1;
        }
        let left = (blocks * block.len()).saturating_sub(kilobytes * 1024);
        file.set_len(left as u64).unwrap();
    }

    /// Gives that space back.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.folder().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A test that failed has said why; a mount that stays is seen by whoever looks.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.folder())
            .status();
    }
}
