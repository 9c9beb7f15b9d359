//! Tables may rest in a bucket: what is acknowledged is counted once there too, whoever else writes
//! to the same tables, and whether or not the bucket answers. The bucket is a foreign server that
//! has shown to refuse a second put of one name before any house opens. What this does not prove:
//! that another server keeps the same word.

use std::time::Duration;

use crate::harness::{
    books,
    bucket::Bucket,
    clock::until,
    fleet::{Fleet, Sent},
    house::{House, Settings},
};

/// How long the bucket is away; an operator's outage is a minute:
/// `FATHOMLINE_OUTAGE_SECONDS=60 cargo test --test system -- bucket`.
fn outage() -> Duration {
    let seconds = std::env::var("FATHOMLINE_OUTAGE_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(3))
}

fn both(a: Sent, b: Sent) -> Sent {
    let mut sum = a;
    sum += b;
    sum
}

#[test]
fn two_collectors_write_one_table_set_in_a_bucket_and_lose_nothing() {
    let Some(bucket) = Bucket::open() else {
        return;
    };
    let (mut first, mut second) = (
        House::with(bucket.settings()),
        House::with(bucket.settings()),
    );
    let (kiosks, gateways) = (
        Fleet::ending_now("kiosk", 20, 11),
        Fleet::ending_now("gateway", 20, 12),
    );
    let mut sent = Sent::default();
    for round in 0..2 {
        let lanes = || round * 4 + 1..=round * 4 + 4;
        let (a, b) = std::thread::scope(|scope| {
            let other = scope.spawn(|| gateways.tell(&second, lanes(), 1.0));
            (kiosks.tell(&first, lanes(), 1.0), other.join().unwrap())
        });
        sent += both(a, b);
        // Whatever it was committing there, it does not know how it ended.
        first.reopen();
    }
    first.end_politely();
    second.end_politely();
    first.reopen();
    second.reopen();
    books::balance(&first, sent);
    books::balance(&second, sent);
}

#[test]
fn while_the_bucket_is_silent_windows_are_acknowledged_and_committed_later() {
    let Some(bucket) = Bucket::open() else {
        return;
    };
    let mut house = House::with(bucket.settings());
    let fleet = Fleet::ending_now("kiosk", 20, 13);
    let mut sent = fleet.tell(&house, 1..=3, 1.0);
    bucket.go_silent();
    sent += fleet.tell(&house, 4..=6, 1.0);
    // Time enough for commits to begin and to fail.
    std::thread::sleep(outage());
    sent += fleet.tell(&house, 7..=9, 1.0);
    bucket.come_back();
    until("everything is committed", || {
        house.number("SELECT count(*) FROM distributions") == sent.windows && log_is_drained(&house)
    });
    books::balance(&house, sent);
    house.end_politely();
    house.reopen();
    books::balance(&house, sent);
}

/// Whether no segment waits for its commit: the newest is the one being written.
fn log_is_drained(house: &House) -> bool {
    let log = std::fs::read_dir(house.data().join("log")).unwrap();
    let segments = log.filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension().is_some_and(|extension| extension == "wal")
    });
    segments.count() <= 1
}

#[test]
fn a_place_that_is_none_is_refused_with_what_to_write() {
    let settings = Settings {
        config: "[store]\ntables = \"ftp://example.org/tables\"\n".into(),
        ..Settings::default()
    };
    let refused = std::panic::catch_unwind(|| House::with(settings));
    let said = refused
        .err()
        .and_then(|panic| panic.downcast::<String>().ok());
    let said = said.expect("the house does not open");
    for part in ["store.tables", "ftp", "s3://bucket/prefix"] {
        assert!(said.contains(part), "{said}");
    }
}
