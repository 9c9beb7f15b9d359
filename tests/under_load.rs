//! Many senders at once, over both doors, and a collector that is killed meanwhile: every count and
//! sum is read back from the store by the load generator, which fails otherwise. Short forms of
//! what `cargo run --bin fathomline-load -- --help` does at length: a thousand devices, two hundred
//! kills.

use std::process::Command;

use serde_json::Value;

use crate::harness::{house, program};

/// Runs the load generator to its end and gives its figures.
fn load(arguments: &[&str]) -> Value {
    let mut command = Command::new(program::load());
    command
        .arg("--json")
        .args(arguments)
        .env("FATHOMLINE_BIN", program::path());
    let (succeeded, printed) = house::run(&mut command);
    assert!(succeeded, "{arguments:?}: {printed}");
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

#[test]
fn devices_that_send_at_once_are_counted_once() {
    let devices = ["--devices", "40", "--rate", "100", "--seconds", "3"];
    let figures = load(&devices);
    assert_eq!(
        (&figures["points"], &figures["requests"]),
        (&(300 * 8).into(), &300.into())
    );
}

#[test]
fn what_a_relay_batches_is_counted_once() {
    let devices = ["--devices", "40", "--rate", "400", "--seconds", "2"];
    let figures = load(&[&devices[..], &["--per-request", "16"]].concat());
    assert_eq!(
        (&figures["points"], &figures["requests"]),
        (&(800 * 8).into(), &50.into())
    );
}

#[test]
fn killed_at_random_points_under_load_every_count_is_exact() {
    // Seals often, so that kills fall into commits as well.
    let config = ["--config", "[store]\nseal_after = \"200ms\"\n"];
    let devices = ["--devices", "20", "--rate", "100", "--seconds", "4"];
    let figures = load(&[&config[..], &devices, &["--kills", "5", "--seed", "3"]].concat());
    assert_eq!(figures["kills"], 5);
    assert_eq!(figures["points"], 400 * 8);
}
