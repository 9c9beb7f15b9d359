//! What drifts: every judged series, worst first. In: the verdicts in force at the end of the span,
//! and filters. Out: a table whose lines link to the series, and what those that drift together are
//! made of.

mod together;

use std::collections::BTreeSet;

use askama::Template;
use axum::{extract::State, response::Html};
use fathomline_queries::{rows::VerdictRow, verdict};

use self::together::Together;
use super::{
    Shell,
    evidence::{self, Evidence},
    failure::Failure,
    render, verdicts_from,
};
use crate::{
    router::Dashboard,
    view::{
        names::{self, Badge, CohortName, State as SeriesState},
        units,
    },
    visit::Visit,
};

#[derive(Template)]
#[template(path = "drift.html")]
struct DriftPage {
    shell: Shell,
    classes: Vec<Choice>,
    models: Vec<Choice>,
    states: Vec<Choice>,
    clear_link: String,
    lines: Vec<SeriesLine>,
    /// How many there are without filters.
    all: usize,
    incidents: Vec<Together>,
}

/// An entry of a filter.
struct Choice {
    value: String,
    chosen: bool,
}

struct SeriesLine {
    badge: Badge,
    link: String,
    signal: String,
    metric: String,
    name: CohortName,
    since: String,
    evidence: String,
    score: String,
    threshold: String,
    shift: String,
    count: String,
    devices: String,
}

pub(crate) async fn show(
    State(dashboard): State<Dashboard>,
    visit: Visit,
) -> Result<Html<String>, Failure> {
    if let Some(word) = &visit.url.state {
        SeriesState::from_word(word).ok_or_else(|| {
            Failure::malformed(format!(
                "there is no state {word:?}; choose drifting, undecided or steady"
            ))
        })?;
    }
    let verdicts = verdict::latest(&dashboard.engine, verdicts_from(&visit), visit.span.to_us);
    render(&page(&visit, &verdicts.await?))
}

fn page(visit: &Visit, verdicts: &[VerdictRow]) -> DriftPage {
    let url = &visit.url;
    let mut shown: Vec<&VerdictRow> = verdicts
        .iter()
        .filter(|row| url.admits(&row.device_class, &row.model))
        .filter(|row| {
            url.state
                .as_deref()
                .is_none_or(|state| SeriesState::of(row).word() == state)
        })
        .collect();
    shown.sort_by_cached_key(|row| {
        (
            SeriesState::of(row),
            CohortName::of(row),
            row.metric.clone(),
        )
    });
    let incidents = together::of(&shown);
    DriftPage {
        classes: choices(
            verdicts.iter().map(|row| &*row.device_class),
            url.class.as_deref(),
        ),
        models: choices(verdicts.iter().map(|row| &*row.model), url.model.as_deref()),
        states: choices(
            [
                SeriesState::Drifting,
                SeriesState::Undecided,
                SeriesState::Steady,
            ]
            .iter()
            .map(|state| state.word()),
            url.state.as_deref(),
        ),
        clear_link: url.unfiltered().link("/drift"),
        lines: shown.into_iter().map(|row| line(row, visit)).collect(),
        all: verdicts.len(),
        incidents,
        shell: Shell::new(visit, "Drift", "drift", "/drift"),
    }
}

/// Distinct values, and the chosen one even where nothing has it any more.
fn choices<'a>(values: impl Iterator<Item = &'a str>, chosen: Option<&'a str>) -> Vec<Choice> {
    let values: BTreeSet<&str> = values.chain(chosen).collect();
    values
        .into_iter()
        .map(|value| Choice {
            value: value.to_owned(),
            chosen: chosen == Some(value),
        })
        .collect()
}

fn line(row: &VerdictRow, visit: &Visit) -> SeriesLine {
    let evidence = Evidence::of(row);
    let shift = evidence.distances.map(|distances| {
        let psi = distances.psi_debiased;
        format!(
            "{} ({})",
            evidence::size_of_shift(psi),
            units::significant(psi)
        )
    });
    let since = row.since.map(|us| {
        format!(
            "{}, {}",
            units::time_of_day(us),
            units::age(visit.now_us, us)
        )
    });
    let unknown = || units::UNKNOWN.to_owned();
    SeriesLine {
        badge: Badge {
            state: SeriesState::of(row),
        },
        link: visit
            .url
            .unfiltered()
            .link(&format!("/drift/{}", row.series)),
        signal: names::signal(&row.metric),
        metric: row.metric.clone(),
        name: CohortName::of(row),
        since: since.unwrap_or_else(unknown),
        evidence: evidence.sentence(SeriesState::of(row)),
        score: row.score.map_or_else(unknown, units::significant),
        threshold: row.threshold.map_or_else(unknown, units::significant),
        shift: shift.unwrap_or_else(unknown),
        count: units::signed(row.count),
        devices: units::signed(row.devices),
    }
}
