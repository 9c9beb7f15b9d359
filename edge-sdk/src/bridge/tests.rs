//! The same inferences through our own encoding and through the OpenTelemetry SDK: what arrives
//! must be the same, point by point.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{KeyValue as Attribute, any_value},
    metrics::v1::{
        ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint,
        exponential_histogram_data_point::Buckets, metric::Data, number_data_point::Value,
    },
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        PeriodicReader, SdkMeterProvider, Temporality, data::ResourceMetrics,
        exporter::PushMetricExporter,
    },
};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::{
    energy::{self, Energy},
    meter::{Meter, Signal},
    model::Model,
    otlp::{self, DeviceState, Envelope, Observed},
    windows::Window,
    words::{Feedback, FinishReason, Validity},
};

/// Keeps what the SDK hands to an exporter, as the OTLP exporter would encode it.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<ExportMetricsServiceRequest>>>);

impl PushMetricExporter for Kept {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.0.lock().unwrap().push(metrics.into());
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Delta
    }
}

const READING: EnergyReading = EnergyReading {
    source: "measured.rail",
    scope: "module",
};

/// A module whose input can be read, which is where [`READING`] comes from.
fn energy() -> Energy {
    let root = tempfile::tempdir().unwrap();
    let sensor = root.path().join("sys/class/hwmon/hwmon0");
    std::fs::create_dir_all(&sensor).unwrap();
    for (file, text) in [
        ("name", "ina3221"),
        ("in1_label", "VDD_IN"),
        ("in1_input", "5000"),
        ("curr1_input", "400"),
    ] {
        std::fs::write(sensor.join(file), text).unwrap();
    }
    let found = energy::find(root.path(), None, false).unwrap();
    assert_eq!(found.reading, READING);
    Energy::new(found)
}

/// Two lines of the same application, one a path.
struct Pair {
    ours: Meter,
    theirs: Meter,
    provider: SdkMeterProvider,
    kept: Kept,
}

impl Pair {
    fn new(plan: Plan) -> Self {
        let kept = Kept::default();
        let reader =
            PeriodicReader::builder(kept.clone()).with_interval(Duration::from_secs(86_400));
        let provider = SdkMeterProvider::builder()
            .with_reader(reader.build())
            .with_view(view)
            .build();
        let model = || Model::new("m", "1").quantization("q8_0");
        let bridged = Plan {
            instruments: Some(Arc::new(Instruments::new(&provider))),
            ..plan.clone()
        };
        Self {
            ours: Meter::new(model(), plan, None),
            theirs: Meter::new(model(), bridged, Some(energy())),
            provider,
            kept,
        }
    }

    fn both(&self, work: impl Fn(&Meter)) {
        work(&self.ours);
        work(&self.theirs);
    }

    /// Everything since the last call, the metrics of the window itself apart.
    fn requests(&self, plan: &Plan) -> [ExportMetricsServiceRequest; 2] {
        let envelope = Envelope {
            resource: Vec::new(),
            labels: plan.labels.clone(),
            projections: plan.projections,
            energy: Some(READING),
            noise: None,
            scope_version: env!("CARGO_PKG_VERSION"),
        };
        let window = Window {
            sequence: 1,
            start_unix_nano: 1,
            end_unix_nano: 2,
        };
        let observed = Observed {
            sketches: self.ours.take(),
            variants: self.ours.variants(),
            release: None,
        };
        let body = otlp::encode(&envelope, &window, &observed, DeviceState::default());
        let ours = ExportMetricsServiceRequest::decode(&body[..]).unwrap();
        self.provider.force_flush().unwrap();
        let theirs = self.kept.0.lock().unwrap().pop().unwrap();
        assert!(
            self.theirs.take().is_empty(),
            "a bridged line keeps sketches"
        );
        [ours, theirs]
    }

    /// Compares, and says how many points there were.
    fn agree(&self, plan: &Plan) -> usize {
        let [ours, theirs] = self.requests(plan);
        let [ours, theirs] = [points(&ours), points(&theirs)];
        let names = |points: &Points| points.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&theirs));
        for (key, ours) in &ours {
            assert!(
                ours.agrees_with(&theirs[key]),
                "{key:?}: {ours:?} {:?}",
                theirs[key]
            );
        }
        ours.len()
    }
}

/// A point without its times and attributes.
#[derive(Debug)]
enum Point {
    Exponential(ExponentialHistogramDataPoint),
    Explicit(HistogramDataPoint),
    Number(NumberDataPoint),
}

type Points = BTreeMap<(String, String, i32, BTreeMap<String, String>), Point>;

impl Point {
    fn agrees_with(&self, other: &Self) -> bool {
        let close = |ours: Option<f64>, theirs: Option<f64>| {
            let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
            (ours - theirs).abs() <= 1e-12 * ours.abs()
        };
        match (self, other) {
            (Self::Exponential(ours), Self::Exponential(theirs)) => {
                let told = |p: &ExponentialHistogramDataPoint| {
                    let sides = [trimmed(&p.positive), trimmed(&p.negative)];
                    let zero = (p.zero_count, p.zero_threshold.to_bits());
                    (p.count, p.scale, zero, sides, p.min, p.max)
                };
                told(ours) == told(theirs) && close(ours.sum, theirs.sum)
            }
            (Self::Explicit(ours), Self::Explicit(theirs)) => {
                let told = |p: &HistogramDataPoint| {
                    let buckets = (p.bucket_counts.clone(), p.explicit_bounds.clone());
                    (p.count, buckets, p.min, p.max)
                };
                // Projections cancel out, so the sum may be near zero: relative to its terms.
                let sums = ours.sum.unwrap() - theirs.sum.unwrap();
                told(ours) == told(theirs) && sums.abs() <= 1e-12 * ours.count as f64
            }
            (Self::Number(ours), Self::Number(theirs)) => {
                matches!(ours.value, Some(Value::AsInt(_))) && ours.value == theirs.value
            }
            _ => false,
        }
    }
}

/// Offset and counts, without the empty buckets that the SDK keeps at the ends.
fn trimmed(side: &Option<Buckets>) -> (i32, Vec<u64>) {
    let Some(side) = side else {
        return (0, Vec::new());
    };
    let counts = &side.bucket_counts;
    let Some(first) = counts.iter().position(|count| *count > 0) else {
        return (0, Vec::new());
    };
    let last = counts.iter().rposition(|count| *count > 0).unwrap();
    let offset = side.offset + i32::try_from(first).unwrap();
    (offset, counts[first..=last].to_vec())
}

/// Every point by metric, unit, temporality and attributes.
fn points(request: &ExportMetricsServiceRequest) -> Points {
    let scope = &request.resource_metrics[0].scope_metrics[0];
    let said = scope.scope.as_ref().unwrap();
    assert_eq!(
        (&said.name[..], &said.version[..], &scope.schema_url[..]),
        (names::SCOPE, env!("CARGO_PKG_VERSION"), names::SCHEMA_URL)
    );
    let metrics = scope.metrics.iter();
    let told = metrics.filter(|metric| {
        metric.name == names::DEVICE_ALARM || !metric.name.starts_with("fathomline.device.")
    });
    let mut all = Points::new();
    for metric in told {
        for (temporality, attributes, point) in of(metric) {
            let key = (
                metric.name.clone(),
                metric.unit.clone(),
                temporality,
                attributes,
            );
            assert!(all.insert(key, point).is_none(), "{} twice", metric.name);
        }
    }
    all
}

fn of(metric: &Metric) -> Vec<(i32, BTreeMap<String, String>, Point)> {
    match metric.data.clone().unwrap() {
        Data::ExponentialHistogram(data) => {
            let points = data.data_points.into_iter();
            let at = data.aggregation_temporality;
            let point =
                |p: ExponentialHistogramDataPoint| (at, told(&p.attributes), Point::Exponential(p));
            points.map(point).collect()
        }
        Data::Histogram(data) => {
            let points = data.data_points.into_iter();
            let at = data.aggregation_temporality;
            let point = |p: HistogramDataPoint| (at, told(&p.attributes), Point::Explicit(p));
            points.map(point).collect()
        }
        Data::Sum(data) => {
            assert!(data.is_monotonic, "{}", metric.name);
            let points = data.data_points.into_iter();
            let at = data.aggregation_temporality;
            let point = |p: NumberDataPoint| (at, told(&p.attributes), Point::Number(p));
            points.map(point).collect()
        }
        other => panic!("{} is {other:?}", metric.name),
    }
}

fn told(attributes: &[Attribute]) -> BTreeMap<String, String> {
    let pair = |attribute: &Attribute| match attribute.value.clone().unwrap().value.unwrap() {
        any_value::Value::StringValue(value) => (attribute.key.clone(), value),
        other => panic!("{} is {other:?}", attribute.key),
    };
    attributes.iter().map(pair).collect()
}

fn plan() -> Plan {
    Plan {
        labels: vec!["close".into(), "open".into()],
        projections: Some(projection::Plan {
            seed: 7,
            components: 3,
        }),
        ..Plan::default()
    }
}

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        4 => (1e-3..10.0).prop_map(Some),
        2 => (1u32..4_096).prop_map(|tokens| Some(f64::from(tokens))),
        2 => (-300i32..300).prop_map(|octave| Some(f64::from(octave).exp2())),
        1 => Just(Some(0.0)),
        1 => Just(Some(f64::NAN)),
        1 => Just(Some(f64::INFINITY)),
        1 => Just(None),
    ]
}

fn records() -> impl Strategy<Value = Vec<(Operation, Record)>> {
    let record = (
        prop::sample::select(&Operation::ALL[..]),
        prop::sample::select(&FinishReason::ALL[..]),
        prop::array::uniform14(value()),
    );
    let record = record.prop_map(|(operation, finish, signals)| {
        // As in a real line: joules come later and on their own.
        let mut signals = signals;
        signals[Signal::Energy as usize] = None;
        (
            operation,
            Record {
                signals,
                ..Record::new(finish)
            },
        )
    });
    prop::collection::vec(record, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_record_arrives_as_our_own_exporter_sends_it(windows in prop::collection::vec(records(), 1..3)) {
        let pair = Pair::new(plan());
        for records in &windows {
            for (operation, record) in records {
                pair.both(|meter| meter.shard().record(meter.series(Some(*operation)), record));
            }
            // The second window proves that deltas are deltas.
            pair.agree(&plan());
        }
    }
}

#[test]
fn counts_and_projections_arrive_as_our_own_exporter_sends_them() {
    let pair = Pair::new(plan());
    pair.both(|meter| {
        meter
            .shard()
            .value(meter.series(None), Signal::LoadDuration, 1.5);
        for version in 0..20 {
            meter.switch(Model::new("m", version.to_string()));
            let (shard, key) = (meter.shard(), meter.series(Some(Operation::Chat)));
            shard.value(key, Signal::Energy, f64::from(version) / 7.0);
            shard.label(key, "open");
            shard.label(key, "never declared");
            Feedback::ALL
                .iter()
                .for_each(|kind| shard.feedback(key, *kind));
            Validity::ALL
                .iter()
                .for_each(|kind| shard.validity(key, *kind));
            shard.scripts(key, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
            shard.embedding(key, &[0.5, -1.0, version as f32, 3.0]);
            shard.embedding(key, &[f32::NAN]);
            shard.alarm(key, 8);
            shard.probe_mismatch(key);
        }
    });
    // Fifteen versions have a place beside the first model, the other five share one.
    assert_eq!(pair.agree(&plan()), 1 + 16 * (1 + 2 + 6 + 4 + 11 + 3 + 2));
    pair.both(|meter| {
        let key = meter.series(Some(Operation::Embeddings));
        meter.shard().embedding(key, &[1.0, 2.0, 3.0]);
        meter.shard().label(key, "close");
    });
    pair.agree(&plan());
}

#[test]
fn every_label_of_every_variant_keeps_its_own_series() {
    let labels: Vec<String> = (10..10 + LABELS_MAX).map(|n| n.to_string()).collect();
    let plan = Plan {
        labels: labels.clone(),
        ..Plan::default()
    };
    let pair = Pair::new(plan.clone());
    pair.both(|meter| {
        for version in 0..VARIANTS_MAX {
            meter.switch(Model::new("m", version.to_string()));
            let key = meter.series(Some(Operation::Chat));
            let all = labels.iter().map(String::as_str).chain(["undeclared"]);
            all.for_each(|label| meter.shard().label(key, label));
        }
    });
    pair.agree(&plan);
}
