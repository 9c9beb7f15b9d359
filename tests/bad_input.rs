//! What arrives wrong is refused with a sentence that says what to do; nothing good is lost beside
//! it, and nothing panics. Every test ends with a good window that must still be counted.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
};

use fathomline_wire::names;
use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_client::MetricsServiceClient,
    },
    metrics::v1::{metric, number_data_point::Value},
};
use prost::Message;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    drift,
    harness::{
        books,
        clock::now_us,
        device::{Device, Span, Window},
        door,
        fleet::{Fleet, Sent},
        house::{self, House},
        program,
        sink::Sink,
    },
};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

fn last_second() -> Span {
    let end_us = now_us();
    Span {
        start_us: end_us - 1_000_000,
        end_us,
    }
}

fn good_window() -> Window {
    Device::new(1).window(1, last_second(), &[0.1, 0.2, 0.4])
}

/// The house still takes and counts what is good, and nothing else.
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

/// Posts `body` and expects a refusal that names its code and what to do.
fn refused(headers: &[(&str, &str)], body: &[u8], status: u16, sentence: &str) {
    let house = House::open();
    let answer = house.offer_bytes(headers, body);
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(
        answer.text().contains(sentence),
        "{:?} lacks {sentence:?}",
        answer.text()
    );
    assert_eq!(answer.retry_after, None, "bad input must not be sent again");
    still_counts(&house);
}

#[test]
fn a_truncated_body_is_malformed() {
    let body = good_window().body;
    let truncated = &body[..body.len() - 7];
    refused(
        &[],
        truncated,
        400,
        "bytes are not an ExportMetricsServiceRequest",
    );
}

#[test]
fn another_content_type_is_unsupported() {
    let headers = [("content-type", "text/plain")];
    refused(
        &headers,
        &good_window().body,
        415,
        "content type text/plain is not application/x-protobuf or application/json",
    );
}

#[test]
fn another_encoding_is_unsupported() {
    let headers = [PROTOBUF, ("content-encoding", "br")];
    refused(
        &headers,
        &good_window().body,
        415,
        "send application/x-protobuf or application/json, uncompressed or with gzip or zstd",
    );
}

#[test]
fn half_an_identity_is_malformed() {
    let headers = [(names::HEADER_BOOT, "b-1")];
    refused(&headers, &good_window().body, 400, "send all or none");
}

#[test]
fn a_gzip_bomb_stops_at_the_limit() {
    let mut bomb = GzEncoder::new(vec![], Compression::best());
    let mebibyte = vec![0; 1 << 20];
    (0..200).for_each(|_| bomb.write_all(&mebibyte).unwrap());
    let headers = [PROTOBUF, ("content-encoding", "gzip")];
    refused(
        &headers,
        &bomb.finish().unwrap(),
        413,
        "too_large: the body is over the limit; send smaller batches",
    );
}

#[test]
fn a_body_of_80_mib_is_too_large() {
    let house = House::open();
    let answer = posted_raw(&house, 80 << 20);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer:?}");
    assert!(answer.contains("send smaller batches"), "{answer:?}");
    still_counts(&house);
}

/// Posts `length` zero bytes by hand: an HTTP client would hide an answer that comes before the
/// body is through.
fn posted_raw(house: &House, length: usize) -> String {
    let address = house.addresses().otlp_http.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/metrics HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-protobuf\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut reading = stream.try_clone().unwrap();
    let answer = std::thread::spawn(move || {
        let mut answer = vec![];
        // A reset after the answer is how a server says that it reads no further.
        let _ = reading.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    });
    let mebibyte = vec![0; 1 << 20];
    for _ in 0..length / mebibyte.len() {
        if stream.write_all(&mebibyte).is_err() {
            break;
        }
    }
    answer.join().unwrap()
}

/// Sends a request in which one point is bad: it is rejected by its reason, the rest is counted.
fn one_point_rejected(bad: metric::Data, reason: &str) {
    let house = House::open();
    let device = Device::new(1);
    let span = last_second();
    let mut request = device.request(1, span, &[0.1, 0.2, 0.4]);
    let mut metric = device.distribution("app.odd", span, &[1.0]);
    metric.data = Some(bad);
    request.resource_metrics[0].scope_metrics[0]
        .metrics
        .push(metric);
    let answer = house.offer(&device.window_of(&request, 1));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let response = ExportMetricsServiceResponse::decode(answer.body.as_slice()).unwrap();
    let partial = response.partial_success.expect("a partial success");
    assert_eq!(partial.rejected_data_points, 1, "{partial:?}");
    assert!(partial.error_message.contains(reason), "{partial:?}");
    books::balance(
        &house,
        Sent {
            windows: 1,
            records: 3,
        },
    );
}

/// The data of a one-point exponential histogram, changed.
fn odd_histogram(
    change: impl FnOnce(&mut opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint),
) -> metric::Data {
    let data = Device::new(1)
        .distribution("app.odd", last_second(), &[1.0])
        .data;
    let Some(metric::Data::ExponentialHistogram(mut histogram)) = data else {
        unreachable!("devices send exponential histograms")
    };
    change(&mut histogram.data_points[0]);
    metric::Data::ExponentialHistogram(histogram)
}

#[test]
fn a_sum_that_is_not_a_number_is_rejected() {
    let data = odd_histogram(|point| point.sum = Some(f64::NAN));
    one_point_rejected(
        data,
        "not_finite: numbers must be finite; drop NaN and infinity before recording",
    );
}

#[test]
fn an_absurd_scale_is_rejected() {
    let data = odd_histogram(|point| point.scale = 1_000_000);
    one_point_rejected(
        data,
        "scale: the exponential histogram's scale must be between -10 and 20",
    );
}

#[test]
fn counts_that_do_not_add_up_are_rejected() {
    let data = odd_histogram(|point| point.count = u64::MAX);
    one_point_rejected(data, "counts: counts of one point must be 0 to 2^40");
}

#[test]
fn counts_that_no_device_can_have_are_rejected() {
    let data = odd_histogram(|point| {
        point.count = u64::MAX / 2;
        let buckets = point.positive.as_mut().unwrap();
        buckets.bucket_counts = vec![u64::MAX / 2];
    });
    one_point_rejected(data, "counts: counts of one point must be 0 to 2^40");
}

#[test]
fn a_negative_count_is_rejected_and_judging_goes_on() {
    let sink = Sink::open();
    let house = drift::watchful(&sink);
    let fleet = Fleet::ending_now("kiosk", 90, 41);
    let mut request = Device::new(99).request(1, last_second(), &[0.1]);
    for metric in &mut request.resource_metrics[0].scope_metrics[0].metrics {
        if let Some(metric::Data::Sum(sum)) = &mut metric.data {
            sum.data_points[0].value = Some(Value::AsInt(-1_000));
            sum.is_monotonic = false;
        }
    }
    let answer = house.offer(&Device::new(99).window_of(&request, 1));
    let response = ExportMetricsServiceResponse::decode(answer.body.as_slice()).unwrap();
    let partial = response.partial_success.expect("a partial success");
    assert_eq!(partial.rejected_data_points, 1, "{partial:?}");
    fleet.tell(&house, 1..=90, 1.0);
    drift::freeze(&house, &fleet);
    drift::judged(&house, &fleet);
}

#[test]
fn a_query_that_would_end_the_process_or_fill_its_memory_is_refused() {
    let house = House::open();
    let chain = |levels: usize, step: &str| {
        let steps = (1..=levels).map(|n| {
            step.replace("{n}", &n.to_string())
                .replace("{m}", &(n - 1).to_string())
        });
        format!(
            "WITH t0 AS (SELECT 'xy' AS s){} SELECT length(s) FROM t{levels}",
            steps.collect::<String>()
        )
    };
    for sql in [
        format!("SELECT {}1", "1+".repeat(3_000)),
        format!("SELECT 1 WHERE 1=1 {}", "AND 1=1 ".repeat(8_000)),
        format!("SELECT 1{}", "::int".repeat(9_000)),
        chain(14, ", t{n} AS (SELECT a.s FROM t{m} a CROSS JOIN t{m} b)"),
        chain(28, ", t{n} AS (SELECT s || s AS s FROM t{m})"),
        chain(28, ", t{n} AS (SELECT concat(s, s) AS s FROM t{m})"),
        format!(
            "SELECT replace('{}', 'x', '{}')",
            "x".repeat(2_000),
            "y".repeat(2_000)
        ),
    ] {
        let answer = house.call("/api/v1/sql", &json!({ "query": sql }));
        let shown = &sql[..60];
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text());
        assert_eq!(
            answer.json()["error"]["code"],
            "sql_invalid",
            "{shown}: {}",
            answer.text()
        );
    }
    still_counts(&house);
}

#[test]
fn a_peer_that_says_nothing_more_does_not_keep_the_collector_from_stopping() {
    let mut house = House::open();
    house.receive(&good_window());
    let doors = [
        &house.addresses().http,
        &house.addresses().otlp_http,
        &house.addresses().otlp_grpc,
    ];
    let doors = doors.map(|door| door.trim_start_matches("http://").to_owned());
    let silent = doors.map(|door| {
        let mut peer = TcpStream::connect(door).unwrap();
        peer.write_all(b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Le")
            .unwrap();
        peer
    });
    house.end_politely();
    drop(silent);
    house.reopen();
    books::balance(
        &house,
        Sent {
            windows: 1,
            records: 3,
        },
    );
}

#[test]
fn a_point_without_a_time_is_rejected() {
    let data = odd_histogram(|point| point.time_unix_nano = 0);
    one_point_rejected(data, "time: each point needs a time");
}

#[test]
fn an_empty_metric_is_nothing_and_missing_attributes_are_no_reason_to_refuse() {
    let house = House::open();
    let mut request = Device::new(1).request(1, last_second(), &[0.1, 0.2, 0.4]);
    let source = &mut request.resource_metrics[0];
    source.resource = None;
    source.scope_metrics[0].scope = None;
    if let Some(metric::Data::ExponentialHistogram(histogram)) =
        &mut source.scope_metrics[0].metrics[0].data
    {
        histogram.data_points[0].attributes.clear();
    }
    let answer = house.offer_bytes(&[PROTOBUF], &request.encode_to_vec());
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    books::balance(
        &house,
        Sent {
            windows: 1,
            records: 3,
        },
    );
    let empty = house.offer_bytes(&[PROTOBUF], &[]);
    assert_eq!(
        (empty.status, empty.text().as_str()),
        (200, ""),
        "an empty request is a success"
    );
}

#[test]
fn over_grpc_a_message_over_the_limit_is_final() {
    let house = House::open();
    let mut request = ExportMetricsServiceRequest::default();
    let mut source = Device::new(1).resource_metrics(vec![]);
    source.schema_url = "x".repeat(70 << 20);
    request.resource_metrics.push(source);
    let status = door::over_grpc(&house.addresses().otlp_grpc, async |channel| {
        let mut client = MetricsServiceClient::new(channel);
        client.export(request).await.unwrap_err()
    });
    // OUT_OF_RANGE, which tonic answers by itself, would be sent again for ever.
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
    still_counts(&house);
}

/// Runs `fathomline serve` where it cannot start: it must end with 2 and say what to do.
fn cannot_start(arguments: &[&str], sentences: &[&str]) {
    let mut command = Command::new(program::path());
    command.arg("serve").args(arguments);
    // Doors the test does not speak of must not be why the collector cannot start.
    for door in ["--http", "--otlp-http", "--otlp-grpc"] {
        if !arguments.contains(&door) {
            command.args([door, "127.0.0.1:0"]);
        }
    }
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{printed}");
    for sentence in sentences {
        assert!(printed.contains(sentence), "{printed:?} lacks {sentence:?}");
    }
    assert!(!printed.contains("panicked"), "{printed}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for door in ["--http", "--otlp-http", "--otlp-grpc"] {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data").to_string_lossy().into_owned();
        cannot_start(
            &["--data", &data, door, &address],
            &[&address, "in use", door],
        );
    }
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() {
    let folder = TempDir::new().unwrap();
    // A file where the folder should be: this stops an administrator too.
    house::occupied(&folder.path().join("data"));
    let data = folder.path().join("data").to_string_lossy().into_owned();
    cannot_start(&["--data", &data], &[&data, "--data"]);
}

#[test]
fn a_corrupt_configuration_is_named_with_its_line() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data").to_string_lossy().into_owned();
    let config = folder.path().join("fathomline.toml");
    let path = config.to_string_lossy().into_owned();
    fs::write(&config, "[store\nseal_after = 1").unwrap();
    cannot_start(&["--data", &data, "--config", &path], &[&path, "line 1"]);
    fs::write(&config, "[store]\nsael_after = \"1s\"\n").unwrap();
    cannot_start(
        &["--data", &data, "--config", &path],
        &[&path, "sael_after"],
    );
    fs::write(&config, "[store]\nseal_after = \"soon\"\n").unwrap();
    cannot_start(
        &["--data", &data, "--config", &path],
        &["store.seal_after = soon", "write a whole number"],
    );
    cannot_start(
        &["--data", &data, "--config", "/nowhere.toml"],
        &["/nowhere.toml"],
    );
}

#[test]
fn a_long_query_of_files_has_the_stack_of_the_collector() {
    let house = House::open();
    house.receive(&good_window());
    let data = house.data().to_string_lossy().into_owned();
    // A fifth of what the engine lets through: planning takes its square, and an unoptimised build
    // of it needed more than 2 MiB of stack for 250.
    let sum = vec!["1"; 300].join(" + ");
    let sql = format!("SELECT {sum} AS answer");
    // The first thread of a process has the stack that its shell allows.
    let mut command = Command::new("sh");
    let asked = r#"ulimit -s 1024; exec "$0" sql "$1" --data "$2" --format json"#;
    command.args(["-c", asked]).arg(program::path());
    let (answered, told) = house::run(command.args([&sql, &data]));
    assert!(answered && told.contains("[300]"), "{told}");
}
