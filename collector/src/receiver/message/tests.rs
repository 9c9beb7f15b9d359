//! Both encodings of one message are one message.

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value},
    metrics::v1::{
        Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
        HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
        SummaryDataPoint, exemplar, exponential_histogram_data_point::Buckets, metric,
        number_data_point, summary_data_point::ValueAtQuantile,
    },
    resource::v1::Resource,
};
use proptest::{collection::vec, option, prelude::*};
use prost::Message as _;
use serde_json::{Value, json};

use super::{LOGS, METRICS, TRACES, json::to_protobuf, spelling::spelt, weight};
use crate::intake;

const BYTES_MAX: usize = 1 << 20;

fn read<M: prost::Message + Default>(
    table: &'static super::Message,
    json: &str,
) -> Result<M, String> {
    let bytes = to_protobuf(table, json.as_bytes(), BYTES_MAX).map_err(|e| e.to_string())?;
    assert!(weight::decoded(table, &bytes).is_ok(), "{json}");
    Ok(M::decode(bytes.as_slice()).expect("what we write is protobuf"))
}

fn metrics(json: &Value) -> Result<ExportMetricsServiceRequest, String> {
    read(&METRICS, &json.to_string())
}

/// One point of a sum, in a request.
fn point(point: Value) -> Result<NumberDataPoint, String> {
    let sum = json!({ "dataPoints": [point] });
    let request = metrics(&json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "m", "sum": sum}
    ]}]}]}))?;
    let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
    let Some(metric::Data::Sum(sum)) = &metric.data else {
        return Err("not a sum".into());
    };
    Ok(sum.data_points[0].clone())
}

// Any request there could be.

fn attribute_list() -> impl Strategy<Value = Vec<KeyValue>> {
    let leaf = prop_oneof![
        any::<String>().prop_map(any_value::Value::StringValue),
        any::<bool>().prop_map(any_value::Value::BoolValue),
        any::<i64>().prop_map(any_value::Value::IntValue),
        any::<f64>().prop_map(any_value::Value::DoubleValue),
        vec(any::<u8>(), 0..5).prop_map(any_value::Value::BytesValue),
    ];
    let value = option::of(leaf).prop_map(|value| AnyValue { value });
    let value = value.prop_recursive(2, 8, 3, |inner| {
        let listed = vec(inner.clone(), 0..3).prop_map(|values| AnyValue {
            value: Some(any_value::Value::ArrayValue(ArrayValue { values })),
        });
        let keyed = vec((any::<String>(), inner), 0..3).prop_map(|pairs| {
            let values = pairs
                .into_iter()
                .map(|(key, value)| keyed(key, Some(value)));
            let values = values.collect();
            AnyValue {
                value: Some(any_value::Value::KvlistValue(KeyValueList { values })),
            }
        });
        prop_oneof![listed, keyed]
    });
    let known = prop_oneof![Just("gen_ai.request.model".to_owned()), any::<String>()];
    let pair = (known, option::of(value)).prop_map(|(key, value)| keyed(key, value));
    vec(pair, 0..3)
}

fn keyed(key: String, value: Option<AnyValue>) -> KeyValue {
    KeyValue {
        key,
        value,
        ..KeyValue::default()
    }
}

fn exemplar_list() -> impl Strategy<Value = Vec<Exemplar>> {
    let value = prop_oneof![
        any::<f64>().prop_map(exemplar::Value::AsDouble),
        any::<i64>().prop_map(exemplar::Value::AsInt),
    ];
    let parts = (
        attribute_list(),
        any::<u64>(),
        option::of(value),
        vec(any::<u8>(), 8),
    );
    let exemplar = parts.prop_map(
        |(filtered_attributes, time_unix_nano, value, id)| Exemplar {
            filtered_attributes,
            time_unix_nano,
            value,
            span_id: id.clone(),
            trace_id: id.repeat(2),
        },
    );
    vec(exemplar, 0..2)
}

/// What points of all kinds share: attributes, start, end, flags.
fn shared() -> impl Strategy<Value = (Vec<KeyValue>, u64, u64, u32)> {
    (attribute_list(), any::<u64>(), any::<u64>(), any::<u32>())
}

fn numbers() -> impl Strategy<Value = Vec<NumberDataPoint>> {
    let value = prop_oneof![
        any::<f64>().prop_map(number_data_point::Value::AsDouble),
        any::<i64>().prop_map(number_data_point::Value::AsInt),
    ];
    let point = (shared(), option::of(value), exemplar_list()).prop_map(
        |((attributes, start, end, flags), value, exemplars)| NumberDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: end,
            exemplars,
            flags,
            value,
        },
    );
    vec(point, 0..3)
}

fn explicit() -> impl Strategy<Value = Histogram> {
    let figures = (
        any::<u64>(),
        option::of(any::<f64>()),
        option::of(any::<f64>()),
        vec(any::<u64>(), 0..5),
        vec(any::<f64>(), 0..5),
    );
    let point = (shared(), figures).prop_map(|((attributes, start, end, flags), figures)| {
        let (count, sum, min, bucket_counts, explicit_bounds) = figures;
        HistogramDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: end,
            count,
            sum,
            bucket_counts,
            explicit_bounds,
            exemplars: vec![],
            flags,
            min,
            max: min,
        }
    });
    (vec(point, 0..3), any::<i32>()).prop_map(|(data_points, aggregation_temporality)| Histogram {
        data_points,
        aggregation_temporality,
    })
}

fn exponential() -> impl Strategy<Value = ExponentialHistogram> {
    let side = (any::<i32>(), vec(any::<u64>(), 0..5));
    let side = side.prop_map(|(offset, bucket_counts)| Buckets {
        offset,
        bucket_counts,
    });
    let figures = (
        any::<u64>(),
        any::<i32>(),
        option::of(any::<f64>()),
        any::<f64>(),
    );
    let sides = (option::of(side.clone()), option::of(side));
    let point = (shared(), figures, sides, exemplar_list()).prop_map(
        |((attributes, start, end, flags), figures, (positive, negative), exemplars)| {
            let (count, scale, sum, zero_threshold) = figures;
            ExponentialHistogramDataPoint {
                attributes,
                start_time_unix_nano: start,
                time_unix_nano: end,
                count,
                sum,
                scale,
                zero_count: count,
                positive,
                negative,
                flags,
                exemplars,
                min: sum,
                max: None,
                zero_threshold,
            }
        },
    );
    (vec(point, 0..3), any::<i32>()).prop_map(|(data_points, aggregation_temporality)| {
        ExponentialHistogram {
            data_points,
            aggregation_temporality,
        }
    })
}

fn summary() -> impl Strategy<Value = Summary> {
    let quantile = (any::<f64>(), any::<f64>());
    let quantile = quantile.prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    let point = (shared(), any::<f64>(), vec(quantile, 0..3)).prop_map(
        |((attributes, _, end, flags), sum, quantile_values)| SummaryDataPoint {
            attributes,
            time_unix_nano: end,
            count: end,
            sum,
            quantile_values,
            flags,
            ..SummaryDataPoint::default()
        },
    );
    vec(point, 0..3).prop_map(|data_points| Summary { data_points })
}

fn request() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let sum = (numbers(), any::<i32>(), any::<bool>()).prop_map(
        |(data_points, aggregation_temporality, is_monotonic)| Sum {
            data_points,
            aggregation_temporality,
            is_monotonic,
        },
    );
    let data = prop_oneof![
        numbers().prop_map(|data_points| metric::Data::Gauge(Gauge { data_points })),
        sum.prop_map(metric::Data::Sum),
        explicit().prop_map(metric::Data::Histogram),
        exponential().prop_map(metric::Data::ExponentialHistogram),
        summary().prop_map(metric::Data::Summary),
    ];
    let metric =
        (any::<String>(), option::of(data), attribute_list()).prop_map(|(name, data, metadata)| {
            Metric {
                name,
                data,
                metadata,
                ..Metric::default()
            }
        });
    let scope = vec(metric, 0..4).prop_map(|metrics| ScopeMetrics {
        metrics,
        ..ScopeMetrics::default()
    });
    let resource = attribute_list().prop_map(|attributes| Resource {
        attributes,
        ..Resource::default()
    });
    let source = (option::of(resource), vec(scope, 0..3));
    let source = source.prop_map(|(resource, scope_metrics)| ResourceMetrics {
        resource,
        scope_metrics,
        ..ResourceMetrics::default()
    });
    vec(source, 0..3).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}

/// Not a number is not equal to itself, so what is compared is how both print.
fn same(left: &impl std::fmt::Debug, right: &impl std::fmt::Debug) -> bool {
    format!("{left:?}") == format!("{right:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn json_and_protobuf_of_one_request_give_one_arrival(request in request()) {
        let read = metrics(&spelt(&request)).unwrap();
        prop_assert!(same(&read, &request), "{read:?}\n{request:?}");
        let arrivals = [&read, &request].map(intake::from_request);
        prop_assert!(same(&arrivals[0], &arrivals[1]));
    }

    #[test]
    fn any_bytes_are_weighed_or_refused_as_decoding_them_would_be(
        bytes in vec(any::<u8>(), 0..64),
    ) {
        let decoded = ExportMetricsServiceRequest::decode(bytes.as_slice());
        let weighed = weight::decoded(&METRICS, &bytes);
        prop_assert!(decoded.is_err() || weighed.is_ok() || has_groups(&bytes), "{bytes:?}");
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        // What is promised is that nothing panics.
        let _ = to_protobuf(&METRICS, text.as_bytes(), BYTES_MAX);
    }
}

/// Groups are older than OTLP; the protobuf library skips them, the doors refuse them.
fn has_groups(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| byte & 7 == 3)
}

#[test]
fn integers_are_numbers_or_strings_and_stay_in_range() {
    let seven = number_data_point::Value::AsInt(7);
    for spelt in [json!("7"), json!(7), json!(7.0), json!(70e-1)] {
        assert_eq!(point(json!({ "asInt": spelt })).unwrap().value, Some(seven));
    }
    for spelt in [
        json!("7.5"),
        json!(7.5),
        json!("seven"),
        json!(true),
        json!([7]),
    ] {
        assert!(point(json!({ "asInt": spelt })).is_err(), "{spelt}");
    }
    for (field, spelt) in [
        ("asInt", json!("9223372036854775808")),
        ("timeUnixNano", json!("-1")),
        ("timeUnixNano", json!("18446744073709551616")),
        ("flags", json!(4_294_967_296u64)),
    ] {
        let error = point(json!({ field: spelt })).unwrap_err();
        assert!(
            error.contains(&format!("an integer for {field}, in range")),
            "{error}"
        );
    }
}

#[test]
fn only_what_the_mapping_names_is_read_and_the_rest_is_ignored() {
    let ignored = json!({
        "time_unix_nano": "5", "TimeUnixNano": "5", "aNewField": {"deep": [[{}]]},
        "attributes": [{"key": "k", "value": {"aNewValue": 1, "stringValue": "v"}}],
        "asInt": null, "exemplars": null,
    });
    let read = point(ignored).unwrap();
    assert_eq!((read.time_unix_nano, read.value), (0, None));
    let value = read.attributes[0].value.clone().unwrap().value;
    assert_eq!(value, Some(any_value::Value::StringValue("v".into())));
}

#[test]
fn names_of_enums_and_foreign_shapes_are_refused_where_they_stand() {
    let request = |sum: Value| {
        metrics(&json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"sum": sum}]}]}]}))
    };
    let named = json!({"aggregationTemporality": "AGGREGATION_TEMPORALITY_DELTA"});
    let error = request(named).unwrap_err();
    assert!(
        error.contains("an integer for aggregationTemporality, not a name"),
        "{error}"
    );
    assert!(error.contains("line 1 column"), "{error}");
    assert!(!error.contains("AGGREGATION_TEMPORALITY_DELTA"), "{error}");
    for sum in [
        json!([]),
        json!("x"),
        json!({"dataPoints": {}}),
        json!({"dataPoints": [null]}),
    ] {
        assert!(request(sum).is_err());
    }
    for bad in ["", "[]", "{", "{}{}", "null", "{\"resourceMetrics\": 1}"] {
        assert!(
            read::<ExportMetricsServiceRequest>(&METRICS, bad).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn what_was_written_is_never_repeated_in_the_refusal() {
    for field in ["asInt", "timeUnixNano", "flags", "asDouble"] {
        let error = point(json!({ field: "the user said CANARY" })).unwrap_err();
        assert!(!error.contains("CANARY"), "{error}");
    }
}

#[test]
fn spans_and_logs_have_hexadecimal_identifiers() {
    let json = r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{
        "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174",
        "kind": 3, "startTimeUnixNano": "1", "endTimeUnixNano": 2, "flags": 257,
        "attributes": [{"key": "n", "value": {"intValue": 3}}],
        "events": [{"name": "e", "timeUnixNano": "1"}],
        "links": [{"traceId": "5b8efff798038103d269b633813fc60c", "flags": 1}],
        "status": {"code": 2, "message": "m"}
    }]}]}]}"#;
    let request: ExportTraceServiceRequest = read(&TRACES, json).unwrap();
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.trace_id[..4], [0x5b, 0x8e, 0xff, 0xf7]);
    assert_eq!(span.links[0].trace_id, span.trace_id);
    assert_eq!((span.span_id.len(), span.kind, span.flags), (8, 3, 257));
    assert_eq!(span.status.as_ref().unwrap().code, 2);
    let json = r#"{"resourceLogs": [{"scopeLogs": [{"logRecords": [{
        "timeUnixNano": "1", "severityNumber": 9, "body": {"stringValue": "b"},
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"
    }]}]}]}"#;
    let request: ExportLogsServiceRequest = read(&LOGS, json).unwrap();
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!((record.trace_id.len(), record.severity_number), (16, 9));
    for odd in ["5b8", "zz", "W47/95gDgQPSabYzgT/GDA=="] {
        let json = format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"spanId":"{odd}"}}]}}]}}]}}"#
        );
        assert!(
            read::<ExportTraceServiceRequest>(&TRACES, &json).is_err(),
            "{odd}"
        );
    }
}

#[test]
fn an_empty_part_weighs_what_it_takes_and_a_message_has_a_limit() {
    let empty = [0x0a, 0].repeat(1000);
    let taken = 1000 * size_of::<ResourceMetrics>();
    assert!(weight::decoded(&METRICS, &empty).unwrap() >= taken);
    let parts = format!("{{\"resourceMetrics\":[{}{{}}]}}", "{},".repeat(1000));
    assert!(to_protobuf(&METRICS, parts.as_bytes(), 100).is_err());
    let nested = format!(
        "{}{}",
        "{\"arrayValue\":{\"values\":[".repeat(60),
        "]}}".repeat(60)
    );
    let deep = json!({"attributes": [{"value": "x"}]})
        .to_string()
        .replace("\"x\"", &nested);
    let deep = format!("{{\"resourceMetrics\":[{{\"resource\":{deep}}}]}}");
    assert!(read::<ExportMetricsServiceRequest>(&METRICS, &deep).is_err());
}
