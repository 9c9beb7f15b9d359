//! What a device sends, byte for byte. In: who it is, and what it measured in one window. Out: an
//! OTLP body with its identity headers. Hand-made on purpose: the collector is held to the
//! contract, not to what the SDK happens to do.

use fathomline_wire::{histogram::ExponentialHistogram, names};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, ExponentialHistogram as Distribution,
        ExponentialHistogramDataPoint, Gauge, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, Sum, exponential_histogram_data_point::Buckets, metric,
        number_data_point::Value,
    },
    resource::v1::Resource,
};
use prost::Message;

use super::clock::now_us;

/// One installation of the app under test.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) installation: String,
    pub(crate) boot: String,
    pub(crate) service: String,
    pub(crate) class: String,
    pub(crate) version: String,
}

/// One window as it goes over the wire.
#[derive(Clone)]
pub(crate) struct Window {
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// A span of time in microseconds since the Unix epoch.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start_us: i64,
    pub(crate) end_us: i64,
}

impl Device {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            installation: format!("device-{number}"),
            boot: format!("boot-{number}"),
            service: "assistant".into(),
            class: "kiosk".into(),
            version: "1".into(),
        }
    }

    pub(crate) fn of_class(number: usize, class: &str) -> Self {
        Self {
            installation: format!("{class}-{number}"),
            class: class.into(),
            ..Self::new(number)
        }
    }

    /// A window with one record of surprisal a value and as many accepted answers.
    pub(crate) fn window(&self, sequence: u64, span: Span, surprisals: &[f64]) -> Window {
        self.window_of(&self.request(sequence, span, surprisals), sequence)
    }

    /// Any request under this device's identity, uploaded now.
    pub(crate) fn window_of(&self, request: &ExportMetricsServiceRequest, sequence: u64) -> Window {
        let headers = vec![
            (names::HEADER_INSTALLATION, self.installation.clone()),
            (names::HEADER_BOOT, self.boot.clone()),
            (names::HEADER_SEQUENCE, sequence.to_string()),
            (names::HEADER_CLOCK, (now_us() * 1000).to_string()),
        ];
        Window {
            headers,
            body: request.encode_to_vec(),
        }
    }

    /// The request of [`Self::window`], for tests that change it before it is sent.
    pub(crate) fn request(
        &self,
        sequence: u64,
        span: Span,
        surprisals: &[f64],
    ) -> ExportMetricsServiceRequest {
        let variant = self.variant();
        let metrics = vec![
            self.distribution(names::OUTPUT_SURPRISAL, span, surprisals),
            Metric {
                name: names::FEEDBACK.into(),
                unit: "{feedback}".into(),
                data: Some(metric::Data::Sum(Sum {
                    data_points: vec![NumberDataPoint {
                        attributes: [variant, vec![text(names::FEEDBACK_KIND, "accepted")]]
                            .concat(),
                        value: Some(Value::AsInt(i64::try_from(surprisals.len()).unwrap())),
                        ..number_at(span)
                    }],
                    aggregation_temporality: AggregationTemporality::Delta.into(),
                    is_monotonic: true,
                })),
                ..Default::default()
            },
            Metric {
                name: names::WINDOW_SEQUENCE.into(),
                unit: "1".into(),
                data: Some(metric::Data::Gauge(Gauge {
                    data_points: vec![NumberDataPoint {
                        value: Some(Value::AsInt(i64::try_from(sequence).unwrap())),
                        ..number_at(span)
                    }],
                })),
                ..Default::default()
            },
        ];
        ExportMetricsServiceRequest {
            resource_metrics: vec![self.resource_metrics(metrics)],
        }
    }

    pub(crate) fn distribution(&self, name: &str, span: Span, values: &[f64]) -> Metric {
        Metric {
            name: name.into(),
            unit: names::metric(name).map_or("1", |metric| metric.unit).into(),
            data: Some(metric::Data::ExponentialHistogram(Distribution {
                data_points: vec![ExponentialHistogramDataPoint {
                    attributes: self.variant(),
                    ..exponential(span, values)
                }],
                aggregation_temporality: AggregationTemporality::Delta.into(),
            })),
            ..Default::default()
        }
    }

    pub(crate) fn resource_metrics(&self, metrics: Vec<Metric>) -> ResourceMetrics {
        let attributes = vec![
            text(names::SERVICE_NAME, &self.service),
            text(names::SERVICE_VERSION, "1.4.0"),
            text(names::SERVICE_INSTANCE_ID, &self.boot),
            text(names::DEVICE_ID, &self.installation),
            text(names::DEVICE_CLASS, &self.class),
        ];
        ResourceMetrics {
            resource: Some(Resource {
                attributes,
                ..Default::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: names::SCOPE.into(),
                    version: "0.1.0".into(),
                    ..Default::default()
                }),
                metrics,
                schema_url: names::SCHEMA_URL.into(),
            }],
            schema_url: names::SCHEMA_URL.into(),
        }
    }

    fn variant(&self) -> Vec<KeyValue> {
        vec![
            text(names::OPERATION_NAME, "chat"),
            text(names::PROVIDER_NAME, names::PROVIDER_CANDLE),
            text(names::REQUEST_MODEL, "tiny"),
            text(names::MODEL_VERSION, &self.version),
            text(names::MODEL_VARIANT, "ab12cd34"),
            text(names::MODEL_QUANTIZATION, "f32"),
        ]
    }
}

/// A text attribute.
pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.into())),
        }),
        ..Default::default()
    }
}

fn number_at(span: Span) -> NumberDataPoint {
    NumberDataPoint {
        start_time_unix_nano: nanos(span.start_us),
        time_unix_nano: nanos(span.end_us),
        ..Default::default()
    }
}

fn exponential(span: Span, values: &[f64]) -> ExponentialHistogramDataPoint {
    let mut histogram = ExponentialHistogram::new(4);
    for value in values {
        assert!(histogram.record(*value), "{value} cannot be recorded");
    }
    let positive = histogram.positive;
    ExponentialHistogramDataPoint {
        start_time_unix_nano: nanos(span.start_us),
        time_unix_nano: nanos(span.end_us),
        count: histogram.count,
        sum: Some(histogram.sum),
        scale: histogram.scale,
        zero_count: histogram.zero_count,
        positive: Some(Buckets {
            offset: positive.offset,
            bucket_counts: positive.counts,
        }),
        min: Some(histogram.min),
        max: Some(histogram.max),
        ..Default::default()
    }
}

fn nanos(us: i64) -> u64 {
    u64::try_from(us).expect("the span is past 1970") * 1000
}
