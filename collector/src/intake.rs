//! From an OTLP request to points and spans that can be counted. Pure: no IO, no clock, no state.
//!
//! In: a decoded request from anyone. Out: one [`Window`] a resource, with checked points in the
//! sender's own times, or spans, and how many were rejected for which reason. Only allow-listed
//! attributes pass: what a foreign sender puts into any other attribute, an exemplar, a
//! description or a scope goes no further than this module.
//!
//! | file | does |
//! |---|---|
//! | `resource.rs` | resource attributes: who sends |
//! | `points.rs` | the five point kinds |
//! | `legacy.rs` | older names of the GenAI conventions |
//! | `spans.rs` | GenAI spans: what they were, never what was said |
//! | `rejected.rs` | reasons, counted |

mod legacy;
mod points;
mod rejected;
mod resource;
mod spans;

use fathomline_queries::rows::{DeviceColumns, Distribution, SpanRow};
use fathomline_wire::{identity::Declared, limits::PARTS_MAX, names, rejection::Rejection};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{Metric, ResourceMetrics, metric},
};

pub(crate) use rejected::{Refusal, Rejected};
pub(crate) use spans::{LeftOut, check_spans, from_traces};

/// One request as the store decides about it.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// Identity headers, if our SDK sent it directly.
    pub(crate) declared: Option<Declared>,
    /// Names the token it came with; 0 for none. A token may make only a share of what all may.
    pub(crate) token: u64,
    /// SHA-256 of the body after inflation.
    pub(crate) digest: [u8; 32],
    /// When it arrived, microseconds since the Unix epoch.
    pub(crate) received_us: i64,
    pub(crate) windows: Vec<Window>,
    /// Checked spans, in the sender's times.
    pub(crate) spans: Vec<SpanRow>,
    pub(crate) rejected: Rejected,
}

/// What one resource sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    /// `device.id`, empty if not sent.
    pub(crate) installation: String,
    /// `service.instance.id`, empty if not sent.
    pub(crate) boot: String,
    /// The window's sequence point, which survives a relay.
    pub(crate) sequence: Option<u64>,
    pub(crate) points: Vec<Point>,
}

impl Window {
    /// The sender's end of the newest point.
    pub(crate) fn latest_end(&self) -> Option<i64> {
        self.points.iter().map(|point| point.columns.time).max()
    }
}

/// One checked data point, in the sender's times.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    /// Names the stream: resource, scope (name, version, attributes), metric (name, unit, kind,
    /// temporality) and every attribute, dropped ones included.
    pub(crate) stream: u128,
    pub(crate) columns: DeviceColumns,
    pub(crate) category: Option<String>,
    pub(crate) temporality: Temporality,
    pub(crate) body: PointBody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temporality {
    Delta,
    Cumulative,
    /// A last value; belongs to a moment, not to an interval.
    Gauge,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PointBody {
    Distribution(Distribution),
    Integer(i64),
    Number(f64),
}

/// How many points a request has. Refuses one with more parts than a collector should hold at once:
/// empty parts are small on the wire and large in memory.
pub(crate) fn check_points(request: &ExportMetricsServiceRequest) -> Result<usize, Refusal> {
    let resources = request.resource_metrics.iter();
    let scopes = resources.flat_map(|resource| &resource.scope_metrics);
    let metrics = scopes.clone().flat_map(|scope| &scope.metrics);
    let points: usize = metrics.clone().map(points::len).sum();
    let parts = request.resource_metrics.len() + scopes.count() + metrics.count() + points;
    check_parts(parts, "resources, scopes, metrics and points").map(|()| points)
}

fn check_parts(parts: usize, of: &str) -> Result<(), Refusal> {
    if parts <= PARTS_MAX {
        return Ok(());
    }
    let detail = format!("the request has {parts} {of} together, {PARTS_MAX} at most");
    Err(Refusal::new(Rejection::TooLarge, detail))
}

/// Reads everything that can be counted out of a request.
pub(crate) fn from_request(request: &ExportMetricsServiceRequest) -> (Vec<Window>, Rejected) {
    let mut rejected = Rejected::default();
    let windows = request
        .resource_metrics
        .iter()
        .map(|source| window(source, &mut rejected))
        .collect();
    (windows, rejected)
}

fn window(source: &ResourceMetrics, rejected: &mut Rejected) -> Window {
    let resource = resource::read(source.resource.as_ref());
    let mut window = Window {
        installation: resource.device.clone(),
        boot: resource.boot.clone(),
        sequence: None,
        points: Vec::new(),
    };
    for scope in &source.scope_metrics {
        let meter = resource::meter(scope.scope.as_ref());
        for metric in &scope.metrics {
            if metric.name == names::WINDOW_SEQUENCE {
                window.sequence = sequence(metric);
            } else if resource.too_long {
                rejected.add(Rejection::TooLong, points::len(metric));
            } else {
                points::read(metric, &meter, &resource, &mut window.points, rejected);
            }
        }
    }
    window
}

fn sequence(metric: &Metric) -> Option<u64> {
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
    let Some(metric::Data::Gauge(gauge)) = &metric.data else {
        return None;
    };
    match gauge.data_points.first()?.value? {
        Value::AsInt(sequence) => u64::try_from(sequence).ok(),
        Value::AsDouble(_) => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
