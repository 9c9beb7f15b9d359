//! Both doors of OTLP, in every encoding: what is counted is the same, and what is not stored is
//! refused with its reason, one by one.

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{ExportLogsServiceRequest, logs_service_client::LogsServiceClient},
        metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
        trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    },
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    trace::v1::{ResourceSpans, ScopeSpans, Span, span::SpanKind},
};
use serde_json::{Value, json};
use tonic::codec::CompressionEncoding;

use crate::harness::{
    books,
    clock::{now_us, until},
    device::{self, Device, text},
    door::{self, Answer},
    fleet::Sent,
    house::{House, Settings},
};

fn post_json(house: &House, path: &str, body: &Value) -> Answer {
    let url = format!("{}{path}", house.addresses().otlp_http);
    let headers = [("content-type", "application/json")];
    door::post(&url, &headers, body.to_string().as_bytes()).unwrap()
}

fn last_second() -> device::Span {
    let end_us = now_us();
    device::Span {
        start_us: end_us - 1_000_000,
        end_us,
    }
}

#[test]
fn every_point_kind_over_json_is_stored_or_refused_with_its_reason() {
    let house = House::open();
    let end = now_us() * 1000;
    let times = |mut point: Value| {
        point["startTimeUnixNano"] = json!((end - 1_000_000_000).to_string());
        point["timeUnixNano"] = json!(end.to_string());
        point["attributes"] = json!([
            {"key": "gen_ai.request.model", "value": {"stringValue": "tiny"}},
        ]);
        json!([point])
    };
    let explicit = json!({
        "count": "3", "sum": 1.5, "explicitBounds": [1], "bucketCounts": ["1", 2],
    });
    let exponential = json!({
        "count": 4, "sum": 6, "scale": 3, "zeroCount": "1",
        "positive": {"offset": 0, "bucketCounts": ["1", "2"]},
    });
    let summary = json!({"count": "1", "sum": 1, "quantileValues": []});
    let metric = |name: &str, kind: &str, mut data: Value, temporality: i32| {
        data["aggregationTemporality"] = json!(temporality);
        json!({"name": name, "unit": "1", kind: data, "unknownField": [{}]})
    };
    let points = |point| json!({ "dataPoints": times(point) });
    let rising = json!({"dataPoints": times(json!({"asInt": "5"})), "isMonotonic": true});
    let metrics = json!([
        metric("j.gauge", "gauge", points(json!({"asDouble": "0.5"})), 0),
        metric("j.sum", "sum", rising, 1),
        metric("j.explicit", "histogram", points(explicit.clone()), 2),
        metric(
            "j.exponential",
            "exponentialHistogram",
            points(exponential),
            1
        ),
        metric("j.summary", "summary", points(summary), 0),
        metric("j.unspecified", "histogram", points(explicit), 0),
    ]);
    let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]});
    let answer = post_json(&house, "/v1/metrics", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let partial = &answer.json()["partialSuccess"];
    assert_eq!(partial["rejectedDataPoints"], "2", "{partial}");
    let why = partial["errorMessage"].as_str().unwrap();
    for reason in ["1 points: kind: ", "1 points: temporality: "] {
        assert!(why.contains(reason), "{why}");
    }
    let stored = house.ask("SELECT metric, count, sum FROM distributions ORDER BY 1");
    assert_eq!(
        json!(stored),
        json!([["j.explicit", 3, 1.5], ["j.exponential", 4, 6.0]])
    );
    let stored = house.ask("SELECT metric, kind, count, value FROM measurements ORDER BY 1");
    assert_eq!(
        json!(stored),
        json!([["j.gauge", "gauge", null, 0.5], ["j.sum", "delta", 5, null]])
    );
    let again = post_json(&house, "/v1/metrics", &json!({}));
    assert_eq!((again.status, again.json()), (200, json!({})));
}

#[test]
fn bad_json_is_refused_in_json_and_says_where() {
    let house = House::open();
    let answer = post_json(&house, "/v1/metrics", &json!({"resourceMetrics": {}}));
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["code"], 3);
    let message = answer.json()["message"].to_string();
    for told in ["an array for resourceMetrics", "line 1 column"] {
        assert!(message.contains(told), "{message}");
    }
}

#[test]
fn a_window_counts_once_however_it_is_packed_and_whichever_door_it_takes() {
    let house = House::open();
    let device = Device::new(1);
    let request = device.request(1, last_second(), &[0.1, 0.2, 0.4]);
    let window = device.window_of(&request, 1);
    house.receive(&window);
    let with_identity = |request: ExportMetricsServiceRequest| {
        let mut request = tonic::Request::new(request);
        for (name, value) in &window.headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        request
    };
    door::over_grpc(&house.addresses().otlp_grpc, async |channel| {
        let packings = [CompressionEncoding::Gzip, CompressionEncoding::Zstd];
        for packing in packings {
            let client = MetricsServiceClient::new(channel.clone());
            let mut client = client.send_compressed(packing);
            let answer = client.export(with_identity(request.clone())).await.unwrap();
            assert_eq!(answer.into_inner().partial_success, None, "{packing:?}");
        }
        // The same identity with other bytes is a conflict at this door too.
        let mut other = request.clone();
        other.resource_metrics[0].schema_url = "https://example.org/other".into();
        let mut client = MetricsServiceClient::new(channel);
        let status = client.export(with_identity(other)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::AlreadyExists, "{status}");
    });
    books::balance(
        &house,
        Sent {
            windows: 1,
            records: 3,
        },
    );
}

#[test]
fn every_log_record_is_refused_with_the_reason() {
    let house = House::open();
    let record = json!({"body": {"stringValue": "said"}, "severityNumber": 9});
    let logs = json!([{"scopeLogs": [{"logRecords": [record, record]}]}]);
    let answer = post_json(&house, "/v1/logs", &json!({ "resourceLogs": logs }));
    assert_eq!(answer.status, 200);
    let partial = &answer.json()["partialSuccess"];
    assert_eq!(partial["rejectedLogRecords"], "2", "{partial}");
    assert!(
        partial["errorMessage"]
            .to_string()
            .contains("logs are not stored")
    );
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: vec![LogRecord::default(); 3],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    let partial = door::over_grpc(&house.addresses().otlp_grpc, async |channel| {
        let answer = LogsServiceClient::new(channel).export(request).await;
        answer.unwrap().into_inner().partial_success.unwrap()
    });
    assert_eq!(partial.rejected_log_records, 3);
    assert!(partial.error_message.contains("logs are not stored"));
}

/// A span that ended now; `number` tells it from others.
fn span(number: u8, attributes: &[(&str, &str)]) -> Span {
    let end = u64::try_from(now_us()).unwrap() * 1000;
    Span {
        trace_id: vec![1; 16],
        span_id: vec![number; 8],
        name: "chat".into(),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: end - 2_000_000_000,
        end_time_unix_nano: end,
        attributes: attributes
            .iter()
            .map(|(key, value)| text(key, value))
            .collect(),
        ..Default::default()
    }
}

fn traces(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let source = Device::new(1).resource_metrics(vec![]);
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: source.resource,
            scope_spans: vec![ScopeSpans {
                spans,
                ..Default::default()
            }],
            ..Default::default()
        }],
    }
}

/// Two GenAI spans of one device.
pub(crate) fn tell_spans(house: &House) {
    let spans = [1, 2].map(|number| span(number, &[("gen_ai.request.model", "tiny")]));
    let request = traces(spans.to_vec());
    door::over_grpc(&house.addresses().otlp_grpc, async |channel| {
        let answer = TraceServiceClient::new(channel).export(request).await;
        assert_eq!(answer.unwrap().into_inner().partial_success, None);
    });
}

#[test]
fn a_span_counts_once_whatever_is_resent_or_killed() {
    let mut house = House::with(Settings {
        config: "[store]\nseal_after = \"1s\"\n".into(),
        ..Settings::default()
    });
    let asked = ("gen_ai.input.messages", "what was asked");
    let request = traces(vec![
        span(1, &[("gen_ai.request.model", "tiny"), asked]),
        span(2, &[("gen_ai.system", "stock")]),
        span(3, &[("http.route", "/chat")]),
    ]);
    let send = |house: &House| {
        door::over_grpc(&house.addresses().otlp_grpc, async |channel| {
            let answer = TraceServiceClient::new(channel)
                .export(request.clone())
                .await;
            answer.unwrap().into_inner().partial_success.unwrap()
        })
    };
    let stored = |house: &House| {
        house.ask(
            "SELECT span_id, device, model, provider, kind, clock, duration_us FROM spans \
             ORDER BY 1",
        )
    };
    let told = send(&house);
    assert_eq!(told.rejected_spans, 1, "{told:?}");
    for sentence in [
        "1 spans: not_gen_ai: ",
        "1 attributes or events with prompts or answers were not stored",
    ] {
        assert!(told.error_message.contains(sentence), "{told:?}");
    }
    let wanted = json!([
        [
            "0101010101010101",
            "device-1",
            "tiny",
            null,
            "client",
            "ok",
            2_000_000
        ],
        [
            "0202020202020202",
            "device-1",
            "",
            "stock",
            "client",
            "ok",
            2_000_000
        ],
    ]);
    assert_eq!(json!(stored(&house)), wanted);
    assert_eq!(send(&house), told, "a repeat is answered as before");
    house.reopen();
    assert_eq!(send(&house), told);
    assert_eq!(json!(stored(&house)), wanted);
    let data = house.data().to_string_lossy().into_owned();
    let committed = "SELECT count(*) AS spans FROM spans";
    until("the spans are committed", || {
        let arguments = ["sql", committed, "--data", &data, "--format", "json"];
        house.command_line(&arguments).1.contains('2')
    });
    assert_eq!(json!(stored(&house)), wanted);
}

#[test]
fn what_is_no_call_of_ours_is_told_where_to_go() {
    let house = House::open();
    let doors = house.addresses();
    let grpc = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    for (door, path, status, told) in [
        (
            &doors.otlp_http,
            "/v1/profiles",
            404,
            "POST /v1/metrics, /v1/traces and /v1/logs",
        ),
        (
            &doors.otlp_http,
            grpc,
            404,
            "POST /v1/metrics, /v1/traces and /v1/logs",
        ),
        (&doors.otlp_grpc, grpc, 415, "this door speaks gRPC"),
    ] {
        let kind = [("content-type", "application/json")];
        let answer = door::post(&format!("{door}{path}"), &kind, b"{}").unwrap();
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text().contains(told), "{}", answer.text());
    }
}
