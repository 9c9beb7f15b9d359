//! The view is one moment: no reader ever sees a commit half done.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use datafusion::{
    arrow::{array::AsArray, datatypes::Int64Type},
    datasource::MemTable,
    prelude::SessionContext,
};

use super::*;
use crate::{
    examples::{append, delta_table, distribution},
    rows::{self, DistributionRow},
};

const SEGMENTS: i64 = 40;
const PUSHES: i64 = 5;
const TABLES: [Table; 2] = [Table::Distributions, Table::Rollups];

/// One row for each of [`TABLES`].
fn one_row_each() -> Vec<Batch> {
    let row = [distribution("a", 1, &[1.0])];
    let rollup = rows::rollup(&row, &[], 5);
    let batches = [
        rows::distributions(&row).unwrap(),
        rows::rollups(&rollup).unwrap(),
    ];
    TABLES.into_iter().zip(batches).collect()
}

/// [`TABLES`] in memory with `rows` rows each.
fn committed(rows: i64) -> Vec<Snapshot> {
    let table = |(table, batch): (Table, RecordBatch)| {
        let batches = vec![batch.clone(); rows as usize];
        let provider = MemTable::try_new(batch.schema(), vec![batches]).unwrap();
        (table, Arc::new(provider) as Arc<dyn TableProvider>)
    };
    one_row_each().into_iter().map(table).collect()
}

fn session(view: &View) -> SessionContext {
    let session = SessionContext::new();
    for (table, provider) in view.tables() {
        session.register_table(table.name(), provider).unwrap();
    }
    session
}

async fn count(session: &SessionContext, table: Table) -> i64 {
    let sql = format!("SELECT count(*) FROM {}", table.name());
    let batches = session.sql(&sql).await.unwrap().collect().await.unwrap();
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[derive(Clone, Copy, PartialEq)]
enum Swap {
    Whole,
    /// As if snapshots and hot rows were swapped by two stores.
    Torn,
}

/// Queries and wrong answers of a reader that looks on while [`SEGMENTS`] are committed.
async fn look_on(swap: Swap) -> (u32, u32) {
    let lake = Arc::new(Lake::new(committed(0), -1));
    let (pushed, done) = (
        Arc::new(AtomicI64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let asked = Arc::new(AtomicI64::new(0));
    let reader = tokio::spawn({
        let (lake, pushed, done) = (lake.clone(), pushed.clone(), done.clone());
        let asked = asked.clone();
        async move {
            let (mut queries, mut wrong) = (0, 0);
            while !done.load(SeqCst) {
                let at_least = pushed.load(SeqCst);
                let session = session(&lake.view());
                // The push may be visible before it is counted.
                let at_most = pushed.load(SeqCst) + 1;
                let counts = [
                    count(&session, TABLES[0]).await,
                    count(&session, TABLES[1]).await,
                ];
                queries += 1;
                asked.fetch_add(1, SeqCst);
                let right = (at_least..=at_most).contains(&counts[0]) && counts[0] == counts[1];
                wrong += u32::from(!right);
            }
            (queries, wrong)
        }
    });
    for segment in 0..SEGMENTS {
        for _ in 0..PUSHES {
            lake.push(segment, one_row_each()).unwrap();
            pushed.fetch_add(1, SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // However slow the machine, the reader looks on during every segment.
        while asked.load(SeqCst) < 3 * (segment + 1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let tables = committed((segment + 1) * PUSHES);
        if swap == Swap::Torn {
            tables
                .clone()
                .into_iter()
                .for_each(|(table, cold)| lake.publish_table(table, cold));
            // One look may have begun before; the next sees what is torn.
            let before = asked.load(SeqCst);
            while asked.load(SeqCst) < before + 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        lake.publish(tables, segment);
    }
    done.store(true, SeqCst);
    reader.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_never_seen_half_done() {
    let (queries, wrong) = look_on(Swap::Whole).await;
    assert!(queries > 20, "the reader asked only {queries} times");
    assert_eq!(wrong, 0, "of {queries}");
}

/// The test above can fail: the same reader notices a swap in two steps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reader_would_notice_a_torn_swap() {
    let (queries, wrong) = look_on(Swap::Torn).await;
    assert!(wrong > 0, "none of {queries} answers was wrong");
}

#[tokio::test]
async fn a_held_view_does_not_change() {
    let lake = Lake::new(committed(0), -1);
    lake.push(0, one_row_each()).unwrap();
    let view = lake.view();
    lake.push(0, one_row_each()).unwrap();
    lake.publish(committed(2), 0);
    assert_eq!(count(&session(&view), Table::Distributions).await, 1);
    assert_eq!(count(&session(&lake.view()), Table::Distributions).await, 2);
}

#[tokio::test]
async fn rows_of_a_committed_segment_are_not_shown_twice() {
    let lake = Lake::new(committed(1), 7);
    lake.push(7, one_row_each()).unwrap();
    assert_eq!(count(&session(&lake.view()), Table::Rollups).await, 1);
    lake.push(8, one_row_each()).unwrap();
    assert_eq!(lake.view().hot_rows(Table::Rollups), 1);
    assert_eq!(count(&session(&lake.view()), Table::Rollups).await, 2);
}

#[tokio::test]
async fn control_rows_and_log_rows_are_committed_apart() {
    let lake = Lake::new(committed(0), -1);
    lake.push(3, one_row_each()).unwrap();
    lake.push_control(9, one_row_each()).unwrap();
    lake.publish_control(vec![], 9);
    assert_eq!(lake.view().hot_rows(Table::Rollups), 1);
    lake.push_control(9, one_row_each()).unwrap();
    lake.publish(vec![], 3);
    assert_eq!(lake.view().hot_rows(Table::Rollups), 0);
    assert_eq!(lake.view().committed_segment(), 3);
}

#[test]
fn unknown_tables_and_foreign_columns_are_refused() {
    let lake = Lake::new(committed(0), -1);
    let events = rows::events(&[]).unwrap();
    let refused = lake
        .push(0, vec![(Table::Events, events.clone())])
        .unwrap_err();
    assert!(refused.to_string().contains("rows of events"), "{refused}");
    let refused = lake
        .push_control(0, vec![(Table::Rollups, events)])
        .unwrap_err();
    assert!(
        refused.to_string().contains("no column start_time"),
        "{refused}"
    );
}

fn empty(table: Table) -> RecordBatch {
    RecordBatch::new_empty(table.arrow_schema())
}

/// Hot and committed rows of every table read back as the same types through Delta.
#[tokio::test]
async fn hot_rows_join_rows_that_delta_committed() {
    let folder = tempfile::tempdir().unwrap();
    let row: [DistributionRow; 1] = [distribution("a", 1, &[1.0, 2.0])];
    let batches = [
        (Table::Distributions, rows::distributions(&row).unwrap()),
        (Table::Measurements, rows::measurements(&[]).unwrap()),
        (
            Table::Rollups,
            rows::rollups(&rows::rollup(&row, &[], 5)).unwrap(),
        ),
        (Table::DeviceHours, empty(Table::DeviceHours)),
        (Table::RollupHours, empty(Table::RollupHours)),
        (Table::RollupDays, empty(Table::RollupDays)),
        (Table::Verdicts, rows::verdicts(&[]).unwrap()),
        (Table::Events, rows::events(&[]).unwrap()),
        (Table::Spans, rows::spans(&[]).unwrap()),
    ];
    let mut tables = vec![];
    for (table, batch) in &batches {
        let mut delta = delta_table(folder.path(), *table).await;
        if batch.num_rows() > 0 {
            append(&mut delta, batch.clone()).await;
        }
        tables.push((*table, delta.table_provider().await.unwrap()));
    }
    let lake = Lake::new(tables, 0);
    lake.push(1, batches.to_vec()).unwrap();
    let session = session(&lake.view());
    for table in Table::ALL {
        let sql = format!("SELECT * FROM {} ORDER BY time", table.name());
        let found = session.sql(&sql).await.unwrap().collect().await.unwrap();
        let rows: usize = found.iter().map(RecordBatch::num_rows).sum();
        let expected = if TABLES.contains(&table) { 2 } else { 0 };
        assert_eq!(rows, expected, "{}", table.name());
    }
    let schema = lake.view().schema(Table::Distributions).unwrap();
    assert_eq!(
        schema
            .field_with_name("date")
            .unwrap()
            .data_type()
            .to_string(),
        "Date32"
    );
    assert_eq!(
        schema
            .field_with_name("service")
            .unwrap()
            .data_type()
            .to_string(),
        "Utf8View"
    );
}
