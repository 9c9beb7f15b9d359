//! A window that is too large for one request, in parts. In: a body as it lies in the spool, and
//! which parts of it are stored. Out: the next part to send, the same bytes for the same part
//! whenever it is asked for. Pure; the spool keeps what is known of the window under way.
//!
//! Halves of halves, by points in the body's own order, make a tree: part 1 is the window, the
//! halves of part n are 2n and 2n + 1. A part is split only when the collector refused it as too
//! large, so of the parts that are sent no two ever overlap. The first of them counts as the window
//! itself and says that it is part 1; the others say their number.

use fathomline_wire::names;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{Metric, metric::Data},
};
use prost::Message;

/// The window itself.
const WHOLE: u64 = 1;

/// The last part that may be split: its halves have the last numbers that fit 64 bits.
const SPLIT_LAST: u64 = 31;

/// Which parts of a window were refused as too large, and which are stored: a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    split: u64,
    stored: u64,
}

/// One part, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    node: u64,
    points: usize,
    pub(crate) body: Vec<u8>,
}

impl Part {
    /// What it is called in the headers; nothing for the window itself. The first part is 1, which
    /// tells that there are others.
    pub(crate) fn number(&self) -> Option<u64> {
        let number = if is_first(self.node) {
            WHOLE
        } else {
            self.node
        };
        (self.node != WHOLE).then_some(number)
    }
}

impl Parts {
    /// The next part of the window `body` to send; none when all are stored, or when the body is
    /// not one that can be split.
    pub(crate) fn next(&self, body: &[u8]) -> Option<Part> {
        let node = self.next_node(WHOLE)?;
        if node == WHOLE {
            return Some(Part {
                node,
                points: usize::MAX,
                body: body.to_owned(),
            });
        }
        cut(body, node)
    }

    /// The same window after `part` was refused as too large; none when it cannot be split.
    pub(crate) fn split(&self, part: &Part) -> Option<Self> {
        (part.node <= SPLIT_LAST && part.points > 1).then_some(Self {
            split: self.split | 1 << part.node,
            ..*self
        })
    }

    /// The same window after `part` was stored.
    pub(crate) fn stored(&self, part: &Part) -> Self {
        Self {
            stored: self.stored | 1 << part.node,
            ..*self
        }
    }

    /// Whether every part is stored.
    pub(crate) fn are_stored(&self) -> bool {
        self.next_node(WHOLE).is_none()
    }

    /// As it is noted beside the windows.
    pub(super) fn to_text(self) -> String {
        format!("{:x} {:x}", self.split, self.stored)
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        let (split, stored) = text.split_once(' ')?;
        Some(Self {
            split: u64::from_str_radix(split, 16).ok()?,
            stored: u64::from_str_radix(stored, 16).ok()?,
        })
    }

    /// The first part below `node` that is still to be sent.
    fn next_node(&self, node: u64) -> Option<u64> {
        if node <= SPLIT_LAST && self.split & 1 << node != 0 {
            let left = self.next_node(2 * node);
            return left.or_else(|| self.next_node(2 * node + 1));
        }
        (self.stored & 1 << node == 0).then_some(node)
    }
}

/// Whether the part begins where the window begins.
fn is_first(node: u64) -> bool {
    node.is_power_of_two()
}

/// The points of `body` that belong to part `node`, and in the first the window's own point.
fn cut(body: &[u8], node: u64) -> Option<Part> {
    let mut request = ExportMetricsServiceRequest::decode(body).ok()?;
    let all: usize = metrics(&mut request).map(|metric| count(metric)).sum();
    let (from, to) = range(node, all);
    let mut at = 0;
    for resource in &mut request.resource_metrics {
        for scope in &mut resource.scope_metrics {
            scope.metrics.retain_mut(|metric| {
                if is_own(metric) {
                    return is_first(node);
                }
                let points = count(metric);
                keep(metric, from.saturating_sub(at), to.saturating_sub(at));
                at += points;
                count(metric) > 0
            });
        }
    }
    Some(Part {
        node,
        points: to - from,
        body: request.encode_to_vec(),
    })
}

/// Which of `points` are part `node`: the digits behind its first say left or right, halving.
fn range(node: u64, points: usize) -> (usize, usize) {
    let (mut from, mut to) = (0, points);
    for digit in (0..node.ilog2()).rev() {
        let middle = from + (to - from).div_ceil(2);
        if node >> digit & 1 == 0 {
            to = middle;
        } else {
            from = middle;
        }
    }
    (from, to)
}

fn metrics(request: &mut ExportMetricsServiceRequest) -> impl Iterator<Item = &mut Metric> {
    let resources = request.resource_metrics.iter_mut();
    let scopes = resources.flat_map(|resource| resource.scope_metrics.iter_mut());
    scopes.flat_map(|scope| scope.metrics.iter_mut())
}

/// The window's own point is not counted: it goes with the first part.
fn is_own(metric: &Metric) -> bool {
    metric.name == names::WINDOW_SEQUENCE
}

fn count(metric: &Metric) -> usize {
    match &metric.data {
        _ if is_own(metric) => 0,
        Some(Data::Gauge(data)) => data.data_points.len(),
        Some(Data::Sum(data)) => data.data_points.len(),
        Some(Data::Histogram(data)) => data.data_points.len(),
        Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(Data::Summary(_)) | None => 0,
    }
}

/// Leaves the points from one index to another.
fn keep(metric: &mut Metric, from: usize, to: usize) {
    fn cut<P>(points: &mut Vec<P>, from: usize, to: usize) {
        points.truncate(to);
        points.drain(..from.min(points.len()));
    }
    match &mut metric.data {
        Some(Data::Gauge(data)) => cut(&mut data.data_points, from, to),
        Some(Data::Sum(data)) => cut(&mut data.data_points, from, to),
        Some(Data::Histogram(data)) => cut(&mut data.data_points, from, to),
        Some(Data::ExponentialHistogram(data)) => cut(&mut data.data_points, from, to),
        Some(Data::Summary(_)) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spool::merge::tests::busy_window;

    /// Every point of a body, with its metric's name, in one order.
    fn points(body: &[u8]) -> Vec<String> {
        let mut request = ExportMetricsServiceRequest::decode(body).unwrap();
        let mut found: Vec<String> = metrics(&mut request)
            .flat_map(|metric| {
                let all = count(metric).max(usize::from(is_own(metric)));
                (0..all).map(|index| {
                    let mut one = metric.clone();
                    keep(&mut one, index, index + 1);
                    format!("{one:?}")
                })
            })
            .collect();
        found.sort();
        found
    }

    /// Sends a window to a door that takes bodies up to `limit` bytes.
    fn send(body: &[u8], limit: usize) -> Option<Vec<Part>> {
        let (mut parts, mut sent) = (Parts::default(), vec![]);
        while let Some(part) = parts.next(body) {
            if part.body.len() > limit {
                parts = parts.split(&part)?;
            } else {
                parts = parts.stored(&part);
                sent.push(part);
            }
        }
        assert!(parts.are_stored());
        Some(sent)
    }

    #[test]
    fn a_window_that_fits_goes_as_it_is() {
        let body = busy_window(3);
        let sent = send(&body, body.len()).unwrap();
        assert_eq!((sent.len(), sent[0].number()), (1, None));
        assert_eq!(sent[0].body, body);
    }

    #[test]
    fn a_single_point_is_never_split() {
        assert_eq!(send(&busy_window(3), 10), None);
    }

    proptest! {
        #[test]
        fn the_parts_are_the_window_whatever_the_limit(sequence in 1u64..50, share in 0.08..1.0f64) {
            let body = busy_window(sequence);
            let sent = send(&body, (body.len() as f64 * share) as usize);
            prop_assume!(sent.is_some());
            let sent = sent.unwrap();
            let mut together: Vec<_> = sent.iter().flat_map(|part| points(&part.body)).collect();
            together.sort();
            prop_assert_eq!(together, points(&body));
            // The first counts as the window, and it alone says which window it is.
            let mut numbers: Vec<_> = sent.iter().map(Part::number).collect();
            prop_assert_eq!(numbers.remove(0), (sent.len() > 1).then_some(1));
            prop_assert!(numbers.iter().all(|n| n.is_some_and(|n| (2..=64).contains(&n))));
            for (index, part) in sent.iter().enumerate() {
                let says = points(&part.body).iter().any(|p| p.contains(names::WINDOW_SEQUENCE));
                prop_assert_eq!(says, index == 0);
            }
        }

        #[test]
        fn a_part_is_the_same_bytes_after_a_restart(sequence in 1u64..50, steps in 0usize..12) {
            let body = busy_window(sequence);
            let mut parts = Parts::default();
            for step in 0..steps {
                let Some(part) = parts.next(&body) else { break };
                let split = parts.split(&part).filter(|_| step % 3 != 2);
                parts = split.unwrap_or(parts.stored(&part));
            }
            let again = Parts::from_text(&parts.to_text()).unwrap();
            prop_assert_eq!(again, parts);
            prop_assert_eq!(again.next(&body), parts.next(&body));
        }
    }
}
