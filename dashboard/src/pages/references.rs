//! What series are held against: every reference with what it is made of, by whom, and who cites
//! it; two of them compared; what was done lately. In: what the collector keeps, and which two.
//! Out: a page. Changes are made on the command line or through the API: a page changes nothing.

use askama::Template;
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Html,
};
use fathomline_queries::{
    drift::{Distances, Lane, Reference, Summary},
    published,
    series::Values,
};
use fathomline_wire::names as wire;
use serde::Deserialize;

use super::{Shell, evidence, failure::Failure, render};
use crate::{
    control::{Act, Done, KeptReference},
    router::Dashboard,
    view::{
        names,
        overlay::{self, Overlay},
        units,
    },
    visit::Visit,
};

/// Digits of a hash that people read.
const DIGITS: usize = 12;
/// Series that one line names; the API has them all.
const CITING_MAX: usize = 5;

#[derive(Template)]
#[template(path = "references.html")]
struct ReferencesPage {
    shell: Shell,
    lines: Vec<Line>,
    in_force: usize,
    compared: Option<Compared>,
    acts: Vec<ActLine>,
}

struct Line {
    hash: String,
    short: String,
    name: String,
    of: &'static str,
    made_from: String,
    note: String,
    season: &'static str,
    records: String,
    made: String,
    made_by: String,
    in_force: String,
    in_force_by: String,
    cited_by: Vec<Cited>,
    more: usize,
    first: bool,
    second: bool,
}

/// A series that cites a reference, as a link.
struct Cited {
    link: String,
    name: String,
}

struct Compared {
    first: String,
    second: String,
    /// Why there is nothing to see, or how large the difference is.
    sentence: String,
    facts: Vec<Fact>,
    overlay: Option<Overlay>,
    streams: Vec<StreamLine>,
}

struct Fact {
    name: &'static str,
    value: String,
    note: String,
}

struct StreamLine {
    stream: String,
    first: String,
    second: String,
    difference: String,
    tolerance: String,
}

struct ActLine {
    time: String,
    rfc3339: String,
    sentence: String,
}

/// Which two are compared: hashes.
#[derive(Debug, Deserialize)]
pub(crate) struct Choice {
    first: Option<String>,
    second: Option<String>,
}

pub(crate) async fn show(
    State(dashboard): State<Dashboard>,
    visit: Visit,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Result<Html<String>, Failure> {
    let Query(choice) = choice.map_err(|error| Failure::malformed(error.body_text()))?;
    let control = &dashboard.control;
    let (kept, acts) = tokio::try_join!(control.references(), control.acts())?;
    let compared = match (&choice.first, &choice.second) {
        (Some(first), Some(second)) => Some(compared(&dashboard, first, second).await?),
        (None, None) => None,
        _ => return Err(Failure::malformed("choose two references to compare")),
    };
    let acts = acts.iter().map(|act| act_line(act, &kept)).collect();
    render(&ReferencesPage {
        in_force: kept.iter().filter(|kept| kept.in_force.is_some()).count(),
        lines: kept
            .iter()
            .map(|kept| line(kept, &choice, &visit))
            .collect(),
        compared,
        acts,
        shell: Shell::new(&visit, "References", "references", "/references"),
    })
}

fn line(kept: &KeptReference, choice: &Choice, visit: &Visit) -> Line {
    let cited = kept.cited_by.iter().take(CITING_MAX).map(|citing| Cited {
        link: visit
            .url
            .unfiltered()
            .link(&format!("/drift/{}", citing.series)),
        name: citing.name.clone(),
    });
    let chosen = |which: &Option<String>| which.as_deref() == Some(&kept.hash);
    let (in_force, in_force_by) = in_force(kept);
    let left_out = kept.excluded_lanes;
    Line {
        short: short(&kept.hash),
        hash: kept.hash.clone(),
        name: kept.name.clone(),
        of: match kept.level.as_str() {
            "version" => "all variants of the version",
            "model" => "all versions of the model",
            _ => "one variant",
        },
        made_from: match kept.made_from.as_str() {
            "weeks" => "trailing weeks".to_owned(),
            "version" => "what was kept of the version".to_owned(),
            other => format!("a {other}"),
        },
        note: match left_out {
            0 => span_words(kept),
            1 => format!("{}; 1 lane of an incident left out", span_words(kept)),
            _ => format!(
                "{}; {left_out} lanes of incidents left out",
                span_words(kept)
            ),
        },
        season: match kept.season.as_str() {
            "hour-of-day" => "hour of the day",
            "hour-of-week" => "hour of the week",
            _ => "none",
        },
        records: units::signed(kept.records),
        made: units::date_and_time(kept.created.time_us),
        made_by: kept.created.by.clone(),
        in_force,
        in_force_by,
        cited_by: cited.collect(),
        more: kept.cited_by.len().saturating_sub(CITING_MAX),
        first: chosen(&choice.first),
        second: chosen(&choice.second),
    }
}

fn span_words(kept: &KeptReference) -> String {
    format!(
        "{} to {}",
        units::date_and_time(kept.from_us),
        units::date_and_time(kept.to_us)
    )
}

fn in_force(kept: &KeptReference) -> (String, String) {
    let told = |word: &str, done: &Done| {
        (
            format!("{word} {}", units::date_and_time(done.time_us)),
            done.by.clone(),
        )
    };
    match (&kept.in_force, &kept.retired) {
        (Some(done), _) => told("since", done),
        (None, Some(done)) => told("retired", done),
        (None, None) => ("no".to_owned(), String::new()),
    }
}

fn short(hash: &str) -> String {
    hash.chars().take(DIGITS).collect()
}

fn act_line(act: &Act, kept: &[KeptReference]) -> ActLine {
    let done = match act.action.as_str() {
        "reference.create" => "made",
        "reference.pin" => "put in force",
        "reference.retire" => "retired",
        "reference.import" => "imported",
        other => other,
    };
    let of = kept.iter().find(|kept| kept.hash == act.reference);
    let name = of
        .map(|kept| format!(" of {}", kept.name))
        .unwrap_or_default();
    ActLine {
        time: units::date_and_time(act.done.time_us),
        rfc3339: units::rfc3339(act.done.time_us),
        sentence: format!("{} {done} {}{name}", act.done.by, short(&act.reference)),
    }
}

async fn compared(dashboard: &Dashboard, first: &str, second: &str) -> Result<Compared, Failure> {
    let control = &dashboard.control;
    let (a, b) = tokio::try_join!(control.reference(first), control.reference(second))?;
    let missing = |hash: &str| {
        Failure::missing(format!(
            "there is no reference {:?} that can be read; choose two of the list",
            short(hash)
        ))
    };
    let (a, b) = (
        a.ok_or_else(|| missing(first))?,
        b.ok_or_else(|| missing(second))?,
    );
    let min_devices = dashboard.engine.publication().min_devices();
    let shown = |reference: &Reference| {
        published::shows(min_devices, &reference.key().metric, reference.devices())
    };
    Ok(match shown(&a) && shown(&b) {
        true => side_by_side(&a, &b),
        false => nothing_to_see(
            (&a, &b),
            "One of them is of too few devices for its values to be shown.",
        ),
    })
}

fn nothing_to_see((a, b): (&Reference, &Reference), sentence: &str) -> Compared {
    Compared {
        first: short(&a.hash()),
        second: short(&b.hash()),
        sentence: sentence.to_owned(),
        facts: vec![],
        overlay: None,
        streams: vec![],
    }
}

fn side_by_side(a: &Reference, b: &Reference) -> Compared {
    let (start_us, end_us) = b.span_us();
    let lane = Lane {
        start_us,
        end_us,
        summary: b.summary().clone(),
        count: b.count(),
        device_windows: 0,
        devices: b.devices(),
    };
    let Some(distances) = Distances::of(a, &lane, b.count() as f64) else {
        let sentence = "One of them holds values and the other categories.";
        return nothing_to_see((a, b), sentence);
    };
    let values = match b.summary() {
        Summary::Histogram(histogram) => Values::Histogram(histogram.clone()),
        Summary::Categories(counts) => Values::Categories(counts.clone()),
    };
    let metric = &a.key().metric;
    let unit = wire::metric(metric).map_or("1", |metric| metric.unit);
    let title = format!("{}, first against second", names::signal(metric));
    let overlay = overlay::draw(title, a.summary(), &values, unit, None);
    let size = evidence::size_of_shift(distances.psi_debiased);
    Compared {
        first: short(&a.hash()),
        second: short(&b.hash()),
        sentence: format!("The difference is {size}, over the bins of the first."),
        facts: facts(&distances, size),
        overlay: overlay.map(Overlay::of_references),
        streams: streams(a, b),
    }
}

fn facts(distances: &Distances, size: &str) -> Vec<Fact> {
    let fact = |name, value: f64, note: &str| Fact {
        name,
        value: units::significant(value),
        note: note.to_owned(),
    };
    let mut facts = vec![
        fact("PSI, debiased", distances.psi_debiased, size),
        fact("Jensen-Shannon", distances.jensen_shannon, "0 to 1"),
        fact("Hellinger", distances.hellinger, "0 to 1"),
        fact("Kolmogorov-Smirnov", distances.ks, "0 to 1"),
    ];
    if let Some(normalized) = distances.wasserstein_normalized {
        facts.push(fact(
            "Wasserstein-1",
            normalized,
            "standard deviations of the first",
        ));
    }
    facts
}

/// What the first one watches, in both.
fn streams(a: &Reference, b: &Reference) -> Vec<StreamLine> {
    let shares = a.shares_of(b.summary());
    let lines = a
        .streams()
        .iter()
        .zip(shares)
        .map(|((stream, expected), share)| {
            let beyond = (share - expected.share).abs() > expected.tolerance;
            StreamLine {
                stream: stream.to_string(),
                first: units::percent(expected.share),
                second: units::percent(share),
                difference: match beyond {
                    true => "beyond".to_owned(),
                    false => "within".to_owned(),
                },
                tolerance: units::percent(expected.tolerance),
            }
        });
    lines.collect()
}
