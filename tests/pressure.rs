//! Bounded, whoever sends: memory, connections and time have limits, whoever meets one is told when
//! to come back, and nobody holds a place for ever.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient,
};

use crate::harness::{
    books,
    clock::{eventually, now_us, until},
    device::{Device, Span, Window},
    door,
    fleet::Sent,
    house::{House, Settings},
};

fn house(config: &str) -> House {
    House::with(Settings {
        config: format!("[otlp]\n{config}\n"),
        ..Settings::default()
    })
}

fn good_window() -> Window {
    let end_us = now_us();
    let span = Span {
        start_us: end_us - 1_000_000,
        end_us,
    };
    Device::new(1).window(1, span, &[0.1, 0.2, 0.4])
}

fn still_counts(house: &House) {
    house.receive(&good_window());
    books::balance(
        house,
        Sent {
            windows: 1,
            records: 3,
        },
    );
}

fn connected(door: &str) -> TcpStream {
    let stream = TcpStream::connect(door.trim_start_matches("http://")).unwrap();
    // A test that would wait for ever fails instead.
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// A request that promises `length` bytes of body and brings some of them.
fn begun(house: &House, length: usize, brought: &[u8]) -> TcpStream {
    let mut stream = connected(&house.addresses().otlp_http);
    let head = format!(
        "POST /v1/metrics HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/x-protobuf\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(brought).unwrap();
    stream
}

fn rest(mut stream: TcpStream) -> String {
    let mut answer = vec![];
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_body_that_does_not_come_is_answered_and_its_connection_ends() {
    let house = house("body_timeout = \"200ms\"");
    let answer = rest(begun(&house, 1000, b"\x0a"));
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer:?}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer:?}");
    assert!(
        answer.contains("slow: the request did not arrive in time"),
        "{answer:?}"
    );
    still_counts(&house);
}

#[test]
fn a_silent_connection_ends_on_both_doors() {
    let house = house("idle_timeout = \"400ms\"");
    let doors = house.addresses();
    let silent = [&doors.otlp_http, &doors.otlp_grpc].map(|door| connected(door));
    let mut half = connected(&doors.otlp_http);
    half.write_all(b"POST /v1/metrics HTTP/1.1\r\nHost: localh")
        .unwrap();
    // The preface and empty settings of HTTP/2, and then no request.
    let mut calm = connected(&doors.otlp_grpc);
    calm.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    for stream in silent.into_iter().chain([half, calm]) {
        // Ends at all: reading would fail after its own limit.
        let mut last = vec![];
        let mut stream = stream;
        let read = stream.read_to_end(&mut last).map_err(|error| error.kind());
        assert!(
            !matches!(
                read,
                Err(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
            ),
            "{read:?}"
        );
    }
    still_counts(&house);
}

#[test]
fn who_holds_the_only_place_in_silence_loses_it() {
    let house = house("connections_max = 1\nidle_timeout = \"400ms\"");
    let silent = connected(&house.addresses().otlp_http);
    // Waits in the system's queue until the silent one is gone.
    still_counts(&house);
    drop(silent);
}

#[test]
fn without_memory_senders_are_told_when_to_come_back() {
    // A body in parts needs one to three times its size, by how the parts happen to come. These
    // sizes say the same for every split: either body fits alone, both never do.
    let house = house("memory_bytes = 13000000");
    // Holds most of the memory: a body that has come in part.
    let held = begun(&house, 4 << 20, &vec![0; 4_000_000]);
    let mut request = ExportMetricsServiceRequest::default();
    request
        .resource_metrics
        .push(Device::new(1).resource_metrics(vec![]));
    request.resource_metrics[0].schema_url = "x".repeat(2_000_000);
    // Few bytes on the way: who is refused while it still writes may never see the answer.
    let mut body = GzEncoder::new(vec![], Compression::best());
    let message = prost::Message::encode_to_vec(&request);
    body.write_all(&message).unwrap();
    let body = body.finish().unwrap();
    let kind = [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "gzip"),
    ];
    let busy = eventually("the collector has no memory left", || {
        let answer = house.offer_bytes(&kind, &body);
        (answer.status == 503).then_some(answer)
    });
    let wait: u64 = busy.retry_after.clone().unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    assert!(
        busy.text()
            .contains("busy: the collector has no room at present"),
        "{}",
        busy.text()
    );
    let pace: u64 = busy.pace.clone().unwrap().parse().unwrap();
    assert!(pace > 60_000, "{pace}");

    let status = door::over_grpc(&house.addresses().otlp_grpc, async |channel| {
        let mut client = MetricsServiceClient::new(channel);
        client.export(request).await.unwrap_err()
    });
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    let details = String::from_utf8_lossy(status.details()).into_owned();
    assert!(details.contains("google.rpc.RetryInfo"), "{details:?}");

    drop(held);
    until("the memory is given back", || {
        house.offer_bytes(&kind, &body).status == 200
    });
    still_counts(&house);
}

#[test]
fn what_never_fits_is_not_told_to_come_back() {
    let house = house("memory_bytes = 400000");
    // Two bytes each on the wire, a hundred in memory.
    let bomb = [0x0a, 0].repeat(50_000);
    let answer = house.offer_bytes(&[], &bomb);
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert_eq!(answer.retry_after, None);
    assert!(answer.text().contains("MiB of memory"), "{}", answer.text());
    still_counts(&house);
}

#[test]
fn what_waits_for_its_files_is_bounded_and_nothing_of_it_is_lost() {
    let mut house = House::with(Settings {
        config: "[store]\nseal_after = \"100ms\"\nwaiting_bytes = 20000\n".into(),
        ..Settings::default()
    });
    let log = house.data().join("tables/distributions/_delta_log");
    let aside = log.with_extension("aside");
    std::fs::rename(&log, &aside).unwrap();
    // No commit can be written below a file.
    std::fs::write(&log, "").unwrap();
    let began_us = now_us() - 60_000_000;
    let window = |sequence: u64| {
        let start_us = began_us + i64::try_from(sequence).unwrap() * 1_000;
        let end_us = start_us + 1_000;
        Device::new(1).window(sequence, Span { start_us, end_us }, &[0.1, 0.2, 0.4])
    };
    let mut windows = (1..20_000).map(|sequence| (sequence, house.offer(&window(sequence))));
    let refused = windows.find(|(_, answer)| answer.status != 200);
    let (sequence, answer) = refused.expect("more is refused at last");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("the tables do not keep up"));
    assert!(answer.retry_after.is_some());

    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&aside, &log).unwrap();
    until("it goes on by itself", || {
        house.offer(&window(sequence)).status == 200
    });
    let windows = i64::try_from(sequence).unwrap();
    let records = 3 * windows;
    books::balance(&house, Sent { windows, records });
    house.end_politely();
    house.reopen();
    books::balance(&house, Sent { windows, records });
}
