//! Where windows wait: on disk while the spool folder can be written, in memory while it cannot be,
//! on a read-only file system, a full disk, or without permission. In: a window. Out: the oldest
//! one, wherever it lies. Windows in memory are few, are sent like others, and go to the disk as
//! soon as it takes them. Never an error for the application, which could do nothing about it.

mod memory;

use std::{io, path::PathBuf};

use crate::{
    builder::Settings,
    error::Error,
    installation,
    spool::{self, Appended, Entry, Parts, Pending, Spool},
};
use memory::Memory;

/// The windows of one line.
#[derive(Debug)]
pub(crate) struct Queue {
    /// None while the folder cannot be used.
    spool: Option<Spool>,
    /// Newer than everything in the spool.
    memory: Memory,
    folder: PathBuf,
    cap_bytes: u64,
    installation: String,
    boot: String,
}

impl Queue {
    /// Takes the spool folder, or remembers to try later.
    ///
    /// # Errors
    /// When another line uses the folder: two lines would send under one name.
    pub(crate) fn open(settings: &Settings, boot: &str) -> Result<Self, Error> {
        let declared = settings.installation.as_deref();
        let (folder, cap_bytes) = (settings.spool.clone(), settings.spool_bytes);
        let (spool, installation) = match Spool::open(&folder, cap_bytes, declared, boot) {
            Ok(spool) => {
                let installation = spool.installation().to_owned();
                (Some(spool), installation)
            }
            Err(error @ Error::Spool { .. }) => {
                tracing::warn!(%error, "windows stay in memory until the folder can be used");
                let known = declared.map(str::to_owned);
                let known = known.or_else(|| installation::kept(&folder));
                (None, known.map_or_else(installation::random, Ok)?)
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            spool,
            memory: Memory::default(),
            folder,
            cap_bytes,
            installation,
            boot: boot.to_owned(),
        })
    }

    /// Who the windows of this boot belong to.
    pub(crate) fn installation(&self) -> &str {
        &self.installation
    }

    /// Keeps a window, on disk if that works.
    ///
    /// # Errors
    /// When the window is lost; it counts as dropped, and its sequence must not be used again.
    pub(crate) fn append(&mut self, entry: Entry<'_>) -> io::Result<()> {
        self.settle();
        let reason = if self.memory.is_empty() {
            match self.append_to_disk(entry) {
                Some(Appended::Kept) => return Ok(()),
                Some(Appended::Lost(error)) => return Err(error),
                Some(Appended::RolledBack(error)) => Some(error),
                None => None,
            }
        } else {
            None
        };
        if let Some(error) = reason {
            tracing::warn!(%error, "window not spooled; windows stay in memory until it works");
        }
        let kept = self.memory.push(entry);
        if kept {
            self.said(entry.reports_dropped);
            Ok(())
        } else {
            Err(io::ErrorKind::FileTooLarge.into())
        }
    }

    /// The oldest window; from now on an upload of it may have begun.
    pub(crate) fn first(&mut self) -> Option<Pending> {
        let on_disk = self.spool.as_mut().and_then(Spool::first);
        on_disk.or_else(|| self.memory.first(&self.installation, &self.boot))
    }

    /// What is known of the parts of `pending`.
    pub(crate) fn parts(&self, pending: &Pending) -> Parts {
        match &self.spool {
            Some(spool) if !pending.is_in_memory() => spool.parts(&pending.identity),
            _ => self.memory.parts(pending.identity.sequence),
        }
    }

    /// Notes that `pending` goes in these parts, before any of them is sent.
    ///
    /// # Errors
    /// When that cannot be noted for good: it must not be sent in parts now.
    pub(crate) fn split(&mut self, pending: &Pending, parts: Parts) -> io::Result<()> {
        match &mut self.spool {
            Some(spool) if !pending.is_in_memory() => spool.split(&pending.identity, parts),
            _ => {
                self.memory.keep_parts(pending.identity.sequence, parts);
                Ok(())
            }
        }
    }

    /// Notes that a part of `pending` is stored.
    pub(crate) fn part_stored(&mut self, pending: &Pending, parts: Parts) {
        match &mut self.spool {
            Some(spool) if !pending.is_in_memory() => spool.part_stored(&pending.identity, parts),
            _ => self.memory.keep_parts(pending.identity.sequence, parts),
        }
    }

    /// `pending` arrived, or never will: goes on behind it.
    pub(crate) fn remove(&mut self, pending: &Pending) {
        match &mut self.spool {
            Some(spool) if !pending.is_in_memory() => spool.remove(pending),
            _ => self.memory.remove(pending.identity.sequence),
        }
    }

    /// `pending` was refused for good. A copy is kept where there is a folder for it.
    pub(crate) fn set_aside(&mut self, pending: &Pending) {
        match &mut self.spool {
            Some(spool) if !pending.is_in_memory() => spool.set_aside(pending),
            _ => self.memory.remove(pending.identity.sequence),
        }
    }

    /// What was last kept under that name, nothing if it cannot be read.
    pub(crate) fn kept(&self, name: &str) -> Vec<u8> {
        // Also while the folder cannot be written: what was learned in weeks would be learned
        // anew, and then kept in its place.
        spool::note_bytes(&self.folder.join(name)).unwrap_or_default()
    }

    /// Keeps bytes beside the windows, where there is a folder for them.
    pub(crate) fn keep(&self, name: &str, bytes: &[u8]) {
        if let Some(spool) = &self.spool {
            spool.keep(name, bytes);
        }
    }

    /// Windows lost that no window here reports yet.
    pub(crate) fn unreported(&self) -> u64 {
        self.on_disk(Spool::unreported) + self.memory.unreported
    }

    /// Windows lost since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.on_disk(Spool::dropped) + self.memory.dropped
    }

    /// Windows that became part of another since the start.
    pub(crate) fn merged(&self) -> u64 {
        self.on_disk(Spool::merged) + self.memory.merged
    }

    /// Windows that wait.
    pub(crate) fn windows(&self) -> u64 {
        self.on_disk(Spool::windows) + self.memory.windows()
    }

    /// Of those, the ones that a restart would lose.
    pub(crate) fn windows_in_memory(&self) -> u64 {
        self.memory.windows()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> u64 {
        self.on_disk(Spool::bytes) + self.memory.bytes()
    }

    fn on_disk(&self, count: impl Fn(&Spool) -> u64) -> u64 {
        self.spool.as_ref().map_or(0, count)
    }

    fn append_to_disk(&mut self, entry: Entry<'_>) -> Option<Appended> {
        let appended = self.spool.as_mut()?.append(entry);
        if matches!(appended, Appended::Kept) {
            self.said(entry.reports_dropped);
        }
        Some(appended)
    }

    /// A window that is kept reports so many lost ones.
    fn said(&mut self, reports_dropped: u64) {
        let on_disk = self.spool.as_mut();
        let rest = on_disk.map_or(reports_dropped, |spool| spool.said(reports_dropped));
        self.memory.unreported = self.memory.unreported.saturating_sub(rest);
    }

    /// Brings to the disk what waits in memory, as far as the disk takes it.
    fn settle(&mut self) {
        if self.spool.is_none() {
            let name = Some(self.installation.as_str());
            // Whatever is wrong was said at the start.
            self.spool = Spool::open(&self.folder, self.cap_bytes, name, &self.boot).ok();
        }
        let Some(spool) = &mut self.spool else {
            return;
        };
        let waited = !self.memory.is_empty();
        while self
            .memory
            .move_first(spool, &self.installation, &self.boot)
        {}
        if waited && self.memory.is_empty() {
            tracing::info!("windows are on disk again");
        }
    }
}

#[cfg(test)]
mod tests;
