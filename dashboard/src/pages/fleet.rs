//! The fleet at a glance: how many devices, how fast, what drifts. In: rollups of the span and the
//! verdicts in force at its end. Out: one line a cohort, one cell a cohort and signal.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::{extract::State, response::Html};
use fathomline_queries::{
    event,
    fleet::{self, FleetLine, FleetOverview},
    rows::{EventRow, VerdictRow},
    verdict,
};

use super::{
    Shell,
    evidence::Evidence,
    failure::Failure,
    happened::{self, Happened},
    render, verdicts_from,
};
use crate::{
    router::Dashboard,
    view::{
        names::{self, Badge, CohortName, State as SeriesState},
        units,
        url_state::UrlState,
    },
    visit::Visit,
};

#[derive(Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    shell: Shell,
    headline: Headline,
    tiles: Vec<Tile>,
    cohorts: Vec<CohortLine>,
    signals: Vec<Signal>,
    grid: Vec<GridLine>,
    happened: Vec<Happened>,
    otlp_url: String,
    /// Said where outputs of few devices are not shown by themselves.
    folded: Option<String>,
    /// Said when devices have fallen silent.
    stale: Option<String>,
}

/// The state of the whole fleet in a sentence.
struct Headline {
    badge: Badge,
    sentence: String,
    link: String,
}

struct Tile {
    name: &'static str,
    value: String,
    note: String,
}

struct CohortLine {
    name: CohortName,
    quantization: String,
    badge: Badge,
    link: String,
    devices: String,
    inferences: String,
    duration_p50: String,
    duration_p95: String,
    first_token_p50: String,
    tokens_per_second: String,
    surprisal: String,
    correct: String,
    last: String,
}

struct Signal {
    name: String,
    metric: String,
}

struct GridLine {
    name: CohortName,
    cells: Vec<Option<GridCell>>,
}

struct GridCell {
    badge: Badge,
    link: String,
    title: String,
}

pub(crate) async fn show(
    State(dashboard): State<Dashboard>,
    visit: Visit,
) -> Result<Html<String>, Failure> {
    let (engine, span) = (&dashboard.engine, visit.span);
    let (overview, verdicts, events) = tokio::try_join!(
        fleet::overview(engine, span),
        verdict::latest(engine, verdicts_from(&visit), span.to_us),
        event::between(engine, span.from_us, span.to_us),
    )?;
    render(&page(&dashboard, &visit, overview, &verdicts, &events))
}

fn page(
    dashboard: &Dashboard,
    visit: &Visit,
    mut overview: FleetOverview,
    verdicts: &[VerdictRow],
    events: &[EventRow],
) -> FleetPage {
    overview.lines.sort_by_key(cohort_of);
    let worst = worst_by_cohort(verdicts);
    let signals: BTreeSet<&str> = verdicts.iter().map(|row| row.metric.as_str()).collect();
    let cohorts = overview
        .lines
        .iter()
        .map(|line| cohort_line(line, &worst, visit));
    FleetPage {
        headline: headline(verdicts, &visit.url),
        tiles: tiles(&overview, verdicts, visit),
        cohorts: cohorts.collect(),
        grid: grid(verdicts, &signals, &visit.url),
        signals: signals
            .into_iter()
            .map(|metric| Signal {
                name: names::signal(metric),
                metric: metric.to_owned(),
            })
            .collect(),
        happened: happened::lines(events, None, &visit.url),
        otlp_url: dashboard.otlp_url.clone(),
        folded: folded(dashboard.engine.publication().min_devices()),
        stale: stale(&overview, dashboard, visit),
        shell: Shell::new(visit, "Fleet", "fleet", "/"),
    }
}

fn folded(min_devices: u32) -> Option<String> {
    (min_devices > 1).then(|| {
        format!(
            "Surprisal and feedback of fewer than {min_devices} devices are shown together as \
             other, or not at all, and once their lane has closed."
        )
    })
}

fn cohort_of(line: &FleetLine) -> CohortName {
    CohortName {
        device_class: line.device_class.clone(),
        model: line.model.clone(),
        version: line.version.clone(),
        variant: line.variant.clone(),
        service: line.service.clone(),
    }
}

fn worst_by_cohort(verdicts: &[VerdictRow]) -> BTreeMap<CohortName, SeriesState> {
    let mut worst = BTreeMap::new();
    for row in verdicts {
        let state = SeriesState::of(row);
        let known = worst.entry(CohortName::of(row)).or_insert(state);
        *known = state.min(*known);
    }
    worst
}

fn headline(verdicts: &[VerdictRow], url: &UrlState) -> Headline {
    let of = |state| {
        verdicts
            .iter()
            .filter(move |row| SeriesState::of(row) == state)
    };
    let drifting = of(SeriesState::Drifting).count();
    let classes: BTreeSet<&str> = of(SeriesState::Drifting)
        .map(|row| row.device_class.as_str())
        .collect();
    let classes = Vec::from_iter(classes).join(", ");
    let (state, sentence) = match (drifting, of(SeriesState::Steady).count(), verdicts.len()) {
        (0, _, 0) => (
            SeriesState::NotJudged,
            "Nothing has been judged yet.".to_owned(),
        ),
        (0, 0, _) => (
            SeriesState::Undecided,
            "No series can be decided yet; each says what it lacks.".to_owned(),
        ),
        (0, steady, all) => (
            SeriesState::Steady,
            format!("Nothing drifts: {steady} of {all} series are steady, the rest undecided."),
        ),
        (1, _, all) => (
            SeriesState::Drifting,
            format!("1 of {all} series drifts, on {classes}."),
        ),
        (n, _, all) => (
            SeriesState::Drifting,
            format!("{n} of {all} series drift, on {classes}."),
        ),
    };
    Headline {
        badge: Badge { state },
        sentence,
        link: url.unfiltered().link("/drift"),
    }
}

fn tiles(overview: &FleetOverview, verdicts: &[VerdictRow], visit: &Visit) -> Vec<Tile> {
    let inferences: u64 = overview.lines.iter().map(|line| line.inferences).sum();
    let in_state = |state| {
        let of = verdicts.iter().filter(|row| SeriesState::of(row) == state);
        units::count(of.count() as u64)
    };
    let last_us = last_lane(overview);
    let tile = |name, value, note: &str| Tile {
        name,
        value,
        note: note.to_owned(),
    };
    vec![
        tile(
            "devices",
            units::count(overview.devices),
            "reported in this range",
        ),
        tile("inferences", counted(inferences), "in this range"),
        tile("drifting", in_state(SeriesState::Drifting), "series, now"),
        tile("undecided", in_state(SeriesState::Undecided), "series, now"),
        tile("steady", in_state(SeriesState::Steady), "series, now"),
        tile(
            "last window",
            last_us.map_or_else(
                || units::UNKNOWN.to_owned(),
                |us| units::age(visit.now_us, us),
            ),
            &last_us.map(units::date_and_time).unwrap_or_default(),
        ),
    ]
}

/// A sender that does not time its operations does not count them either: that is not zero.
fn counted(inferences: u64) -> String {
    match inferences {
        0 => units::UNKNOWN.to_owned(),
        _ => units::count(inferences),
    }
}

/// End of the last lane that any device filled.
fn last_lane(overview: &FleetOverview) -> Option<i64> {
    overview.lines.iter().map(|line| line.last_us).max()
}

/// Devices send every lane; when the last lane is older than three, and all are closed, say so.
fn stale(overview: &FleetOverview, dashboard: &Dashboard, visit: &Visit) -> Option<String> {
    let last_us = last_lane(overview)?;
    let patience_us = 3 * dashboard.lane_us + dashboard.lateness_us;
    let silent = visit.range.is_live() && visit.now_us - last_us > patience_us;
    silent.then(|| {
        format!(
            "No device has reported for {}; everything below is as of {}.",
            units::span(visit.now_us - last_us),
            units::date_and_time(last_us)
        )
    })
}

fn cohort_line(
    line: &FleetLine,
    worst: &BTreeMap<CohortName, SeriesState>,
    visit: &Visit,
) -> CohortLine {
    let name = cohort_of(line);
    let state = worst.get(&name).copied().unwrap_or(SeriesState::NotJudged);
    let correct = line
        .correct_share
        .map(|share| format!("{} of {}", units::percent(share), units::count(line.judged)));
    CohortLine {
        quantization: line.quantization.clone().unwrap_or_default(),
        badge: Badge { state },
        link: visit
            .url
            .of_cohort(&line.device_class, &line.model)
            .link("/drift"),
        devices: units::count(line.devices),
        inferences: counted(line.inferences),
        duration_p50: units::maybe(line.duration.p50, "s"),
        duration_p95: units::maybe(line.duration.p95, "s"),
        first_token_p50: units::maybe(line.time_to_first_token.p50, "s"),
        tokens_per_second: units::maybe(line.tokens_per_second, "1"),
        surprisal: units::maybe(line.surprisal, "{nat}"),
        correct: correct.unwrap_or_else(|| units::UNKNOWN.to_owned()),
        last: units::age(visit.now_us, line.last_us),
        name,
    }
}

fn grid(verdicts: &[VerdictRow], signals: &BTreeSet<&str>, url: &UrlState) -> Vec<GridLine> {
    let mut cohorts: BTreeMap<CohortName, BTreeMap<&str, &VerdictRow>> = BTreeMap::new();
    for row in verdicts {
        let cells = cohorts.entry(CohortName::of(row)).or_default();
        cells.insert(&row.metric, row);
    }
    let cell = |row: &VerdictRow| GridCell {
        badge: Badge {
            state: SeriesState::of(row),
        },
        link: url.unfiltered().link(&format!("/drift/{}", row.series)),
        title: Evidence::of(row).sentence(SeriesState::of(row)),
    };
    let line = |(name, cells): (CohortName, BTreeMap<&str, &VerdictRow>)| GridLine {
        name,
        cells: signals
            .iter()
            .map(|metric| cells.get(metric).map(|row| cell(row)))
            .collect(),
    };
    cohorts.into_iter().map(line).collect()
}
