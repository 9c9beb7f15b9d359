//! What is thrown away, and when. In: how long each table is kept, today's date. Out: whole days
//! taken out of tables, which rewrites no file, and later the files that no table names any more.
//! Verdicts, events and daily rollups are kept for ever: they are small, and the audit trail.

use std::{
    fmt::Debug,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use deltalake_core::{
    DeltaTable, DeltaTableError,
    operations::vacuum::{Clock as VacuumClock, VacuumMode},
    protocol::DeltaOperation,
};
use fathomline_queries::schema::Table;
use futures::TryStreamExt;

use super::{Upkeep, UpkeepError, live, rewrite::Change};
use crate::{clock::DAY_US, store::stall};

/// How many days each kind of row is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// What single devices sent.
    pub(crate) device_rows_days: u32,
    /// Cohorts, lane by lane.
    pub(crate) lanes_days: u32,
    /// Single devices, hour by hour.
    pub(crate) device_hours_days: u32,
    /// Cohorts, hour by hour.
    pub(crate) hours_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            device_rows_days: 7,
            lanes_days: 40,
            device_hours_days: 90,
            hours_days: 400,
        }
    }
}

/// Lanes would go before the reference that was made from them is as old as its own span.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot keep lanes for {kept} days: a reference in force was made from a span of {span} days, and freezing its like again needs as many; write retention.lanes_days = {span} or more"
)]
pub(crate) struct TooShort {
    kept: u32,
    span: i64,
}

impl Retention {
    /// Whether lanes are kept for as long as the span of a reference.
    pub(crate) fn covers(self, span_us: i64) -> Result<(), TooShort> {
        let span = span_us.max(0).saturating_add(DAY_US - 1) / DAY_US;
        let kept = self.lanes_days;
        if i64::from(kept) < span {
            return Err(TooShort { kept, span });
        }
        Ok(())
    }

    /// None is for ever.
    fn days(self, table: Table) -> Option<u32> {
        match table {
            Table::Distributions | Table::Measurements | Table::Spans => {
                Some(self.device_rows_days)
            }
            Table::Rollups => Some(self.lanes_days),
            Table::DeviceHours => Some(self.device_hours_days),
            Table::RollupHours => Some(self.hours_days),
            Table::RollupDays | Table::Verdicts | Table::Events => None,
        }
    }
}

/// What it is now, in the words of vacuum.
#[derive(Debug)]
struct Now(i64);

impl VacuumClock for Now {
    fn current_timestamp_millis(&self) -> i64 {
        self.0 / 1000
    }
}

impl Upkeep {
    /// Takes the days out of a table that are older than it is kept.
    pub(super) async fn retire(&self, table: Table, now_us: i64) -> Result<(), UpkeepError> {
        let Some(days) = self.settings.retention.days(table) else {
            return Ok(());
        };
        let first_kept = now_us.div_euclid(DAY_US) - i64::from(days);
        let delta = self.tables.lock().await.latest(table).await?;
        let is_old = |file: &live::Live| file.day.is_some_and(|day| i64::from(day) < first_kept);
        let old: Vec<_> = live::files(&delta)?.into_iter().filter(is_old).collect();
        if old.is_empty() {
            return Ok(());
        }
        let mut gone: Vec<_> = old.iter().filter_map(|file| file.day).collect();
        gone.sort_unstable();
        gone.dedup();
        let removed = old.iter().map(|file| file.view.remove_action(true));
        let change = Change {
            removed: removed.collect(),
            added: vec![],
        };
        let operation = DeltaOperation::Delete { predicate: None };
        self.commit(table, change.commit(&delta, operation, None))
            .await?;
        let bytes = old.iter().map(|file| file.bytes).sum();
        self.observer.retired(table, gone.len(), bytes);
        Ok(())
    }

    /// Once a day: deletes files that no table has named for long enough, those that a crash left
    /// behind among them, and commits of more than 30 days ago that a checkpoint stands for.
    pub(super) async fn vacuum_daily(&self, now_us: i64) {
        let last_us = self.vacuumed_us.load(Ordering::Relaxed);
        if now_us - last_us < DAY_US {
            return;
        }
        self.vacuumed_us.store(now_us, Ordering::Relaxed);
        for table in Table::ALL {
            if let Err(error) = self.vacuum(table, now_us).await {
                self.failed(table, &error);
            }
        }
    }

    pub(super) async fn vacuum(&self, table: Table, now_us: i64) -> Result<(), UpkeepError> {
        let delta = self.tables.lock().await.latest(table).await?;
        let (vacuumed, metrics) = delta
            .vacuum()
            .with_mode(VacuumMode::Full)
            .with_retention_period(period(stall::vacuum_after(self.settings.vacuum_after)))
            // Ours is checked when the configuration is read.
            .with_enforce_retention_duration(false)
            .with_clock(Arc::new(Now(now_us)))
            .await?;
        if !metrics.files_deleted.is_empty() {
            let bytes = deleted_bytes(&vacuumed).await?;
            self.observer
                .vacuumed(table, metrics.files_deleted.len(), bytes);
        }
        Ok(())
    }
}

fn period(duration: Duration) -> chrono::Duration {
    chrono::Duration::from_std(duration).unwrap_or(chrono::Duration::MAX)
}

/// What the vacuum that just ended said of the sizes, in the commit before its last.
async fn deleted_bytes(delta: &DeltaTable) -> Result<u64, DeltaTableError> {
    let commits: Vec<_> = delta.history(Some(2)).try_collect().await?;
    let begun = commits
        .iter()
        .find(|commit| commit.operation.as_deref() == Some("VACUUM START"));
    let bytes = begun.and_then(|commit| {
        let metrics = commit.info.get("operationMetrics")?;
        metrics.get("sizeOfDataToDelete")?.as_u64()
    });
    Ok(bytes.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_kept_as_long_as_the_longest_reference() {
        let retention = Retention {
            lanes_days: 7,
            ..Retention::default()
        };
        assert!(retention.covers(0).is_ok());
        assert!(retention.covers(7 * DAY_US).is_ok());
        let refused = retention.covers(7 * DAY_US + 1).unwrap_err().to_string();
        for part in ["7 days", "span of 8", "retention.lanes_days = 8"] {
            assert!(refused.contains(part), "{refused}");
        }
    }
}
