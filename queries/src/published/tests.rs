//! What a stranger sees of a small group, asked in every way.

use std::sync::atomic::{AtomicI64, Ordering};

use datafusion::{catalog::TableProvider, datasource::MemTable};
use fathomline_wire::names::{FEEDBACK, OPERATION_DURATION, OUTPUT_SURPRISAL};
use serde_json::json;

use super::*;
use crate::{
    engine::{Answer, Engine, EngineLimits, QueryError},
    examples::{LANE_US, append, counter, delta_table, distribution, empty_lake, span},
    lake::Lake,
    rows::{self, DistributionRow, MeasurementRow},
};

/// Three devices of one class and one of another, each with speed and output in one lane.
fn fleet() -> (Vec<DistributionRow>, Vec<MeasurementRow>) {
    let of = |device: &str, class: &str, metric: &str, values: &[f64]| {
        let mut row = distribution(device, LANE_US, values);
        row.columns.metric = metric.to_owned();
        row.columns.device_class = class.to_owned();
        row
    };
    let mut distributions = vec![];
    for (device, class) in [("a", "kiosk"), ("b", "kiosk"), ("c", "kiosk"), ("d", "hub")] {
        distributions.push(of(device, class, OUTPUT_SURPRISAL, &[1.0, 2.0]));
        distributions.push(of(device, class, OPERATION_DURATION, &[0.5]));
    }
    let feedback = ["a", "b", "c"].map(|device| counter(device, LANE_US, FEEDBACK, "wrong"));
    (distributions, feedback.to_vec())
}

fn batches() -> Vec<crate::lake::Batch> {
    let (distributions, measurements) = fleet();
    let rollups = rows::rollup(&distributions, &measurements, LANE_US);
    let spans = rows::spans(&[span()]).unwrap();
    vec![
        (
            Table::Distributions,
            rows::distributions(&distributions).unwrap(),
        ),
        (
            Table::Measurements,
            rows::measurements(&measurements).unwrap(),
        ),
        (Table::Rollups, rows::rollups(&rollups).unwrap()),
        (Table::Spans, spans),
    ]
}

fn publishing(min_devices: u32) -> Publication {
    Publication::of_groups(min_devices, Lanes::every())
}

fn engine(publication: Publication) -> Engine {
    let lake = empty_lake();
    lake.push(0, batches()).unwrap();
    Engine::new(lake, EngineLimits::default(), publication).unwrap()
}

async fn ask(engine: &Engine, sql: &str) -> Result<Answer, QueryError> {
    engine.query_outside(sql).await
}

async fn rows_of(engine: &Engine, sql: &str) -> serde_json::Value {
    json!(ask(engine, sql).await.unwrap().rows)
}

#[tokio::test]
async fn device_tables_have_speed_and_no_output() {
    let engine = engine(publishing(2));
    let metrics = rows_of(&engine, "SELECT DISTINCT metric FROM distributions").await;
    assert_eq!(metrics, json!([[OPERATION_DURATION]]));
    for count in [
        "SELECT count(*) FROM measurements",
        "SELECT count(*) FROM distributions WHERE metric = 'fathomline.output.surprisal'",
        "SELECT count(*) FROM (SELECT 1 FROM distributions WHERE metric LIKE 'fathomline.out%')",
        "SELECT count(finish_reasons) FROM spans",
        "SELECT count(*) FROM spans WHERE finish_reasons = 'stop'",
    ] {
        assert_eq!(rows_of(&engine, count).await, json!([[0]]), "{count}");
    }
    let all = rows_of(&engine, "SELECT count(*) FROM distributions").await;
    assert_eq!(all, json!([[4]]));
    assert_eq!(
        rows_of(&engine, "SELECT count(*) FROM spans").await,
        json!([[1]])
    );
}

#[tokio::test]
async fn rollups_show_output_of_groups_and_speed_of_anyone() {
    let engine = engine(publishing(3));
    let sql =
        "SELECT device_class, metric, count, devices_count(devices) FROM rollups ORDER BY 2, 1";
    let expected = json!([
        ["kiosk", FEEDBACK, 3, 3],
        ["kiosk", OUTPUT_SURPRISAL, 6, 3],
        ["hub", OPERATION_DURATION, 1, 1],
        ["kiosk", OPERATION_DURATION, 3, 3],
    ]);
    assert_eq!(rows_of(&engine, sql).await, expected);
    let four = engine_of(4);
    let sql = "SELECT version, variant, device_class, metric, count FROM rollups \
               WHERE metric = 'fathomline.output.surprisal'";
    let expected = json!([["other", "other", "other", OUTPUT_SURPRISAL, 8]]);
    assert_eq!(rows_of(&four, sql).await, expected);
    let five = engine_of(5);
    assert_eq!(rows_of(&five, sql).await, json!([]));
}

fn engine_of(min_devices: u32) -> Engine {
    engine(publishing(min_devices))
}

/// A filter on what tells siblings apart must not fold what it leaves over.
#[tokio::test]
async fn a_filter_does_not_change_what_is_folded() {
    let engine = engine_of(4);
    for sql in [
        "SELECT count(*) FROM rollups WHERE metric LIKE '%surprisal' AND device_class = 'kiosk'",
        "SELECT count(*) FROM rollups WHERE metric LIKE '%surprisal' AND device_class NOT IN ('hub', 'other')",
        "SELECT count(*) FROM rollups WHERE metric LIKE '%surprisal' AND count > 2 AND count < 8",
        "SELECT count(*) FROM rollups r JOIN (SELECT 'hub' AS c) k ON r.device_class = k.c \
         WHERE metric LIKE '%surprisal'",
        "SELECT count(*) FROM rollups WHERE metric LIKE '%surprisal' AND random() < 0",
    ] {
        assert_eq!(rows_of(&engine, sql).await, json!([[0]]), "{sql}");
    }
    let sql = "SELECT sum(count) FROM rollups WHERE metric LIKE '%surprisal' AND random() < 2 \
               AND model = 'assistant' AND date = '1970-01-01' LIMIT 1";
    assert_eq!(rows_of(&engine, sql).await, json!([[8]]));
}

/// An expression that fails on one hidden row would tell that the row is there.
#[tokio::test]
async fn a_query_cannot_fail_on_rows_that_it_may_not_see() {
    let engine = engine_of(2);
    for sql in [
        "SELECT count(*) FROM distributions WHERE metric = 'fathomline.output.surprisal' \
         AND 1 / (CASE WHEN sum > 2 THEN 0 ELSE 1 END) = 1",
        "SELECT count(*) FROM distributions \
         WHERE 1 / (CASE WHEN metric LIKE 'fathomline.out%' THEN 0 ELSE 1 END) = 0",
        "SELECT count(*) FROM rollups WHERE device_class = 'hub' \
         AND 1 / (CASE WHEN metric LIKE 'fathomline.out%' THEN 0 ELSE 1 END) = 0",
        "SELECT count(*) FROM spans WHERE 1 / (CASE WHEN finish_reasons = 'stop' THEN 0 ELSE 1 \
         END) = 0",
    ] {
        assert_eq!(rows_of(&engine, sql).await, json!([[0]]), "{sql}");
    }
}

#[tokio::test]
async fn plans_tell_nothing_of_what_is_not_published() {
    let folding = engine_of(2);
    for sql in [
        "EXPLAIN ANALYZE SELECT * FROM distributions",
        "EXPLAIN VERBOSE SELECT * FROM distributions",
    ] {
        let refused = ask(&folding, sql).await.unwrap_err();
        assert_eq!(refused.code(), "sql_invalid", "{sql}");
        assert!(ask(&engine(Publication::everything()), sql).await.is_ok());
    }
    assert!(
        ask(&folding, "EXPLAIN SELECT * FROM distributions")
            .await
            .is_ok()
    );
}

/// While a lane is open the difference of two looks would be one device's.
#[tokio::test]
async fn output_is_shown_once_its_lane_has_closed() {
    let closed = Arc::new(AtomicI64::new(LANE_US - 1));
    let until = Arc::clone(&closed);
    let publication = Publication::of_groups(
        2,
        Lanes::of_width(LANE_US, Arc::new(move || until.load(Ordering::Relaxed))),
    );
    let engine = engine(publication);
    let sql = "SELECT count(*) FROM rollups WHERE metric = 'fathomline.output.surprisal'";
    assert_eq!(rows_of(&engine, sql).await, json!([[0]]));
    let speed = "SELECT count(*) FROM rollups WHERE metric = 'gen_ai.client.operation.duration'";
    assert_eq!(rows_of(&engine, speed).await, json!([[2]]));
    closed.store(LANE_US, Ordering::Relaxed);
    assert_eq!(rows_of(&engine, sql).await, json!([[1]]));
}

/// A minute less its seconds would tell of the seconds that are not shown.
#[tokio::test]
async fn output_is_shown_in_lanes_of_one_width() {
    let lanes = Lanes::of_width(LANE_US, Arc::new(|| i64::MAX));
    let engine = engine(Publication::of_groups(2, lanes));
    let (distributions, _) = fleet();
    let wide = rows::rollup(&distributions, &[], 12 * LANE_US);
    let wide = (Table::Rollups, rows::rollups(&wide).unwrap());
    engine.lake().push(1, [wide]).unwrap();
    let sql = "SELECT DISTINCT width_us FROM rollups WHERE metric LIKE '%surprisal'";
    assert_eq!(rows_of(&engine, sql).await, json!([[LANE_US]]));
    let sql = "SELECT count(DISTINCT width_us) FROM rollups WHERE metric LIKE '%duration'";
    assert_eq!(rows_of(&engine, sql).await, json!([[2]]));
}

/// Files and statistics on one side, hot rows on the other.
#[tokio::test]
async fn committed_and_hot_rows_are_folded_together_and_filters_reach_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut tables = vec![];
    for (table, batch) in batches() {
        let mut delta = delta_table(folder.path(), table).await;
        append(&mut delta, batch).await;
        tables.push((table, delta.table_provider().await.unwrap()));
    }
    let lake = Arc::new(Lake::new(tables, 0));
    let mut more = distribution("e", LANE_US, &[1.0]);
    more.columns.device_class = "hub".to_owned();
    let more = rows::rollup(&[more], &[], LANE_US);
    lake.push(1, [(Table::Rollups, rows::rollups(&more).unwrap())])
        .unwrap();
    let engine = Engine::new(lake, EngineLimits::default(), publishing(2)).unwrap();
    let sql = "SELECT device_class, count FROM rollups WHERE metric LIKE '%surprisal' ORDER BY 1";
    let expected = json!([["hub", 3], ["kiosk", 6]]);
    assert_eq!(rows_of(&engine, sql).await, expected);
    let count = "SELECT count(*) FROM distributions";
    assert_eq!(rows_of(&engine, count).await, json!([[4]]));
    let explain = "EXPLAIN SELECT sum FROM rollups WHERE date = '1970-01-01' AND model = 'assistant' \
                   AND device_class = 'hub' AND metric = 'fathomline.output.surprisal'";
    let plan = rows_of(&engine, explain).await.to_string();
    let scan = plan.split("Published: cohorts").nth(1).expect(&plan);
    for reached in ["model", "metric", "date", "time"] {
        assert!(
            scan.contains(reached),
            "{reached} does not reach the scan: {plan}"
        );
    }
    assert!(
        !scan.contains("device_class@") || !scan.contains("= hub"),
        "{plan}"
    );
    assert!(
        !plan.contains("shown per device"),
        "a scan for nothing: {plan}"
    );
}

#[tokio::test]
async fn judging_refuses_folded_lanes() {
    let engine = engine_of(2);
    let span = crate::series::Span {
        width_us: LANE_US,
        from_us: 0,
        to_us: LANE_US,
    };
    let refused = crate::lanes::closed(&engine, span, &[OUTPUT_SURPRISAL]).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("judged as they are stored")
    );
}

#[tokio::test]
async fn one_device_is_enough_where_one_is_asked_for() {
    let engine = engine_of(1);
    let sql = "SELECT count(*) FROM distributions";
    assert_eq!(rows_of(&engine, sql).await, json!([[8]]));
}

/// A table that nobody thought of shows nothing by itself.
#[test]
fn every_table_has_a_rule() {
    let provider = |table: Table| {
        let stored = MemTable::try_new(table.arrow_schema(), vec![vec![]]).unwrap();
        (table, Arc::new(stored) as Arc<dyn TableProvider>)
    };
    let lake = Lake::new(Table::ALL.map(provider), -1);
    let published = publishing(2).tables(&lake.view());
    let barred = published
        .iter()
        .filter(|(_, provider)| format!("{provider:?}").starts_with("Published"));
    let barred: Vec<_> = barred.map(|(table, _)| table.name()).collect();
    let expected = [
        "distributions",
        "measurements",
        "rollups",
        "device_hours",
        "rollup_hours",
        "rollup_days",
        "spans",
    ];
    assert_eq!(barred, expected);
}

#[test]
fn numbers_that_single_devices_show_need_no_group() {
    for min_devices in [1, 5] {
        assert_eq!(devices_needed(min_devices, OPERATION_DURATION), 1);
        let needed = devices_needed(min_devices, OUTPUT_SURPRISAL);
        assert_eq!(needed, min_devices);
        assert!(shows(min_devices, OUTPUT_SURPRISAL, needed.into()));
        assert!(!shows(min_devices, OUTPUT_SURPRISAL, u64::from(needed) - 1));
    }
}
