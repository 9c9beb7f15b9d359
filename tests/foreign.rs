//! Open at both ends: software that knows nothing of Fathomline can send to it and read what it
//! stored. The scripts are in `foreign/`; without Python, Node.js and their packages these tests
//! are skipped, unless continuous integration insists.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::{Value, json};

use crate::harness::{
    books,
    clock::until,
    fleet::Fleet,
    house::{self, House, Settings},
    program, workspace,
};

/// What was asked and answered: a foreign sender puts it wherever it can, and it is found nowhere.
const SECRET: &str = "what-nobody-may-keep";

fn script(program: &Path, name: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(workspace::root().join("tests/foreign").join(name));
    command
}

/// Whatever a foreign SDK says that it handed over is what is stored, way by way.
fn stored_is_what_was_reported(house: &House, printed: &str, ways: usize) {
    let reported: Value = serde_json::from_str(printed)
        .unwrap_or_else(|error| panic!("{error}: {printed}\n{}", house.log()));
    let metrics = reported["metrics"].as_object().unwrap();
    assert_eq!(metrics.len(), ways, "{printed}");
    let by_service = |sql: &str| -> BTreeMap<String, Vec<Value>> {
        let rows = house.ask(sql).into_iter();
        rows.map(|mut row| (row.remove(0).as_str().unwrap().to_owned(), row))
            .collect()
    };
    let latencies = by_service(
        "SELECT service, sum(count), sum(sum), min(unit), min(model) FROM distributions \
         WHERE metric = 'app.latency' GROUP BY service",
    );
    let calls = by_service(
        "SELECT service, CAST(sum(coalesce(count, 0) + coalesce(value, 0.0)) AS BIGINT) \
         FROM measurements WHERE metric = 'app.calls' GROUP BY service",
    );
    for (service, totals) in metrics {
        let [count, sum, unit, model] = latencies[service].as_slice() else {
            panic!("{service} is not stored");
        };
        let latency = &totals["app.latency"];
        assert_eq!(count, &latency["count"], "{service}");
        let off = sum.as_f64().unwrap() - latency["sum"].as_f64().unwrap();
        assert!(off.abs() < 1e-9, "{service}: {sum} {latency}");
        assert_eq!(json!([unit, model]), json!(["s", "foreign"]), "{service}");
        let counted = calls[service][0].as_i64();
        assert_eq!(counted, totals["app.calls"]["count"].as_i64(), "{service}");
    }
    let spans = by_service(
        "SELECT service, count(*), sum(input_tokens), sum(output_tokens), \
         min(finish_reasons), count(parent_span_id) FROM spans GROUP BY service",
    );
    for (service, told) in reported["spans"].as_object().unwrap() {
        let wanted = [
            told["spans"].clone(),
            told["input_tokens"].clone(),
            told["output_tokens"].clone(),
            json!("stop"),
            told["spans"].clone(),
        ];
        assert_eq!(spans[service], wanted, "{service}");
    }
    nothing_was_overheard(house);
}

fn nothing_was_overheard(house: &House) {
    for (path, bytes) in house::files(house.folder()) {
        let mut windows = bytes.windows(SECRET.len());
        let found = windows.any(|part| part == SECRET.as_bytes());
        assert!(!found, "{SECRET} is in {}", path.display());
    }
}

#[test]
fn python_sends_in_every_way_it_can() {
    let modules = [
        "opentelemetry.exporter.otlp.proto.http",
        "opentelemetry.exporter.otlp.proto.grpc",
    ];
    let Some(python) = program::python_with(&modules) else {
        return;
    };
    let house = House::open();
    let doors = house.addresses();
    let output = script(&python, "send_everything.py")
        .args(["--grpc", &doors.otlp_grpc, "--http", &doors.otlp_http])
        .args(["--secret", SECRET])
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}\n{}", house.log());
    // Two protocols, delta and cumulative, explicit and exponential.
    stored_is_what_was_reported(&house, &String::from_utf8_lossy(&output.stdout), 8);
    found_on_the_command_line(&house);
}

#[test]
fn javascript_sends_in_every_way_it_can() {
    let Some((node, modules)) = program::node_with_modules() else {
        return;
    };
    let house = House::open();
    let doors = house.addresses();
    let output = script(&node, "send_everything.mjs")
        .args([&doors.otlp_grpc, &doors.otlp_http, SECRET])
        .arg(modules)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}\n{}", house.log());
    // Also JSON over HTTP, which Python's SDK cannot.
    stored_is_what_was_reported(&house, &String::from_utf8_lossy(&output.stdout), 12);
}

fn found_on_the_command_line(house: &House) {
    let sql = "SELECT metric, sum(count) AS records FROM distributions GROUP BY metric";
    let (succeeded, printed) = house.command_line(&[
        "sql",
        sql,
        "--url",
        &house.addresses().http,
        "--format",
        "table",
    ]);
    assert!(succeeded, "{printed}");
    assert!(
        printed.contains("app.latency") && printed.contains("120"),
        "{printed}"
    );
}

#[test]
fn duckdb_and_pyarrow_read_the_tables() {
    let Some(python) = program::python_with(&["duckdb", "pyarrow"]) else {
        return;
    };
    let house = House::with(Settings {
        // Files are joined and hours built at once.
        config: "[store]\nseal_after = \"1s\"\n[upkeep]\nevery = \"1s\"\nfiles = 2\n".into(),
        ..Settings::default()
    });
    let fleet = Fleet::ending_now("kiosk", 10, 3).hours_ago(4);
    let sent = fleet.tell(&house, 1..=10, 1.0);
    books::wait_for_commit(&house, sent);
    until("hours are built", || {
        let hours = "SELECT coalesce(sum(count), 0) FROM rollup_hours WHERE scale IS NOT NULL";
        house.number(hours) == sent.records
    });
    for table in ["distributions", "rollups", "device_hours", "rollup_hours"] {
        let (succeeded, printed) = house::run(
            script(&python, "read_table.py").arg(house.data().join("tables").join(table)),
        );
        assert!(succeeded, "{printed}");
        let read: Value = serde_json::from_str(&printed).unwrap();
        let ours = house.ask(&format!(
            "SELECT count(*), sum(count) FROM {table} WHERE pos_counts IS NOT NULL"
        ));
        for reader in ["duckdb", "pyarrow"] {
            let seen = &read[reader];
            assert_eq!(
                seen["cells"], sent.records,
                "{table} through {reader}: {printed}"
            );
            assert!(
                seen["rows"].as_i64() >= ours[0][0].as_i64(),
                "{table}: {printed}"
            );
        }
        assert_eq!(read["duckdb"], read["pyarrow"], "{table}: {printed}");
    }
}
