//! A stranger may read, for a while, and nothing else.

use std::time::Instant;

use serde_json::json;

use super::*;
use crate::{
    examples::{append, delta_table, distribution, empty_lake, engine_over},
    rows,
    schema::Table,
};

/// Minutes of work that no cleverness shortens.
const SLOW: &str = "SELECT count(*) FROM generate_series(1, 1000000000) a \
                    JOIN generate_series(1, 1000000000) b ON a.value % 7 = b.value % 7";

/// So much that time runs out first.
const ENOUGH: usize = 16 << 30;

fn engine() -> Engine {
    engine_over(
        &[
            distribution("a", 1, &[1.0, 2.0]),
            distribution("b", 2, &[3.0]),
        ],
        &[],
    )
}

fn engine_with(limits: EngineLimits) -> Engine {
    Engine::new(empty_lake(), limits, Publication::everything()).unwrap()
}

#[tokio::test]
async fn a_question_is_answered_with_types() {
    let sql = "SELECT device, time, count, sum, pos_offset FROM distributions ORDER BY device";
    let answer = engine().query_outside(sql).await.unwrap();
    let columns: Vec<_> = answer
        .columns
        .iter()
        .map(|c| (c.name.as_str(), c.r#type.as_str()))
        .collect();
    let expected = [
        ("device", "text"),
        ("time", "timestamp"),
        ("count", "bigint"),
        ("sum", "double"),
        ("pos_offset", "integer"),
    ];
    assert_eq!(columns, expected);
    assert_eq!(
        json!(answer.rows[1]),
        json!(["b", "1970-01-01T00:00:00.000002Z", 1, 3.0, 25])
    );
    assert!(!answer.truncated);
}

#[tokio::test]
async fn our_functions_and_the_schema_can_be_asked_about() {
    let engine = engine();
    let sql = "SELECT histogram_quantile(histogram_merge(scale, zero_count, pos_offset, \
               pos_counts, neg_offset, neg_counts), 1.0) FROM distributions";
    assert_eq!(engine.query_outside(sql).await.unwrap().rows.len(), 1);
    let sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' \
               ORDER BY 1";
    let tables = engine.query_outside(sql).await.unwrap().rows;
    assert_eq!(
        json!(tables),
        json!([
            ["device_hours"],
            ["distributions"],
            ["events"],
            ["measurements"],
            ["rollup_days"],
            ["rollup_hours"],
            ["rollups"],
            ["spans"],
            ["verdicts"]
        ])
    );
    assert!(engine.query_outside("DESCRIBE rollups").await.is_ok());
    assert!(
        engine
            .query_outside("EXPLAIN ANALYZE SELECT * FROM rollups")
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn nothing_can_be_written_whatever_the_wording() {
    let folder = tempfile::tempdir().unwrap();
    let table = Table::Distributions;
    let mut delta = delta_table(folder.path(), table).await;
    append(
        &mut delta,
        rows::distributions(&[distribution("a", 1, &[1.0])]).unwrap(),
    )
    .await;
    let lake = Lake::new([(table, delta.table_provider().await.unwrap())], 0);
    let engine = Engine::new(
        Arc::new(lake),
        EngineLimits::default(),
        Publication::everything(),
    )
    .unwrap();
    let target = folder.path().join("stolen.csv");
    let copy = format!(
        "COPY (SELECT * FROM distributions) TO '{}' STORED AS CSV",
        target.display()
    );
    let writes = [
        "INSERT INTO distributions SELECT * FROM distributions".to_owned(),
        "EXPLAIN ANALYZE INSERT INTO distributions SELECT * FROM distributions".to_owned(),
        "DELETE FROM distributions".to_owned(),
        "UPDATE distributions SET device = 'x'".to_owned(),
        "TRUNCATE TABLE distributions".to_owned(),
        copy.clone(),
        format!("EXPLAIN ANALYZE {copy}"),
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "CREATE VIEW v AS SELECT 1".to_owned(),
        format!(
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{}'",
            folder.path().display()
        ),
        "DROP TABLE distributions".to_owned(),
        "SET datafusion.execution.target_partitions = 64".to_owned(),
        "RESET datafusion.execution.target_partitions".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
        "BEGIN".to_owned(),
    ];
    for sql in writes {
        let refused = engine.query_outside(&sql).await.expect_err(&sql);
        let code = refused.code();
        assert!(
            ["sql_read_only", "sql_invalid"].contains(&code),
            "{sql}: {code}: {refused}"
        );
    }
    assert!(!target.exists());
    let rows = engine
        .query_outside("SELECT count(*) FROM distributions")
        .await
        .unwrap()
        .rows;
    assert_eq!(json!(rows), json!([[1]]));
    delta.update_state().await.unwrap();
    assert_eq!(delta.version(), Some(1), "something was committed");
}

#[tokio::test]
async fn what_writes_is_named_in_the_refusal() {
    let sql = "EXPLAIN ANALYZE INSERT INTO events SELECT * FROM events";
    let refused = engine().query_outside(sql).await.unwrap_err();
    assert_eq!(refused.code(), "sql_read_only");
    assert!(refused.to_string().contains("may only read"), "{refused}");
}

#[tokio::test]
async fn files_and_unbounded_functions_are_out_of_reach() {
    let engine = engine();
    let refused = [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 'file:///etc/passwd'",
        "SELECT * FROM \"/etc/hosts.csv\"",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT repeat('x', 2000000000)",
        "SELECT range(0, 100000000000)",
        "SELECT array_to_string(string_to_array('a,a', ','), 'bb')",
        "SELECT list_to_string(string_to_array('a,a', ','), 'bb')",
        "SELECT array_join(string_to_array('a,a', ','), 'bb')",
        "SELECT array_replace(string_to_array('a,a', ','), 'a', 'bb')",
        "WITH RECURSIVE t AS (SELECT 'x' AS s UNION ALL SELECT s || s FROM t) SELECT s FROM t",
        "SELECT 1; SELECT 2",
        "not sql",
        "",
    ];
    for sql in refused {
        assert_eq!(
            engine.query_outside(sql).await.expect_err(sql).code(),
            "sql_invalid",
            "{sql}"
        );
    }
    let long = format!("SELECT '{}'", "x".repeat(SQL_BYTES_MAX));
    assert_eq!(
        engine.query_outside(&long).await.unwrap_err().code(),
        "sql_too_long"
    );
}

#[tokio::test]
async fn a_value_that_holds_itself_twice_at_every_step_is_refused_before_it_is_planned() {
    let engine = engine();
    let doubled = |call: &str, times| {
        (0..times).fold("SELECT 1 AS x".to_owned(), |sql, _| {
            format!("SELECT {call} AS x FROM ({sql})")
        })
    };
    for call in [
        "struct(x, x)",
        "named_struct('a', x, 'b', x)",
        "{'a': x, 'b': x}",
        "map(x, x)",
        "MAP {x: x}",
        "(x, x)",
        "row(x, x)",
        "arrays_zip(x, x)",
        "[x, x]",
        "array_append(array_append([], x), x)",
    ] {
        let began = Instant::now();
        let refused = engine.query_outside(&doubled(call, 40)).await.unwrap_err();
        assert_eq!(refused.code(), "sql_invalid", "{call}: {refused}");
        assert!(refused.to_string().len() < 500, "{call}: {refused}");
        assert!(began.elapsed().as_secs() < 5, "{call}");
    }
}

#[tokio::test]
async fn rows_are_cut_at_the_limit() {
    let engine = engine_with(EngineLimits {
        rows_max: 10,
        ..EngineLimits::default()
    });
    let answer = engine
        .query_outside("SELECT value FROM generate_series(1, 100000) t")
        .await
        .unwrap();
    assert_eq!((answer.rows.len(), answer.truncated), (10, true));
}

#[tokio::test]
async fn memory_is_limited_and_the_disk_is_not_used_instead() {
    let engine = engine_with(EngineLimits {
        memory_bytes: 1 << 20,
        ..EngineLimits::default()
    });
    let sql = "SELECT value FROM generate_series(1, 3000000) t ORDER BY value * 7 % 1000003, value";
    let stopped = engine.query_outside(sql).await.unwrap_err();
    assert_eq!(stopped.code(), "sql_memory", "{stopped}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_answers_in_time_and_stops_the_work() {
    let deadline = Duration::from_millis(300);
    let engine = engine_with(EngineLimits {
        deadline,
        memory_bytes: ENOUGH,
        ..EngineLimits::default()
    });
    let metrics = tokio::runtime::Handle::current().metrics();
    let tasks = metrics.num_alive_tasks();
    let began = Instant::now();
    let stopped = engine.query_outside(SLOW).await.unwrap_err();
    assert_eq!(stopped.code(), "sql_deadline");
    while metrics.num_alive_tasks() > tasks {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "the work goes on"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_up_stops_the_work() {
    let engine = engine_with(EngineLimits {
        memory_bytes: ENOUGH,
        ..EngineLimits::default()
    });
    let metrics = tokio::runtime::Handle::current().metrics();
    let tasks = metrics.num_alive_tasks();
    let began = Instant::now();
    let hung_up =
        tokio::time::timeout(Duration::from_millis(200), engine.query_outside(SLOW)).await;
    assert!(hung_up.is_err());
    while metrics.num_alive_tasks() > tasks {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "the work goes on"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_query_sees_rows_pushed_before_it_and_no_others() {
    let engine = engine();
    let count = "SELECT count(*) FROM distributions";
    assert_eq!(
        json!(engine.query_outside(count).await.unwrap().rows),
        json!([[2]])
    );
    let more = rows::distributions(&[distribution("c", 3, &[4.0])]).unwrap();
    engine
        .lake()
        .push(1, [(Table::Distributions, more)])
        .unwrap();
    assert_eq!(
        json!(engine.query_outside(count).await.unwrap().rows),
        json!([[3]])
    );
}
