//! What a line watches on the device, from outside: alarms of the detector and outcomes of golden
//! probes arrive at the collector's door, and nothing else of them does.
#![allow(clippy::unwrap_used)]

#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "outside/server.rs"]
mod server;

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use fathomline_edge::{Builder, Fathomline, FinishReason, Operation};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::any_value,
    metrics::v1::{Metric, metric::Data, number_data_point::Value},
};
use prost::Message;
use server::{Request, Server};

const PLENTY: Duration = Duration::from_secs(60);

fn builder(server: &Server, spool: &Path) -> Builder {
    Fathomline::builder("assistant", "1.4.0")
        .endpoint(&server.endpoint)
        .spool(spool)
        .window(Duration::from_millis(100))
        .without_energy()
}

/// One greedy token whose surprisal goes through a fixed cycle; confident logits make it lower.
fn infer(line: &Fathomline, n: u32, confidence: f32) {
    let mut op = line.operation(Operation::Chat);
    op.prompt_tokens(12);
    op.greedy(&[confidence + (n * 37 % 101) as f32 / 101.0, 0.0, 0.0, 0.0]);
    op.finish(FinishReason::Stop);
}

/// As an application does: some inferences, then a pause.
fn infer_until(line: &Fathomline, confidence: f32, enough: impl Fn(u32) -> bool) -> u32 {
    let began = Instant::now();
    let mut n = 0;
    while !enough(n) {
        (0..32).for_each(|more| infer(line, n + more, confidence));
        n += 32;
        thread::sleep(Duration::from_millis(20));
        assert!(began.elapsed() < PLENTY, "nothing after {n} inferences");
    }
    n
}

fn metrics(requests: &[Request]) -> Vec<Metric> {
    let bodies = requests.iter().map(|request| &request.body[..]);
    let requests = bodies.map(|body| ExportMetricsServiceRequest::decode(body).unwrap());
    requests
        .flat_map(|request| request.resource_metrics[0].scope_metrics[0].metrics.clone())
        .collect()
}

/// Counts of a counter by the value of its last attribute.
fn counts(metrics: &[Metric], name: &str) -> Vec<(String, i64)> {
    let of_name = metrics.iter().filter(|metric| metric.name == name);
    let points = of_name.flat_map(|metric| match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.clone(),
        other => panic!("{name} is {other:?}"),
    });
    points
        .map(|point| {
            let last = point.attributes.last().unwrap();
            let text = match &last.value.as_ref().unwrap().value {
                Some(any_value::Value::StringValue(text)) => text.clone(),
                other => panic!("{other:?}"),
            };
            match point.value {
                Some(Value::AsInt(count)) => (text, count),
                other => panic!("{other:?}"),
            }
        })
        .collect()
}

/// Counts and sums of a distribution.
fn distributions(metrics: &[Metric], name: &str) -> Vec<(u64, f64)> {
    let of_name = metrics.iter().filter(|metric| metric.name == name);
    let points = of_name.flat_map(|metric| match &metric.data {
        Some(Data::ExponentialHistogram(data)) => data.data_points.clone(),
        other => panic!("{name} is {other:?}"),
    });
    points
        .map(|point| (point.count, point.sum.unwrap()))
        .collect()
}

#[test]
fn an_alarm_arrives_under_its_signal_measured_by_what_was_learned_before_a_restart() {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    let watched = |spool| {
        let line = builder(&server, spool).detector(1.0);
        line.detector_reference(256, Duration::ZERO)
            .start()
            .unwrap()
    };
    let line = watched(spool.path());
    // Readings beyond what a shard holds are left out, so that it takes what it takes.
    infer_until(&line, 1.0, |n| n >= 3_000);
    let health = line.shutdown(PLENTY);
    assert_eq!(health.alarms, 0);
    // All but repetition, of which one token has none, and the surprisal of prompts nobody gave.
    assert_eq!(health.signals_watched, 7);
    assert!(counts(&metrics(&server.requests()), "fathomline.device.alarm").is_empty());

    // The reference is there after a restart: what is new is not taken for what is usual.
    let line = watched(spool.path());
    let alarmed = |_| line.health().alarms > 0;
    let inferences = infer_until(&line, 3.0, alarmed);
    let health = line.shutdown(PLENTY);
    let arrived = counts(&metrics(&server.requests()), "fathomline.device.alarm");
    eprintln!("alarm within {inferences} inferences of the restart: {arrived:?}");
    let sum: i64 = arrived.iter().map(|(_, count)| count).sum();
    assert_eq!(u64::try_from(sum).unwrap(), health.alarms);
    for (signal, _) in &arrived {
        let known = ["surprisal", "entropy", "uncertainty", "margin"];
        assert!(known.contains(&signal.as_str()), "{signal}");
    }
}

#[test]
fn outcomes_of_probes_arrive_and_count_as_no_inference() {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    let line = builder(&server, spool.path()).start().unwrap();
    let run = |token| {
        let mut probe = line.probe("capital").unwrap();
        (0..5).for_each(|_| probe.observe_logits(&[0.5, 2.0, -1.0], token));
        probe.finish()
    };
    assert_eq!((run(1), run(1), run(0)), (None, Some(0.0), Some(0.0)));
    let health = line.shutdown(PLENTY);
    assert_eq!(health.probes_mismatched, 1);
    let metrics = metrics(&server.requests());
    let distances = distributions(&metrics, "fathomline.probe.distance");
    assert_eq!(distances.iter().map(|(count, _)| count).sum::<u64>(), 2);
    assert!(distances.iter().all(|(_, sum)| *sum == 0.0));
    let mismatches = counts(&metrics, "fathomline.probe.mismatch");
    assert_eq!(mismatches.iter().map(|(_, count)| count).sum::<i64>(), 1);
    assert!(metrics.iter().all(|metric| {
        !metric.name.starts_with("gen_ai.") && !metric.name.starts_with("fathomline.output")
    }));
    let bodies = server.requests().into_iter().flat_map(|r| r.body);
    let bodies: Vec<u8> = bodies.collect();
    assert!(!bodies.windows(7).any(|window| window == b"capital"));
}
