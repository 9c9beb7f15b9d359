//! Fewer files, the same rows, at every moment and whoever else writes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use datafusion::arrow::record_batch::RecordBatch;
use fathomline_queries::{
    engine::{Engine, EngineLimits},
    lanes::{SeriesLane, closed},
    published::Publication,
    rows::{self, Clock as RowClock, DeviceColumns, Distribution, DistributionRow},
    series::Span,
};
use fathomline_wire::histogram::ExponentialHistogram;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::store::place::Place;

/// An hour that closed long ago.
const HOUR: i64 = 400_000 * HOUR_US;
const NOW_US: i64 = HOUR + 3 * HOUR_US;

pub(in crate::store) fn settings() -> UpkeepSettings {
    UpkeepSettings {
        every: Duration::from_millis(1),
        files: 2,
        file_bytes: 1 << 20,
        memory_bytes: 32 << 20,
        closes_after_us: 0,
        rebuild_after_us: 0,
        retention: Retention::default(),
        vacuum_after: Duration::from_secs(3600),
    }
}

/// One window of one device.
pub(super) fn window(device: &str, time: i64, values: &[f64]) -> DistributionRow {
    let mut histogram = ExponentialHistogram::new(4);
    values
        .iter()
        .for_each(|value| assert!(histogram.record(*value)));
    let text = |text: &str| text.to_owned();
    DistributionRow {
        columns: DeviceColumns {
            time,
            start_time: time - 60_000_000,
            sender_time: time,
            service: text("assistant"),
            environment: None,
            device: text(device),
            device_class: text("kiosk"),
            site: None,
            boot: None,
            sequence: None,
            clock: RowClock::Ok,
            late: false,
            model: text("m"),
            version: text("1"),
            variant: text("v"),
            quantization: None,
            operation: None,
            provider: None,
            metric: text("fathomline.output.surprisal"),
            unit: text("{nat}"),
        },
        category: None,
        distribution: Distribution::Exponential(histogram),
    }
}

/// Windows of ten devices in one minute of the hour.
fn minute(minute: i64) -> RecordBatch {
    let time = HOUR - HOUR_US + minute * 60_000_000;
    let devices = (0..10).map(|device| window(&format!("device-{device}"), time, &[0.1, 0.2]));
    rows::distributions(&devices.collect::<Vec<_>>()).unwrap()
}

/// One collector's view of tables that others may write to as well.
pub(in crate::store) struct Yard {
    pub(in crate::store) tables: Arc<Mutex<Tables>>,
    pub(in crate::store) lake: Arc<Lake>,
    pub(in crate::store) upkeep: Upkeep,
    _data: TempDir,
}

impl Yard {
    pub(in crate::store) async fn over(place: impl Into<Place>, settings: UpkeepSettings) -> Self {
        let data = tempfile::tempdir().unwrap();
        let tables = Tables::open(place).await.unwrap();
        let mut snapshots = vec![];
        for table in Table::ALL {
            snapshots.push((table, tables.provider(table).await.unwrap()));
        }
        let (tables, lake) = (
            Arc::new(Mutex::new(tables)),
            Arc::new(Lake::new(snapshots, -1)),
        );
        let ground = Ground {
            folder: Arc::new(Folder::open(data.path()).unwrap()),
            tables: tables.clone(),
            lake: lake.clone(),
            observer: Observer::default(),
            building: Arc::default(),
        };
        Self {
            upkeep: Upkeep::new(ground, settings).unwrap(),
            tables,
            lake,
            _data: data,
        }
    }

    /// As the writer and then the committer do it.
    async fn take(&self, collector: &str, segment: i64, batch: RecordBatch) {
        let table = Table::Distributions;
        self.lake.push(segment, [(table, batch.clone())]).unwrap();
        loop {
            let mut tables = self.tables.lock().await;
            let batches = vec![batch.clone()];
            let committed = tables
                .append_once(table, (collector, segment), batches)
                .await;
            if let Err(error) = committed {
                eprintln!("again, as the committer does: {error}");
                continue;
            }
            let provider = tables.provider(table).await.unwrap();
            tables.shown([table]);
            self.lake.publish([(table, provider)], segment);
            return;
        }
    }

    fn engine(&self) -> Engine {
        Engine::new(
            Arc::clone(&self.lake),
            EngineLimits::default(),
            Publication::everything(),
        )
        .unwrap()
    }

    async fn files(&self) -> usize {
        let mut tables = self.tables.lock().await;
        tables.latest(Table::Distributions).await.unwrap();
        tables.files(Table::Distributions)
    }
}

/// Rows, windows of which no other is the same, and records.
async fn counted(engine: &Engine) -> serde_json::Value {
    let sql = "SELECT coalesce(sum(n), 0), count(*), sum(records) FROM (SELECT device, time, count(*) AS n, \
               sum(count) AS records FROM distributions GROUP BY device, time)";
    json!(engine.query_outside(sql).await.unwrap().rows[0])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_looks_on_while_files_are_joined_sees_every_row_once() {
    let folder = tempfile::tempdir().unwrap();
    let yard = Arc::new(Yard::over(folder.path(), settings()).await);
    let (done, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let sent = Arc::new(AtomicUsize::new(0));
    let reader = tokio::spawn({
        let (yard, done, asked, sent) = (yard.clone(), done.clone(), asked.clone(), sent.clone());
        async move {
            let engine = yard.engine();
            while !done.load(SeqCst) {
                let before = sent.load(SeqCst);
                let rows = counted(&engine).await[0].as_u64().unwrap();
                let rows = usize::try_from(rows).unwrap();
                // Of the segment that is being taken all rows are seen, or none.
                let possible = [
                    before,
                    before + 10,
                    sent.load(SeqCst),
                    sent.load(SeqCst) + 10,
                ];
                assert!(possible.contains(&rows), "{rows} of {possible:?}");
                asked.fetch_add(1, SeqCst);
            }
        }
    });
    let keeper = tokio::spawn({
        let (yard, done) = (yard.clone(), done.clone());
        async move {
            while !done.load(SeqCst) {
                yard.upkeep
                    .compact(Table::Distributions, NOW_US)
                    .await
                    .unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    for segment in 0..20 {
        yard.take("collector", segment, minute(segment)).await;
        sent.store(usize::try_from(segment + 1).unwrap() * 10, SeqCst);
        // However slow the machine, the reader looks on during every segment.
        let seen = asked.load(SeqCst);
        while asked.load(SeqCst) < seen + 2 && !reader.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    done.store(true, SeqCst);
    reader.await.unwrap();
    keeper.await.unwrap();
    yard.upkeep
        .compact(Table::Distributions, NOW_US)
        .await
        .unwrap();
    assert_eq!(counted(&yard.engine()).await, json!([200, 200, 400]));
    assert!(yard.files().await < 6, "{} files", yard.files().await);
    let mut tables = yard.tables.lock().await;
    let last = tables.last_version(Table::Distributions, "collector").await;
    assert_eq!(last.unwrap(), Some(19), "txn actions survive");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_collectors_write_and_keep_up_one_table_set() {
    let folder = tempfile::tempdir().unwrap();
    let mut tasks = vec![];
    for (number, name) in ["one", "two"].into_iter().enumerate() {
        let yard = Yard::over(folder.path(), settings()).await;
        tasks.push(tokio::spawn(async move {
            let mut conflicts = 0;
            for segment in 0..15 {
                let of = i64::try_from(number).unwrap();
                yard.take(name, segment, minute(segment * 2 + of)).await;
                match yard.upkeep.compact(Table::Distributions, NOW_US).await {
                    Err(UpkeepError::Delta(error)) if rewrite::is_conflict(&error) => {
                        conflicts += 1;
                    }
                    other => other.unwrap(),
                }
            }
            conflicts
        }));
    }
    for task in tasks {
        eprintln!("conflicts: {}", task.await.unwrap());
    }
    let yard = Yard::over(folder.path(), settings()).await;
    assert_eq!(counted(&yard.engine()).await, json!([300, 300, 600]));
}

/// Delta itself lets both pass; then every row would be there twice.
#[tokio::test]
async fn of_two_that_join_the_same_files_the_second_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (
        Yard::over(folder.path(), settings()).await,
        Yard::over(folder.path(), settings()).await,
    );
    for segment in 0..3 {
        one.take("one", segment, minute(segment)).await;
    }
    let table = Table::Distributions;
    let stale = two.tables.lock().await.latest(table).await.unwrap();
    let group = live::files(&stale).unwrap();
    one.upkeep.compact(table, NOW_US).await.unwrap();
    let refused = two.upkeep.join(table, &stale, group).await.unwrap_err();
    let UpkeepError::Delta(refused) = refused else {
        panic!("{refused}");
    };
    assert!(rewrite::is_conflict(&refused), "{refused}");
    two.upkeep.compact(table, NOW_US).await.unwrap();
    let after = Yard::over(folder.path(), settings()).await;
    assert_eq!(counted(&after.engine()).await, json!([30, 30, 60]));
}

#[tokio::test]
async fn files_of_an_open_hour_and_large_ones_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let yard = Yard::over(folder.path(), settings()).await;
    for segment in 0..4 {
        yard.take("one", segment, minute(segment)).await;
    }
    yard.upkeep
        .compact(Table::Distributions, HOUR - 1)
        .await
        .unwrap();
    assert_eq!(yard.files().await, 4, "the hour is open");
    let small = UpkeepSettings {
        file_bytes: 100,
        ..settings()
    };
    let careful = Yard::over(folder.path(), small).await;
    careful
        .upkeep
        .compact(Table::Distributions, NOW_US)
        .await
        .unwrap();
    assert_eq!(yard.files().await, 4, "files are large enough");
    yard.upkeep
        .compact(Table::Distributions, NOW_US)
        .await
        .unwrap();
    assert_eq!(yard.files().await, 1);
}

/// Rows that are committed and still hot would be seen twice.
#[tokio::test]
async fn a_table_whose_rows_are_still_hot_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let yard = Yard::over(folder.path(), settings()).await;
    for segment in 0..3 {
        yard.take("one", segment, minute(segment)).await;
    }
    let table = Table::Distributions;
    yard.lake.push(3, [(table, minute(3))]).unwrap();
    let committed = {
        let mut tables = yard.tables.lock().await;
        // Then the commit to the next table fails, say.
        tables.append_once(table, ("one", 3), vec![minute(3)]).await
    };
    assert!(committed.unwrap());
    yard.upkeep.compact(table, NOW_US).await.unwrap();
    assert_eq!(counted(&yard.engine()).await, json!([40, 40, 80]));
    yard.take("one", 3, minute(3)).await;
    assert_eq!(counted(&yard.engine()).await, json!([40, 40, 80]));
}

#[tokio::test]
async fn days_that_are_kept_no_longer_go_as_a_whole_and_their_files_later() {
    let folder = tempfile::tempdir().unwrap();
    let yard = Yard::over(folder.path(), settings()).await;
    let table = Table::Distributions;
    for day in 0..9 {
        let row = window("device", HOUR + day * DAY_US, &[0.1]);
        yard.take("one", day, rows::distributions(&[row]).unwrap())
            .await;
    }
    // The last row is of today; seven days are kept before it.
    let now_us = HOUR + 8 * DAY_US + HOUR_US;
    let paths = |folder: &std::path::Path| {
        let mut paths = vec![];
        for day in std::fs::read_dir(folder.join("distributions")).unwrap() {
            let day = day.unwrap().path();
            if day.file_name().unwrap() != "_delta_log" {
                paths.extend(
                    std::fs::read_dir(day)
                        .unwrap()
                        .map(|file| file.unwrap().path()),
                );
            }
        }
        paths
    };
    let before = paths(folder.path());
    yard.upkeep.retire(table, now_us).await.unwrap();
    assert_eq!(counted(&yard.engine()).await, json!([8, 8, 8]));
    assert_eq!(yard.files().await, 8);
    assert_eq!(paths(folder.path()), before, "no file was written");
    yard.upkeep.retire(Table::Events, now_us).await.unwrap();
    // Vacuum holds the wall clock's file times against the time it is told.
    let wall_us = crate::clock::SystemClock.now_us();
    yard.upkeep.vacuum(table, wall_us).await.unwrap();
    assert_eq!(paths(folder.path()).len(), 9, "somebody may still read it");
    let orphan = before[0].with_file_name("part-left-behind.parquet");
    std::fs::write(&orphan, b"a crash left this").unwrap();
    yard.upkeep
        .vacuum(table, wall_us + 2 * HOUR_US)
        .await
        .unwrap();
    assert_eq!(paths(folder.path()).len(), 8);
    assert!(!orphan.exists());
    assert_eq!(counted(&yard.engine()).await, json!([8, 8, 8]));
    let last = yard.tables.lock().await.last_version(table, "one").await;
    assert_eq!(last.unwrap(), Some(8), "txn actions survive");
}

impl Yard {
    /// Commits windows and the lanes that they add up to, as one segment.
    async fn commit(&self, segment: i64, windows: &[DistributionRow]) {
        let lanes = rows::rollup(windows, &[], 60_000_000);
        let batches = [
            (Table::Distributions, rows::distributions(windows).unwrap()),
            (Table::Rollups, rows::rollups(&lanes).unwrap()),
        ];
        let mut tables = self.tables.lock().await;
        for (table, batch) in batches {
            let committed = tables.append_once(table, ("one", segment), vec![batch]);
            assert!(committed.await.unwrap());
        }
        tables.shown([Table::Distributions, Table::Rollups]);
    }

    async fn coarsen(&self, now_us: i64) {
        for coarse in Coarse::ALL {
            self.upkeep.coarsen(coarse, now_us).await.unwrap();
        }
    }

    /// Rows and records of each coarse table, as anyone sees them.
    async fn coarse(&self) -> serde_json::Value {
        let engine = self.engine();
        let mut found = vec![];
        for coarse in Coarse::ALL {
            let table = coarse.table().name();
            let sql = format!("SELECT count(*), coalesce(sum(count), 0) FROM {table}");
            found.push(json!(engine.query_outside(&sql).await.unwrap().rows[0]));
        }
        json!(found)
    }

    async fn version(&self, table: Table) -> Option<u64> {
        self.tables
            .lock()
            .await
            .latest(table)
            .await
            .unwrap()
            .version()
    }
}

fn windows(devices: std::ops::Range<i64>, minute: i64) -> Vec<DistributionRow> {
    let time = HOUR - HOUR_US + minute * 60_000_000;
    let of = |device| window(&format!("device-{device}"), time, &[0.1, 0.2]);
    devices.map(of).collect()
}

#[tokio::test]
async fn hours_and_days_are_built_when_they_close_and_again_when_late_rows_come() {
    let folder = tempfile::tempdir().unwrap();
    let yard = Yard::over(folder.path(), settings()).await;
    yard.commit(1, &windows(0..3, 1)).await;
    yard.commit(2, &windows(0..3, 2)).await;
    yard.coarsen(HOUR - 1).await;
    assert_eq!(yard.coarse().await, json!([[0, 0], [0, 0], [0, 0]]), "open");
    let tomorrow = HOUR + 2 * DAY_US;
    yard.coarsen(HOUR + 1).await;
    assert_eq!(
        yard.coarse().await,
        json!([[3, 12], [1, 12], [0, 0]]),
        "the day is open"
    );
    yard.coarsen(tomorrow).await;
    let built = json!([[3, 12], [1, 12], [1, 12]]);
    assert_eq!(yard.coarse().await, built);
    let before = yard.version(Table::RollupHours).await;
    yard.coarsen(tomorrow).await;
    assert_eq!(
        yard.version(Table::RollupHours).await,
        before,
        "nothing changed"
    );
    // Late, with others of an hour that is built for the first time.
    yard.commit(3, &[windows(3..4, 5), windows(0..1, 65)].concat())
        .await;
    yard.coarsen(tomorrow).await;
    let built = json!([[5, 16], [2, 16], [1, 16]]);
    assert_eq!(yard.coarse().await, built);
    // Files are joined, which changes nothing that would have to be built again.
    for table in Table::ALL {
        yard.upkeep.compact(table, tomorrow).await.unwrap();
    }
    let before = yard.version(Table::RollupDays).await;
    yard.coarsen(tomorrow).await;
    assert_eq!(yard.version(Table::RollupDays).await, before);
    yard.commit(4, &windows(0..1, 66)).await;
    yard.coarsen(tomorrow).await;
    let built = json!([[5, 18], [2, 18], [1, 18]]);
    assert_eq!(yard.coarse().await, built);
    drop(yard);
    let yard = Yard::over(folder.path(), settings()).await;
    yard.coarsen(tomorrow).await;
    assert_eq!(yard.coarse().await, built, "after a restart");
}

#[tokio::test]
async fn increments_of_one_lane_become_one_row_and_lanes_answer_the_same() {
    async fn lanes(yard: &Yard) -> (serde_json::Value, Vec<SeriesLane>) {
        let engine = yard.engine();
        let sql = "SELECT count(*), sum(count), sum(device_windows) FROM rollups";
        let rows = engine.query_outside(sql).await.unwrap();
        let span = Span {
            width_us: 60_000_000,
            from_us: HOUR - HOUR_US,
            to_us: HOUR,
        };
        let lanes = closed(&engine, span, &["fathomline.output.surprisal"]);
        (json!(rows.rows[0]), lanes.await.unwrap())
    }
    let folder = tempfile::tempdir().unwrap();
    let yard = Yard::over(folder.path(), settings()).await;
    for segment in 0..6 {
        let rows = windows(segment..segment + 2, 1 + segment % 2);
        yard.commit(segment, &rows).await;
    }
    let (rows, before) = lanes(&Yard::over(folder.path(), settings()).await).await;
    assert_eq!(rows, json!([6, 24, 12]));
    yard.upkeep.compact(Table::Rollups, NOW_US).await.unwrap();
    let (rows, after) = lanes(&yard).await;
    assert_eq!(rows, json!([2, 24, 12]));
    // Sums too: those of windows that are all the same round alike.
    assert_eq!(before, after);
    assert_eq!((after.len(), after[0].devices, after[1].devices), (2, 6, 6));
}

/// Late rows that were compacted before anybody built their hour are not forgotten.
#[tokio::test]
async fn a_crash_between_compaction_and_building_loses_no_late_row() {
    let folder = tempfile::tempdir().unwrap();
    let yard = Yard::over(folder.path(), settings()).await;
    yard.commit(1, &windows(0..1, 1)).await;
    yard.coarsen(NOW_US).await;
    yard.commit(2, &windows(1..2, 2)).await;
    yard.upkeep.compact(Table::Rollups, NOW_US).await.unwrap();
    drop(yard);
    let yard = Yard::over(folder.path(), settings()).await;
    yard.coarsen(NOW_US).await;
    assert_eq!(yard.coarse().await, json!([[2, 4], [1, 4], [0, 0]]));
}

#[tokio::test]
async fn two_collectors_build_one_hour_once() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (
        Yard::over(folder.path(), settings()).await,
        Yard::over(folder.path(), settings()).await,
    );
    one.commit(1, &windows(0..3, 1)).await;
    for coarse in Coarse::ALL {
        let both = tokio::join!(
            one.upkeep.coarsen(coarse, NOW_US),
            two.upkeep.coarsen(coarse, NOW_US)
        );
        for done in [both.0, both.1] {
            match done {
                Err(UpkeepError::Delta(error)) if rewrite::is_conflict(&error) => {}
                other => other.unwrap(),
            }
        }
    }
    one.coarsen(NOW_US).await;
    two.coarsen(NOW_US).await;
    let after = Yard::over(folder.path(), settings()).await;
    assert_eq!(after.coarse().await, json!([[3, 6], [1, 6], [0, 0]]));
}

/// What is left of an hour whose rows are kept no longer must not replace what was built of all.
#[tokio::test]
async fn an_hour_that_is_no_longer_whole_stays_as_it_was_built() {
    let folder = tempfile::tempdir().unwrap();
    let yard = Yard::over(folder.path(), settings()).await;
    yard.commit(1, &windows(0..3, 1)).await;
    yard.coarsen(NOW_US).await;
    let later = HOUR + 10 * DAY_US;
    yard.upkeep
        .retire(Table::Distributions, later)
        .await
        .unwrap();
    yard.commit(2, &windows(0..1, 2)).await;
    yard.coarsen(later).await;
    // Lanes are kept longer, so that cohorts count the late row; devices do not.
    assert_eq!(yard.coarse().await, json!([[3, 6], [1, 8], [1, 8]]));
}
