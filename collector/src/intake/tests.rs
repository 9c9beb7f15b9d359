//! Requests as devices, foreign SDKs and enemies send them. Proves what is kept and why the rest
//! is not; what counts once is the ledger's.

use fathomline_wire::rejection::Rejection;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    metrics::v1::{
        AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint,
        Histogram, HistogramDataPoint, NumberDataPoint, ScopeMetrics, Sum,
        exponential_histogram_data_point::Buckets, number_data_point,
    },
    resource::v1::Resource,
};

use super::*;

const CANARY: &str = "the user said CANARY";

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue {
        value: Some(Value::StringValue(value.into())),
    };
    KeyValue {
        key: key.into(),
        value: Some(value),
        ..KeyValue::default()
    }
}

fn request(metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let scope = InstrumentationScope {
        name: CANARY.into(),
        ..InstrumentationScope::default()
    };
    let resource = Resource {
        attributes: vec![
            attribute(names::SERVICE_NAME, "app"),
            attribute("note", CANARY),
        ],
        ..Resource::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

fn metric(name: &str, data: metric::Data) -> Metric {
    Metric {
        name: name.into(),
        description: CANARY.into(),
        unit: "1".into(),
        data: Some(data),
        ..Metric::default()
    }
}

fn exponential(point: ExponentialHistogramDataPoint) -> metric::Data {
    metric::Data::ExponentialHistogram(ExponentialHistogram {
        data_points: vec![point],
        aggregation_temporality: AggregationTemporality::Delta as i32,
    })
}

fn counter(value: number_data_point::Value, time_unix_nano: u64) -> metric::Data {
    let point = NumberDataPoint {
        attributes: vec![attribute(names::LABEL, CANARY), attribute("note", CANARY)],
        exemplars: vec![Exemplar {
            filtered_attributes: vec![attribute("prompt", CANARY)],
            ..Exemplar::default()
        }],
        time_unix_nano,
        value: Some(value),
        ..NumberDataPoint::default()
    };
    metric::Data::Sum(Sum {
        data_points: vec![point],
        aggregation_temporality: AggregationTemporality::Delta as i32,
        is_monotonic: true,
    })
}

/// Requests of every kind that decoders should survive mutations of.
pub(crate) fn requests() -> Vec<ExportMetricsServiceRequest> {
    let time = 1_699_999_990_000_000_000;
    let explicit = HistogramDataPoint {
        start_time_unix_nano: time - 10_000_000_000,
        time_unix_nano: time,
        count: 3,
        sum: Some(0.9),
        explicit_bounds: vec![0.1, 0.5],
        bucket_counts: vec![1, 1, 1],
        attributes: vec![attribute(names::LEGACY_TOKEN_TYPE, "input")],
        ..HistogramDataPoint::default()
    };
    let explicit = |temporality: AggregationTemporality| {
        metric::Data::Histogram(Histogram {
            data_points: vec![explicit.clone()],
            aggregation_temporality: temporality as i32,
        })
    };
    let exponential = exponential(ExponentialHistogramDataPoint {
        time_unix_nano: time,
        scale: 3,
        count: 4,
        zero_count: 1,
        sum: Some(3.0),
        positive: Some(Buckets {
            offset: -2,
            bucket_counts: vec![1, 1],
        }),
        negative: Some(Buckets {
            offset: 5,
            bucket_counts: vec![1],
        }),
        ..ExponentialHistogramDataPoint::default()
    });
    let number = number_data_point::Value::AsInt(7);
    vec![
        request(vec![
            metric(names::OUTPUT_LABEL, counter(number, time)),
            metric(names::OUTPUT_SURPRISAL, exponential),
        ]),
        request(vec![
            metric("app.latency", explicit(AggregationTemporality::Cumulative)),
            metric(
                names::LEGACY_TOKEN_USAGE,
                explicit(AggregationTemporality::Delta),
            ),
        ]),
    ]
}

#[test]
fn older_names_are_stored_under_the_current_ones() {
    let time_unix_nano = 1_000_000;
    let point = |kind: &str| HistogramDataPoint {
        time_unix_nano,
        count: 1,
        explicit_bounds: vec![1.0, 4.0],
        bucket_counts: vec![0, 1, 0],
        attributes: vec![
            attribute(names::LEGACY_TOKEN_TYPE, kind),
            attribute(names::LEGACY_PROVIDER, "candle"),
        ],
        ..HistogramDataPoint::default()
    };
    let usage = metric::Data::Histogram(Histogram {
        data_points: ["input", "output", "completion", "image"]
            .map(point)
            .to_vec(),
        aggregation_temporality: AggregationTemporality::Delta as i32,
    });
    let mut request = request(vec![metric(names::LEGACY_TOKEN_USAGE, usage)]);
    let resource = request.resource_metrics[0].resource.as_mut().unwrap();
    let environment = attribute(names::LEGACY_ENVIRONMENT, "staging");
    resource.attributes.push(environment);
    let (windows, rejected) = from_request(&request);
    assert!(rejected.is_empty());
    let found: Vec<_> = windows[0]
        .points
        .iter()
        .map(|point| {
            assert_eq!(point.columns.provider.as_deref(), Some("candle"));
            assert_eq!(point.columns.environment.as_deref(), Some("staging"));
            (point.columns.metric.as_str(), point.columns.unit.as_str())
        })
        .collect();
    let tokens = "{token}";
    let expected = [
        (names::INPUT_TOKENS, tokens),
        (names::OUTPUT_TOKENS, tokens),
        (names::OUTPUT_TOKENS, tokens),
        // Neither in nor out: it stays what it was called.
        (names::LEGACY_TOKEN_USAGE, "1"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn noised_counts_keep_their_cell_and_their_sign() {
    let name = format!("{}{}", names::OUTPUT_SURPRISAL, names::NOISED);
    let point = |cell: &str, value: i64| NumberDataPoint {
        time_unix_nano: 1_000_000,
        attributes: vec![
            attribute(names::CELL, cell),
            attribute(names::PRIVACY_EPSILON, "0.5"),
        ],
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    };
    let sum = Sum {
        data_points: vec![point("1:-8", -7), point("1:7", 3), point("+1:07", 1)],
        aggregation_temporality: AggregationTemporality::Delta as i32,
        is_monotonic: false,
    };
    let rising = Sum {
        is_monotonic: true,
        ..sum.clone()
    };
    let metrics = [sum, rising].map(|sum| metric(&name, metric::Data::Sum(sum)));
    let (windows, rejected) = from_request(&request(metrics.into()));
    assert_eq!(rejected.of(Rejection::Kind), 3, "they do not only rise");
    let points = windows[0].points.iter();
    let found: Vec<_> = points
        .map(|point| (point.category.as_deref().unwrap(), point.body.clone()))
        .collect();
    let expected = [("1:-8", -7), ("1:7", 3), (names::OTHER, 1)];
    let expected = expected.map(|(cell, value)| (cell, PointBody::Integer(value)));
    assert_eq!(found, expected);
}

#[test]
fn nothing_but_allow_listed_attributes_passes() {
    let value = number_data_point::Value::AsInt(1);
    let request = request(vec![metric(names::OUTPUT_LABEL, counter(value, 1_000_000))]);
    let (windows, rejected) = from_request(&request);
    assert!(rejected.is_empty());
    let point = &windows[0].points[0];
    assert_eq!(point.category.as_deref(), Some(names::OTHER));
    assert_eq!(point.columns.service, "app");
    assert!(!format!("{windows:?}").contains("CANARY"));
}

#[test]
fn each_false_claim_has_its_reason_and_spares_its_neighbours() {
    let good = ExponentialHistogramDataPoint {
        time_unix_nano: 2_000_000,
        scale: 3,
        count: 2,
        sum: Some(3.0),
        positive: Some(Buckets {
            offset: 0,
            bucket_counts: vec![1, 1],
        }),
        ..ExponentialHistogramDataPoint::default()
    };
    let absurd = ExponentialHistogramDataPoint {
        scale: 999,
        ..good.clone()
    };
    let miscounted = ExponentialHistogramDataPoint {
        count: 3,
        ..good.clone()
    };
    let huge = ExponentialHistogramDataPoint {
        count: u64::MAX,
        zero_count: u64::MAX - 2,
        ..good.clone()
    };
    let timeless = ExponentialHistogramDataPoint {
        time_unix_nano: 0,
        ..good.clone()
    };
    let backwards = ExponentialHistogramDataPoint {
        start_time_unix_nano: 9_000_000,
        ..good.clone()
    };
    let points = [absurd, miscounted, huge, timeless, backwards, good];
    let mut metrics: Vec<_> = points
        .into_iter()
        .map(|point| metric("m", exponential(point)))
        .collect();
    metrics.push(metric(
        "n",
        counter(number_data_point::Value::AsDouble(f64::NAN), 1_000_000),
    ));
    metrics.push(metric(
        "a prompt is not a name",
        counter(number_data_point::Value::AsInt(1), 1),
    ));
    let (windows, rejected) = from_request(&request(metrics));
    assert_eq!(windows[0].points.len(), 1);
    assert_eq!(rejected.of(Rejection::Scale), 1);
    assert_eq!(rejected.of(Rejection::Counts), 2);
    assert_eq!(rejected.of(Rejection::Time), 2);
    assert_eq!(rejected.of(Rejection::NotFinite), 1);
    assert_eq!(rejected.of(Rejection::TooLong), 1);
    assert_eq!(rejected.total(), 7);
}

/// The stream of one point of a sum, under a scope.
fn stream_of(scope: InstrumentationScope, sum: Sum) -> u128 {
    let mut request = request(vec![metric("app.tokens", metric::Data::Sum(sum))]);
    request.resource_metrics[0].scope_metrics[0].scope = Some(scope);
    let (windows, rejected) = from_request(&request);
    assert_eq!(rejected.total(), 0);
    windows[0].points[0].stream
}

#[test]
fn a_stream_is_named_by_all_that_tells_two_instruments_apart() {
    let scope = |version: &str, attributes: &[KeyValue]| InstrumentationScope {
        name: "meter".into(),
        version: version.into(),
        attributes: attributes.to_vec(),
        ..InstrumentationScope::default()
    };
    let sum = |is_monotonic, temporality: AggregationTemporality| Sum {
        data_points: vec![NumberDataPoint {
            start_time_unix_nano: 1_700_000_000_000_000_000,
            time_unix_nano: 1_700_000_010_000_000_000,
            value: Some(number_data_point::Value::AsInt(3)),
            ..NumberDataPoint::default()
        }],
        aggregation_temporality: temporality.into(),
        is_monotonic,
    };
    use AggregationTemporality::{Cumulative, Delta};
    let (x, y) = (attribute("pool", "x"), attribute("pool", "y"));
    let streams = [
        stream_of(scope("1", &[]), sum(true, Delta)),
        stream_of(scope("2", &[]), sum(true, Delta)),
        stream_of(scope("1", &[x]), sum(true, Delta)),
        stream_of(scope("1", &[y]), sum(true, Delta)),
        stream_of(scope("1", &[]), sum(false, Delta)),
        stream_of(scope("1", &[]), sum(true, Cumulative)),
        stream_of(scope("1", &[]), sum(false, Cumulative)),
    ];
    let distinct: std::collections::BTreeSet<_> = streams.into_iter().collect();
    assert_eq!(distinct.len(), streams.len());
    assert_eq!(
        stream_of(scope("1", &[]), sum(true, Delta)),
        streams[0],
        "the same names again are the same stream"
    );
}
