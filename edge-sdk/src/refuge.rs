//! What a line does while its spool folder cannot be written: a read-only file system, a full
//! disk, a missing permission. Windows go to the system's folder for temporary files, and if that
//! cannot be written either they stay in memory as one long window until a folder can. Never an
//! error for the application, which could do nothing about it; always a warning and a count.

use std::path::PathBuf;

use crate::{builder::Settings, error::Error, installation, spool::Spool};

/// The spool that could not be opened.
#[derive(Debug)]
pub(crate) struct Refuge {
    folder: PathBuf,
    cap_bytes: u64,
    boot: String,
    pub(crate) installation: String,
}

impl Refuge {
    /// The spool, or what to try again later.
    ///
    /// # Errors
    /// When another line uses the folder: two lines would send under one name.
    pub(crate) fn open(
        settings: &Settings,
        boot: &str,
    ) -> Result<(Option<Spool>, Option<Self>), Error> {
        let declared = settings.installation.as_deref();
        let cap = settings.spool_bytes;
        let error = match Spool::open(&settings.spool, cap, declared, boot) {
            Ok(spool) => return Ok((Some(spool), None)),
            Err(error @ Error::Spool { .. }) => error,
            Err(error) => return Err(error),
        };
        let installation =
            declared.map_or_else(installation::random, |name| Ok(name.to_owned()))?;
        // A folder of this boot alone: nobody else's windows are in it.
        let temporary = std::env::temp_dir().join(format!("fathomline-{boot}"));
        if let Ok(spool) = Spool::open(&temporary, cap, Some(&installation), boot) {
            let folder = temporary.display().to_string();
            tracing::warn!(%error, folder, "windows wait in a temporary folder; a restart loses them");
            return Ok((Some(spool), None));
        }
        tracing::warn!(%error, "windows stay in memory until the folder can be written");
        let refuge = Self {
            folder: settings.spool.clone(),
            cap_bytes: cap,
            boot: boot.to_owned(),
            installation,
        };
        Ok((None, Some(refuge)))
    }

    /// The spool, if its folder can be written by now.
    pub(crate) fn try_again(&self) -> Option<Spool> {
        let name = Some(self.installation.as_str());
        let spool = Spool::open(&self.folder, self.cap_bytes, name, &self.boot).ok()?;
        tracing::info!("the spool folder can be written again");
        Some(spool)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use crate::{line::Fathomline, words::Operation};

    /// A folder below a file can never be made, whoever asks.
    #[test]
    fn without_its_folder_a_line_works_and_a_temporary_one_takes_the_windows() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let builder = Fathomline::builder("m", "1").endpoint("http://127.0.0.1:1");
        let line = builder.spool(file.join("spool")).start().unwrap();
        drop(line.operation(Operation::Chat));
        let health = line.shutdown(Duration::from_millis(20));
        assert_eq!((health.windows_waiting, health.windows_dropped), (1, 0));
    }

    #[test]
    fn counts_wait_in_memory_until_a_folder_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        fs::write(&spool, b"in the way").unwrap();
        let refuge = super::Refuge {
            folder: spool.clone(),
            cap_bytes: 1 << 20,
            boot: "boot-1".into(),
            installation: "device-1".into(),
        };
        assert!(refuge.try_again().is_none());
        fs::remove_file(&spool).unwrap();
        assert_eq!(refuge.try_again().unwrap().installation(), "device-1");
    }
}
