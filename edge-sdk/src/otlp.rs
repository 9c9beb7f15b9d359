//! A closed window as OTLP. In: the window, its sketches, what is declared. Out: the bytes of one
//! `ExportMetricsServiceRequest`, the same for the same input. Encodes each window once; nothing
//! rewrites the bytes afterwards. Never a name that `fathomline_wire::names` does not list.

use std::sync::Arc;

use fathomline_wire::{
    histogram::ExponentialHistogram as Histogram,
    names::{self, Kind},
};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Metric,
        NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
        exponential_histogram_data_point::Buckets, metric, number_data_point,
    },
    resource::v1::Resource,
};
use prost::Message;

use crate::{
    meter::{SIGNALS, SeriesKey, Sketch, Sketches, Variant},
    script::Script,
    windows::Window,
    words::{Feedback, FinishReason},
};

/// What stays the same for every window of a boot.
#[derive(Debug)]
pub(crate) struct Envelope {
    /// Attributes of the installation, in the order they are sent.
    pub(crate) resource: Vec<(&'static str, String)>,
    /// Declared labels, sorted.
    pub(crate) labels: Vec<String>,
    /// Version of the SDK.
    pub(crate) scope_version: &'static str,
}

/// What a window says about the device itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeviceState {
    pub(crate) spool_bytes: u64,
    /// Windows lost since the last window that said so.
    pub(crate) windows_dropped: u64,
}

/// One window, ready for the spool.
pub(crate) fn encode(
    envelope: &Envelope,
    window: &Window,
    variants: &[Arc<Variant>],
    sketches: &Sketches,
    device: DeviceState,
) -> Vec<u8> {
    let points = Points { envelope, window };
    let mut metrics = points.distributions(variants, sketches);
    metrics.extend(points.categories(variants, sketches));
    metrics.extend(points.device(device));
    let scope = InstrumentationScope {
        name: names::SCOPE.to_owned(),
        version: envelope.scope_version.to_owned(),
        ..Default::default()
    };
    let attributes = envelope
        .resource
        .iter()
        .map(|(key, value)| text(key, value))
        .collect();
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes,
                ..Default::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics,
                schema_url: names::SCHEMA_URL.to_owned(),
            }],
            schema_url: names::SCHEMA_URL.to_owned(),
        }],
    };
    request.encode_to_vec()
}

/// Makes points of one window.
struct Points<'a> {
    envelope: &'a Envelope,
    window: &'a Window,
}

impl Points<'_> {
    fn distributions(&self, variants: &[Arc<Variant>], sketches: &Sketches) -> Vec<Metric> {
        let metrics = SIGNALS.iter().enumerate().filter_map(|(signal, name)| {
            let filled = sketches
                .iter()
                .filter(|(_, sketch)| sketch.signals[signal].count > 0);
            let data_points: Vec<_> = filled
                .map(|(key, sketch)| {
                    self.distribution(&sketch.signals[signal], attributes(variants, *key))
                })
                .collect();
            let data = ExponentialHistogram {
                data_points,
                aggregation_temporality: AggregationTemporality::Delta.into(),
            };
            (!data.data_points.is_empty())
                .then(|| metric(name, metric::Data::ExponentialHistogram(data)))
        });
        metrics.collect()
    }

    fn distribution(
        &self,
        sketch: &Histogram,
        attributes: Vec<KeyValue>,
    ) -> ExponentialHistogramDataPoint {
        let buckets = |side: &fathomline_wire::histogram::Buckets| Buckets {
            offset: side.offset,
            bucket_counts: side.counts.clone(),
        };
        let filled = |side: &fathomline_wire::histogram::Buckets| {
            (!side.counts.is_empty()).then(|| buckets(side))
        };
        ExponentialHistogramDataPoint {
            attributes,
            start_time_unix_nano: self.window.start_unix_nano,
            time_unix_nano: self.window.end_unix_nano,
            count: sketch.count,
            sum: Some(sketch.sum),
            scale: sketch.scale,
            zero_count: sketch.zero_count,
            zero_threshold: sketch.zero_threshold,
            positive: filled(&sketch.positive),
            negative: filled(&sketch.negative),
            min: Some(sketch.min),
            max: Some(sketch.max),
            ..Default::default()
        }
    }

    fn categories(&self, variants: &[Arc<Variant>], sketches: &Sketches) -> Vec<Metric> {
        let finish = FinishReason::ALL.map(FinishReason::name);
        let feedback = Feedback::ALL.map(Feedback::name);
        let labels = self.envelope.labels.iter().map(String::as_str);
        let labels: Vec<&str> = labels.chain([names::OTHER]).collect();
        let scripts = Script::ALL.map(Script::name);
        let counters: [(&str, &[&str], Counts); 4] = [
            (names::INPUT_SCRIPT, &scripts, |sketch| &sketch.scripts),
            (names::OUTPUT_FINISH, &finish, |sketch| &sketch.finish),
            (names::OUTPUT_LABEL, &labels, |sketch| &sketch.labels),
            (names::FEEDBACK, &feedback, |sketch| &sketch.feedback),
        ];
        let metrics = counters
            .into_iter()
            .filter_map(|(name, categories, counts)| {
                let attribute = names::metric(name)?.category?;
                let points = sketches.iter().flat_map(|(key, sketch)| {
                    let counted = categories
                        .iter()
                        .zip(counts(sketch))
                        .filter(|(_, count)| **count > 0);
                    counted.map(|(category, count)| {
                        let mut attributes = attributes(variants, *key);
                        attributes.push(text(attribute, category));
                        self.number(*count, attributes)
                    })
                });
                let points: Vec<_> = points.collect();
                (!points.is_empty()).then(|| metric(name, sum(points)))
            });
        metrics.collect()
    }

    fn device(&self, device: DeviceState) -> Vec<Metric> {
        let gauge = |value| {
            let point = NumberDataPoint {
                start_time_unix_nano: 0,
                ..self.number(value, vec![])
            };
            metric::Data::Gauge(Gauge {
                data_points: vec![point],
            })
        };
        let mut metrics = vec![
            metric(names::WINDOW_SEQUENCE, gauge(self.window.sequence)),
            metric(names::SPOOL_SIZE, gauge(device.spool_bytes)),
        ];
        if device.windows_dropped > 0 {
            let lost = vec![self.number(device.windows_dropped, vec![])];
            metrics.push(metric(names::WINDOW_DROPPED, sum(lost)));
        }
        metrics
    }

    fn number(&self, value: u64, attributes: Vec<KeyValue>) -> NumberDataPoint {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        NumberDataPoint {
            attributes,
            start_time_unix_nano: self.window.start_unix_nano,
            time_unix_nano: self.window.end_unix_nano,
            value: Some(number_data_point::Value::AsInt(value)),
            ..Default::default()
        }
    }
}

/// Where a category's counts are in a sketch.
type Counts = fn(&Sketch) -> &[u64];

/// A metric by its contract name; descriptions are left out, the contract has them.
fn metric(name: &str, data: metric::Data) -> Metric {
    let contract = names::metric(name);
    debug_assert!(contract.is_some_and(|known| {
        (known.kind == Kind::Gauge) == matches!(data, metric::Data::Gauge(_))
    }));
    Metric {
        name: name.to_owned(),
        unit: contract.map_or("", |known| known.unit).to_owned(),
        data: Some(data),
        ..Default::default()
    }
}

fn sum(data_points: Vec<NumberDataPoint>) -> metric::Data {
    metric::Data::Sum(Sum {
        data_points,
        aggregation_temporality: AggregationTemporality::Delta.into(),
        is_monotonic: true,
    })
}

fn attributes(variants: &[Arc<Variant>], key: SeriesKey) -> Vec<KeyValue> {
    let operation = text(names::OPERATION_NAME, key.operation.name());
    let model = variants
        .get(key.variant)
        .map(|variant| variant.attributes.as_slice());
    let model = model
        .unwrap_or_default()
        .iter()
        .map(|(key, value)| text(key, value));
    std::iter::once(operation).chain(model).collect()
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = any_value::Value::StringValue(value.to_owned());
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    }
}
