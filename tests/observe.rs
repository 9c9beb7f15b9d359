//! The collector tells on itself, truly: what `/metrics` says is what was sent, in a text that
//! Prometheus reads, and no device can be found in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    doors,
    harness::{
        clock::{now_us, until},
        device::{Device, Span},
        door,
        fleet::Fleet,
        house::{House, Settings},
        program, workspace,
    },
};

/// Every sample of a page, by its name with labels.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

fn scraped(house: &House) -> BTreeMap<String, f64> {
    samples(&house.page("/metrics").text())
}

fn number(house: &House, name: &str) -> f64 {
    let samples = scraped(house);
    *samples
        .get(name)
        .unwrap_or_else(|| panic!("{name} is not in {samples:#?}"))
}

fn hour_ago() -> Span {
    let end_us = now_us() - 3_600_000_000;
    Span {
        start_us: end_us - 1_000_000,
        end_us,
    }
}

#[test]
fn every_hand_off_shows_in_the_metrics() {
    let house = House::with(Settings {
        config: "[store]\nseal_after = \"1s\"\n".into(),
        ..Settings::default()
    });
    let fleet = Fleet::ending_now("kiosk", 3, 7);
    let windows = fleet.windows(1, 1.0);
    let sent = windows.len() as f64;
    windows.iter().for_each(|window| house.receive(window));
    house.receive(&windows[0]);
    let late = Device::new(99).window(1, hour_ago(), &[0.5]);
    house.receive(&late);
    let refused = house.offer_bytes(&[], b"nonsense");
    assert_eq!(refused.status, 400);
    doors::tell_spans(&house);
    until("a segment is committed", || {
        number(&house, "fathomline_commit_seconds_count") > 0.0
    });

    let rows = |table: &str| house.number(&format!("SELECT count(*) FROM {table}")) as f64;
    let stored = rows("distributions") + rows("measurements");
    let marked = "SELECT count(*) FROM distributions WHERE late";
    assert_eq!(house.number(marked), 1);
    let per_window = stored / (sent + 1.0);
    for (name, expected) in [
        ("fathomline_points_accepted_total", stored),
        ("fathomline_spans_accepted_total", 2.0),
        ("fathomline_points_duplicate_total", per_window),
        ("fathomline_points_late_total", per_window),
        (
            "fathomline_requests_total{door=\"otlp_http\",status=\"200\"}",
            sent + 2.0,
        ),
        (
            "fathomline_requests_total{door=\"otlp_http\",status=\"400\"}",
            1.0,
        ),
        (
            "fathomline_requests_refused_total{reason=\"malformed\"}",
            1.0,
        ),
        (
            "fathomline_requests_refused_total{reason=\"conflict\"}",
            0.0,
        ),
        ("fathomline_ingest_lag_seconds_count", sent + 1.0),
        ("fathomline_queue_depth", 0.0),
        ("fathomline_store_accepting", 1.0),
        ("fathomline_ledger_entries_limit{of=\"cohorts\"}", 2_000.0),
    ] {
        assert_eq!(number(&house, name), expected, "{name}");
    }
    assert!(number(&house, "fathomline_log_sync_seconds_count") >= 1.0);
    assert!(number(&house, "fathomline_table_files{table=\"distributions\"}") >= 1.0);
}

#[test]
fn prometheus_reads_the_metrics_and_finds_no_device_in_them() {
    let house = House::open();
    let device = Device::new(7);
    house.receive(&device.window(1, hour_ago(), &[0.5]));
    let url = format!("{}/metrics", house.addresses().http);
    let open = door::get(&url, &[("accept", "application/openmetrics-text")]).unwrap();
    assert!(open.text().ends_with("# EOF\n"), "{}", open.text());
    let plain = house.page("/metrics").text();
    for page in [&open.text(), &plain] {
        for name in [&device.installation, &device.boot] {
            assert!(!page.contains(name.as_str()), "{name} in\n{page}");
        }
    }
    let Some(promtool) = program::promtool() else {
        return;
    };
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = check.stdin.take().unwrap();
    input.write_all(plain.as_bytes()).unwrap();
    drop(input);
    let output = check.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.is_empty(),
        "{said}\n{plain}"
    );
}

/// Names of ours in a rule's expression; what rules record has a colon in its name.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let ours = |name: &&str| name.starts_with("fathomline_") && !name.contains(':');
    let names = expression.split(word).filter(ours);
    names.map(str::to_owned).collect()
}

#[test]
fn the_rules_for_prometheus_hold_and_name_metrics_that_there_are() {
    let folder = workspace::root().join("deploy/prometheus");
    let rules: Value = serde_saphyr::from_str(&workspace::read("deploy/prometheus/rules.yml"))
        .expect("rules are YAML");
    let groups = rules["groups"].as_array().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    let named: BTreeSet<String> = rules
        .flat_map(|rule| metrics_in(rule["expr"].as_str().unwrap()))
        .collect();
    assert!(named.len() > 5, "{named:?}");
    let page = House::open().page("/metrics").text();
    for name in named {
        let begins = |line: &str| {
            line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{"))
        };
        assert!(page.lines().any(begins), "no metric is called {name}");
    }
    let Some(promtool) = program::promtool() else {
        return;
    };
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "rules_test.yml"],
    ] {
        let output = Command::new(&promtool)
            .args(arguments)
            .current_dir(&folder)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&said)
        );
    }
}

#[test]
fn metrics_of_a_wrong_token_are_refused() {
    let house = House::open();
    let url = format!("{}/metrics", house.addresses().http);
    let answer = door::get(&url, &[("authorization", "Bearer nonsense")]).unwrap();
    assert_eq!(answer.status, 401, "{}", answer.text());
    let elsewhere = door::get(&url, &[("host", "evil.example")]).unwrap();
    assert_eq!(elsewhere.status, 403, "{}", elsewhere.text());
}
