//! An erased device is gone: no row in any table, no byte in a file once old files are removed,
//! nothing taken from it again. Whatever is killed meanwhile is finished at the next start, and
//! everyone else's rows stay.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use fathomline_wire::names;
use serde_json::json;

use crate::harness::{
    clock::{now_us, until},
    device::{Device, Span, Window},
    door,
    house::{self, House, Settings},
    program, workspace,
};

const TABLES: [&str; 3] = ["distributions", "measurements", "spans"];
const GONE: &str = "erase-me-7f3a";
const CLONE: &str = "erase-me-7f3a~0a1b2c3d";
/// The other's name begins with this one.
const STAYS: &str = "erase-me-7f3";
/// Windows that each of them sends.
const WINDOWS: u64 = 4;

fn settings() -> Settings {
    Settings {
        config: "[store]\nseal_after = \"1s\"\n[upkeep]\nevery = \"1s\"\n".to_owned(),
        environment: vec![("FATHOMLINE_VACUUM_AFTER_SECONDS", "0".to_owned())],
        ..Settings::default()
    }
}

fn device(installation: &str) -> Device {
    Device {
        installation: installation.to_owned(),
        boot: format!("boot-of-{}", installation.len()),
        ..Device::new(1)
    }
}

fn window(device: &Device, sequence: u64) -> Window {
    let end_us = now_us() - 10_000_000 + i64::try_from(sequence).unwrap() * 1_000_000;
    let span = Span {
        start_us: end_us - 1_000_000,
        end_us,
    };
    device.window(sequence, span, &[0.1, 0.2])
}

/// What a foreign sender says of a clone: no identity, a name as the tables have it.
fn tell_as_clone(house: &House) {
    let answer = house.offer_bytes(&[], &window(&device(CLONE), 1).body);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn tell(house: &House, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        for installation in [GONE, STAYS] {
            house.receive(&window(&device(installation), sequence));
        }
    }
}

fn rows_of(house: &House, whose: &str) -> Vec<i64> {
    let count = |table: &&str| house.number(&format!("SELECT count(*) FROM {table} WHERE {whose}"));
    TABLES.iter().map(count).collect()
}

/// The same from the files, by another process.
fn committed_rows_of(house: &House, whose: &str) -> Vec<i64> {
    let data = house.data().display().to_string();
    let count = |table: &&str| {
        let sql = format!("SELECT count(*) AS n FROM {table} WHERE {whose}");
        let arguments = ["sql", &sql, "--data", &data, "--raw", "--format", "json"];
        let (succeeded, printed) = house.command_line(&arguments);
        assert!(succeeded, "{printed}");
        let line = printed.lines().find(|line| line.starts_with('{')).unwrap();
        let answer: serde_json::Value = serde_json::from_str(line).unwrap();
        answer["rows"][0][0].as_i64().unwrap()
    };
    TABLES.iter().map(count).collect()
}

fn of_gone() -> String {
    format!("device = '{GONE}' OR device = '{CLONE}'")
}

fn of_stays() -> String {
    format!("device = '{STAYS}'")
}

fn records(house: &House) -> i64 {
    let sql = format!(
        "SELECT sum(count) FROM rollups WHERE metric = '{}'",
        names::OUTPUT_SURPRISAL
    );
    house.number(&sql)
}

fn erase(house: &House) -> String {
    let data = house.data().display().to_string();
    let (erased, printed) = house.command_line(&["device", "erase", GONE, "--data", &data]);
    assert!(erased, "{printed}");
    printed
}

/// Files of the data folder that hold the name of who was erased, live or not.
fn files_that_name(house: &House) -> Vec<String> {
    let holds = |bytes: &[u8]| {
        let mut parts = bytes.windows(GONE.len());
        parts.any(|part| part == GONE.as_bytes())
    };
    let files = house::files(&house.data()).into_iter();
    let mut found: Vec<String> = files
        .filter(|(_, bytes)| holds(bytes))
        .map(|(path, _)| path.display().to_string())
        .collect();
    if let Some(python) = program::python_with(&["pyarrow"]) {
        // Compressed pages hide a name from a search through bytes.
        let script = workspace::root().join("tests/foreign/find_text.py");
        let mut command = Command::new(python);
        command.arg(script).arg(house.data()).arg(GONE);
        let (succeeded, printed) = house::run(&mut command);
        // Files may be removed while it looks; then it looks again.
        if !succeeded || printed.contains(GONE) {
            found.push(printed);
        }
    }
    found
}

fn refused_for_good(house: &House) {
    let refused = house.offer(&window(&device(GONE), WINDOWS + 9));
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("was erased"), "{}", refused.text());
    let answer = house.offer_bytes(&[], &window(&device(CLONE), 2).body);
    assert!(answer.status == 403, "{}: {}", answer.status, answer.text());
}

#[test]
fn an_erased_device_leaves_no_row_no_byte_and_may_not_come_back() {
    let mut house = House::with(settings());
    tell(&house, 1..=2);
    tell_as_clone(&house);
    until("rows are committed", || {
        committed_rows_of(&house, &of_gone())[0] >= 3
    });
    // Some are in the log alone.
    tell(&house, 3..=WINDOWS);
    let (before, stays) = (records(&house), rows_of(&house, &of_stays()));
    assert_eq!(rows_of(&house, &of_gone())[0], 5);
    let named = files_that_name(&house);
    for place in [".wal", ".parquet"] {
        let seen = named.iter().any(|file| file.ends_with(place));
        assert!(seen, "the search sees nothing in {place}: {named:?}");
    }

    let printed = erase(&house);
    assert!(printed.contains("no table has a row of it"), "{printed}");
    assert!(printed.contains("are removed by 20"), "{printed}");
    assert_eq!(rows_of(&house, &of_gone()), [0, 0, 0]);
    assert_eq!(committed_rows_of(&house, &of_gone()), [0, 0, 0]);
    assert_eq!(rows_of(&house, &of_stays()), stays);
    assert_eq!(records(&house), before, "cohorts keep what they merged");
    refused_for_good(&house);

    // Old files are removed in the first round after a start.
    house.reopen();
    until("no file holds its name", || {
        files_that_name(&house).is_empty()
    });
    assert_eq!(rows_of(&house, &of_gone()), [0, 0, 0]);
    assert_eq!(rows_of(&house, &of_stays()), stays);
    refused_for_good(&house);
    let data = house.data().display().to_string();
    let (enrolled, printed) = house.command_line(&["device", "enrol", GONE, "--data", &data]);
    assert!(!enrolled && printed.contains("was erased"), "{printed}");
    house.receive(&window(&device(STAYS), WINDOWS + 1));
}

#[test]
fn killed_at_any_step_an_erasure_is_finished_at_the_next_start() {
    for point in [
        "erase-forgotten",
        "erase-between-tables",
        "upkeep-committed",
    ] {
        let mut house = House::with(Settings {
            stall_at: Some(point),
            ..settings()
        });
        tell(&house, 1..=2);
        until("rows are committed", || {
            committed_rows_of(&house, &of_gone())[0] == 2
        });
        tell(&house, 3..=WINDOWS);
        let stays = rows_of(&house, &of_stays());
        let asked = house.call("/api/v1/devices/erase", &json!({ "device": GONE }));
        assert_eq!(asked.status, 202, "{}", asked.text());
        assert!(asked.json()["files_gone_by"].is_string());
        house.wait_for_stall();
        house.reopen();
        until("no row is left", || {
            rows_of(&house, &of_gone()) == [0, 0, 0]
        });
        until("no committed row is left", || {
            committed_rows_of(&house, &of_gone()) == [0, 0, 0]
        });
        assert_eq!(rows_of(&house, &of_stays()), stays, "killed at {point}");
        refused_for_good(&house);
    }
}

#[test]
fn asked_for_and_killed_at_once_it_is_erased_from_the_log() {
    // Nothing is sealed in this test's time: every row lives in the log alone.
    let mut house = House::with(Settings {
        config: "[store]\nseal_after = \"1h\"\n".to_owned(),
        ..Settings::default()
    });
    tell(&house, 1..=WINDOWS);
    house.kill();
    let printed = erase(&house);
    assert!(
        printed.contains("as soon as a collector works"),
        "{printed}"
    );
    house.reopen();
    assert_eq!(rows_of(&house, &of_gone()), [0, 0, 0]);
    assert_eq!(rows_of(&house, &of_stays())[0], 4);
    refused_for_good(&house);
}

/// Whoever sends while it is erased is refused sooner or later and leaves nothing.
#[test]
fn an_upload_that_races_with_its_erasure_leaves_no_row() {
    let house = House::with(settings());
    let url = format!("{}/v1/metrics", house.addresses().otlp_http);
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..4)
        .map(|number| {
            let (url, stop) = (url.clone(), Arc::clone(&stop));
            thread::spawn(move || {
                let device = Device {
                    boot: format!("boot-{number}"),
                    ..device(GONE)
                };
                let mut taken = 0;
                for sequence in 1.. {
                    let window = window(&device, sequence);
                    let mut headers: Vec<(&str, &str)> =
                        vec![("content-type", "application/x-protobuf")];
                    headers.extend(
                        window
                            .headers
                            .iter()
                            .map(|(name, value)| (*name, value.as_str())),
                    );
                    let answer = door::post(&url, &headers, &window.body).unwrap();
                    taken += u64::from(answer.status == 200);
                    if stop.load(Ordering::Relaxed) {
                        return (taken, answer.status);
                    }
                }
                (taken, 0)
            })
        })
        .collect();
    until("some is stored", || rows_of(&house, &of_gone())[0] > 20);
    erase(&house);
    let left = rows_of(&house, &of_gone());
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        let (taken, last) = sender.join().unwrap();
        assert!(taken > 0);
        assert_eq!(last, 403, "it is refused in the end");
    }
    assert_eq!(left, [0, 0, 0]);
    assert_eq!(rows_of(&house, &of_gone()), [0, 0, 0]);
}
