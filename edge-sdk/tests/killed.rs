//! A device that loses its power again and again. The test runs itself as the application, kills it
//! without warning while it infers, and holds what arrived against what it printed before.
//!
//! Fifteen deaths by default; `FATHOMLINE_KILLS=100 cargo test -p fathomline-edge --test killed`
//! for more.
#![allow(clippy::unwrap_used)]

#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "outside/server.rs"]
mod server;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use fathomline_edge::{Fathomline, FinishReason, Operation};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{metric::Data, number_data_point::Value},
};
use prost::Message;
use server::Server;

const WINDOW: Duration = Duration::from_millis(100);

/// Not a test: what the killed process runs. Prints after each inference how many windows of this
/// life are on disk or beyond.
#[test]
fn application() {
    let (Ok(spool), Ok(endpoint)) = (std::env::var("KILLED_SPOOL"), std::env::var("KILLED_AT"))
    else {
        return;
    };
    let line = Fathomline::builder("m", "1")
        .spool(spool)
        .endpoint(endpoint)
        .window(WINDOW)
        .start()
        .unwrap();
    let kept = || {
        let health = line.health();
        health.windows_waiting + health.windows_stored
    };
    let before = kept();
    loop {
        let mut op = line.operation(Operation::Chat);
        op.observe_logits(&[0.0, 1.0], 1);
        op.finish(FinishReason::Stop);
        let mut out = std::io::stdout().lock();
        writeln!(out, "kept {}", kept() - before).unwrap();
        drop(out);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Starts the application and kills it after some lines. Returns how many inferences it printed,
/// and how many windows it had kept when it printed last.
fn live_and_die(spool: &Path, endpoint: &str, lines: usize) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["application", "--exact", "--nocapture"])
        .env("KILLED_SPOOL", spool)
        .env("KILLED_AT", endpoint)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    let mut said = said.lines().map_while(Result::ok);
    let kept = said
        .by_ref()
        .filter_map(|line| line.split_once("kept ")?.1.trim().parse().ok());
    let kept: Vec<u64> = kept.take(lines).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    (kept.len() as u64, *kept.last().unwrap())
}

fn inferences(body: &[u8]) -> u64 {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let finished = metrics
        .iter()
        .filter(|metric| metric.name == "fathomline.output.finish");
    let points = finished.flat_map(|metric| match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.clone(),
        other => panic!("{other:?}"),
    });
    points
        .map(|point| match point.value {
            Some(Value::AsInt(count)) => u64::try_from(count).unwrap(),
            other => panic!("{other:?}"),
        })
        .sum()
}

#[test]
fn power_cuts_cost_the_open_window_each_and_repeat_nothing() {
    let kills: u64 = std::env::var("FATHOMLINE_KILLS").map_or(15, |text| text.parse().unwrap());
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    let (mut printed, mut kept) = (0, 0);
    for kill in 0..kills {
        // From within the first window to several windows in.
        let lines = 20 + (kill * 83 % 400) as usize;
        let lived = live_and_die(spool.path(), &server.endpoint, lines);
        (printed, kept) = (printed + lived.0, kept + lived.1);
    }
    let line = Fathomline::builder("m", "1")
        .spool(spool.path())
        .endpoint(&server.endpoint);
    let health = line.start().unwrap().shutdown(Duration::from_secs(60));
    assert_eq!((health.windows_waiting, health.windows_dropped), (0, 0));
    // One identity always means one body, however often it arrived.
    let mut windows: BTreeMap<(String, u64), Vec<u8>> = BTreeMap::new();
    for request in server.requests() {
        let key = (request.boot().to_owned(), request.sequence());
        let body = windows.entry(key).or_insert_with(|| request.body.clone());
        assert_eq!(*body, request.body);
    }
    let arrived: u64 = windows.values().map(|body| inferences(body)).sum();
    // Every window that was on disk arrived; only the one that was open is gone. The last start,
    // which only sends, closes one of its own.
    let arrived_windows = windows.len() as u64 - 1;
    assert!(
        arrived_windows >= kept,
        "{arrived_windows} of {kept} kept windows arrived"
    );
    let sequences = |boot: &str| -> Vec<u64> {
        let of = windows.keys().filter(|(owner, _)| owner == boot);
        of.map(|(_, sequence)| *sequence).collect()
    };
    let boots: std::collections::BTreeSet<_> = windows.keys().map(|(boot, _)| boot).collect();
    for boot in boots {
        let found = sequences(boot);
        let wanted: Vec<u64> = (1..=found.len() as u64).collect();
        assert_eq!(found, wanted, "a window in the middle of {boot} is missing");
    }
    eprintln!("{kills} kills: {kept} windows kept, {arrived_windows} arrived");
    eprintln!("{printed} inferences printed, {arrived} arrived");
    assert!(arrived > 0 && kept > 0);
}
