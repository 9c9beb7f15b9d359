//! What each device did: the parts that the lanes of a series are merged from, with their sites.
//! Asked for when a reference is made, when a series is about to page and when somebody asks, never
//! lane by lane: what it costs grows with devices.
//!
//! In: a span, metrics and models. Out: the parts of each series, in an order of their own.

use std::collections::BTreeMap;

use crate::{
    catalog::{PARTS, PARTS_HOURS, Question},
    drift::{Part, SeriesKey, Summary},
    engine::{Engine, QueryError},
    lanes::texts,
    row::{Row, rows, timestamp},
    schema::column,
    series::{Series, Sum, Values},
};

/// Parts of each series.
pub type SeriesParts = BTreeMap<SeriesKey, Vec<Part>>;

/// Which parts.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Start of the span, exclusive, microseconds since the Unix epoch.
    pub from_us: i64,
    /// Its end.
    pub to_us: i64,
    /// Of which metrics.
    pub metrics: &'a [&'a str],
    /// Of which models.
    pub models: &'a [&'a str],
}

/// Each device's rows in the span as one, hot ones included.
///
/// # Errors
/// When the engine folds small groups, or its limits are reached.
pub async fn together(engine: &Engine, wanted: Wanted<'_>) -> Result<SeriesParts, QueryError> {
    of(engine, &PARTS, wanted).await
}

/// Each device's hours that were built in the span.
///
/// # Errors
/// As [`together`].
pub async fn hours(engine: &Engine, wanted: Wanted<'_>) -> Result<SeriesParts, QueryError> {
    of(engine, &PARTS_HOURS, wanted).await
}

async fn of(
    engine: &Engine,
    question: &Question,
    wanted: Wanted<'_>,
) -> Result<SeriesParts, QueryError> {
    if engine.publication().folds() {
        let folded = "parts are read as they are stored; ask an engine that shows everything";
        return Err(QueryError::Failed(folded.to_owned()));
    }
    let parameters = vec![
        ("from", timestamp(wanted.from_us)),
        ("to", timestamp(wanted.to_us)),
        ("metrics", texts(wanted.metrics)),
        ("models", texts(wanted.models)),
    ];
    let batches = engine.ask(question, parameters).await?;
    let mut parts = SeriesParts::new();
    let mut open: Option<Open> = None;
    for row in rows(&batches) {
        let place = Place::of(row)?;
        if open.as_ref().is_none_or(|part| part.place != place) {
            let next = Open {
                place,
                sum: Sum::default(),
            };
            close(&mut parts, open.replace(next));
        }
        if let Some(part) = &mut open {
            part.sum.add_values(row)?;
        }
    }
    close(&mut parts, open);
    Ok(parts)
}

#[derive(PartialEq)]
struct Place {
    series: Series,
    device: String,
    site: String,
    end_us: i64,
}

/// A part whose categories are still being read.
struct Open {
    place: Place,
    sum: Sum,
}

impl Place {
    fn of(row: Row<'_>) -> Result<Self, QueryError> {
        Ok(Self {
            series: Series::of(row)?,
            device: row.text(column::DEVICE)?,
            site: row.text(column::SITE)?,
            end_us: row.time(column::TIME)?,
        })
    }
}

fn close(parts: &mut SeriesParts, open: Option<Open>) {
    let Some(Open { place, sum }) = open else {
        return;
    };
    let Some((values, _)) = sum.values() else {
        return;
    };
    let summary = match values {
        Values::Histogram(histogram) => Summary::Histogram(histogram),
        Values::Categories(counts) => Summary::Categories(counts),
    };
    let part = Part {
        device: place.device,
        site: place.site,
        end_us: place.end_us,
        summary,
    };
    parts.entry(place.series.into()).or_default().push(part);
}

#[cfg(test)]
mod tests;
