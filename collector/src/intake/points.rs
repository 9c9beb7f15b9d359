//! The point kinds of OTLP. In: a metric with its sender. Out: checked points, or a reason each.
//! Exemplars, descriptions and attributes that are not listed here are not read at all.

use fathomline_queries::rows::{DeviceColumns, Distribution};
use fathomline_wire::{
    histogram::{Buckets, ExplicitHistogram, ExponentialHistogram, HistogramError, Parts},
    identity::is_label,
    limits::{ATTRIBUTE_VALUE_BYTES_MAX, COUNTER_MAX},
    names::{self, Kind},
    noise,
    rejection::Rejection,
};
use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, DataPointFlags, ExponentialHistogramDataPoint, HistogramDataPoint,
        Metric, NumberDataPoint, Sum, exponential_histogram_data_point, metric,
        number_data_point::Value,
    },
};
use sha2::{Digest, Sha256};

use super::{
    Point, PointBody, Rejected, Temporality, legacy,
    resource::{self, Sender},
};

/// Longest unit that is kept; UCUM expressions are a few characters.
const UNIT_BYTES_MAX: usize = 32;

/// What all points of one metric share.
struct Shared<'a> {
    metric: &'a Metric,
    /// Digest of the scope.
    meter: &'a [u8; 32],
    sender: &'a Sender,
}

/// How many data points a metric carries.
pub(super) fn len(metric: &Metric) -> usize {
    match &metric.data {
        Some(metric::Data::Gauge(data)) => data.data_points.len(),
        Some(metric::Data::Sum(data)) => data.data_points.len(),
        Some(metric::Data::Histogram(data)) => data.data_points.len(),
        Some(metric::Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(metric::Data::Summary(data)) => data.data_points.len(),
        None => 0,
    }
}

/// Reads all points of `metric` into `points`, or counts why not.
pub(super) fn read(
    metric: &Metric,
    meter: &[u8; 32],
    sender: &Sender,
    points: &mut Vec<Point>,
    rejected: &mut Rejected,
) {
    if !is_metric_name(&metric.name) || !is_unit(&metric.unit) {
        rejected.add(Rejection::TooLong, len(metric));
        return;
    }
    if !fits_contract(metric) {
        rejected.add(Rejection::Kind, len(metric));
        return;
    }
    let shared = Shared {
        metric,
        meter,
        sender,
    };
    let mut keep = |point: Result<Option<Point>, Rejection>| match point {
        Ok(point) => points.extend(point),
        Err(reason) => rejected.add(reason, 1),
    };
    match &metric.data {
        Some(metric::Data::Gauge(gauge)) => {
            gauge
                .data_points
                .iter()
                .for_each(|p| keep(shared.number(p, Temporality::Gauge, false)));
        }
        Some(metric::Data::Sum(sum)) => {
            let temporality = temporality(sum.aggregation_temporality);
            // A counter of the contract rises, whatever its sender says.
            let rises = sum.is_monotonic || names::metric(&metric.name).is_some();
            // A sum that can fall is a level: its last value is what can be stored.
            let temporality = match temporality {
                Some(Temporality::Cumulative) if !sum.is_monotonic => Some(Temporality::Gauge),
                other => other,
            };
            sum.data_points.iter().for_each(|p| {
                keep(
                    temporality
                        .ok_or(Rejection::Temporality)
                        .and_then(|t| shared.number(p, t, rises)),
                );
            });
        }
        Some(metric::Data::Histogram(histogram)) => {
            let temporality = temporality(histogram.aggregation_temporality);
            histogram.data_points.iter().for_each(|p| {
                keep(
                    temporality
                        .ok_or(Rejection::Temporality)
                        .and_then(|t| shared.explicit(p, t)),
                );
            });
        }
        Some(metric::Data::ExponentialHistogram(histogram)) => {
            let temporality = temporality(histogram.aggregation_temporality);
            histogram.data_points.iter().for_each(|p| {
                keep(
                    temporality
                        .ok_or(Rejection::Temporality)
                        .and_then(|t| shared.exponential(p, t)),
                );
            });
        }
        Some(metric::Data::Summary(_)) => rejected.add(Rejection::Kind, len(metric)),
        None => {}
    }
}

impl Shared<'_> {
    fn number(
        &self,
        point: &NumberDataPoint,
        temporality: Temporality,
        rises: bool,
    ) -> Result<Option<Point>, Rejection> {
        if no_value(point.flags) {
            return Ok(None);
        }
        let body = match point.value {
            // One absurd count would overflow every later sum over its cohort.
            Some(Value::AsInt(value)) if !is_counter(value, temporality, rises) => {
                return Err(Rejection::Counts);
            }
            Some(Value::AsDouble(value)) if rises && value < 0.0 => return Err(Rejection::Counts),
            Some(Value::AsInt(value)) => PointBody::Integer(value),
            Some(Value::AsDouble(value)) if value.is_finite() => PointBody::Number(value),
            Some(Value::AsDouble(_)) => return Err(Rejection::NotFinite),
            None => return Err(Rejection::Malformed),
        };
        let times = (point.start_time_unix_nano, point.time_unix_nano);
        self.point(&point.attributes, times, temporality, body)
            .map(Some)
    }

    fn explicit(
        &self,
        point: &HistogramDataPoint,
        temporality: Temporality,
    ) -> Result<Option<Point>, Rejection> {
        if no_value(point.flags) {
            return Ok(None);
        }
        let histogram = ExplicitHistogram {
            bounds: point.explicit_bounds.clone(),
            counts: point.bucket_counts.clone(),
            count: point.count,
            sum: point.sum,
            min: point.min,
            max: point.max,
        };
        let body = Distribution::Explicit(histogram.checked().map_err(|e| reason(&e))?);
        let times = (point.start_time_unix_nano, point.time_unix_nano);
        self.point(
            &point.attributes,
            times,
            temporality,
            PointBody::Distribution(body),
        )
        .map(Some)
    }

    fn exponential(
        &self,
        point: &ExponentialHistogramDataPoint,
        temporality: Temporality,
    ) -> Result<Option<Point>, Rejection> {
        if no_value(point.flags) {
            return Ok(None);
        }
        let side = |buckets: &Option<exponential_histogram_data_point::Buckets>| {
            buckets
                .as_ref()
                .map_or_else(Buckets::default, |buckets| Buckets {
                    offset: buckets.offset,
                    counts: buckets.bucket_counts.clone(),
                })
        };
        let histogram = ExponentialHistogram::from_parts(Parts {
            scale: point.scale,
            zero_threshold: point.zero_threshold,
            zero_count: point.zero_count,
            count: point.count,
            sum: point.sum.unwrap_or(0.0),
            min: point.min,
            max: point.max,
            positive: side(&point.positive),
            negative: side(&point.negative),
        });
        let body = Distribution::Exponential(histogram.map_err(|error| reason(&error))?);
        let times = (point.start_time_unix_nano, point.time_unix_nano);
        self.point(
            &point.attributes,
            times,
            temporality,
            PointBody::Distribution(body),
        )
        .map(Some)
    }

    fn point(
        &self,
        attributes: &[KeyValue],
        (start_nano, end_nano): (u64, u64),
        temporality: Temporality,
        body: PointBody,
    ) -> Result<Point, Rejection> {
        let end_us = micros(end_nano)
            .filter(|end| *end > 0)
            .ok_or(Rejection::Time)?;
        let start_us = match micros(start_nano).ok_or(Rejection::Time)? {
            0 => end_us,
            start => start,
        };
        if start_us > end_us && temporality != Temporality::Gauge {
            return Err(Rejection::Time);
        }
        let text = |name| legacy::value(attributes, name);
        let named = legacy::metric(&self.metric.name, &self.metric.unit, attributes);
        let (metric, unit) = named;
        let sender = self.sender;
        let optional = |value: &String| (!value.is_empty()).then(|| value.clone());
        let columns = DeviceColumns {
            time: end_us,
            start_time: start_us.min(end_us),
            sender_time: end_us,
            service: sender.service.clone(),
            environment: sender.environment.clone(),
            device: sender.device.clone(),
            device_class: sender.device_class.clone(),
            site: sender.site.clone(),
            boot: optional(&sender.boot),
            sequence: None,
            clock: fathomline_queries::rows::Clock::Ok,
            late: false,
            model: text(names::REQUEST_MODEL).unwrap_or_default(),
            version: text(names::MODEL_VERSION).unwrap_or_default(),
            variant: text(names::MODEL_VARIANT).unwrap_or_default(),
            quantization: text(names::MODEL_QUANTIZATION),
            operation: text(names::OPERATION_NAME),
            provider: text(names::PROVIDER_NAME),
            metric: metric.to_owned(),
            unit: unit.to_owned(),
        };
        if !texts(&columns).all(|text| resource::is_kept(text)) {
            return Err(Rejection::TooLong);
        }
        let category = category(metric, attributes);
        Ok(Point {
            stream: self.stream(attributes),
            columns,
            category,
            temporality,
            body,
        })
    }

    fn stream(&self, attributes: &[KeyValue]) -> u128 {
        let mut hasher = Sha256::new();
        hasher.update(self.sender.digest);
        hasher.update(self.meter);
        hasher.update(kind(self.metric));
        for text in [&self.metric.name, &self.metric.unit] {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        hasher.update(resource::digest(attributes));
        let digest: [u8; 32] = hasher.finalize().into();
        digest
            .iter()
            .take(16)
            .fold(0, |stream, byte| stream << 8 | u128::from(*byte))
    }
}

/// What a metric is, as far as it tells streams apart. Both kinds of histogram are one: a relay
/// that begins to convert goes on with the same totals.
fn kind(metric: &Metric) -> [u8; 3] {
    let kind = |kind, temporality: i32, rises: bool| [kind, temporality as u8, rises.into()];
    match &metric.data {
        Some(metric::Data::Sum(sum)) => kind(1, sum.aggregation_temporality, sum.is_monotonic),
        Some(metric::Data::Histogram(data)) => kind(2, data.aggregation_temporality, true),
        Some(metric::Data::ExponentialHistogram(data)) => {
            kind(2, data.aggregation_temporality, true)
        }
        Some(metric::Data::Gauge(_) | metric::Data::Summary(_)) | None => kind(0, 0, false),
    }
}

/// The bounded category of a metric that has one. Anything that is neither a label nor, on noised
/// counts, a cell counts as `other`: a hostile device must not be able to store text here.
fn category(metric: &str, attributes: &[KeyValue]) -> Option<String> {
    let attribute = names::category_attribute(metric)?;
    let is_kept = match attribute {
        names::CELL => is_cell,
        _ => is_label,
    };
    let value = resource::value(attributes, attribute).filter(|value| is_kept(value));
    Some(value.unwrap_or_else(|| names::OTHER.into()))
}

/// One spelling for each cell, so that its counts add up.
fn is_cell(value: &str) -> bool {
    let parsed = noise::parse(value);
    parsed.is_some_and(|(scale, index)| format!("{scale}:{index}") == value)
}

/// Attributes of the point that are stored.
fn texts(columns: &DeviceColumns) -> impl Iterator<Item = &String> {
    let optional = [&columns.quantization, &columns.operation, &columns.provider];
    let texts = [&columns.model, &columns.version, &columns.variant];
    texts.into_iter().chain(optional.into_iter().flatten())
}

/// A metric of the contract comes as what the contract says it is: detectors merge its points, and
/// noised counts are integers that may be negative, of one interval each.
fn fits_contract(metric: &Metric) -> bool {
    if metric.name.ends_with(names::NOISED) {
        return match &metric.data {
            Some(metric::Data::Sum(sum)) => is_noised(sum),
            _ => false,
        };
    }
    let Some(contract) = names::metric(legacy::kind_of(&metric.name)) else {
        return true;
    };
    match &metric.data {
        Some(metric::Data::Histogram(_) | metric::Data::ExponentialHistogram(_)) => {
            matches!(contract.kind, Kind::Distribution | Kind::Explicit)
        }
        Some(metric::Data::Sum(_)) => matches!(contract.kind, Kind::Category | Kind::Counter),
        Some(metric::Data::Gauge(_)) => contract.kind == Kind::Gauge,
        Some(metric::Data::Summary(_)) | None => true,
    }
}

fn is_noised(sum: &Sum) -> bool {
    let is_delta = temporality(sum.aggregation_temporality) == Some(Temporality::Delta);
    let mut points = sum.data_points.iter();
    is_delta && !sum.is_monotonic && points.all(|p| matches!(p.value, Some(Value::AsInt(_)) | None))
}

fn is_counter(value: i64, temporality: Temporality, rises: bool) -> bool {
    let size = value.unsigned_abs();
    temporality == Temporality::Gauge || (size <= COUNTER_MAX && (value >= 0 || !rises))
}

fn temporality(value: i32) -> Option<Temporality> {
    match AggregationTemporality::try_from(value) {
        Ok(AggregationTemporality::Delta) => Some(Temporality::Delta),
        Ok(AggregationTemporality::Cumulative) => Some(Temporality::Cumulative),
        _ => None,
    }
}

fn no_value(flags: u32) -> bool {
    flags & DataPointFlags::NoRecordedValueMask as u32 != 0
}

fn micros(nanos: u64) -> Option<i64> {
    i64::try_from(nanos / 1000).ok()
}

fn reason(error: &HistogramError) -> Rejection {
    match error {
        HistogramError::Scale(_) => Rejection::Scale,
        HistogramError::Counts { .. } | HistogramError::Buckets(_) => Rejection::Counts,
        HistogramError::NotFinite(_) => Rejection::NotFinite,
    }
}

/// The instrument name syntax of OpenTelemetry, at most 128 bytes: no blanks, so no text.
fn is_metric_name(name: &str) -> bool {
    name.len() <= ATTRIBUTE_VALUE_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(&b))
}

fn is_unit(unit: &str) -> bool {
    unit.len() <= UNIT_BYTES_MAX && unit.bytes().all(|b| b.is_ascii_graphic())
}
