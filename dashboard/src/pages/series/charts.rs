//! The charts of one series: reference against current, evidence, and values over time. In: what
//! the page found. Out: shapes with their tables, or none where there is nothing to draw.

use fathomline_queries::{
    drift::{Reference, Stream, Summary},
    series::TrendPoint,
};

use super::{Evidence, Found};
use crate::{
    view::{
        names,
        overlay::{self, Overlay},
        timeline::{self, Limit, Line, Plot, Timeline},
        units,
    },
    visit::Visit,
};

pub(super) fn overlay_of(found: &Found) -> Option<Overlay> {
    let (reference, current) = (found.reference.as_ref()?, found.current.as_ref()?);
    let title = format!(
        "{}, reference against current ({} to {})",
        names::signal(&found.verdict.metric),
        units::time_of_day(found.current_span.from_us),
        units::date_and_time(found.current_span.to_us)
    );
    let threshold = leading_threshold(reference, &found.evidence);
    overlay::draw(
        title,
        reference.summary(),
        &current.values,
        &current.unit,
        threshold,
    )
}

/// The threshold of the stream that leads, if it has one.
fn leading_threshold(reference: &Reference, evidence: &Evidence) -> Option<f64> {
    let leading = evidence.leading.as_ref()?;
    let mut streams = reference.streams().iter().map(|(stream, _)| stream);
    match streams.find(|stream| stream.to_string() == leading.stream)? {
        Stream::Above { threshold, .. } => Some(*threshold),
        _ => None,
    }
}

pub(super) fn score_of(found: &Found, visit: &Visit) -> Option<Timeline> {
    let threshold = found.history.iter().rev().find_map(|row| row.threshold);
    let limit = threshold.map(|value| Limit {
        name: "pages at".to_owned(),
        style: "limit",
        value,
    });
    timeline::draw(Plot {
        title: "Evidence of drift, lane by lane (natural logarithm; starts anew after a page)"
            .to_owned(),
        unit: "1".to_owned(),
        from_us: visit.span.from_us,
        to_us: visit.span.to_us,
        times: found.history.iter().map(|row| row.time).collect(),
        lines: vec![Line {
            name: "evidence",
            style: "current",
            values: found.history.iter().map(|row| row.score).collect(),
        }],
        limits: limit.into_iter().collect(),
        moment: found.verdict.since.map(|us| (us, "since")),
        // Far above the limit nothing is left to see; the table has the numbers.
        top_max: threshold.map(|limit| 2.0 * limit),
    })
}

pub(super) fn trend_of(found: &Found, visit: &Visit) -> Option<Timeline> {
    let of = |value: fn(&TrendPoint) -> Option<f64>| found.trend.iter().map(value).collect();
    let unit = found.current.as_ref().map_or("1", |current| &current.unit);
    let was = found
        .reference
        .as_ref()
        .and_then(|reference| match reference.summary() {
            Summary::Histogram(histogram) => Some(histogram),
            Summary::Categories(_) => None,
        });
    let limit = |name: &str, q| {
        was.and_then(|histogram| histogram.quantile(q))
            .map(|value| Limit {
                name: format!("reference {name}"),
                style: "was",
                value,
            })
    };
    timeline::draw(Plot {
        title: format!("{} over time", names::signal(&found.verdict.metric)),
        unit: unit.to_owned(),
        from_us: visit.span.from_us,
        to_us: visit.span.to_us,
        times: found.trend.iter().map(|point| point.start_us).collect(),
        lines: vec![
            Line {
                name: "p50",
                style: "current",
                values: of(|point| point.p50),
            },
            Line {
                name: "p95",
                style: "second",
                values: of(|point| point.p95),
            },
        ],
        limits: [limit("p50", 0.5), limit("p95", 0.95)]
            .into_iter()
            .flatten()
            .collect(),
        moment: found.verdict.since.map(|us| (us, "since")),
        top_max: None,
    })
}
