//! Every door of ours tells of outputs only what at least `privacy.min_devices` devices have in
//! common. A class of two devices sends values that nobody else has; they are looked for behind
//! every door there is, and a door that this list does not know fails it. The data folder is the
//! operator's: `--raw` finds the values, so the search can see.

use fathomline_wire::names;
use serde_json::json;

use crate::{
    drift::{JUDGED, QUIET, judged, states},
    harness::{
        clock::until,
        device::{Device, Span},
        fleet::{Fleet, LANE_US},
        house::{House, Settings},
        sink::Sink,
        workspace,
    },
};

/// Smallest and largest value of every window of the small class: they stand as they are in
/// whatever shows one of its histograms.
const MARKS: [f64; 2] = [7777.25, 97_777.25];

/// What the doors answer: paths that people and programs read.
const READ: [&str; 26] = [
    "/",
    "/energy",
    "/drift",
    "/drift/{series}",
    "/alerts",
    "/api/v1/alerts",
    "/api/v1/silences",
    "/references",
    "/rollouts",
    "/api/v1/references",
    "/api/v1/references/acts",
    "/api/v1/references/{name}",
    "/api/v1/references/{name}/file",
    "/api/v1/references/{name}/compare/{other}",
    "/api/v1/gate",
    "/api/v1/rollouts",
    "/api/v1/verdicts",
    "/deliveries",
    "/api/v1/deliveries",
    "/api/v1/endpoints",
    "/retraining",
    "/api/v1/retraining",
    "/api/v1/retraining/{id}",
    "/metrics",
    "/healthz",
    "/readyz",
];

/// Asked with SQL, for operators, or without anything to tell of devices.
const OTHERWISE: [&str; 17] = [
    "/api/v1/sql",
    "/api/v1/devices/erase",
    "/api/v1/references/import",
    "/api/v1/references/{name}/pin",
    "/api/v1/references/{name}/retire",
    "/api/v1/rollouts/{id}/finish",
    "/api/v1/alerts/{id}/acknowledge",
    "/api/v1/silences/{id}/end",
    "/deliveries/{id}/replay",
    "/deliveries/endpoints/{name}/enable",
    "/api/v1/deliveries/{id}/replay",
    "/api/v1/endpoints/{name}/enable",
    "/api/v1/retraining/{id}/status",
    "/api/v1/retraining/{id}/approve",
    "/api/v1/retraining/{id}/decline",
    "/api/v1/retraining/{id}/cancel",
    "/assets/{name}",
];

fn house(sink: &Sink) -> House {
    let config = format!(
        "[store]\nseal_after = \"1s\"\n[privacy]\nmin_devices = 5\n\
         [drift]\nlane = \"1s\"\nseries_budget = 32\n{}\
         [retraining]\nautomatic = true\nwait = \"0s\"\n",
        sink.config()
    );
    House::with(Settings {
        config,
        ..Settings::default()
    })
}

/// Two devices whose surprisal triples.
fn tell_small_class(house: &House, beside: &Fleet) {
    for lane in 1..=QUIET + JUDGED {
        let factor = if lane > QUIET + 5 { 3.0 } else { 1.0 };
        let span = Span {
            start_us: beside.end_of(lane - 1),
            end_us: beside.end_of(lane),
        };
        let between = (0..38).map(|value| factor * (8_000.0 + 300.0 * f64::from(value)));
        let values: Vec<f64> = MARKS.into_iter().chain(between).collect();
        for number in 0..2 {
            let device = Device::of_class(number, "secret");
            let sequence = u64::try_from(lane).unwrap();
            let mut request = device.request(sequence, span, &values);
            let duration = device.distribution(names::OPERATION_DURATION, span, &[0.5]);
            let metrics = &mut request.resource_metrics[0].scope_metrics[0].metrics;
            metrics.push(duration);
            house.receive(&device.window_of(&request, sequence));
        }
    }
}

#[test]
fn no_door_tells_what_a_small_group_of_devices_put_out() {
    let sink = Sink::open();
    let house = house(&sink);
    let kiosk = Fleet::ending_now("kiosk", QUIET + JUDGED, 5);
    kiosk.tell(&house, 1..=QUIET + JUDGED, 1.0);
    tell_small_class(&house, &kiosk);
    crate::drift::freeze(&house, &kiosk);
    judged(&house, &kiosk);
    until("the small class is judged", || {
        states(&house, "secret").contains(&"drifting".into())
    });
    until("its webhook arrives", || {
        !sink.taken("fathomline.verdict.changed").is_empty()
    });
    until("a trainer is asked because of it", || {
        !sink.taken("fathomline.retraining.requested").is_empty()
    });

    tables_tell_nothing(&house);
    pages_tell_nothing(&house);
    let webhooks = sink.deliveries();
    let asked = sink
        .taken("fathomline.retraining.requested")
        .remove(0)
        .json();
    let signal = &asked["data"]["brief"]["signals"][0];
    assert_eq!(signal["device_class"], "secret", "{asked}");
    assert_eq!(
        (&signal["share"], &signal["bins"]),
        (&json!(null), &json!([]))
    );
    assert!(
        signal["withheld"].as_str().unwrap().contains("2 devices"),
        "{asked}"
    );
    let told = webhooks[0].json();
    assert_eq!(told["data"]["device_class"], "secret", "{told}");
    assert_eq!(told["data"]["score"], json!(null), "{told}");
    let evidence = told["data"]["evidence"].as_str().unwrap();
    assert!(evidence.contains("not told of 2 devices"), "{evidence}");
    for delivery in &webhooks {
        nothing_in(&delivery.body, "a webhook");
    }
    the_folder_is_the_operators(&house);
    speed_is_shown_and_large_groups_are(&house, &kiosk);
}

fn nothing_in(text: &str, place: &str) {
    for mark in ["7777.25", "97777.25", "7 777", "7,777"] {
        assert!(!text.contains(mark), "{place} tells {mark}: {text}");
    }
    // Streams are named by a threshold of the reference; the small class starts at thousands.
    let thresholds = text.split("the reference p").skip(1).map(|after| {
        let number = after.split(['(', ')']).nth(1).unwrap_or_default();
        number.parse::<f64>().unwrap_or_default()
    });
    for threshold in thresholds {
        assert!(threshold < 1000.0, "{place} tells {threshold}: {text}");
    }
}

fn tables_tell_nothing(house: &House) {
    let tables =
        house.ask("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'");
    assert!(tables.len() >= 6, "{tables:?}");
    for table in tables {
        let table = table[0].as_str().unwrap().to_owned();
        let url = house.addresses().http.clone();
        let data = house.data().display().to_string();
        let sql = format!("SELECT * FROM {table}");
        nothing_in(&json!(house.ask(&sql)).to_string(), &table);
        for from in [["--url", &url], ["--data", &data]] {
            let arguments = [&["sql", &sql, "--format", "json"], &from[..]].concat();
            let (succeeded, printed) = house.command_line(&arguments);
            assert!(succeeded, "{printed}");
            nothing_in(&printed, &format!("{table} by {}", from[0]));
        }
    }
    for (sql, rows) in [
        (
            "SELECT count(*) FROM rollups WHERE metric LIKE 'fathomline.out%' AND max > 1000",
            0,
        ),
        (
            "SELECT count(*) FROM distributions WHERE metric LIKE 'fathomline.out%'",
            0,
        ),
        (
            "SELECT count(*) FROM measurements WHERE metric = 'fathomline.feedback'",
            0,
        ),
        (
            "SELECT count(*) FROM verdicts WHERE device_class = 'secret' AND score IS NOT NULL",
            0,
        ),
    ] {
        assert_eq!(house.number(sql), rows, "{sql}");
    }
    let analyze = json!({ "query": "EXPLAIN ANALYZE SELECT * FROM distributions" });
    assert_eq!(house.call("/api/v1/sql", &analyze).status, 400);
}

fn pages_tell_nothing(house: &House) {
    let series = house.ask("SELECT DISTINCT series FROM verdicts");
    assert!(series.len() >= 4, "{series:?}");
    let references = house.page("/api/v1/references").json();
    let references: Vec<String> = references["references"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["hash"].as_str().unwrap().to_owned())
        .collect();
    let mut refused = 0;
    for path in READ {
        let paths: Vec<String> = match path {
            "/drift/{series}" => series
                .iter()
                .map(|row| format!("/drift/{}", row[0].as_str().unwrap()))
                .flat_map(|path| [format!("{path}?apart=now"), path])
                .collect(),
            "/api/v1/retraining/{id}" => house.page("/api/v1/retraining").json()["requests"]
                .as_array()
                .unwrap()
                .iter()
                .map(|request| path.replace("{id}", request["id"].as_str().unwrap()))
                .collect(),
            // What the gate tells of few devices: `tests/gate.rs`.
            "/api/v1/gate" => {
                let query = "model=tiny&candidate=2&against=1&class=secret";
                vec![format!("{path}?{query}")]
            }
            "/references" => references
                .iter()
                .map(|hash| format!("/references?first={hash}&second={hash}"))
                .collect(),
            path => references
                .iter()
                .map(|hash| path.replace("{name}", hash).replace("{other}", hash))
                .collect(),
        };
        for path in paths {
            let answer = house.page(&path);
            match answer.status {
                403 if answer.text().contains("few_devices") => refused += 1,
                status => assert_eq!(status, 200, "{path}: {}", answer.text()),
            }
            nothing_in(&answer.text(), &path);
        }
    }
    // Of the small class's two outputs, the file and the comparison.
    assert_eq!(refused, 4, "{references:?}");
    let sql = format!(
        "SELECT DISTINCT series FROM verdicts WHERE device_class = 'secret' AND metric = '{}'",
        names::OUTPUT_SURPRISAL
    );
    let series = house.ask(&sql)[0][0].as_str().unwrap().to_owned();
    let page = house.page(&format!("/drift/{series}")).text();
    for sentence in ["not told of 2 devices", "of too few devices to be drawn"] {
        assert!(page.contains(sentence), "{sentence}: {page}");
    }
}

fn the_folder_is_the_operators(house: &House) {
    let data = house.data().display().to_string();
    let sql = "SELECT max(max) AS largest FROM distributions";
    let raw = ["sql", sql, "--data", &data, "--raw", "--format", "json"];
    until("what is committed holds the values", || {
        let (succeeded, printed) = house.command_line(&raw);
        assert!(succeeded, "{printed}");
        printed.contains("97777.25")
    });
}

fn speed_is_shown_and_large_groups_are(house: &House, kiosk: &Fleet) {
    let sql = "SELECT count(DISTINCT device) FROM distributions WHERE device_class = 'secret'";
    assert_eq!(house.number(sql), 2);
    let sql = format!(
        "SELECT count(*), min(devices_count(devices)) FROM rollups WHERE metric = '{}' \
         AND device_class = 'kiosk' AND width_us = {LANE_US}",
        names::OUTPUT_SURPRISAL
    );
    let row = house.ask(&sql).remove(0);
    let devices = i64::try_from(kiosk.devices).unwrap();
    assert_eq!(row, [json!(QUIET + JUDGED), json!(devices)]);
}

/// Who adds a door says here what it tells of few devices.
#[test]
fn every_door_is_on_the_list() {
    let mut doors = vec![];
    for file in [
        "collector/src/api.rs",
        "collector/src/api/alerts.rs",
        "collector/src/api/deliveries.rs",
        "collector/src/api/gate.rs",
        "collector/src/api/references.rs",
        "collector/src/api/retraining.rs",
        "dashboard/src/router.rs",
    ] {
        let source = workspace::read(file);
        let paths = source.split(".route(").skip(1);
        let path = |after: &str| after.split('"').nth(1).unwrap().to_owned();
        doors.extend(paths.map(path));
    }
    let known: Vec<&str> = READ.into_iter().chain(OTHERWISE).collect();
    for door in &doors {
        assert!(
            known.contains(&door.as_str()),
            "{door} is new: let it read what is published, and look behind it in this test"
        );
    }
    assert_eq!(doors.len(), known.len(), "{doors:?}");
}

/// Only judging, live, of the past and of what could be (`cli/stored.rs`), making references and
/// asking the gate on the command line, and `fathomline sql --raw` may read what is stored as it
/// is.
#[test]
fn what_is_stored_is_read_in_five_places() {
    let mut places = vec![];
    for file in workspace::source_files() {
        let product = file.path.contains("/src/") && !file.is_test();
        let own = file.path.starts_with("queries/");
        let Some(code) = file.text.split("#[cfg(test)]").next() else {
            continue;
        };
        if product && !own && code.contains("Publication::everything()") {
            places.push(file.path.clone());
        }
    }
    places.sort();
    assert_eq!(
        places,
        [
            "collector/src/cli/sql.rs",
            "collector/src/cli/stored.rs",
            "collector/src/collector.rs",
            "collector/src/control.rs",
            "collector/src/rollout/folder.rs"
        ],
        "doors read what is published"
    );
}
