//! Doors that do not take a window as it is: too small for it, of another protocol, of a name that
//! nobody has. Proves that nothing is lost and nothing counts twice.
#![allow(clippy::unwrap_used)]

#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "outside/server.rs"]
mod server;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use fathomline_edge::{Builder, Fathomline, FinishReason, Operation};
use fathomline_wire::{identity, names};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{Metric, metric::Data, number_data_point::Value},
};
use prost::Message;
use server::{Reply, Request, Server};

const FLUSH: Duration = Duration::from_secs(20);

/// A window of a busy line is some KiB: this takes it in a few parts.
const SMALL: usize = 1_500;

fn builder(endpoint: &str, spool: &Path) -> Builder {
    Fathomline::builder("assistant", "1.4.0")
        .endpoint(endpoint)
        .spool(spool)
        .window(Duration::from_secs(3_600))
}

fn infer(line: &Fathomline) {
    let mut op = line.operation(Operation::Chat);
    op.prompt_tokens(3);
    op.observe_logits(&[0.0, 2.0, -1.0], 1);
    op.observe_logits(&[0.0, 2.0, -1.0], 0);
    op.finish(FinishReason::Stop);
}

fn metrics(body: &[u8]) -> Vec<Metric> {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    request.resource_metrics[0].scope_metrics[0].metrics.clone()
}

/// What a distribution counts in these bodies.
fn counted<'a>(bodies: impl IntoIterator<Item = &'a Vec<u8>>, name: &str) -> u64 {
    let metrics = bodies.into_iter().flat_map(|body| metrics(body));
    let counts = metrics
        .filter(|metric| metric.name == name)
        .map(|metric| match metric.data {
            Some(Data::ExponentialHistogram(data)) => data
                .data_points
                .iter()
                .map(|point| point.count)
                .sum::<u64>(),
            other => panic!("{name} is {other:?}"),
        });
    counts.sum::<u64>()
}

/// What a collector would have counted: one body for each identity that was answered with 200.
fn stored(requests: &[Request], limit: usize) -> BTreeMap<(String, u64), Vec<u8>> {
    let mut stored = BTreeMap::new();
    for request in requests.iter().filter(|r| r.body.len() <= limit) {
        let get = |name: &'static str| request.headers.get(name).map(String::as_str);
        let declared = identity::from_headers(get).unwrap().unwrap().identity;
        let key = (declared.boot, declared.sequence);
        let body = stored.entry(key).or_insert_with(|| request.body.clone());
        assert_eq!(*body, request.body, "one identity with two bodies");
    }
    stored
}

#[test]
fn a_window_too_large_for_the_door_arrives_in_parts_and_counts_once() {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    server.otherwise(Reply::UpTo(SMALL));
    let line = builder(&server.endpoint, spool.path()).start().unwrap();
    (0..7).for_each(|_| infer(&line));
    let health = line.shutdown(FLUSH);
    assert_eq!((health.windows_waiting, health.windows_stored), (0, 1));
    assert_eq!((health.windows_refused, health.windows_dropped), (0, 0));

    let requests = server.requests();
    assert!(requests[0].body.len() > SMALL, "the window would have fit");
    let stored = stored(&requests, SMALL);
    assert!(stored.len() > 1, "{stored:?}");
    let whole = metrics(&requests[0].body);
    let parts: Vec<Metric> = stored.values().flat_map(|body| metrics(body)).collect();
    let names = |metrics: &[Metric]| -> BTreeSet<String> {
        metrics.iter().map(|metric| metric.name.clone()).collect()
    };
    assert_eq!(names(&parts), names(&whole));
    for name in [names::OPERATION_DURATION, names::OUTPUT_SURPRISAL] {
        assert_eq!(counted(stored.values(), name), 7, "{name}");
    }
    // The window's own point is in the part that has no number.
    let own = |request: &&Request| {
        let all = metrics(&request.body);
        all.iter()
            .any(|metric| metric.name == names::WINDOW_SEQUENCE)
    };
    let numbered = |request: &&Request| request.headers.contains_key(names::HEADER_PART);
    assert!(
        requests
            .iter()
            .filter(own)
            .all(|request| !numbered(&request))
    );
    assert!(requests.iter().filter(numbered).count() > 0);
}

#[test]
fn a_restart_between_two_parts_goes_on_with_the_same_parts() {
    // Refuses the window and a half of it, takes a quarter, and is silent.
    let script = [413, 413, 200].map(|status| Reply::Status(status, ""));
    let (first, spool) = (Server::start(script), tempfile::tempdir().unwrap());
    first.otherwise(Reply::Silence);
    let line = builder(&first.endpoint, spool.path()).start().unwrap();
    (0..7).for_each(|_| infer(&line));
    let health = line.shutdown(Duration::from_secs(2));
    assert_eq!((health.windows_waiting, health.windows_stored), (1, 0));
    let before = first.requests();
    let quarter = before[2].body.clone();
    // What is shown as the next upload is the part that was under way.
    let shown = Command::new(env!("CARGO_BIN_EXE_fathomline-edge"))
        .args(["inspect", spool.path().to_str().unwrap(), "--raw"])
        .output()
        .unwrap();
    assert!(shown.stdout == before[3].body);

    // The next door takes everything: still, the window is not sent whole.
    let next = Server::start([]);
    let line = builder(&next.endpoint, spool.path()).start().unwrap();
    let health = line.shutdown(FLUSH);
    assert_eq!(health.windows_waiting, 0);
    let mut bodies: Vec<Vec<u8>> = vec![quarter];
    let old = |request: &&Request| request.boot() == before[0].boot();
    bodies.extend(next.requests().iter().filter(old).map(|r| r.body.clone()));
    for name in [names::OPERATION_DURATION, names::OUTPUT_SURPRISAL] {
        assert_eq!(counted(&bodies, name), 7, "{name}");
    }
    // The part whose answer never came is the same again.
    let asked_again = &before[3];
    let again = next.requests().into_iter().find(|request| {
        request.boot() == asked_again.boot()
            && request.headers.get(names::HEADER_PART)
                == asked_again.headers.get(names::HEADER_PART)
    });
    assert_eq!(again.unwrap().body, asked_again.body);
}

#[test]
fn what_no_part_fits_stays() {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    server.otherwise(Reply::UpTo(10));
    let line = builder(&server.endpoint, spool.path()).start().unwrap();
    infer(&line);
    let health = line.shutdown(FLUSH);
    assert_eq!((health.windows_waiting, health.windows_dropped), (1, 0));
    assert_eq!((health.windows_refused, health.last_status), (0, Some(413)));
}

/// Runs a line against a door that is none, and then against one that is.
fn nothing_is_lost_at(endpoint: &str) {
    let spool = tempfile::tempdir().unwrap();
    let line = builder(endpoint, spool.path())
        .window(Duration::from_millis(100))
        .start()
        .unwrap();
    let began = Instant::now();
    while line.health().windows_waiting < 3 {
        infer(&line);
        assert!(began.elapsed() < FLUSH, "windows do not close");
        thread::sleep(Duration::from_millis(10));
    }
    let health = line.shutdown(Duration::from_secs(5));
    assert_eq!((health.windows_stored, health.windows_dropped), (0, 0));
    assert_eq!((health.windows_refused, health.last_status), (0, None));
    let waiting = health.windows_waiting;

    let server = Server::start([]);
    let line = builder(&server.endpoint, spool.path()).start().unwrap();
    let health = line.shutdown(FLUSH);
    assert_eq!(
        (health.windows_waiting, health.windows_stored),
        (0, waiting + 1)
    );
}

#[test]
fn a_name_that_nobody_has_costs_no_window() {
    nothing_is_lost_at("http://no-such-collector.invalid:4318");
}

#[test]
fn a_door_that_speaks_no_tls_costs_no_window() {
    let server = Server::start([]);
    nothing_is_lost_at(&server.endpoint.replace("http://", "https://"));
}

#[test]
fn a_reply_that_says_its_time_shows_how_wrong_the_clock_is() {
    // A collector that lives in 1994.
    let dated = Reply::Status(200, "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    let (server, spool) = (Server::start([dated]), tempfile::tempdir().unwrap());
    let line = builder(&server.endpoint, spool.path())
        .window(Duration::from_millis(200))
        .start()
        .unwrap();
    let requests = server.wait_for(3);
    line.shutdown(FLUSH);
    let offset = |request: &Request| {
        let all = metrics(&request.body);
        let gauge = all.iter().find(|m| m.name == names::DEVICE_CLOCK_OFFSET)?;
        match &gauge.data {
            Some(Data::Gauge(data)) => match data.data_points[0].value {
                Some(Value::AsDouble(seconds)) => Some(seconds),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    let ours: f64 = requests[0].headers[names::HEADER_CLOCK].parse().unwrap();
    let wanted = 784_111_777.5 - ours / 1e9;
    // Which window says so depends on when the reply came; replies without a date say nothing.
    let said: Vec<f64> = server.requests().iter().filter_map(offset).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!((said[0] - wanted).abs() < 30.0, "{} and {wanted}", said[0]);
    assert_eq!(offset(&requests[0]), None);
}
