//! A closed window as OTLP. In: the window, its sketches, what is declared. Out: the bytes of one
//! `ExportMetricsServiceRequest`, the same for the same input. Encodes each window once; nothing
//! rewrites the bytes afterwards. Never a name that `fathomline_wire::names` does not list.

use std::sync::Arc;

use fathomline_wire::{
    histogram::{ExplicitHistogram, ExponentialHistogram as Histogram},
    names::{self, Kind},
};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        self as metrics_v1, AggregationTemporality, ExponentialHistogram,
        ExponentialHistogramDataPoint, Gauge, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, exponential_histogram_data_point::Buckets, metric,
        number_data_point,
    },
    resource::v1::Resource,
};
use prost::Message;

use crate::{
    detector::WATCHED,
    meter::{SIGNALS, SeriesKey, Sketch, Sketches, Variant},
    noise::{self, Release},
    projection,
    script::Script,
    windows::Window,
    words::{Feedback, FinishReason, Operation, Validity},
};

/// What stays the same for every window of a boot.
#[derive(Debug)]
pub(crate) struct Envelope {
    /// Attributes of the installation, in the order they are sent.
    pub(crate) resource: Vec<(&'static str, String)>,
    /// Declared labels, sorted.
    pub(crate) labels: Vec<String>,
    pub(crate) projections: Option<projection::Plan>,
    /// What is read for energy, and what part of the device that covers: one for a whole boot.
    pub(crate) energy: Option<EnergyReading>,
    /// Terms of noise, if distributions go with it.
    pub(crate) noise: Option<noise::Terms>,
    /// Version of the SDK.
    pub(crate) scope_version: &'static str,
}

/// What a window says about the device itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeviceState {
    pub(crate) spool_bytes: u64,
    /// Windows lost since the last window that said so.
    pub(crate) windows_dropped: u64,
    /// Bytes.
    pub(crate) memory_usage: Option<f64>,
    /// Bytes.
    pub(crate) memory_available: Option<f64>,
    /// Per core.
    pub(crate) load: Option<f64>,
    /// Degrees Celsius.
    pub(crate) temperature: Option<f64>,
    /// Share of the window.
    pub(crate) throttled: Option<f64>,
    /// Share of the window.
    pub(crate) on_battery: Option<f64>,
    /// Collector minus device, seconds.
    pub(crate) clock_offset: Option<f64>,
    /// Joules since the last window: inference, idle, unattributed. What is not known is absent.
    pub(crate) energy: Option<[Option<f64>; 3]>,
}

/// Where joules come from; see `names::ENERGY_SOURCES` and `names::ENERGY_SCOPES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EnergyReading {
    pub(crate) source: &'static str,
    pub(crate) scope: &'static str,
}

/// What a window says about inferences.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// All of the boot; series name them by place.
    pub(crate) variants: Vec<Arc<Variant>>,
    pub(crate) sketches: Sketches,
    /// Noised counts, of a span of their own.
    pub(crate) release: Option<Release>,
}

/// Uses of energy, in the order of [`DeviceState::energy`].
const ENERGY_USES: [&str; 3] = ["inference", "idle", "unattributed"];

/// One window, ready for the spool.
pub(crate) fn encode(
    envelope: &Envelope,
    window: &Window,
    observed: &Observed,
    device: DeviceState,
) -> Vec<u8> {
    let points = Points { envelope, window };
    let (variants, sketches) = (&observed.variants, &observed.sketches);
    let mut metrics = points.distributions(variants, sketches);
    let release = observed.release.as_ref().zip(envelope.noise.as_ref());
    metrics.extend(release.into_iter().flat_map(|(release, terms)| {
        let noised = terms.metrics.iter().enumerate();
        noised.map(|(place, metric)| points.noised(variants, release, terms, (place, metric)))
    }));
    metrics.extend(points.projections(variants, sketches));
    metrics.extend(points.categories(variants, sketches));
    metrics.extend(points.probe_mismatches(variants, sketches));
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
                    let mut attributes = attributes(variants, *key);
                    if *name == names::INFERENCE_ENERGY {
                        attributes.extend(self.energy_reading());
                    }
                    self.distribution(&sketch.signals[signal], attributes)
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
        let times = (self.window.start_unix_nano, self.window.end_unix_nano);
        exponential_point(sketch, attributes, times)
    }

    /// One metric of a release. Not monotonic, because noise may be negative; no operation, because
    /// which of them ran is not told either.
    fn noised(
        &self,
        variants: &[Arc<Variant>],
        release: &Release,
        terms: &noise::Terms,
        (place, metric): (usize, &noise::Metric),
    ) -> Metric {
        let epsilon = terms.cell_epsilon();
        let tables = release.tables.iter().enumerate();
        let data_points = tables.flat_map(|(variant, table)| {
            let series = SeriesKey {
                variant,
                operation: None,
            };
            let mut shared = attributes(variants, series);
            if metric.name == names::INFERENCE_ENERGY {
                shared.extend(self.energy_reading());
            }
            shared.push(text(names::PRIVACY_EPSILON, &epsilon));
            let cells = metric
                .cells
                .iter()
                .zip(table.get(place).into_iter().flatten());
            cells.map(move |(cell, count)| {
                let mut attributes = shared.clone();
                attributes.push(text(names::CELL, cell));
                NumberDataPoint {
                    attributes,
                    start_time_unix_nano: release.start_unix_nano,
                    time_unix_nano: release.end_unix_nano,
                    value: Some(number_data_point::Value::AsInt(*count)),
                    ..Default::default()
                }
            })
        });
        let sum = Sum {
            data_points: data_points.collect(),
            aggregation_temporality: AggregationTemporality::Delta.into(),
            is_monotonic: false,
        };
        Metric {
            name: format!("{}{}", metric.name, names::NOISED),
            unit: names::metric(metric.name)
                .map_or("", |known| known.unit)
                .to_owned(),
            data: Some(metric::Data::Sum(sum)),
            ..Default::default()
        }
    }

    fn energy_reading(&self) -> Vec<KeyValue> {
        let reading = self.envelope.energy.map(|EnergyReading { source, scope }| {
            vec![
                text(names::ENERGY_SOURCE, source),
                text(names::ENERGY_SCOPE, scope),
            ]
        });
        reading.unwrap_or_default()
    }

    fn projections(&self, variants: &[Arc<Variant>], sketches: &Sketches) -> Option<Metric> {
        let plan = self.envelope.projections?;
        let data_points: Vec<_> = sketches
            .iter()
            .flat_map(|(key, sketch)| {
                let components = sketch.projections.components.iter().enumerate();
                components.map(|(component, histogram)| {
                    let mut attributes = attributes(variants, *key);
                    let category = plan.category(component);
                    attributes.push(text(names::PROJECTION_COMPONENT, &category));
                    self.explicit(histogram, attributes)
                })
            })
            .collect();
        let histogram = metrics_v1::Histogram {
            data_points,
            aggregation_temporality: AggregationTemporality::Delta.into(),
        };
        (!histogram.data_points.is_empty()).then(|| {
            let data = metric::Data::Histogram(histogram);
            metric(names::EMBEDDING_PROJECTION, data)
        })
    }

    fn explicit(
        &self,
        histogram: &ExplicitHistogram,
        attributes: Vec<KeyValue>,
    ) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes,
            start_time_unix_nano: self.window.start_unix_nano,
            time_unix_nano: self.window.end_unix_nano,
            count: histogram.count,
            sum: histogram.sum,
            bucket_counts: histogram.counts.clone(),
            explicit_bounds: histogram.bounds.clone(),
            min: histogram.min,
            max: histogram.max,
            ..Default::default()
        }
    }

    fn categories(&self, variants: &[Arc<Variant>], sketches: &Sketches) -> Vec<Metric> {
        let finish = FinishReason::ALL.map(FinishReason::name);
        let feedback = Feedback::ALL.map(Feedback::name);
        let labels = self.envelope.labels.iter().map(String::as_str);
        let labels: Vec<&str> = labels.chain([names::OTHER]).collect();
        let scripts = Script::ALL.map(Script::name);
        let validity = Validity::ALL.map(Validity::name);
        let counters: [(&str, &[&str], Counts); 6] = [
            (names::INPUT_SCRIPT, &scripts, |sketch| &sketch.scripts),
            (names::OUTPUT_FINISH, &finish, |sketch| &sketch.finish),
            (names::OUTPUT_LABEL, &labels, |sketch| &sketch.labels),
            (names::OUTPUT_VALIDITY, &validity, |sketch| &sketch.validity),
            (names::FEEDBACK, &feedback, |sketch| &sketch.feedback),
            (names::DEVICE_ALARM, &WATCHED, |sketch| &sketch.alarms),
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

    fn probe_mismatches(&self, variants: &[Arc<Variant>], sketches: &Sketches) -> Option<Metric> {
        let counted = sketches.iter().filter_map(|(key, sketch)| {
            let [count] = sketch.probe_mismatches;
            (count > 0).then(|| self.number(count, attributes(variants, *key)))
        });
        let points: Vec<_> = counted.collect();
        (!points.is_empty()).then(|| metric(names::PROBE_MISMATCH, sum(points)))
    }

    fn device(&self, device: DeviceState) -> Vec<Metric> {
        let sequence = self.number(self.window.sequence, vec![]);
        let spool = self.number(device.spool_bytes, vec![]);
        let levels = [
            (names::DEVICE_MEMORY_USAGE, device.memory_usage),
            (names::DEVICE_MEMORY_AVAILABLE, device.memory_available),
            (names::DEVICE_LOAD, device.load),
            (names::DEVICE_TEMPERATURE, device.temperature),
            (names::DEVICE_THROTTLED, device.throttled),
            (names::DEVICE_ON_BATTERY, device.on_battery),
            (names::DEVICE_CLOCK_OFFSET, device.clock_offset),
        ];
        // What was not measured is absent, never zero.
        let levels = levels.into_iter().filter_map(|(name, level)| {
            let level = level.filter(|level| level.is_finite())?;
            Some(metric(name, gauge(self.real(level, vec![]))))
        });
        let lost = (device.windows_dropped > 0).then(|| {
            let count = self.number(device.windows_dropped, vec![]);
            metric(names::WINDOW_DROPPED, sum(vec![count]))
        });
        [
            metric(names::WINDOW_SEQUENCE, level(vec![sequence])),
            metric(names::SPOOL_SIZE, gauge(spool)),
        ]
        .into_iter()
        .chain(levels)
        .chain(lost)
        .chain(self.device_energy(device))
        .collect()
    }

    fn device_energy(&self, device: DeviceState) -> Option<Metric> {
        let uses = ENERGY_USES.iter().zip(device.energy?);
        let points = uses.filter_map(|(name, joules)| {
            let mut attributes = vec![text(names::ENERGY_USE, name)];
            attributes.extend(self.energy_reading());
            Some(self.real(joules?, attributes))
        });
        Some(metric(names::DEVICE_ENERGY, sum(points.collect())))
    }

    fn real(&self, value: f64, attributes: Vec<KeyValue>) -> NumberDataPoint {
        NumberDataPoint {
            value: Some(number_data_point::Value::AsDouble(value)),
            ..self.number(0, attributes)
        }
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

/// What something is at the end of the window: it has no start.
fn gauge(point: NumberDataPoint) -> metric::Data {
    level(vec![NumberDataPoint {
        start_time_unix_nano: 0,
        ..point
    }])
}

/// The window's own point keeps its start, so that an empty window says what it covers.
fn level(data_points: Vec<NumberDataPoint>) -> metric::Data {
    metric::Data::Gauge(Gauge { data_points })
}

/// A histogram as the point of a span, its start and end in nanoseconds since the Unix epoch.
pub(crate) fn exponential_point(
    histogram: &Histogram,
    attributes: Vec<KeyValue>,
    (start_time_unix_nano, time_unix_nano): (u64, u64),
) -> ExponentialHistogramDataPoint {
    let filled = |side: &fathomline_wire::histogram::Buckets| {
        (!side.counts.is_empty()).then(|| Buckets {
            offset: side.offset,
            bucket_counts: side.counts.clone(),
        })
    };
    ExponentialHistogramDataPoint {
        attributes,
        start_time_unix_nano,
        time_unix_nano,
        count: histogram.count,
        sum: Some(histogram.sum),
        scale: histogram.scale,
        zero_count: histogram.zero_count,
        zero_threshold: histogram.zero_threshold,
        positive: filled(&histogram.positive),
        negative: filled(&histogram.negative),
        min: Some(histogram.min),
        max: Some(histogram.max),
        ..Default::default()
    }
}

/// Says that one window became part of the one that carries this; its times are set there.
pub(crate) fn merged_once() -> Metric {
    let one = NumberDataPoint {
        value: Some(number_data_point::Value::AsInt(1)),
        ..Default::default()
    };
    metric(names::WINDOW_MERGED, sum(vec![one]))
}

fn sum(data_points: Vec<NumberDataPoint>) -> metric::Data {
    metric::Data::Sum(Sum {
        data_points,
        aggregation_temporality: AggregationTemporality::Delta.into(),
        is_monotonic: true,
    })
}

fn attributes(variants: &[Arc<Variant>], key: SeriesKey) -> Vec<KeyValue> {
    let operation = key.operation.map(Operation::name);
    let operation = operation.map(|name| text(names::OPERATION_NAME, name));
    let model = variants
        .get(key.variant)
        .map(|variant| variant.attributes.as_slice());
    let model = model
        .unwrap_or_default()
        .iter()
        .map(|(key, value)| text(key, value));
    operation.into_iter().chain(model).collect()
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = any_value::Value::StringValue(value.to_owned());
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    }
}
