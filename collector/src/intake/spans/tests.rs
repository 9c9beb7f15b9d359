//! Spans as instrumented applications send them. Proves what is kept, and that nothing that was
//! said passes, wherever a sender put it.

use opentelemetry_proto::tonic::{
    common::v1::ArrayValue,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Status},
};

use super::*;

const CANARY: &str = "the user said CANARY";

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = AnyValue { value: Some(value) };
    KeyValue {
        key: key.into(),
        value: Some(value),
        ..KeyValue::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn chat() -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: CANARY.into(),
        kind: span::SpanKind::Client as i32,
        start_time_unix_nano: 1_000_000_000,
        end_time_unix_nano: 3_000_000_000,
        attributes: vec![
            text(names::OPERATION_NAME, "chat"),
            text(names::REQUEST_MODEL, "tiny"),
        ],
        ..Span::default()
    }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource {
        attributes: vec![text(names::SERVICE_NAME, "app"), text("note", CANARY)],
        ..Resource::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

#[test]
fn what_was_said_is_counted_and_goes_no_further() {
    let mut span = chat();
    let canaries = CONTENT.map(|name| text(name, CANARY));
    span.attributes.extend(canaries);
    span.attributes.push(text("note", CANARY));
    span.attributes.push(text(SYSTEM, CANARY));
    span.attributes.push(text(ERROR_TYPE, CANARY));
    let said = AnyValue {
        value: Some(Value::StringValue(CANARY.into())),
    };
    let reasons = Value::ArrayValue(ArrayValue { values: vec![said] });
    span.attributes.push(attribute(FINISH_REASONS, reasons));
    span.trace_state = CANARY.into();
    span.status = Some(Status {
        message: CANARY.into(),
        code: status::StatusCode::Error as i32,
    });
    for (name, key) in [("gen_ai.choice", "x"), ("e", "gen_ai.prompt"), ("e", "x")] {
        span.events.push(span::Event {
            name: name.into(),
            attributes: vec![text(key, CANARY)],
            ..span::Event::default()
        });
    }
    let (rows, rejected, left_out) = from_traces(&request(vec![span]));
    assert!(rejected.is_empty());
    assert_eq!(left_out.content, CONTENT.len() as u64 + 2);
    assert_eq!(rows[0].status, SpanStatus::Error);
    assert_eq!(rows[0].provider.as_deref(), Some(names::OTHER));
    assert!(!format!("{rows:?}").contains("CANARY"), "{rows:?}");
}

#[test]
fn current_and_older_names_are_read() {
    let number = |name, value| attribute(name, Value::IntValue(value));
    let mut current = chat();
    current.attributes.extend([
        number(INPUT_TOKENS[0], 7),
        number(OUTPUT_TOKENS[0], 9),
        attribute(TEMPERATURE, Value::DoubleValue(0.5)),
        text(FINISH_REASONS, "stop"),
        text(names::PROVIDER_NAME, "openai"),
    ]);
    let mut older = chat();
    older.attributes.extend([
        number(INPUT_TOKENS[1], 7),
        number(OUTPUT_TOKENS[1], 9),
        attribute(TEMPERATURE, Value::DoubleValue(0.5)),
        text(FINISH_REASONS, "stop"),
        text(SYSTEM, "openai"),
    ]);
    let (rows, ..) = from_traces(&request(vec![current, older]));
    assert_eq!(rows[0], rows[1]);
    assert_eq!(
        (rows[0].input_tokens, rows[0].output_tokens),
        (Some(7), Some(9))
    );
    assert_eq!(rows[0].provider.as_deref(), Some("openai"));
    assert_eq!((rows[0].start_time, rows[0].time), (1_000_000, 3_000_000));
}

#[test]
fn each_false_span_has_its_reason_and_spares_its_neighbours() {
    let bad = |change: fn(&mut Span)| {
        let mut span = chat();
        change(&mut span);
        span
    };
    let spans = vec![
        chat(),
        bad(|span| span.attributes.clear()),
        bad(|span| span.trace_id = vec![0; 16]),
        bad(|span| span.span_id = vec![1; 7]),
        bad(|span| span.end_time_unix_nano = 1),
        bad(|span| span.attributes[1] = text(names::REQUEST_MODEL, &"x".repeat(200))),
        bad(|span| {
            let negative = attribute(INPUT_TOKENS[0], Value::IntValue(-1));
            span.attributes.push(negative);
        }),
    ];
    let (rows, rejected, _) = from_traces(&request(spans));
    assert_eq!(rows.len(), 1);
    for (reason, spans) in [
        (Rejection::NotGenAi, 1),
        (Rejection::Malformed, 2),
        (Rejection::Time, 1),
        (Rejection::TooLong, 1),
        (Rejection::Counts, 1),
    ] {
        assert_eq!(rejected.of(reason), spans, "{reason}");
    }
}
