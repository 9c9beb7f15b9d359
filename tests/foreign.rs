//! Open at both ends: software that knows nothing of Fathomline can send to it and read what it
//! stored. The scripts are in `foreign/`; without Python and its packages these tests are skipped,
//! unless continuous integration insists.

use std::process::Command;

use serde_json::Value;

use crate::harness::{
    books,
    fleet::Fleet,
    house::{self, House, Settings},
    program, workspace,
};

/// Values whose buckets are easy to count: 5 of them in all, 3 at most 0.25.
const VALUES: [&str; 5] = ["0.1", "0.2", "0.25", "0.5", "1.5"];

fn script(python: &std::path::Path, name: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(workspace::root().join("tests/foreign").join(name));
    command
}

/// Sends `VALUES` twice with the stock SDK; the collector must show every record once.
fn stock_sdk_sends(protocol: &str, shape: &str) {
    let modules = [
        "opentelemetry.exporter.otlp.proto.http",
        "opentelemetry.exporter.otlp.proto.grpc",
    ];
    let Some(python) = program::python_with(&modules) else {
        return;
    };
    let house = House::open();
    let addresses = house.addresses();
    let endpoint = if protocol == "grpc" {
        &addresses.otlp_grpc
    } else {
        &addresses.otlp_http
    };
    let (succeeded, printed) = house::run(
        script(&python, "send_histogram.py")
            .args([
                "--protocol",
                protocol,
                "--endpoint",
                endpoint,
                "--shape",
                shape,
            ])
            .args([
                "--service",
                "foreign",
                "--metric",
                "app.latency",
                "--rounds",
                "2",
            ])
            .args(VALUES),
    );
    assert!(succeeded, "{printed}\n{}", house.log());
    let found = house.ask(
        "SELECT sum(count), min(unit), min(model), count(DISTINCT service) FROM distributions \
         WHERE metric = 'app.latency' AND service = 'foreign'",
    );
    let expected: Vec<Value> = vec![10.into(), "s".into(), "foreign".into(), 1.into()];
    assert_eq!(found, vec![expected], "{protocol}, {shape}: {printed}");
    found_on_the_command_line(&house);
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
        printed.contains("app.latency") && printed.contains("10"),
        "{printed}"
    );
}

#[test]
fn a_stock_sdk_sends_a_cumulative_histogram_over_http() {
    stock_sdk_sends("http", "explicit");
}

#[test]
fn a_stock_sdk_sends_a_cumulative_histogram_over_grpc() {
    stock_sdk_sends("grpc", "explicit");
}

#[test]
fn a_stock_sdk_sends_delta_exponential_histograms_over_http() {
    stock_sdk_sends("http", "exponential");
}

#[test]
fn a_stock_sdk_sends_delta_exponential_histograms_over_grpc() {
    stock_sdk_sends("grpc", "exponential");
}

#[test]
fn duckdb_and_pyarrow_read_the_tables() {
    let Some(python) = program::python_with(&["duckdb", "pyarrow"]) else {
        return;
    };
    let house = House::with(Settings {
        config: "[store]\nseal_after = \"1s\"\n".into(),
        ..Settings::default()
    });
    let sent = Fleet::ending_now("kiosk", 10, 3).tell(&house, 1..=10, 1.0);
    books::wait_for_commit(&house, sent);
    for table in ["distributions", "rollups"] {
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
