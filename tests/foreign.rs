//! Open at both ends: software that knows nothing of Fathomline can send to it and read what it
//! stored. The scripts are in `foreign/`; without Python, Node.js and their packages these tests
//! are skipped, unless continuous integration insists.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::{Map, Value, json};

use crate::{
    doors, drift,
    harness::{
        clock::until,
        fleet::Fleet,
        house::{self, House, Settings},
        program,
        sink::Sink,
        workspace,
    },
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
        "opentelemetry.exporter.otlp.json.http",
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
    // gRPC, JSON and protobuf over HTTP; delta and cumulative; explicit and exponential.
    stored_is_what_was_reported(&house, &String::from_utf8_lossy(&output.stdout), 12);
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
        printed.contains("app.latency") && printed.contains("180"),
        "{printed}"
    );
}

/// Rows of every table: distributions and hours of a past, spans, and a shift that is found.
fn house_with_every_table() -> House {
    let sink = Sink::refusing_first(0);
    let house = House::with(Settings {
        // Files are joined and hours built at once; lanes of a second are judged.
        config: format!(
            "[store]\nseal_after = \"1s\"\n[upkeep]\nevery = \"1s\"\nfiles = 2\n\
             [drift]\nlane = \"1s\"\nseries_budget = 32\n{}",
            sink.config()
        ),
        ..Settings::default()
    });
    doors::tell_spans(&house);
    let past = Fleet::ending_now("gateway", 10, 3).hours_ago(30);
    let sent = past.tell(&house, 1..=10, 1.0);
    drift::shift_one_of_two(&house);
    for table in ["device_hours", "rollup_hours", "rollup_days"] {
        until("hours and days are built", || {
            let records = "SELECT coalesce(sum(count), 0) FROM";
            let of = "WHERE scale IS NOT NULL AND device_class = 'gateway'";
            house.number(&format!("{records} {table} {of}")) >= sent.records
        });
    }
    until("the shift is told", || !sink.deliveries().is_empty());
    house
}

#[test]
fn duckdb_pyarrow_and_polars_read_what_we_read_in_every_table() {
    let Some(python) = program::python_with(&["duckdb", "polars", "pyarrow"]) else {
        return;
    };
    let mut house = house_with_every_table();
    // Everything is committed then, and nothing changes any more.
    house.end_politely();
    let data = house.data().to_string_lossy().into_owned();
    let tables = std::fs::read_dir(house.data().join("tables")).unwrap();
    let tables: Vec<_> = tables.map(|table| table.unwrap().path()).collect();
    assert_eq!(tables.len(), 9, "{tables:?}");
    for table in tables {
        let name = table.file_name().unwrap().to_string_lossy().into_owned();
        let (succeeded, printed) = house::run(script(&python, "read_table.py").arg(&table));
        assert!(succeeded, "{printed}");
        let read: Value = serde_json::from_str(&printed).unwrap();
        let kinds = read["kinds"].as_object().unwrap();
        assert!(!kinds.is_empty(), "{name} has no file");
        let sql = figures(&name, kinds);
        let arguments = ["sql", &sql, "--data", &data, "--raw", "--format", "json"];
        let (succeeded, answer) = house.command_line(&arguments);
        assert!(succeeded, "{sql}: {answer}");
        let answer: Value = serde_json::from_str(answer.lines().next().unwrap()).unwrap();
        let ours = answer["rows"][0].as_array().unwrap();
        for (reader, seen) in read["readers"].as_object().unwrap() {
            agree(&format!("{name}, {reader}"), kinds, (ours, seen));
        }
    }
}

/// What the readers count, of every column of `table`, in our SQL: how many values, and a figure.
fn figures(table: &str, kinds: &Map<String, Value>) -> String {
    let mut asked = vec!["count(*)".to_owned()];
    for (name, kind) in kinds {
        let column = format!("\"{name}\"");
        let micros = |of: &str| format!("CAST({of}({column}) AS BIGINT)");
        let figures = match kind.as_str().unwrap() {
            "list" => vec![format!(
                "(SELECT sum(CAST(x AS DOUBLE)) FROM (SELECT unnest({column}) AS x FROM {table}))"
            )],
            "time" => vec![micros("min"), micros("max")],
            "truth" => vec![format!("count(*) FILTER (WHERE {column})")],
            "number" => vec![format!("sum(CAST({column} AS DOUBLE))")],
            "text" => vec![format!("sum(character_length({column}))")],
            other => panic!("{name} is {other}"),
        };
        asked.push(format!("count({column})"));
        asked.extend(figures);
    }
    let numbered = asked.iter().enumerate();
    let named: Vec<_> = numbered
        .map(|(at, figure)| format!("{figure} AS f{at}"))
        .collect();
    format!("SELECT {} FROM {table}", named.join(", "))
}

/// A reader of Parquet sees in every column what we see.
fn agree(what: &str, kinds: &Map<String, Value>, (ours, theirs): (&[Value], &Value)) {
    let mut ours = ours.iter();
    let mut next = || {
        ours.next()
            .unwrap_or_else(|| panic!("{what}: a figure is missing"))
    };
    assert_eq!(next(), &theirs["rows"], "rows of {what}");
    for name in kinds.keys() {
        let [count, figure] = theirs[name].as_array().unwrap().as_slice() else {
            panic!("{what}, {name}: {theirs}");
        };
        assert_eq!(next(), count, "{what}: values of {name}");
        let figures = figure.as_array().cloned();
        for figure in figures.unwrap_or_else(|| vec![figure.clone()]) {
            // Sums of doubles depend on their order in the last bits; nothing else does.
            let [our, their] = [next(), &figure].map(|figure| figure.as_f64().unwrap_or_default());
            let off = (our - their).abs();
            assert!(
                off <= 1e-9 * our.abs().max(1e-9),
                "{what}: {name} is {our} to us, and {their}"
            );
        }
    }
}
