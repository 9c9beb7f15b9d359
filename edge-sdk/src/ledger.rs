//! What was spent on which day, kept in a file so that no restart forgets it. In: a day, an amount.
//! Out: whether it may be spent. Owns the promise that no day is ever overspent, however often a
//! process restarts and wherever its clock jumps: a day that comes again finds what it spent, and
//! one that is no longer remembered is closed. Never reads a clock.

use std::{collections::BTreeMap, io, path::PathBuf};

use serde_json::{Value, json};

use crate::spool::{self, Kept, note_bytes};

pub(crate) const DAY_NANOS: u64 = 86_400 * 1_000_000_000;

/// Days that are remembered; a device sees more only while its clock is being repaired.
const DAYS_MAX: usize = 32;

/// The number of a day, of days that begin `offset` before midnight UTC.
pub(crate) fn day(unix_nano: u64, offset: u64) -> u64 {
    unix_nano.saturating_add(offset) / DAY_NANOS
}

/// Nanoseconds until the next day begins.
pub(crate) fn until_next_day(unix_nano: u64, offset: u64) -> u64 {
    DAY_NANOS - unix_nano.saturating_add(offset) % DAY_NANOS
}

/// Amounts by day.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    /// Most that a day may spend.
    limit: u64,
    /// What the amounts mean, for whoever reads the file.
    terms: Value,
    /// The first day that is not closed.
    opens: u64,
    spent: BTreeMap<u64, u64>,
    /// When something was last noted, in nanoseconds since the Unix epoch.
    noted_unix_nano: u64,
}

impl Ledger {
    /// Reads what earlier processes spent. A file that cannot be understood closes `today` and
    /// every day before: what it said may have been the limit.
    pub(crate) fn open(path: PathBuf, limit: u64, terms: Value, today: u64) -> Self {
        let closed = (today.saturating_add(1), BTreeMap::new(), 0);
        let (opens, spent, noted_unix_nano) = match note_bytes(&path) {
            Ok(bytes) => read(&bytes).unwrap_or_else(|| {
                tracing::warn!(path = %path.display(), "ledger damaged; nothing more today");
                closed
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (0, BTreeMap::new(), 0),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "ledger not read; nothing today");
                closed
            }
        };
        Self {
            path,
            limit,
            terms,
            opens,
            spent,
            noted_unix_nano,
        }
    }

    /// Begins anew if the clock went back since something was noted: a day that such a clock names
    /// is not the day it once was. For what costs money, never for what costs privacy.
    pub(crate) fn trusting(mut self, now_unix_nano: u64) -> Self {
        if now_unix_nano < self.noted_unix_nano {
            (self.opens, self.spent) = (0, BTreeMap::new());
        }
        self
    }

    /// What `day` may still spend.
    pub(crate) fn left(&self, day: u64) -> u64 {
        if day < self.opens {
            return 0;
        }
        self.limit.saturating_sub(self.spent(day))
    }

    /// What `day` has spent.
    pub(crate) fn spent(&self, day: u64) -> u64 {
        self.spent.get(&day).copied().unwrap_or(0)
    }

    /// Spends, and returns once that is on disk. False, and nothing spent, when it is too much.
    ///
    /// # Errors
    /// When the file cannot be written. The amount then counts as spent.
    pub(crate) fn spend(&mut self, day: u64, amount: u64) -> io::Result<bool> {
        if amount > self.left(day) {
            return Ok(false);
        }
        self.add(day, amount);
        self.write(Kept::Surely)?;
        Ok(true)
    }

    /// Notes what was spent already, too much or not. Not synced: after a power cut the last
    /// notes may be missing.
    pub(crate) fn note(&mut self, now_unix_nano: u64, day: u64, amount: u64) {
        self.noted_unix_nano = now_unix_nano;
        self.add(day, amount);
        if let Err(error) = self.write(Kept::Perhaps) {
            tracing::debug!(%error, path = %self.path.display(), "ledger not written");
        }
    }

    fn add(&mut self, day: u64, amount: u64) {
        let spent = self.spent.entry(day).or_default();
        *spent = spent.saturating_add(amount);
        while self.spent.len() > DAYS_MAX {
            // Not the day itself, which a clock that was set back may have made the oldest.
            let oldest = self.spent.keys().find(|known| **known != day).copied();
            let Some(oldest) = oldest else { return };
            self.spent.remove(&oldest);
            self.opens = self.opens.max(oldest.saturating_add(1));
        }
    }

    /// In one rename, so that a crash leaves the old file or the new one.
    fn write(&self, kept: Kept) -> io::Result<()> {
        let spent: Vec<_> = self.spent.iter().collect();
        let text = json!({
            "limit": self.limit,
            "noted": self.noted_unix_nano,
            "opens": self.opens,
            "spent": spent,
            "terms": self.terms,
        });
        spool::keep(&self.path, format!("{text}\n").as_bytes(), kept)
    }
}

fn read(bytes: &[u8]) -> Option<(u64, BTreeMap<u64, u64>, u64)> {
    let kept: Value = serde_json::from_slice(bytes).ok()?;
    let days = kept["spent"].as_array()?;
    let day = |pair: &Value| Some((pair[0].as_u64()?, pair[1].as_u64()?));
    let spent = days.iter().map(day).collect::<Option<BTreeMap<_, _>>>()?;
    let noted = kept["noted"].as_u64().unwrap_or(0);
    Some((kept["opens"].as_u64()?, spent, noted))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 100;

    fn open(folder: &Path, today: u64) -> Ledger {
        Ledger::open(folder.join("ledger.json"), LIMIT, json!({}), today)
    }

    #[test]
    fn a_restart_finds_what_was_spent() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open(folder.path(), 7).spend(7, 60).unwrap());
        let mut ledger = open(folder.path(), 7);
        assert_eq!((ledger.left(7), ledger.left(8)), (40, 100));
        assert!(!ledger.spend(7, 41).unwrap());
        assert!(ledger.spend(7, 40).unwrap());
        assert_eq!(open(folder.path(), 7).left(7), 0);
    }

    #[test]
    fn a_damaged_file_closes_the_day_and_no_later_one() {
        let folder = tempfile::tempdir().unwrap();
        for damage in ["", "{", "{\"spent\":[[1]],\"opens\":0}", "[]"] {
            fs::write(folder.path().join("ledger.json"), damage).unwrap();
            let ledger = open(folder.path(), 7);
            assert_eq!((ledger.left(7), ledger.left(8)), (0, LIMIT), "{damage}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_spent_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = open(&folder.path().join("missing"), 7);
        assert!(ledger.spend(7, 30).is_err());
        assert_eq!(ledger.left(7), 70);
    }

    #[test]
    fn days_begin_where_their_offset_says() {
        let hour = DAY_NANOS / 24;
        assert_eq!((day(DAY_NANOS - 1, 0), day(DAY_NANOS, 0)), (0, 1));
        assert_eq!(day(23 * hour, hour), 1);
        assert_eq!(until_next_day(23 * hour, 0), hour);
        assert_eq!(until_next_day(22 * hour, hour), hour);
        assert_eq!(until_next_day(0, 0), DAY_NANOS);
    }

    proptest! {
        // Each step waits for the disk.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn no_day_is_overspent_whatever_the_clock_says_and_whoever_restarts(
            steps in prop::collection::vec((0u64..80, 0u64..70, any::<bool>()), 1..80),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut spent = BTreeMap::<u64, u64>::new();
            let mut ledger = open(folder.path(), 0);
            for (day, amount, restarts) in steps {
                if restarts {
                    ledger = open(folder.path(), day);
                }
                if ledger.spend(day, amount).unwrap() {
                    *spent.entry(day).or_default() += amount;
                }
                prop_assert!(spent.values().all(|spent| *spent <= LIMIT), "{spent:?}");
                prop_assert!(ledger.spent.len() <= DAYS_MAX);
            }
        }
    }
}
