//! What strangers try: hostile folders, hostile replies, and options that meet for the first time.
//! In: a line in a bad place. Out: windows that are kept, starts and ends that come.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use fathomline_edge::{Builder, Fathomline, FinishReason, Model, Operation, Waiting};

const FLUSH: Duration = Duration::from_secs(5);

/// Far above what anything here takes on a slow machine.
const HANGS: Duration = Duration::from_secs(30);

fn builder(spool: &Path) -> Builder {
    Fathomline::builder("assistant", "1.4.0")
        .endpoint("http://127.0.0.1:1")
        .without_energy()
        .spool(spool)
}

/// Answers every request with these bytes, then with as many of `drip` as anybody takes.
fn server(reply: &'static str, drip: &'static [u8]) -> (String, Arc<Mutex<Vec<usize>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let bodies = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let bodies = Arc::clone(&bodies);
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.unwrap());
                loop {
                    let mut length = 0;
                    loop {
                        let mut line = String::new();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 {
                            return;
                        }
                        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length: ")
                        {
                            length = n.trim().parse().unwrap();
                        }
                        if line == "\r\n" {
                            break;
                        }
                    }
                    let mut body = vec![0; length];
                    if reader.read_exact(&mut body).is_err() {
                        return;
                    }
                    bodies.lock().unwrap().push(length);
                    if reader.get_mut().write_all(reply.as_bytes()).is_err() {
                        return;
                    }
                    while !drip.is_empty() && reader.get_mut().write_all(drip).is_ok() {}
                }
            });
        }
    });
    (endpoint, seen)
}

fn within<T: Send + 'static>(
    limit: Duration,
    act: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, wait) = mpsc::channel();
    thread::spawn(move || done.send(act()));
    wait.recv_timeout(limit).ok()
}

#[test]
fn a_shutdown_without_time_keeps_the_last_window() {
    let mut lost = 0;
    for _ in 0..10 {
        let spool = tempfile::tempdir().unwrap();
        let line = builder(spool.path()).start().unwrap();
        thread::sleep(Duration::from_millis(50));
        drop(line.operation(Operation::Chat));
        line.shutdown(Duration::ZERO);
        thread::sleep(Duration::from_millis(300));
        lost += usize::from(Waiting::in_spool(spool.path()).unwrap().is_empty());
    }
    assert_eq!(lost, 0, "of 10 lines");
}

#[test]
fn a_captive_portal_is_no_collector() {
    for status in ["200 OK", "400 Bad Request"] {
        let page = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\nlogin"
        );
        let (endpoint, _) = server(page.leak(), b"");
        let spool = tempfile::tempdir().unwrap();
        let line = builder(spool.path()).endpoint(endpoint).start().unwrap();
        drop(line.operation(Operation::Chat));
        let health = line.shutdown(FLUSH);
        assert_eq!(health.windows_waiting, 1, "{status}: {health:?}");
    }
}

#[test]
fn a_release_larger_than_a_day_goes_out_all_the_same() {
    let (endpoint, seen) = server("HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n", b"");
    let spool = tempfile::tempdir().unwrap();
    let line = builder(spool.path())
        .endpoint(endpoint)
        .window(Duration::from_millis(200))
        .daily_bytes(16 * 1024)
        .start()
        .unwrap();
    // What an application with many models and operations says in a window.
    for n in 0..20 {
        line.switch_model(Model::new("assistant", format!("{n}")))
            .unwrap();
        for operation in [
            Operation::Chat,
            Operation::TextCompletion,
            Operation::GenerateContent,
        ] {
            let mut op = line.operation(operation);
            for token in 0..20u32 {
                op.observe_logits(&[0.1, 2.0, token as f32], token % 3);
            }
            op.finish(FinishReason::Stop);
        }
    }
    thread::sleep(Duration::from_secs(2));
    let sent = seen.lock().unwrap().clone();
    assert!(!sent.is_empty(), "nothing left the device");
}

#[test]
fn hostile_notes_stop_no_start() {
    for note in [
        "detector",
        "probes",
        "installation",
        "attempted",
        "cursor",
        "parts",
        "privacy.json",
        "bytes-sent.json",
        "0000000000000001.spool",
    ] {
        let spool = tempfile::tempdir().unwrap();
        let path = spool.path().join(note);
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let folder = spool.path().to_owned();
        let started = within(HANGS, move || {
            let line = builder(&folder).noise(10.0, 10).start();
            line.map(drop).map_err(|e| e.to_string())
        });
        let folder = spool.path().to_owned();
        let looked = within(HANGS, move || {
            Waiting::in_spool(folder)
                .map(|w| w.len())
                .map_err(|e| e.to_string())
        });
        assert!(started.is_some() && looked.is_some(), "{note}");
    }
}

#[test]
fn a_file_of_the_largest_number_is_no_panic() {
    let spool = tempfile::tempdir().unwrap();
    fs::create_dir(spool.path().join("18446744073709551615.spool")).unwrap();
    builder(spool.path()).start().map(drop).unwrap();
}

#[test]
fn a_cursor_of_the_largest_number_is_no_panic() {
    let spool = tempfile::tempdir().unwrap();
    fs::write(spool.path().join("cursor"), format!("{} 0\n", u64::MAX - 1)).unwrap();
    let line = builder(spool.path()).start().unwrap();
    assert_eq!(line.shutdown(FLUSH).windows_waiting, 1);
}

#[test]
fn one_strange_file_hides_no_window() {
    let spool = tempfile::tempdir().unwrap();
    builder(spool.path())
        .start()
        .unwrap()
        .shutdown(Duration::from_millis(300));
    fs::create_dir(spool.path().join("0000000000000099.spool")).unwrap();
    let seen = Waiting::in_spool(spool.path())
        .map(|w| w.len())
        .map_err(|e| e.to_string());
    assert_eq!(seen, Ok(1));
}

#[test]
fn garbage_is_scanned_in_bounded_time() {
    let spool = tempfile::tempdir().unwrap();
    // Every byte begins a length that fits and is wrong.
    let half = 1u32 << 19;
    let garbage: Vec<u8> = half
        .to_le_bytes()
        .into_iter()
        .cycle()
        .take(1 << 20)
        .collect();
    fs::write(spool.path().join("0000000000000001.spool"), garbage).unwrap();
    let folder = spool.path().to_owned();
    let started = within(HANGS, move || builder(&folder).start().map(drop).unwrap());
    assert!(started.is_some());
}

#[test]
fn endless_replies_hold_up_nobody() {
    for (reply, drip) in [
        ("HTTP/1.1 200 x\r\n\r\n", &b"xxxxxxxxxxxxxxxx"[..]),
        ("HTTP/1.1 200 x\r\n", &b"a: b\r\n"[..]),
        (
            "HTTP/1.1 503 x\r\nretry-after: 99999999999999999999\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 0\r\n\r\n",
            b"",
        ),
        (
            "HTTP/1.1 200 x\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nfathomline-pace-milliseconds: 18446744073709551615\r\ncontent-length: 0\r\n\r\n",
            b"",
        ),
        (
            "HTTP/1.1 200 x\r\ndate: Thu, 31 Dec 9999 23:59:60 GMT\r\ncontent-length: 0\r\n\r\n",
            b"",
        ),
        ("HTTP/1.1 101 x\r\n\r\n", b""),
        ("HTTP/1.1 100 x\r\n\r\n", &b"HTTP/1.1 100 x\r\n\r\n"[..]),
        ("\r\n", b""),
    ] {
        let (endpoint, _) = server(reply, drip);
        let spool = tempfile::tempdir().unwrap();
        let line = builder(spool.path()).endpoint(endpoint).start().unwrap();
        let ended = within(HANGS, move || line.shutdown(Duration::from_secs(2)));
        assert!(ended.is_some(), "{reply:?}");
    }
}

#[test]
fn the_part_of_a_window_is_no_header_of_the_application() {
    let spool = tempfile::tempdir().unwrap();
    assert!(
        builder(spool.path())
            .header("fathomline-part", "7")
            .start()
            .is_err()
    );
}

#[test]
fn what_was_learned_survives_a_start_without_the_folder() {
    let spool = tempfile::tempdir().unwrap();
    let path = spool.path();
    let probing = |line: &Fathomline, logit: f32| {
        let mut probe = line.probe("capital").unwrap();
        probe.observe_logits(&[0.0, logit, 1.0], 1);
        probe.finish()
    };
    let line = builder(path).start().unwrap();
    assert_eq!(probing(&line, 3.0), None);
    line.shutdown(Duration::from_millis(300));
    let name = fs::read_to_string(path.join("installation")).unwrap();
    // The lock cannot be written for a while: a folder of another user, a read-only file system.
    fs::remove_file(path.join("lock")).unwrap();
    fs::create_dir(path.join("lock")).unwrap();
    let line = builder(path).start().unwrap();
    let distance = probing(&line, 9.0);
    line.shutdown(Duration::from_millis(300));
    assert!(distance.is_some(), "the golden is forgotten");
    assert_eq!(fs::read_to_string(path.join("installation")).unwrap(), name);
}

#[test]
fn a_test_of_sending_follows_no_link_in_a_shared_folder() {
    let shared = tempfile::tempdir().unwrap();
    let victim = shared.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    // Whoever may write to the folder for temporary files prepares every process id.
    let script = format!(
        "d={}/fathomline-send-test-$$; mkdir $d; ln -s {} $d/lock; exec {} send-test http://127.0.0.1:1",
        shared.path().display(),
        victim.display(),
        env!("CARGO_BIN_EXE_fathomline-edge"),
    );
    Command::new("sh")
        .args(["-c", &script])
        .env("TMPDIR", shared.path())
        .output()
        .unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

#[test]
fn disabled_lines_count_nothing() {
    let spool = tempfile::tempdir().unwrap();
    let line = builder(&spool.path().join("none"))
        .noise(10.0, 10)
        .detector(1.0)
        .projections(1, 4)
        .disabled()
        .start()
        .unwrap();
    for logit in [3.0f32, 9.0] {
        let mut probe = line.probe("capital").unwrap();
        probe.observe_logits(&[0.0, logit, 1.0], logit as u32);
    }
    let health = line.shutdown(FLUSH);
    assert_eq!(health.probes_mismatched, 0);
    assert!(!spool.path().join("none").exists());
}

#[test]
fn one_inference_tells_its_share_once() {
    let spool = tempfile::tempdir().unwrap();
    let line = builder(spool.path())
        .labels(["open"])
        .noise(19.0 * 10.0, 10)
        .noised_metrics(["fathomline.output.label"])
        .start()
        .unwrap();
    let mut op = line.operation(Operation::Chat);
    (0..5).for_each(|_| op.label("open"));
    op.finish(FinishReason::Stop);
    line.shutdown(Duration::from_millis(300));
    let ledger = fs::read_to_string(spool.path().join("privacy.json")).unwrap();
    let ledger: serde_json::Value = serde_json::from_str(&ledger).unwrap();
    let share = ledger["terms"]["epsilon_of_an_inference"].as_f64().unwrap() * 1e6;
    let spent = ledger["spent"][0][1].as_f64().unwrap();
    assert!(
        spent <= share,
        "one inference told {} shares",
        spent / share
    );
}
