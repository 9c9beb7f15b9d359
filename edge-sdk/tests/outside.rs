//! The SDK from outside: an application on one side, a collector's door on the other. Proves what
//! leaves and what happens when the door misbehaves; that the real collector understands it is
//! proven in the workspace's system tests.
#![allow(clippy::unwrap_used)]

#[path = "outside/arrived.rs"]
mod arrived;
#[cfg(feature = "otel-bridge")]
#[path = "outside/bridge.rs"]
mod bridge;
#[path = "outside/energy.rs"]
mod energy;
#[path = "outside/relay.rs"]
mod relay;
#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "outside/server.rs"]
mod server;

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use arrived::{metrics, total};
use fathomline_edge::{Builder, Fathomline, Feedback, FinishReason, Operation};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use server::{Reply, Request, Server};

const FLUSH: Duration = Duration::from_secs(10);

fn builder(server: &Server, spool: &Path) -> Builder {
    Fathomline::builder("assistant", "1.4.0")
        .endpoint(&server.endpoint)
        .spool(spool)
        .window(Duration::from_millis(100))
        .labels(["set_target", "report"])
}

fn infer(line: &Fathomline) {
    let mut op = line.operation(Operation::Chat);
    op.prompt_tokens(3);
    op.observe_prompt(&[0.0, 1.0], 0);
    op.observe_logits(&[0.0, 2.0, -1.0], 1);
    op.observe_logits(&[0.0, 2.0, -1.0], 0);
    op.finish(FinishReason::Stop);
}

fn span(request: &Request) -> (u64, u64, u64) {
    for metric in metrics(request) {
        if metric.name == "fathomline.output.surprisal" {
            let Some(Data::ExponentialHistogram(data)) = metric.data else {
                panic!()
            };
            let point = &data.data_points[0];
            return (
                request.sequence(),
                point.start_time_unix_nano,
                point.time_unix_nano,
            );
        }
    }
    panic!("window {} has no surprisal", request.sequence());
}

#[test]
fn every_inference_arrives_once_under_a_full_identity() {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    let line = builder(&server, spool.path())
        .token("t0k")
        .installation("kiosk-7")
        .every_nth_prompt(1)
        .start()
        .unwrap();
    for _ in 0..5 {
        infer(&line);
        thread::sleep(Duration::from_millis(60));
    }
    let health = line.shutdown(FLUSH);
    let requests = server.requests();
    assert_eq!(
        (health.windows_waiting, health.windows_stored),
        (0, requests.len() as u64)
    );
    for name in [
        "gen_ai.client.operation.duration",
        "gen_ai.server.time_to_first_token",
        "gen_ai.server.time_per_output_token",
        "gen_ai.client.inference.operation.input_tokens",
        "gen_ai.client.inference.operation.output_tokens",
        "fathomline.output.surprisal",
        "fathomline.output.entropy",
        "fathomline.output.uncertainty",
        "fathomline.output.margin",
        "fathomline.input.surprisal",
        "fathomline.output.finish",
    ] {
        assert_eq!(total(&requests, name), 5, "{name}");
    }
    for (index, request) in requests.iter().enumerate() {
        assert!(
            request.line.starts_with("POST /v1/metrics HTTP/1.1"),
            "{}",
            request.line
        );
        assert_eq!(request.sequence(), index as u64 + 1);
        assert_eq!(request.headers["fathomline-installation"], "kiosk-7");
        assert_eq!(request.headers["authorization"], "Bearer t0k");
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        assert!(
            request.headers["fathomline-clock-unix-nano"]
                .parse::<u64>()
                .unwrap()
                > 0
        );
    }
}

#[test]
fn a_gateway_gets_its_own_path_and_headers() {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    let line = builder(&server, spool.path())
        .metrics_endpoint(format!("{}/tenants/7/in", server.endpoint))
        .header("X-Tenant", "seven")
        .token("t0k")
        .start()
        .unwrap();
    infer(&line);
    let health = line.shutdown(FLUSH);
    assert_eq!(health.windows_waiting, 0);
    let requests = server.requests();
    assert!(!requests.is_empty());
    for request in requests {
        assert!(
            request.line.starts_with("POST /tenants/7/in "),
            "{}",
            request.line
        );
        assert_eq!(request.headers["x-tenant"], "seven");
        assert_eq!(request.headers["authorization"], "Bearer t0k");
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
    }
}

#[test]
fn an_asynchronous_application_ends_cleanly_and_loses_nothing() {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    let line = builder(&server, spool.path()).start().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let health = runtime.unwrap().block_on(async {
        let line = std::sync::Arc::new(line);
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let line = std::sync::Arc::clone(&line);
            requests.spawn_blocking(move || infer(&line));
        }
        requests.join_all().await;
        let line = std::sync::Arc::into_inner(line).unwrap();
        let end = tokio::task::spawn_blocking(move || line.shutdown(FLUSH));
        end.await.unwrap()
    });
    assert_eq!(health.windows_waiting, 0);
    assert_eq!(total(&server.requests(), "fathomline.output.finish"), 20);
}

#[test]
fn windows_of_a_boot_are_contiguous() {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    let line = builder(&server, spool.path()).start().unwrap();
    let end = Instant::now() + Duration::from_millis(1_000);
    while Instant::now() < end {
        infer(&line);
        thread::sleep(Duration::from_millis(5));
    }
    let health = line.shutdown(FLUSH);
    assert_eq!(health.windows_waiting, 0);
    // The last window is as short as the shutdown makes it and may be empty.
    let requests = server.requests();
    let spans: Vec<_> = requests[..requests.len() - 1].iter().map(span).collect();
    assert!(spans.len() >= 5, "{spans:?}");
    for pair in spans.windows(2) {
        assert_eq!(pair[1].0, pair[0].0 + 1);
        assert_eq!(pair[1].1, pair[0].2, "a gap or an overlap in {spans:?}");
        assert!(pair[0].2 > pair[0].1);
    }
}

#[test]
fn a_busy_collector_is_given_the_time_it_asks_for() {
    let busy = Reply::Status(503, "retry-after: 1\r\n");
    let (server, spool) = (Server::start([busy]), tempfile::tempdir().unwrap());
    let line = builder(&server, spool.path()).start().unwrap();
    infer(&line);
    let requests = server.wait_for(2);
    assert!(requests[1].at - requests[0].at >= Duration::from_secs(1));
    assert_eq!(
        requests[0].body, requests[1].body,
        "a resent window was changed"
    );
    assert_eq!(requests[1].sequence(), 1);
    assert_eq!(line.shutdown(FLUSH).windows_waiting, 0);
}

#[test]
fn doubt_keeps_every_window() {
    let doubts = [401, 403, 404, 408, 500].map(|status| Reply::Status(status, ""));
    let (server, spool) = (Server::start(doubts), tempfile::tempdir().unwrap());
    let line = builder(&server, spool.path()).start().unwrap();
    infer(&line);
    let requests = server.wait_for(6);
    assert!(requests[..6].iter().all(|request| request.sequence() == 1));
    let health = line.shutdown(FLUSH);
    assert_eq!((health.windows_waiting, health.windows_refused), (0, 0));
    assert_eq!(
        total(&server.requests()[5..], "fathomline.output.surprisal"),
        1
    );
}

#[test]
fn a_refusal_for_good_is_set_aside_and_the_rest_goes_on() {
    let refusals = [Reply::Status(409, ""), Reply::Status(400, "")];
    let (server, spool) = (Server::start(refusals), tempfile::tempdir().unwrap());
    let line = builder(&server, spool.path()).start().unwrap();
    let requests = server.wait_for(4);
    let sequences: Vec<_> = requests.iter().map(Request::sequence).collect();
    assert_eq!(sequences[..4], [1, 2, 3, 4]);
    let health = line.shutdown(FLUSH);
    assert_eq!((health.windows_refused, health.windows_waiting), (2, 0));
    let aside = std::fs::read_dir(spool.path().join("aside")).unwrap();
    let mut kept: Vec<_> = aside
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect();
    kept.sort();
    let mut refused = vec![requests[0].body.clone(), requests[1].body.clone()];
    refused.sort();
    assert_eq!(kept, refused);
}

#[test]
fn a_black_hole_holds_up_neither_inference_nor_windows_nor_the_end() {
    let (server, spool) = (
        Server::start([Reply::Silence]),
        tempfile::tempdir().unwrap(),
    );
    let line = builder(&server, spool.path()).start().unwrap();
    server.wait_for(1);
    let began = Instant::now();
    for _ in 0..1_000 {
        infer(&line);
    }
    // Whoever waited for an upload into the hole would wait for ten seconds.
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    while line.health().windows_waiting < 3 {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "windows do not close"
        );
        thread::sleep(Duration::from_millis(20));
    }
    let began = Instant::now();
    let health = line.shutdown(Duration::from_millis(200));
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    assert!(health.windows_waiting >= 3);

    // The next start sends what waits, under the boot that recorded it.
    let next = Server::start([]);
    let line = builder(&next, spool.path()).start().unwrap();
    assert_eq!(line.shutdown(FLUSH).windows_waiting, 0);
    let (old, requests) = (server.requests(), next.requests());
    assert_eq!(requests[0].body, old[0].body);
    assert_eq!(requests[0].boot(), old[0].boot());
    assert_eq!(total(&requests, "fathomline.output.surprisal"), 1_000);
    let boots: Vec<_> = requests.iter().map(Request::boot).collect();
    assert_ne!(boots[0], *boots.last().unwrap());
    assert!(
        boots.is_sorted_by_key(|boot| *boot != boots[0]),
        "boots are mixed: {boots:?}"
    );
    assert_eq!(requests.last().unwrap().sequence(), 1);
}

#[test]
fn a_collector_that_is_away_costs_nothing_but_time() {
    let spool = tempfile::tempdir().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let offline = Fathomline::builder("assistant", "1.4.0")
        .endpoint(endpoint)
        .spool(spool.path());
    let line = offline.window(Duration::from_millis(100)).start().unwrap();
    infer(&line);
    thread::sleep(Duration::from_millis(350));
    assert!(line.shutdown(Duration::from_secs(1)).windows_waiting >= 3);
    let server = Server::start([]);
    let line = builder(&server, spool.path()).start().unwrap();
    assert_eq!(line.shutdown(FLUSH).windows_waiting, 0);
    assert_eq!(total(&server.requests(), "fathomline.output.surprisal"), 1);
}

#[test]
fn feedback_may_come_after_the_end_and_belongs_to_its_model() {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    let line = builder(&server, spool.path()).start().unwrap();
    let finished = line.operation(Operation::Chat).finish(FinishReason::Length);
    line.switch_model(fathomline_edge::Model::new("assistant", "2.0.0"))
        .unwrap();
    infer(&line);
    server.wait_for(2);
    finished.feedback(Feedback::Edited);
    line.shutdown(FLUSH);
    let requests = server.requests();
    assert_eq!(total(&requests, "fathomline.feedback"), 1);
    let late = requests
        .iter()
        .flat_map(metrics)
        .find(|m| m.name == "fathomline.feedback")
        .unwrap();
    let Some(Data::Sum(late)) = late.data else {
        panic!()
    };
    let said = format!("{:?}", late.data_points[0].attributes);
    assert!(
        said.contains("\"1.4.0\"") && said.contains("\"edited\""),
        "{said}"
    );
}

#[test]
fn no_text_of_a_user_is_in_any_byte_that_leaves_or_rests() {
    let (server, spool) = (
        Server::start([Reply::Status(409, "")]),
        tempfile::tempdir().unwrap(),
    );
    let line = builder(&server, spool.path()).start().unwrap();
    let canaries: Vec<String> = (0..200)
        .map(|n| format!("canary-{n}-of-the-mine"))
        .collect();
    for canary in &canaries {
        let mut op = line.operation(Operation::Chat);
        op.label(canary);
        op.label("report");
        op.prompt_text(canary);
        op.observe_logits(&[1.0, 2.0], canary.len() as u32);
    }
    line.shutdown(FLUSH);
    let requests = server.requests();
    let labels: u64 = total(&requests, "fathomline.output.label");
    assert_eq!(labels, 400);
    let characters: usize = canaries.iter().map(|canary| canary.chars().count()).sum();
    assert_eq!(
        total(&requests, "fathomline.input.script"),
        characters as u64
    );
    let mut bytes: Vec<u8> = requests.iter().flat_map(|r| r.body.clone()).collect();
    bytes.extend(
        requests
            .iter()
            .flat_map(|r| format!("{:?}", r.headers).into_bytes()),
    );
    collect(spool.path(), &mut bytes);
    let holds = |text: &str| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(
        holds("report") && holds("other"),
        "the search finds what is there"
    );
    assert!(!holds("canary") && !holds("of-the-mine"));
}

/// Bytes of every file below `folder`.
fn collect(folder: &Path, bytes: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, bytes);
        } else {
            bytes.extend(std::fs::read(path).unwrap());
        }
    }
}

#[test]
fn two_lines_never_share_a_spool() {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    let line = builder(&server, spool.path()).start().unwrap();
    let second = builder(&server, spool.path())
        .start()
        .unwrap_err()
        .to_string();
    assert!(second.contains("another line holds it"), "{second}");
    drop(line);
    builder(&server, spool.path()).start().unwrap();
}

#[test]
fn many_lines_live_in_one_program() {
    let (server, folder) = (Server::start([]), tempfile::tempdir().unwrap());
    let start = |n: usize| {
        let line = builder(&server, &folder.path().join(n.to_string()));
        line.installation(format!("device-{n}")).start().unwrap()
    };
    let lines: Vec<_> = (0..36).map(start).collect();
    thread::scope(|scope| {
        for line in &lines {
            scope.spawn(|| (0..50).for_each(|_| infer(line)));
        }
    });
    for line in lines {
        assert_eq!(line.shutdown(FLUSH).windows_waiting, 0);
    }
    let requests = server.requests();
    for n in 0..36 {
        let own = |r: &&Request| r.headers["fathomline-installation"] == format!("device-{n}");
        let own: Vec<_> = requests.iter().filter(own).cloned().collect();
        assert_eq!(total(&own, "fathomline.output.surprisal"), 50, "device {n}");
    }
}

#[test]
fn a_spent_day_costs_no_more_bytes_and_no_counts_however_often_a_line_restarts() {
    const LIMIT: u64 = 16 * 1024;
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    for _ in 0..12 {
        let line = builder(&server, spool.path()).daily_bytes(LIMIT);
        let line = line.start().unwrap();
        infer(&line);
        line.shutdown(FLUSH);
    }
    let requests = server.requests();
    let bytes: usize = requests.iter().map(|request| request.body.len()).sum();
    assert!(bytes as u64 <= LIMIT && requests.len() > 1, "{bytes} bytes");
    // The others wait in the spool for another day, and nothing is lost.
    let waiting = fathomline_edge::Waiting::in_spool(spool.path()).unwrap();
    assert_eq!(requests.len() + waiting.len(), 12);
    let waiting = waiting.into_iter().map(|window| Request {
        body: window.body,
        ..requests[0].clone()
    });
    let all: Vec<Request> = requests.iter().cloned().chain(waiting).collect();
    assert_eq!(total(&all, "fathomline.output.finish"), 12);
    // The account outlives the process.
    let account = std::fs::read_to_string(spool.path().join("bytes-sent.json")).unwrap();
    assert!(account.contains(&format!(",{bytes}]")), "{account} {bytes}");
}
