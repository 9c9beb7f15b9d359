//! The tables that follow changing state: verdicts and events.
//!
//! In: batches of the control database's rows, each naming its last row. Out: rows that queries
//! see at once, and commits under `txn("control", last row)` a little later. The database is the
//! truth, so what a crash takes from memory is asked for again at the next start. Never: an order
//! of its own; groups are committed as they came.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use datafusion::arrow::record_batch::RecordBatch;
use deltalake_core::DeltaTableError;
use fathomline_queries::{
    lake::{Lake, LakeError},
    schema::Table,
};
use tokio::sync::Mutex;

use super::tables::Tables;

/// Application under which rows of the control database are copied into the data folder's own
/// tables. Tables elsewhere may serve several collectors, and each has rows of its own.
const CONTROL: &str = "control";

/// Verdicts and events, as tables.
#[derive(Debug)]
pub(crate) struct ControlTables {
    tables: Arc<Mutex<Tables>>,
    lake: Arc<Lake>,
    application: String,
    seal_after: Duration,
    groups: Mutex<VecDeque<Group>>,
}

/// Rows that are committed together, under the number of the last.
#[derive(Debug)]
struct Group {
    opened: Instant,
    /// Nothing is added once a commit was tried: a second try must be the same commit.
    sealed: bool,
    last_row: i64,
    batches: BTreeMap<Table, Vec<RecordBatch>>,
}

impl ControlTables {
    pub(super) fn new(tables: Arc<Mutex<Tables>>, lake: Arc<Lake>, seal_after: Duration) -> Self {
        Self {
            tables,
            lake,
            application: CONTROL.to_owned(),
            seal_after,
            groups: Mutex::default(),
        }
    }

    /// For tables that other collectors write to as well.
    pub(super) fn shared_by(mut self, collector: &str) -> Self {
        self.application = format!("{CONTROL}-{collector}");
        self
    }

    /// The last row that `table` has committed; 0 for none.
    pub(crate) async fn last_row(&self, table: Table) -> Result<i64, DeltaTableError> {
        let mut tables = self.tables.lock().await;
        Ok(tables
            .last_version(table, &self.application)
            .await?
            .unwrap_or(0))
    }

    /// Shows the rows up to `last_row` and keeps them for the next commit.
    pub(crate) async fn append(
        &self,
        last_row: i64,
        batches: Vec<(Table, RecordBatch)>,
    ) -> Result<(), LakeError> {
        let mut groups = self.groups.lock().await;
        self.lake.push_control(last_row, batches.clone())?;
        if groups.back().is_none_or(|group| group.sealed) {
            groups.push_back(Group::new());
        }
        if let Some(group) = groups.back_mut() {
            group.last_row = last_row;
            for (table, batch) in batches {
                group.batches.entry(table).or_default().push(batch);
            }
        }
        Ok(())
    }

    /// Commits groups that have waited long enough; all of them if `now`.
    pub(crate) async fn commit(&self, now: bool) -> Result<(), DeltaTableError> {
        let mut groups = self.groups.lock().await;
        while let Some(group) = groups.front_mut()
            && (now || group.sealed || group.opened.elapsed() >= self.seal_after)
        {
            group.sealed = true;
            self.commit_group(group).await?;
            groups.pop_front();
        }
        Ok(())
    }

    async fn commit_group(&self, group: &Group) -> Result<(), DeltaTableError> {
        let mut tables = self.tables.lock().await;
        let mut committed = Vec::new();
        for (table, batches) in &group.batches {
            let transaction = (self.application.as_str(), group.last_row);
            tables
                .append_once(*table, transaction, batches.clone())
                .await?;
            committed.push((*table, tables.provider(*table).await?));
        }
        tables.shown(group.batches.keys().copied());
        self.lake.publish_control(committed, group.last_row);
        Ok(())
    }
}

impl Group {
    fn new() -> Self {
        Self {
            opened: Instant::now(),
            sealed: false,
            last_row: 0,
            batches: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use fathomline_queries::{
        engine::{Engine, EngineLimits},
        published::Publication,
        rows::{self, EventRow},
    };

    use super::*;

    fn events(ids: std::ops::Range<i64>) -> Vec<(Table, RecordBatch)> {
        let events: Vec<_> = ids
            .map(|id| EventRow {
                time: id,
                id: format!("evt_{id}"),
                kind: "test".into(),
                subject: String::new(),
                body: "{}".into(),
            })
            .collect();
        vec![(Table::Events, rows::events(&events).unwrap())]
    }

    async fn opened(folder: &std::path::Path) -> (Arc<ControlTables>, Engine) {
        let tables = Tables::open(folder).await.unwrap();
        let mut snapshots = vec![];
        for table in Table::ALL {
            snapshots.push((table, tables.provider(table).await.unwrap()));
        }
        let lake = Arc::new(Lake::new(snapshots, 0));
        let engine = Engine::new(
            Arc::clone(&lake),
            EngineLimits::default(),
            Publication::everything(),
        )
        .unwrap();
        let tables = Arc::new(Mutex::new(tables));
        let control = ControlTables::new(tables, lake, Duration::from_secs(3600));
        (Arc::new(control), engine)
    }

    async fn counted(engine: &Engine) -> serde_json::Value {
        let answer = engine.query_outside("SELECT count(*), count(DISTINCT id) FROM events");
        serde_json::json!(answer.await.unwrap().rows[0])
    }

    #[tokio::test]
    async fn rows_are_seen_once_before_and_after_their_commit_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (control, engine) = opened(folder.path()).await;
        control.append(2, events(1..3)).await.unwrap();
        control.append(3, events(3..4)).await.unwrap();
        assert_eq!(counted(&engine).await, serde_json::json!([3, 3]));
        control.commit(false).await.unwrap();
        assert_eq!(
            control.last_row(Table::Events).await.unwrap(),
            0,
            "not due yet"
        );
        control.commit(true).await.unwrap();
        assert_eq!(control.last_row(Table::Events).await.unwrap(), 3);
        assert_eq!(counted(&engine).await, serde_json::json!([3, 3]));
        drop((control, engine));
        let (control, engine) = opened(folder.path()).await;
        assert_eq!(control.last_row(Table::Events).await.unwrap(), 3);
        control.append(5, events(4..6)).await.unwrap();
        assert_eq!(counted(&engine).await, serde_json::json!([5, 5]));
    }
}
