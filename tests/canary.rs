//! Nothing private leaves. A canary goes into every place where a foreign sender could put text;
//! none of them may be found in the log, the data folder, a table, a webhook or a page. The same
//! search finds a text that is allowed to stay, so it can see. Prompts and labels on the device
//! are the SDK's own tests: they look at every wire byte and every spool byte.

use std::process::Command;

use fathomline_wire::names;
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{Exemplar, Metric, exemplar, metric},
    trace::v1::{ResourceSpans, ScopeSpans, Status, span},
};
use prost::Message;

use crate::harness::{
    books,
    clock::now_us,
    device::{Device, Span, text},
    door,
    fleet::Sent,
    house::{self, House, Settings},
    program, workspace,
};

/// Found nowhere. One canary a place, so that a find names its leak.
const CANARIES: [&str; 20] = [
    "canary-resource",
    "canary-resource-key",
    "canary-scope-name",
    "canary-scope-version",
    "canary-scope-attribute",
    "canary-point",
    "canary-point-key",
    "canary-exemplar",
    "canary-description",
    "canary label",
    "canary-log-body",
    "canary-span-event",
    "canary-span-name",
    "canary-span-status",
    "canary-span-state",
    "canary-span-prompt",
    "canary-span-note",
    "canary span word",
    "canary-span-link",
    "canary-schema",
];

/// Allowed to stay: the name of the application.
const KEPT: &str = "kept-service";

/// A device's window with a canary in every place for text.
fn talkative(device: &Device, span: Span) -> ExportMetricsServiceRequest {
    let mut request = device.request(1, span, &[0.1, 0.2, 0.4]);
    let source = &mut request.resource_metrics[0];
    let resource = source.resource.as_mut().unwrap();
    resource
        .attributes
        .retain(|attribute| attribute.key != names::SERVICE_NAME);
    resource.attributes.extend([
        text(names::SERVICE_NAME, KEPT),
        text("user.prompt", "canary-resource"),
        text("canary-resource-key", "x"),
    ]);
    source.schema_url = "https://example.org/canary-schema".into();
    let scope_metrics = &mut source.scope_metrics[0];
    scope_metrics.schema_url = "https://example.org/canary-schema".into();
    let scope = scope_metrics.scope.as_mut().unwrap();
    scope.name = "canary-scope-name".into();
    scope.version = "canary-scope-version".into();
    scope.attributes = vec![text("x", "canary-scope-attribute")];
    for metric in &mut scope_metrics.metrics {
        metric.description = "canary-description".into();
        talk(metric);
    }
    request
}

/// Puts canaries on the points of `metric`.
fn talk(metric: &mut Metric) {
    let attributes = [
        text("gen_ai.prompt", "canary-point"),
        text("canary-point-key", "x"),
    ];
    let exemplar = Exemplar {
        filtered_attributes: vec![text("gen_ai.completion", "canary-exemplar")],
        value: Some(exemplar::Value::AsDouble(0.1)),
        ..Default::default()
    };
    match &mut metric.data {
        Some(metric::Data::ExponentialHistogram(histogram)) => {
            let point = &mut histogram.data_points[0];
            point.attributes.extend(attributes);
            point.exemplars = vec![exemplar];
        }
        Some(metric::Data::Sum(sum)) => {
            let point = &mut sum.data_points[0];
            point.attributes.extend(attributes);
            point.exemplars = vec![exemplar];
            say_instead(&mut point.attributes, names::FEEDBACK_KIND, "canary label");
        }
        _ => {}
    }
}

fn say_instead(attributes: &mut [KeyValue], key: &str, value: &str) {
    for attribute in attributes
        .iter_mut()
        .filter(|attribute| attribute.key == key)
    {
        *attribute = text(key, value);
    }
}

/// A GenAI span with a canary in every place for text.
fn talkative_span(at: Span) -> ExportTraceServiceRequest {
    let nanos = |micros: i64| u64::try_from(micros).unwrap() * 1000;
    let said = |key: &str, said: &str| vec![text(key, said)];
    let talking = opentelemetry_proto::tonic::trace::v1::Span {
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        name: "chat canary-span-name".into(),
        trace_state: "vendor=canary-span-state".into(),
        start_time_unix_nano: nanos(at.start_us),
        end_time_unix_nano: nanos(at.end_us),
        attributes: vec![
            text("gen_ai.request.model", "tiny"),
            text("gen_ai.operation.name", "canary span word"),
            text("gen_ai.response.finish_reasons", "canary span word"),
            text("error.type", "canary span word"),
            text("gen_ai.input.messages", "canary-span-prompt"),
            text("app.note", "canary-span-note"),
        ],
        events: vec![span::Event {
            name: "canary-span-event".into(),
            attributes: said("gen_ai.completion", "canary-span-event"),
            ..Default::default()
        }],
        links: vec![span::Link {
            attributes: said("x", "canary-span-link"),
            ..Default::default()
        }],
        status: Some(Status {
            message: "canary-span-status".into(),
            code: 2,
        }),
        ..Default::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![talking],
                ..Default::default()
            }],
            ..Default::default()
        }],
    }
}

fn talkative_log() -> ExportLogsServiceRequest {
    let body = AnyValue {
        value: Some(any_value::Value::StringValue("canary-log-body".into())),
    };
    let record = LogRecord {
        body: Some(body),
        ..Default::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: vec![record],
                ..Default::default()
            }],
            ..Default::default()
        }],
    }
}

/// Logs are refused; of a span its figures are kept, and its sender is told about the rest.
fn other_signals_leave_their_text_behind(house: &House, span: Span) {
    let bodies = [
        (
            "/v1/logs",
            talkative_log().encode_to_vec(),
            "logs are not stored",
        ),
        (
            "/v1/traces",
            talkative_span(span).encode_to_vec(),
            "2 attributes or events with prompts or answers were not stored",
        ),
    ];
    for (path, body, told) in bodies {
        let url = format!("{}{path}", house.addresses().otlp_http);
        let headers = [("content-type", "application/x-protobuf")];
        let answer = door::post(&url, &headers, &body).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.text().contains(told), "{path}: {}", answer.text());
    }
    assert_eq!(house.number("SELECT count(*) FROM spans"), 1);
}

/// Where `needle` stands: files of the house, byte for byte, and every page.
fn found(house: &House, needle: &str) -> Vec<String> {
    let holds = |bytes: &[u8]| {
        bytes
            .windows(needle.len())
            .any(|part| part == needle.as_bytes())
    };
    let files = house::files(house.folder());
    let files = files.into_iter().filter(|(_, bytes)| holds(bytes));
    let mut found: Vec<String> = files.map(|(path, _)| path.display().to_string()).collect();
    let tables = [
        "distributions",
        "measurements",
        "rollups",
        "device_hours",
        "rollup_hours",
        "rollup_days",
        "verdicts",
        "events",
        "spans",
    ];
    for table in tables {
        let rows = house.ask(&format!("SELECT * FROM {table}"));
        if serde_json::to_string(&rows).unwrap().contains(needle) {
            found.push(format!("table {table}"));
        }
    }
    for page in ["/", "/drift", "/api/v1/verdicts", "/api/v1/references"] {
        let answer = house.page(page);
        assert_eq!(answer.status, 200, "{page}: {}", answer.text());
        if answer.text().contains(needle) {
            found.push(format!("page {page}"));
        }
    }
    found
}

#[test]
fn no_text_that_a_sender_slipped_in_is_found_anywhere() {
    let config = "[store]\nseal_after = \"1s\"\n".to_owned();
    let mut house = House::with(Settings {
        config,
        ..Settings::default()
    });
    let end_us = now_us();
    let span = Span {
        start_us: end_us - 1_000_000,
        end_us,
    };
    let device = Device::new(1);
    house.receive(&device.window_of(&talkative(&device, span), 1));
    other_signals_leave_their_text_behind(&house, span);
    let malformed = house.offer_bytes(&[], b"\xffcanary-log-body");
    assert_eq!(malformed.status, 400);
    books::balance(
        &house,
        Sent {
            windows: 1,
            records: 3,
        },
    );

    // Once while the rows are only in the log, once when they are committed, once more after.
    nothing_leaked(&house);
    books::wait_for_commit(
        &house,
        Sent {
            windows: 1,
            records: 3,
        },
    );
    nothing_leaked(&house);
    in_no_parquet_file(&house);
    house.reopen();
    nothing_leaked(&house);
}

fn nothing_leaked(house: &House) {
    for canary in CANARIES {
        let leaks = found(house, canary);
        assert!(leaks.is_empty(), "{canary} is in {leaks:?}");
    }
    let kept = found(house, KEPT);
    for place in ["table distributions", "page /"] {
        assert!(
            kept.iter().any(|kept| kept == place),
            "the search sees nothing in {place}: {kept:?}"
        );
    }
}

fn in_no_parquet_file(house: &House) {
    let Some(python) = program::python_with(&["pyarrow"]) else {
        return;
    };
    let script = workspace::root().join("tests/foreign/find_text.py");
    let (succeeded, printed) = house::run(
        Command::new(python)
            .arg(script)
            .arg(house.data())
            .args(["canary", KEPT]),
    );
    assert!(succeeded, "{printed}");
    assert!(!printed.contains("canary"), "{printed}");
    assert!(printed.contains(KEPT), "the search sees nothing: {printed}");
}

#[test]
fn the_canaries_do_travel_to_the_door() {
    let span = Span {
        start_us: 1,
        end_us: 2,
    };
    let bodies = [
        talkative(&Device::new(1), span).encode_to_vec(),
        talkative_span(span).encode_to_vec(),
        talkative_log().encode_to_vec(),
    ];
    let sent = String::from_utf8_lossy(&bodies.concat()).into_owned();
    for canary in CANARIES {
        assert!(sent.contains(canary), "{canary} is not sent");
    }
}
