//! A disk that takes no more bytes. The test runs itself as the application, under a limit on the
//! size of files that cuts writes off in the middle, while the collector is away; then the
//! collector comes back. Everything arrives, what the disk has taken and what it has not.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "outside/server.rs"]
mod server;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use fathomline_edge::{Fathomline, FinishReason, Operation, Waiting};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{metric::Data, number_data_point::Value},
};
use prost::Message;
use server::{Reply, Server};

/// Not a test: what runs under the limit. Infers until its input ends, and says after each
/// inference how many windows the disk would not take.
#[test]
fn application() {
    let (Ok(spool), Ok(endpoint)) = (std::env::var("FULL_SPOOL"), std::env::var("FULL_AT")) else {
        return;
    };
    let line = Fathomline::builder("m", "1")
        .spool(spool)
        .endpoint(endpoint)
        .window(Duration::from_millis(100))
        .start()
        .unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let ending = Arc::clone(&over);
    thread::spawn(move || {
        std::io::stdin().read_to_end(&mut vec![]).unwrap();
        ending.store(true, Ordering::Relaxed);
    });
    let say = |line: String| writeln!(std::io::stdout().lock(), "{line}").unwrap();
    let mut inferred = 0;
    while !over.load(Ordering::Relaxed) {
        let mut op = line.operation(Operation::Chat);
        op.observe_logits(&[0.0, 1.0], 1);
        op.finish(FinishReason::Stop);
        inferred += 1;
        say(format!("memory {}", line.health().windows_in_memory));
        thread::sleep(Duration::from_millis(5));
    }
    let health = line.shutdown(Duration::from_secs(60));
    assert_eq!((health.windows_waiting, health.windows_dropped), (0, 0));
    say(format!("inferred {inferred}"));
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
fn a_full_disk_costs_no_window_while_the_application_lives() {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    server.otherwise(Reply::Status(503, ""));
    // An ignored signal stays ignored, and then a write beyond the limit fails like a full disk.
    let limited = "trap '' XFSZ; ulimit -f 32; exec \"$0\" application --exact --nocapture";
    let mut child = Command::new("sh")
        .args(["-c", limited])
        .arg(std::env::current_exe().unwrap())
        .env("FULL_SPOOL", spool.path())
        .env("FULL_AT", &server.endpoint)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let number = |line: &str, word: &str| line.split_once(word)?.1.trim().parse::<u64>().ok();
    let in_memory = said
        .by_ref()
        .find_map(|line| number(&line, "memory ").filter(|windows| *windows >= 5));
    assert!(in_memory.is_some(), "the application ended on its own");
    let on_disk = Waiting::in_spool(spool.path()).unwrap();
    assert!(
        !on_disk.is_empty(),
        "the disk took windows until it was full"
    );
    server.otherwise(Reply::Status(200, ""));
    drop(child.stdin.take());
    let inferred = said.find_map(|line| number(&line, "inferred ")).unwrap();
    assert!(child.wait().unwrap().success());

    let mut windows: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for request in server.requests() {
        let body = windows
            .entry(request.sequence())
            .or_insert_with(|| request.body.clone());
        assert_eq!(*body, request.body, "window {}", request.sequence());
    }
    let sequences: Vec<u64> = windows.keys().copied().collect();
    assert_eq!(sequences, (1..=windows.len() as u64).collect::<Vec<_>>());
    let arrived: u64 = windows.values().map(|body| inferences(body)).sum();
    assert_eq!(arrived, inferred);
}
