//! Acknowledged means durable, counted means once. Each test breaks the house where it hurts most
//! and holds its books against what it had acknowledged. What this does not prove: that the disk
//! keeps what it was told to sync when the power fails.

use std::path::PathBuf;

use fathomline_wire::names;

use crate::harness::{
    books,
    clock::{now_us, until},
    device::{Device, Span},
    disk::SmallDisk,
    fleet::{Fleet, LANE_US, Sent},
    house::{self, House, Settings},
};

/// Commits often, so that a test sees several.
const EAGER: &str = "seal_after = \"1s\"";

fn with_store(settings: &str) -> Settings {
    Settings {
        config: format!("[store]\n{settings}\n"),
        ..Settings::default()
    }
}

/// Tables that a segment of these tests has rows for.
const TABLES: [&str; 3] = ["distributions", "measurements", "rollups"];

/// Those of them with a file in any commit.
fn tables_with_rows(house: &House) -> Vec<&'static str> {
    let adds = |table: &&str| {
        let log = house.data().join("tables").join(table).join("_delta_log");
        let commits = house::files(&log);
        commits
            .iter()
            .any(|(_, bytes)| String::from_utf8_lossy(bytes).contains("\"add\":{"))
    };
    TABLES.into_iter().filter(adds).collect()
}

fn everything_is_committed(house: &House, sent: Sent) {
    books::wait_for_commit(house, sent);
    books::balance(house, sent);
}

#[test]
fn killed_between_acknowledgement_and_commit_nothing_is_lost() {
    // Nothing is sealed in this test's time: every row lives in the log alone.
    let mut house = House::with(with_store("seal_after = \"1h\""));
    let fleet = Fleet::ending_now("kiosk", 20, 7);
    let mut sent = fleet.tell(&house, 1..=5, 1.0);
    assert_eq!(tables_with_rows(&house), Vec::<&str>::new());
    house.reopen_to_stall_at("after-acknowledge");
    let last = fleet.windows(6, 1.0).remove(0);
    house.receive(&last);
    sent += Sent {
        windows: 1,
        records: 40,
    };
    house.wait_for_stall();
    house.reopen();
    books::balance(&house, sent);
    house.receive(&last);
    sent += fleet.tell(&house, 7..=8, 1.0);
    books::balance(&house, sent);
}

#[test]
fn killed_between_the_commits_of_two_tables_nothing_is_lost_or_doubled() {
    let mut house = House::with(Settings {
        stall_at: Some("between-tables"),
        ..with_store(EAGER)
    });
    let fleet = Fleet::ending_now("kiosk", 20, 7);
    let mut sent = fleet.tell(&house, 1..=5, 1.0);
    house.wait_for_stall();
    let begun = tables_with_rows(&house);
    assert!(
        (1..TABLES.len()).contains(&begun.len()),
        "{begun:?} of {TABLES:?} have rows"
    );
    // The door stays open while the committer stands still.
    sent += fleet.tell(&house, 6..=8, 1.0);
    house.reopen();
    books::balance(&house, sent);
    sent += fleet.tell(&house, 9..=10, 1.0);
    everything_is_committed(&house, sent);
}

/// Small files of hours that have closed are joined at once.
const TIDY: &str = "seal_after = \"1s\"\n[upkeep]\nevery = \"1s\"\nfiles = 2";

#[test]
fn killed_while_files_are_joined_nothing_is_lost_or_doubled() {
    for point in ["upkeep-written", "upkeep-committed"] {
        let mut house = House::with(Settings {
            stall_at: Some(point),
            ..with_store(TIDY)
        });
        let fleet = Fleet::ending_now("kiosk", 20, 15).hours_ago(4);
        let mut sent = Sent::default();
        for lane in 1..=2 {
            sent += fleet.tell(&house, lane..=lane, 1.0);
            books::wait_for_commit(&house, sent);
        }
        house.wait_for_stall();
        // Whoever waits for upkeep, it is no acknowledgement and no answer.
        sent += fleet.tell(&house, 3..=4, 1.0);
        books::balance(&house, sent);
        house.reopen();
        books::balance(&house, sent);
        everything_is_committed(&house, sent);
        until("files are joined", || {
            house.metric("fathomline_compactions_total{table=\"distributions\"}") > 0.0
        });
        books::balance(&house, sent);
    }
}

#[test]
fn killed_while_an_hour_is_built_it_is_there_once() {
    let mut house = House::with(Settings {
        stall_at: Some("upkeep-built"),
        ..with_store(TIDY)
    });
    let fleet = Fleet::ending_now("kiosk", 20, 16).hours_ago(4);
    let sent = fleet.tell(&house, 1..=4, 1.0);
    house.wait_for_stall();
    house.reopen();
    until("hours are built", || {
        let metric = names::OUTPUT_SURPRISAL;
        let records = |table: &str| {
            let sql =
                format!("SELECT coalesce(sum(count), 0) FROM {table} WHERE metric = '{metric}'");
            house.number(&sql)
        };
        records("device_hours") == sent.records && records("rollup_hours") == sent.records
    });
    assert!(house.metric("fathomline_rollups_built_total{table=\"rollup_hours\"}") > 0.0);
    everything_is_committed(&house, sent);
}

#[test]
fn killed_again_and_again_while_devices_send_every_count_is_exact() {
    let mut house = House::with(with_store(EAGER));
    let fleet = Fleet::ending_now("kiosk", 40, 8);
    let mut sent = Sent::default();
    for life in 0..4 {
        let first = life * 10 + 1;
        sent += fleet.tell(&house, first..=first + 9, 1.0);
        // A device that heard no answer sends again: here it heard one and sends all the same.
        house.reopen();
        fleet.tell(&house, first..=first + 9, 1.0);
        books::balance(&house, sent);
    }
    everything_is_committed(&house, sent);
}

#[test]
fn a_committed_segment_that_waits_for_its_checkpoint_is_counted_once() {
    let mut house = House::with(with_store(EAGER));
    // What the ledger knows of these is larger than what one of them sends.
    let many = Fleet::ending_now("kiosk", 1, 22).of(200);
    let mut sent = many.tell(&house, 1..=1, 1.0);
    books::wait_for_commit(&house, sent);
    let few = Fleet::ending_now("gateway", 2, 23).of(1);
    sent += few.tell(&house, 1..=1, 1.0);
    books::wait_for_commit(&house, sent);
    let log = house::files(&house.data().join("log"));
    let waits = |(path, bytes): &(PathBuf, Vec<u8>)| {
        path.extension().is_some_and(|kind| kind == "wal") && bytes.iter().any(|byte| *byte != 0)
    };
    assert!(
        log.iter().any(waits),
        "the log keeps what no checkpoint covers"
    );
    house.reopen();
    books::balance(&house, sent);
    few.tell(&house, 1..=1, 1.0);
    many.tell(&house, 1..=1, 1.0);
    books::balance(&house, sent);
    sent += few.tell(&house, 2..=2, 1.0);
    everything_is_committed(&house, sent);
}

#[test]
fn a_full_disk_refuses_until_there_is_space_and_loses_nothing() {
    // The log runs out of space where it grows, or where its next segment begins.
    for seal in ["seal_after = \"1h\"", EAGER] {
        let Some(disk) = SmallDisk::of(32) else {
            return;
        };
        let mut house = House::with(Settings {
            data: Some(disk.folder().join("data")),
            ..with_store(seal)
        });
        let fleet = Fleet::ending_now("kiosk", 40, 21).of(20);
        let mut sent = fleet.tell(&house, 1..=2, 1.0);
        disk.fill(16);
        let rest = (3..=40).flat_map(|lane| fleet.windows(lane, 1.0));
        let mut rest: Vec<_> = rest.collect();
        let refused = rest.iter().position(|window| {
            let answer = house.offer(window);
            assert!([200, 503].contains(&answer.status), "{}", answer.text());
            if answer.status == 503 {
                assert!(answer.text().contains("full"), "{}", answer.text());
                assert!(answer.retry_after.is_some());
            }
            answer.status == 503
        });
        let taken = refused.expect("the disk is full long before the last window");
        rest.truncate(taken + 20);
        // Whoever tries again meanwhile changes nothing.
        assert_eq!(house.offer(&rest[taken]).status, 503);
        assert_eq!(house.page("/readyz").status, 503);
        disk.empty();
        until("the collector takes windows again", || {
            house.page("/readyz").status == 200
        });
        rest.iter().for_each(|window| house.receive(window));
        sent += Sent {
            windows: i64::try_from(rest.len()).unwrap(),
            records: i64::try_from(rest.len()).unwrap() * 40,
        };
        books::balance(&house, sent);
        house.reopen();
        books::balance(&house, sent);
        rest.iter().for_each(|window| house.receive(window));
        books::balance(&house, sent);
    }
}

#[test]
fn the_same_bytes_ten_times_change_nothing() {
    let mut house = House::with(with_store(EAGER));
    let fleet = Fleet::ending_now("kiosk", 10, 9);
    let sent = fleet.tell(&house, 1..=3, 1.0);
    for _ in 0..5 {
        fleet.tell(&house, 1..=3, 1.0);
    }
    books::balance(&house, sent);
    everything_is_committed(&house, sent);
    house.reopen();
    for _ in 0..5 {
        fleet.tell(&house, 1..=3, 1.0);
    }
    everything_is_committed(&house, sent);
}

#[test]
fn a_wrong_clock_changes_times_and_no_count() {
    const YEAR_US: i64 = 365 * 86_400_000_000;
    let mut house = House::with(with_store(EAGER));
    let fleet = Fleet::ending_now("kiosk", 3, 10);
    // How wrong, and whether the device says what time it believes it is.
    let clocks = [
        (-YEAR_US / 365, true),
        (YEAR_US, true),
        (-40 * YEAR_US, true),
        (YEAR_US, false),
    ];
    let windows: Vec<_> = (1..=3)
        .flat_map(|lane| clocks.iter().enumerate().map(move |clock| (lane, clock)))
        .map(|(lane, (number, (wrong_us, says)))| {
            let end_us = fleet.end_of(lane) + wrong_us;
            let start_us = end_us - LANE_US;
            let device = Device::new(number);
            let sequence = u64::try_from(lane).unwrap();
            let mut window = device.window(sequence, Span { start_us, end_us }, &[0.1, 0.2]);
            let believed = (now_us() + if *says { *wrong_us } else { 0 }) * 1000;
            let headers = window.headers.iter_mut();
            for (_, value) in headers.filter(|(name, _)| *name == names::HEADER_CLOCK) {
                *value = believed.to_string();
            }
            window
        })
        .collect();
    let stored = |house: &House, condition: &str| {
        house.ask(&format!(
            "SELECT count(*), sum(count) FROM distributions WHERE {condition}"
        ))
    };
    for _ in 0..2 {
        for window in &windows {
            house.receive(window);
        }
        house.reopen();
        let recent = "time BETWEEN now() - INTERVAL '5 minutes' AND now()";
        let corrected = format!("clock = 'corrected' AND {recent}");
        assert_eq!(stored(&house, &corrected), [[9, 18]], "{}", house.log());
        assert_eq!(stored(&house, "clock = 'unknown'"), [[3, 6]]);
        assert_eq!(stored(&house, "true"), [[12, 24]]);
    }
}

#[test]
fn two_collectors_on_one_data_folder_are_one_too_many() {
    let mut house = House::with(with_store(EAGER));
    let fleet = Fleet::ending_now("kiosk", 10, 14);
    let mut sent = fleet.tell(&house, 1..=3, 1.0);
    let data = house.data().to_string_lossy().into_owned();
    let anywhere = "127.0.0.1:0";
    let (succeeded, printed) = house.command_line(&[
        "serve",
        "--data",
        &data,
        "--http",
        anywhere,
        "--otlp-http",
        anywhere,
        "--otlp-grpc",
        anywhere,
    ]);
    assert!(!succeeded, "a second collector opened {data}");
    assert!(printed.contains("in use by another collector"), "{printed}");
    sent += fleet.tell(&house, 4..=6, 1.0);
    house.reopen();
    books::balance(&house, sent);
}

#[test]
fn the_same_identity_with_another_body_is_a_conflict() {
    let mut house = House::open();
    let end_us = Fleet::ending_now("kiosk", 1, 0).end_of(1);
    let span = Span {
        start_us: end_us - LANE_US,
        end_us,
    };
    let device = Device::new(1);
    house.receive(&device.window(1, span, &[0.1, 0.2]));
    for _ in 0..2 {
        let answer = house.offer(&device.window(1, span, &[0.3]));
        assert_eq!(answer.status, 409, "{}", answer.text());
        assert!(
            answer.text().contains("set the record aside and go on"),
            "{}",
            answer.text()
        );
        // The memory of what was taken outlives the process.
        house.reopen();
    }
    books::balance(
        &house,
        Sent {
            windows: 1,
            records: 2,
        },
    );
}
