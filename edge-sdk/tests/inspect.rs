//! `fathomline-edge` against a real spool: what it shows is what the next upload carries.
#![allow(clippy::unwrap_used)]

#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "outside/server.rs"]
mod server;

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use fathomline_edge::{Fathomline, FinishReason, Operation, Waiting};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;
use server::Server;

fn edge(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fathomline-edge"));
    command.args(arguments).output().unwrap()
}

/// Leaves two windows of a boot whose collector was away.
fn leave_windows(spool: &Path) {
    for _ in 0..2 {
        let line = Fathomline::builder("assistant", "1.4.0")
            .endpoint("http://127.0.0.1:1")
            .installation("kiosk-7")
            .spool(spool)
            .start()
            .unwrap();
        let mut op = line.operation(Operation::Chat);
        op.prompt_text("canary-7f3a in a prompt");
        op.label("canary-7f3a");
        op.observe_logits(&[0.0, 2.0], 1);
        op.finish(FinishReason::Stop);
        line.shutdown(Duration::from_millis(10));
    }
}

#[test]
fn what_inspect_shows_is_what_the_next_upload_carries() {
    let spool = tempfile::tempdir().unwrap();
    let folder = spool.path().to_str().unwrap();
    leave_windows(spool.path());
    let raw = edge(&["inspect", folder, "--raw"]);
    let shown = edge(&["inspect", folder]);
    assert!(raw.status.success() && shown.status.success());
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown.lines().count(), 2);
    assert!(!shown.contains("canary"), "{shown}");
    let next = edge(&["inspect", folder, "--next"]).stdout;
    let next = String::from_utf8(next).unwrap();
    assert_eq!(
        next.lines().collect::<Vec<_>>(),
        [shown.lines().next().unwrap()]
    );
    let waiting = Waiting::in_spool(spool.path()).unwrap();

    let server = Server::start([]);
    let line = Fathomline::builder("assistant", "1.4.0")
        .endpoint(&server.endpoint)
        .spool(spool.path())
        .start()
        .unwrap();
    line.shutdown(Duration::from_secs(10));
    let requests = server.requests();
    assert_eq!(requests[0].body, raw.stdout);
    for (request, (waiting, shown)) in requests.iter().zip(waiting.iter().zip(shown.lines())) {
        assert_eq!(request.body, waiting.body);
        assert_eq!(request.boot(), waiting.identity.boot);
        let line: serde_json::Value = serde_json::from_str(shown).unwrap();
        assert_eq!(line["boot"], request.boot());
        assert_eq!(line["sequence"], request.sequence());
        assert_eq!(line["bytes"], request.body.len());
        let sent = ExportMetricsServiceRequest::decode(&request.body[..]).unwrap();
        // As text, because reading numbers from JSON may cost their last bit.
        let sent = serde_json::to_value(sent).unwrap();
        assert!(shown.contains(&format!("\"request\":{sent}")), "{shown}");
    }
    assert_eq!(edge(&["inspect", folder]).status.code(), Some(1));
    assert_eq!(edge(&["inspect", folder, "--raw"]).status.code(), Some(1));
}

#[test]
fn looking_changes_nothing_and_disturbs_nobody() {
    let spool = tempfile::tempdir().unwrap();
    let folder = spool.path().to_str().unwrap();
    leave_windows(spool.path());
    let _running = Fathomline::builder("assistant", "1.4.0")
        .endpoint("http://127.0.0.1:1")
        .spool(spool.path())
        .start()
        .unwrap();
    let before = Waiting::in_spool(spool.path()).unwrap();
    let status = edge(&["status", folder]);
    let said = String::from_utf8(status.stdout).unwrap();
    assert!(said.starts_with("2 windows wait, "), "{said}");
    for line in [
        "oldest   20",
        "newest   20",
        "longest  ",
        "lost     0",
        "merged   0",
    ] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
    assert!(edge(&["inspect", folder]).status.success());
    assert_eq!(Waiting::in_spool(spool.path()).unwrap(), before);
}

#[test]
fn a_test_upload_says_in_words_how_it_went() {
    let server = Server::start([]);
    let sent = edge(&["send-test", &server.endpoint]);
    assert!(sent.status.success(), "{sent:?}");
    assert!(
        String::from_utf8(sent.stdout)
            .unwrap()
            .contains("stored one empty window")
    );
    assert_eq!(server.requests().len(), 1);
    for (status, words) in [
        (401, "FATHOMLINE_TOKEN"),
        (404, "/v1/metrics"),
        (413, "smaller"),
    ] {
        let server = Server::start([]);
        server.otherwise(server::Reply::Status(status, ""));
        let sent = edge(&["send-test", &server.endpoint]);
        let said = String::from_utf8(sent.stdout).unwrap();
        assert!(said.contains(words), "{status}: {said}");
        assert_eq!(sent.status.code(), Some(1));
    }
    let sent = edge(&["send-test", "http://127.0.0.1:1"]);
    let said = String::from_utf8(sent.stdout).unwrap();
    assert!(said.contains("nothing listens on 127.0.0.1:1"), "{said}");
    let server = Server::start([server::Reply::Status(401, "")]);
    let sent = edge(&["send-test", &server.endpoint, "--token-env", "KIOSK_TOKEN"]);
    let said = String::from_utf8(sent.stdout).unwrap();
    assert!(said.contains("set KIOSK_TOKEN"), "{said}");
    assert_eq!(edge(&["send-test", "nonsense"]).status.code(), Some(2));
    assert_eq!(edge(&[]).status.code(), Some(2));
    assert_eq!(edge(&["inspect", "/no/such/folder"]).status.code(), Some(2));
}

#[test]
fn status_says_what_the_day_has_cost_in_bytes_and_in_epsilon() {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    let line = Fathomline::builder("assistant", "1.4.0")
        .endpoint(&server.endpoint)
        .spool(spool.path())
        .metered()
        .noise(240.0, 60)
        .start()
        .unwrap();
    (0..3).for_each(|_| drop(line.operation(Operation::Chat)));
    line.shutdown(Duration::from_secs(10));
    let status = edge(&["status", spool.path().to_str().unwrap()]);
    // Nothing waits any more.
    assert_eq!(status.status.code(), Some(1));
    let said = String::from_utf8(status.stdout).unwrap();
    let bytes: usize = server.requests().iter().map(|r| r.body.len()).sum();
    for wanted in [
        format!("bytes    {bytes} of 65536 sent in the day from 20"),
        // Three inferences of six metrics.
        "epsilon  11.999988 of 239.99976 spent in the day from 20".to_owned(),
        "noise    event-level epsilon 3.999996, device-day 239.99976 (60 inferences)".to_owned(),
    ] {
        assert!(said.contains(&wanted), "{wanted} is not in {said}");
    }
}
