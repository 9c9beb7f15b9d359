//! Requests of a whole fleet, encoded before the clock starts. In: how many devices and windows,
//! how many of them a request, and a seed. Out: a file of requests, read in order, and the totals
//! that the store must show afterwards. Every window is another: its own device, time and buckets.
//! Never: a value whose sum depends on the order of adding; all are multiples of 2^-10.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use fathomline_wire::{histogram::ExponentialHistogram, names};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, ExponentialHistogram as Distribution,
        ExponentialHistogramDataPoint, Gauge, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, exponential_histogram_data_point::Buckets, metric, number_data_point,
    },
    resource::v1::Resource,
};
use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// What every device measures: one distribution each.
const METRICS: [&str; 8] = [
    names::OPERATION_DURATION,
    names::TIME_TO_FIRST_TOKEN,
    names::TIME_PER_OUTPUT_TOKEN,
    names::OUTPUT_TOKENS,
    names::OUTPUT_SURPRISAL,
    names::OUTPUT_ENTROPY,
    names::OUTPUT_UNCERTAINTY,
    names::OUTPUT_MARGIN,
];

/// Classes of devices: each is a cohort of its own.
const CLASSES: [&str; 3] = ["gateway", "kiosk", "sensor"];

/// Histograms that windows start from, for each metric.
const SHAPES: usize = 32;

/// Records of one shape: about 23 buckets at the pinned scales.
const RECORDS: usize = 40;

/// Smallest step of a value: sums of such values are exact in any order.
const STEP: f64 = 1.0 / 1024.0;

/// What to encode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) devices: u64,
    /// Windows in all, over all devices.
    pub(crate) windows: u64,
    /// Windows a request. One travels with its device's identity, more as through a relay.
    pub(crate) per_request: u64,
    pub(crate) seed: u64,
    /// When the last window ended, and how long windows are.
    pub(crate) end_us: i64,
    pub(crate) window_us: i64,
}

/// What the store must hold once everything is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) points: u64,
    pub(crate) records: u64,
    pub(crate) sum: f64,
    pub(crate) devices: u64,
}

/// One request, ready to send.
#[derive(Clone, Debug)]
pub(crate) struct Card {
    pub(crate) number: u64,
    pub(crate) body: Bytes,
    /// Who sends, if a device does itself: installation, boot, sequence.
    pub(crate) identity: Option<Identity>,
}

#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) installation: String,
    pub(crate) boot: String,
    pub(crate) sequence: u64,
}

/// Encoded requests in a file, handed out in order.
pub(crate) struct Deck {
    order: Order,
    cards: Mutex<(u64, BufReader<File>)>,
    pub(crate) totals: Totals,
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
}

impl Order {
    fn device(&self, window: u64) -> u64 {
        window % self.devices
    }

    fn sequence(&self, window: u64) -> u64 {
        window / self.devices + 1
    }

    fn end_us(&self, window: u64) -> i64 {
        let later = (self.windows - 1) / self.devices - window / self.devices;
        self.end_us - i64::try_from(later).unwrap_or(0) * self.window_us
    }

    fn installation(&self, device: u64) -> String {
        format!("load-{:x}-{device}", self.seed)
    }

    fn boot(&self, device: u64) -> String {
        format!("boot-{:x}-{device}", self.seed)
    }
}

impl Deck {
    /// Encodes everything into an unnamed file in the folder for temporary files, and calls
    /// `told` after each request.
    pub(crate) fn encode(order: Order, mut told: impl FnMut(u64)) -> io::Result<Self> {
        let mut random = StdRng::seed_from_u64(order.seed);
        let shapes = shapes(&mut random);
        let mut file = BufWriter::with_capacity(1 << 20, tempfile::tempfile()?);
        let mut totals = Totals {
            devices: order.devices.min(order.windows),
            ..Totals::default()
        };
        let mut requests = 0;
        let mut bytes = 0;
        for first in (0..order.windows).step_by(usize::try_from(order.per_request).unwrap_or(1)) {
            let last = (first + order.per_request).min(order.windows);
            let windows = first..last;
            let resource_metrics = windows
                .map(|window| resource(&order, window, &shapes, &mut random, &mut totals))
                .collect();
            let body = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
            put(&mut file, &body)?;
            requests += 1;
            bytes += body.len() as u64;
            told(last);
        }
        let cards = Mutex::new((0, read_from_the_start(file)?));
        Ok(Self {
            order,
            cards,
            totals,
            requests,
            bytes,
        })
    }

    /// The same deck with other bodies, encoded ahead of time as well; this one begins anew.
    pub(crate) fn rewritten(
        &self,
        mut rewrite: impl FnMut(&[u8]) -> anyhow::Result<Vec<u8>>,
    ) -> anyhow::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 20, tempfile::tempfile()?);
        let mut bytes = 0;
        while let Some(card) = self.draw()? {
            let body = rewrite(&card.body)?;
            put(&mut file, &body)?;
            bytes += body.len() as u64;
        }
        let mut cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        cards.0 = 0;
        cards.1.rewind()?;
        Ok(Self {
            order: self.order,
            cards: Mutex::new((0, read_from_the_start(file)?)),
            totals: self.totals,
            requests: self.requests,
            bytes,
        })
    }

    /// The next request; none at the end.
    pub(crate) fn draw(&self) -> io::Result<Option<Card>> {
        let mut cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, file) = &mut *cards;
        if *number == self.requests {
            return Ok(None);
        }
        let mut length = [0; 4];
        file.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        file.read_exact(&mut body)?;
        let window = *number;
        *number += 1;
        let identity = (self.order.per_request == 1).then(|| {
            let device = self.order.device(window);
            Identity {
                installation: self.order.installation(device),
                boot: self.order.boot(device),
                sequence: self.order.sequence(window),
            }
        });
        Ok(Some(Card {
            number: window,
            body: body.into(),
            identity,
        }))
    }
}

fn put(file: &mut impl Write, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(body)
}

fn read_from_the_start(file: BufWriter<File>) -> io::Result<BufReader<File>> {
    let mut file = file.into_inner()?;
    file.rewind()?;
    Ok(BufReader::with_capacity(1 << 20, file))
}

/// Histograms with realistic spread, some for each metric.
fn shapes(random: &mut StdRng) -> Vec<Vec<ExponentialHistogram>> {
    let shape = |unit: &str, random: &mut StdRng| {
        let mut histogram = ExponentialHistogram::new(names::pinned_scale(unit));
        for _ in 0..RECORDS {
            let normal = (0..4).map(|_| random.random::<f64>()).sum::<f64>() - 2.0;
            let value = (0.4 * normal.exp() / STEP).ceil() * STEP;
            histogram.record(value);
        }
        histogram
    };
    let units = METRICS.map(|name| names::metric(name).map_or("1", |metric| metric.unit));
    units
        .iter()
        .map(|unit| (0..SHAPES).map(|_| shape(unit, random)).collect())
        .collect()
}

fn resource(
    order: &Order,
    window: u64,
    shapes: &[Vec<ExponentialHistogram>],
    random: &mut StdRng,
    totals: &mut Totals,
) -> ResourceMetrics {
    let device = order.device(window);
    let end_us = order.end_us(window);
    let mut metrics = Vec::with_capacity(METRICS.len() + 1);
    for (name, shapes) in METRICS.iter().zip(shapes) {
        let shape = &shapes[random.random_range(0..SHAPES)];
        let point = point(shape, random, (end_us - order.window_us, end_us));
        totals.points += 1;
        totals.records += point.count;
        totals.sum += point.sum.unwrap_or_default();
        metrics.push(distribution(name, point));
    }
    metrics.push(sequence(order.sequence(window), end_us));
    let class = CLASSES[usize::try_from(device).unwrap_or(0) % CLASSES.len()];
    let attributes = [
        (names::SERVICE_NAME, "assistant"),
        (names::SERVICE_VERSION, "1.4.0"),
        (names::SERVICE_INSTANCE_ID, &order.boot(device)),
        (names::DEVICE_ID, &order.installation(device)),
        (names::DEVICE_CLASS, class),
    ];
    ResourceMetrics {
        resource: Some(Resource {
            attributes: attributes.map(|(key, value)| text(key, value)).to_vec(),
            ..Default::default()
        }),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(InstrumentationScope {
                name: names::SCOPE.into(),
                version: env!("CARGO_PKG_VERSION").into(),
                ..Default::default()
            }),
            metrics,
            schema_url: names::SCHEMA_URL.into(),
        }],
        schema_url: names::SCHEMA_URL.into(),
    }
}

/// The shape with a few more values in one of its buckets, so that no two windows are equal.
fn point(
    shape: &ExponentialHistogram,
    random: &mut StdRng,
    (start_us, end_us): (i64, i64),
) -> ExponentialHistogramDataPoint {
    let mut counts = shape.positive.counts.clone();
    let more: u64 = random.random_range(1..1000);
    let bucket = random.random_range(0..counts.len());
    counts[bucket] += more;
    // The smallest value stands for the bucket's own: exact, and that is what a sum must be here.
    #[expect(clippy::cast_precision_loss, reason = "below a thousand")]
    let sum = shape.sum + more as f64 * shape.min;
    ExponentialHistogramDataPoint {
        attributes: vec![
            text(names::REQUEST_MODEL, "tiny"),
            text(names::MODEL_VERSION, "1"),
            text(names::MODEL_VARIANT, "ab12cd34"),
        ],
        start_time_unix_nano: nanos(start_us),
        time_unix_nano: nanos(end_us),
        count: shape.count + more,
        sum: Some(sum),
        scale: shape.scale,
        zero_count: shape.zero_count,
        positive: Some(Buckets {
            offset: shape.positive.offset,
            bucket_counts: counts,
        }),
        min: Some(shape.min),
        max: Some(shape.max),
        ..Default::default()
    }
}

fn distribution(name: &str, point: ExponentialHistogramDataPoint) -> Metric {
    Metric {
        name: name.into(),
        unit: names::metric(name).map_or("1", |metric| metric.unit).into(),
        data: Some(metric::Data::ExponentialHistogram(Distribution {
            data_points: vec![point],
            aggregation_temporality: AggregationTemporality::Delta.into(),
        })),
        ..Default::default()
    }
}

fn sequence(sequence: u64, end_us: i64) -> Metric {
    let value = i64::try_from(sequence).unwrap_or(i64::MAX);
    Metric {
        name: names::WINDOW_SEQUENCE.into(),
        unit: "1".into(),
        data: Some(metric::Data::Gauge(Gauge {
            data_points: vec![NumberDataPoint {
                time_unix_nano: nanos(end_us),
                value: Some(number_data_point::Value::AsInt(value)),
                ..Default::default()
            }],
        })),
        ..Default::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.into())),
        }),
        ..Default::default()
    }
}

fn nanos(us: i64) -> u64 {
    u64::try_from(us).unwrap_or_default() * 1000
}
