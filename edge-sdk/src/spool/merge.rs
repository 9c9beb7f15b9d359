//! Two neighbouring windows of one boot as one longer window. In: their bodies, the earlier first.
//! Out: a body with every count of both. Counts, minima and maxima are exact, sums to the last
//! bit or two, gauges say what the later window said. Associative but for the rounding of sums,
//! so it does not matter in which steps many windows became one. Pure.

use fathomline_wire::{
    histogram::{Buckets, ExplicitHistogram, ExponentialHistogram, Parts},
    names,
};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::KeyValue,
    metrics::v1::{
        ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint,
        exponential_histogram_data_point as exponential, metric::Data, number_data_point::Value,
    },
};
use prost::Message;

use crate::otlp;

/// The window that covers both, or `None` when a body is not one that this SDK wrote.
pub(crate) fn merge(earlier: &[u8], later: &[u8]) -> Option<Vec<u8>> {
    let mut into = ExportMetricsServiceRequest::decode(earlier).ok()?;
    let mut from = ExportMetricsServiceRequest::decode(later).ok()?;
    let (start, _) = span(metrics(&mut into)?)?;
    let (_, end) = span(metrics(&mut from)?)?;
    let metrics = metrics(&mut into)?;
    for metric in self::metrics(&mut from)?.drain(..) {
        add_metric(metrics, metric)?;
    }
    add_metric(metrics, otlp::merged_once())?;
    // One order, in whatever steps windows merged.
    metrics.sort_by(|a, b| a.name.cmp(&b.name));
    metrics
        .iter_mut()
        .for_each(|metric| stretch(metric, start, end));
    Some(into.encode_to_vec())
}

fn stretch(metric: &mut Metric, start: u64, end: u64) {
    // Noised counts have a span of their own, wider than a window's.
    if metric.name.ends_with(names::NOISED) {
        return;
    }
    let is_sequence = metric.name == names::WINDOW_SEQUENCE;
    match &mut metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.iter_mut().for_each(|point| {
            // A gauge is what it was at the end; only the window itself has a start.
            point.start_time_unix_nano = if is_sequence { start } else { 0 };
            point.time_unix_nano = end;
        }),
        Some(Data::Sum(sum)) => cover(&mut sum.data_points, start, end),
        Some(Data::Histogram(histogram)) => cover(&mut histogram.data_points, start, end),
        Some(Data::ExponentialHistogram(histogram)) => {
            cover(&mut histogram.data_points, start, end);
        }
        _ => {}
    }
}

fn cover<P: Point>(points: &mut [P], start: u64, end: u64) {
    points.iter_mut().for_each(|point| point.cover(start, end));
}

/// A window has one resource and one scope.
fn metrics(request: &mut ExportMetricsServiceRequest) -> Option<&mut Vec<Metric>> {
    let resource = request.resource_metrics.first_mut()?;
    Some(&mut resource.scope_metrics.first_mut()?.metrics)
}

/// Every window says its sequence, with its start and its end.
fn span(metrics: &[Metric]) -> Option<(u64, u64)> {
    let sequence = metrics
        .iter()
        .find(|metric| metric.name == names::WINDOW_SEQUENCE)?;
    match &sequence.data {
        Some(Data::Gauge(gauge)) => {
            let point = gauge.data_points.first()?;
            Some((point.start_time_unix_nano, point.time_unix_nano))
        }
        _ => None,
    }
}

fn add_metric(into: &mut Vec<Metric>, metric: Metric) -> Option<()> {
    let Some(known) = into.iter_mut().find(|known| known.name == metric.name) else {
        into.push(metric);
        return Some(());
    };
    match (known.data.as_mut()?, metric.data?) {
        (Data::Gauge(into), Data::Gauge(from)) => {
            add_points(&mut into.data_points, from.data_points, |into, from| {
                into.value = from.value;
                Some(())
            })
        }
        (Data::Sum(into), Data::Sum(from)) => {
            add_points(&mut into.data_points, from.data_points, add_number)
        }
        (Data::Histogram(into), Data::Histogram(from)) => {
            add_points(&mut into.data_points, from.data_points, add_explicit)
        }
        (Data::ExponentialHistogram(into), Data::ExponentialHistogram(from)) => {
            add_points(&mut into.data_points, from.data_points, add_exponential)
        }
        _ => None,
    }
}

/// Points of the same attributes become one; others stand beside them, in order of appearance.
fn add_points<P: Point>(
    into: &mut Vec<P>,
    from: Vec<P>,
    add: impl Fn(&mut P, P) -> Option<()>,
) -> Option<()> {
    for point in from {
        let same = |known: &&mut P| known.attributes() == point.attributes();
        match into.iter_mut().find(same) {
            Some(known) => add(known, point)?,
            None => into.push(point),
        }
    }
    Some(())
}

fn add_number(into: &mut NumberDataPoint, from: NumberDataPoint) -> Option<()> {
    into.time_unix_nano = into.time_unix_nano.max(from.time_unix_nano);
    into.value = match (into.value?, from.value?) {
        (Value::AsInt(a), Value::AsInt(b)) => Some(Value::AsInt(a.saturating_add(b))),
        (Value::AsDouble(a), Value::AsDouble(b)) => Some(Value::AsDouble(a + b)),
        _ => return None,
    };
    Some(())
}

fn add_explicit(into: &mut HistogramDataPoint, from: HistogramDataPoint) -> Option<()> {
    let mut sum = explicit(into);
    if !sum.merge(&explicit(&from)) {
        return None;
    }
    into.count = sum.count;
    into.bucket_counts = sum.counts;
    (into.sum, into.min, into.max) = (sum.sum, sum.min, sum.max);
    Some(())
}

fn explicit(point: &HistogramDataPoint) -> ExplicitHistogram {
    ExplicitHistogram {
        bounds: point.explicit_bounds.clone(),
        counts: point.bucket_counts.clone(),
        count: point.count,
        sum: point.sum,
        min: point.min,
        max: point.max,
    }
}

fn add_exponential(
    into: &mut ExponentialHistogramDataPoint,
    from: ExponentialHistogramDataPoint,
) -> Option<()> {
    let mut sum = exponential(into)?;
    sum.merge(&exponential(&from)?);
    let attributes = std::mem::take(&mut into.attributes);
    let times = (into.start_time_unix_nano, into.time_unix_nano);
    *into = otlp::exponential_point(&sum, attributes, times);
    Some(())
}

fn exponential(point: &ExponentialHistogramDataPoint) -> Option<ExponentialHistogram> {
    let side = |buckets: &Option<exponential::Buckets>| {
        buckets
            .as_ref()
            .map_or_else(Buckets::default, |buckets| Buckets {
                offset: buckets.offset,
                counts: buckets.bucket_counts.clone(),
            })
    };
    ExponentialHistogram::from_parts(Parts {
        scale: point.scale,
        zero_threshold: point.zero_threshold,
        zero_count: point.zero_count,
        count: point.count,
        sum: point.sum?,
        min: point.min,
        max: point.max,
        positive: side(&point.positive),
        negative: side(&point.negative),
    })
    .ok()
}

/// What points of every kind have.
trait Point {
    fn attributes(&self) -> &[KeyValue];
    fn cover(&mut self, start: u64, end: u64);
}

macro_rules! points {
    ($($point:ty),*) => {$(
        impl Point for $point {
            fn attributes(&self) -> &[KeyValue] {
                &self.attributes
            }

            fn cover(&mut self, start: u64, end: u64) {
                (self.start_time_unix_nano, self.time_unix_nano) = (start, end);
            }
        }
    )*};
}

points!(
    NumberDataPoint,
    HistogramDataPoint,
    ExponentialHistogramDataPoint
);

#[cfg(test)]
pub(crate) mod tests;
