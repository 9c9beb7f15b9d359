//! Totals stay exact in whatever steps windows merge.

use proptest::prelude::*;

use super::*;
use crate::{
    meter::{Meter, Plan, Record, Signal},
    model::Model,
    noise::{self, Release},
    otlp::{DeviceState, Envelope, Observed, encode},
    windows::Window,
    words::{FinishReason, Operation},
};

/// A window of these inferences, as the closer would encode it.
pub(crate) fn window(sequence: u64, values: &[f64]) -> Vec<u8> {
    let meter = Meter::new(Model::new("m", "1"), Plan::default(), None);
    for value in values {
        let mut record = Record::new(FinishReason::ALL[(*value as usize) % 2]);
        record.set(Signal::OutputSurprisal, Some(*value));
        record.set(Signal::Duration, Some(value / 7.0));
        let operation = [Operation::Chat, Operation::Embeddings][(*value as usize) % 2];
        meter.shard().record(meter.series(Some(operation)), &record);
    }
    encoded(&meter, sequence)
}

fn encoded(meter: &Meter, sequence: u64) -> Vec<u8> {
    let envelope = Envelope {
        resource: vec![(names::DEVICE_ID, "d".into())],
        labels: vec![],
        projections: None,
        energy: None,
        noise: None,
        scope_version: "0",
    };
    let window = Window {
        sequence,
        start_unix_nano: sequence * 100,
        end_unix_nano: sequence * 100 + 100,
    };
    let device = DeviceState {
        spool_bytes: sequence,
        windows_dropped: sequence % 2,
        ..DeviceState::default()
    };
    let observed = Observed {
        variants: meter.variants(),
        sketches: meter.take(),
        release: None,
    };
    encode(&envelope, &window, &observed, device)
}

/// A window of a busy device: every signal, a dozen inferences.
pub(crate) fn busy_window(sequence: u64) -> Vec<u8> {
    let meter = Meter::new(Model::new("assistant", "1.4.0"), Plan::default(), None);
    for n in 0..12u64 {
        let mut record = Record::new(FinishReason::Stop);
        record
            .signals
            .iter_mut()
            .zip(1u64..)
            .for_each(|(value, signal)| {
                let mixed =
                    (sequence * 31 + n * 17 + signal * 7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                *value = Some(signal as f64 * (0.5 + (mixed >> 40) as f64 / (1u64 << 24) as f64));
            });
        let chat = meter.series(Some(Operation::Chat));
        meter.shard().record(chat, &record);
    }
    encoded(&meter, sequence)
}

/// A window that brings noised counts of the hour before it.
fn noised(sequence: u64, counts: [i64; 2]) -> Vec<u8> {
    let metric = noise::Metric {
        name: names::OUTPUT_FINISH,
        cells: vec!["stop".into(), "other".into()],
    };
    let envelope = Envelope {
        resource: vec![],
        labels: vec![],
        projections: None,
        energy: None,
        noise: Some(noise::Terms {
            metrics: vec![metric],
            cell_millionths: 500_000,
            inferences_per_day: 10,
        }),
        scope_version: "0",
    };
    let end_unix_nano = sequence * 100 + 100;
    let window = Window {
        sequence,
        start_unix_nano: sequence * 100,
        end_unix_nano,
    };
    let observed = Observed {
        variants: Meter::new(Model::new("m", "1"), Plan::default(), None).variants(),
        sketches: Default::default(),
        release: Some(Release {
            start_unix_nano: end_unix_nano - 1_000,
            end_unix_nano,
            tables: vec![vec![counts.to_vec()]],
        }),
    };
    encode(&envelope, &window, &observed, DeviceState::default())
}

#[test]
fn noised_counts_add_up_below_zero_too_and_keep_their_own_span() {
    let merged = merge(&noised(20, [-7, 3]), &noised(30, [2, -3])).unwrap();
    // A window after them, without any, does not stretch them.
    let merged = merge(&merged, &window(40, &[1.0])).unwrap();
    let mut merged = ExportMetricsServiceRequest::decode(&merged[..]).unwrap();
    let name = format!("{}{}", names::OUTPUT_FINISH, names::NOISED);
    let metric = metrics(&mut merged)
        .unwrap()
        .iter()
        .find(|m| m.name == name);
    let Some(Data::Sum(sum)) = &metric.unwrap().data else {
        panic!("noised counts are a sum")
    };
    assert!(!sum.is_monotonic);
    let points = sum.data_points.iter().map(|point| {
        let span = (point.start_time_unix_nano, point.time_unix_nano);
        (point.value.unwrap(), span)
    });
    let span = (2_100 - 1_000, 3_100);
    let expected = [(Value::AsInt(-5), span), (Value::AsInt(0), span)];
    assert_eq!(points.collect::<Vec<_>>(), expected);
}

/// How many inferences a body counts.
pub(crate) fn inferences(body: &[u8]) -> u64 {
    let mut request = ExportMetricsServiceRequest::decode(body).unwrap();
    let finished = metrics(&mut request)
        .unwrap()
        .iter()
        .filter(|metric| metric.name == names::OUTPUT_FINISH);
    let points = finished.flat_map(|metric| match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.clone(),
        other => panic!("{other:?}"),
    });
    points
        .map(|point| match point.value {
            Some(Value::AsInt(count)) => u64::try_from(count).unwrap(),
            other => panic!("{other:?}"),
        })
        .sum()
}

/// The body with sums out of the way, and the sums.
fn without_sums(body: &[u8]) -> (ExportMetricsServiceRequest, Vec<f64>) {
    let mut request = ExportMetricsServiceRequest::decode(body).unwrap();
    let mut sums = vec![];
    for metric in metrics(&mut request).unwrap() {
        if let Some(Data::ExponentialHistogram(histogram)) = &mut metric.data {
            let points = histogram.data_points.iter_mut();
            sums.extend(points.map(|point| point.sum.take().unwrap()));
        }
    }
    (request, sums)
}

proptest! {
    #[test]
    fn any_grouping_gives_the_same_window(
        values in prop::collection::vec(prop::collection::vec(0.001..1e3f64, 0..6), 3),
    ) {
        let bodies: Vec<_> = values.iter().zip(1..).map(|(v, n)| window(n, v)).collect();
        let [a, b, c] = &bodies[..] else { unreachable!() };
        let left = merge(&merge(a, b).unwrap(), c).unwrap();
        let right = merge(a, &merge(b, c).unwrap()).unwrap();
        let ((left, ours), (right, theirs)) = (without_sums(&left), without_sums(&right));
        prop_assert_eq!(left, right);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            prop_assert!((ours - theirs).abs() <= 1e-12 * ours.abs());
        }
    }

    #[test]
    fn a_merged_window_holds_what_one_window_of_both_would(
        values in prop::collection::vec(0.001..1e3f64, 1..20),
        cut in 0usize..20,
    ) {
        let cut = cut.min(values.len());
        let merged = merge(&window(1, &values[..cut]), &window(2, &values[cut..])).unwrap();
        let find = |body: &[u8], name: &str| {
            let mut request = ExportMetricsServiceRequest::decode(body).unwrap();
            let found = metrics(&mut request).unwrap().iter().find(|m| m.name == name).cloned();
            let Some(Data::ExponentialHistogram(histogram)) = found?.data else { return None };
            let mut points = histogram.data_points;
            points.sort_by_key(|point| format!("{:?}", point.attributes));
            Some(points.iter().map(|p| exponential(p).unwrap()).collect::<Vec<_>>())
        };
        let whole = window(2, &values);
        for name in [names::OUTPUT_SURPRISAL, names::OPERATION_DURATION] {
            let (ours, theirs) = (find(&merged, name).unwrap(), find(&whole, name).unwrap());
            prop_assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(&theirs) {
                prop_assert!((ours.sum - theirs.sum).abs() <= 1e-12 * theirs.sum);
                prop_assert_eq!(ours.count, theirs.count);
                prop_assert_eq!(&ours.positive, &theirs.positive);
                prop_assert_eq!((ours.min, ours.max), (theirs.min, theirs.max));
            }
        }
    }
}

#[test]
fn the_longer_window_says_what_it_covers_and_how_it_came_to_be() {
    let merged = merge(&window(3, &[1.0]), &window(4, &[2.0])).unwrap();
    let merged = merge(&merged, &window(5, &[])).unwrap();
    let mut request = ExportMetricsServiceRequest::decode(&merged[..]).unwrap();
    let metrics = metrics(&mut request).unwrap();
    let number = |name: &str| {
        let metric = metrics.iter().find(|metric| metric.name == name).unwrap();
        let points = match metric.data.as_ref().unwrap() {
            Data::Gauge(gauge) => &gauge.data_points,
            Data::Sum(sum) => &sum.data_points,
            other => panic!("{other:?}"),
        };
        (
            points[0].value.unwrap(),
            points[0].start_time_unix_nano,
            points[0].time_unix_nano,
        )
    };
    assert_eq!(number(names::WINDOW_SEQUENCE), (Value::AsInt(5), 300, 600));
    assert_eq!(number(names::WINDOW_MERGED), (Value::AsInt(2), 300, 600));
    assert_eq!(number(names::WINDOW_DROPPED), (Value::AsInt(2), 300, 600));
    assert_eq!(span(metrics), Some((300, 600)));
    assert_eq!(merge(b"nonsense", &window(1, &[])), None);
}
