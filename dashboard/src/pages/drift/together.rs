//! What drifts together: incidents, each taken apart by class, version, signal, site and value.
//!
//! In: the series that drift, with the breakdowns in their evidence. Out: for each service and
//! model tables that add up to its score.

use std::collections::BTreeMap;

use fathomline_queries::{
    drift::{Breakdown, ContributorKind, Incident, IncidentPart, SeriesKey},
    rows::VerdictRow,
};

use crate::{
    pages::evidence::Evidence,
    view::{
        names::{self, State},
        units,
    },
};

/// Incidents on one page, the largest.
const INCIDENTS_MAX: usize = 10;
/// Contributors of a kind.
const CONTRIBUTORS_MAX: usize = 12;

/// One incident.
pub(super) struct Together {
    pub(super) model: String,
    pub(super) service: String,
    /// What it adds up to.
    pub(super) sentence: String,
    pub(super) tables: Vec<Table>,
    score: f64,
}

/// A series that drifts, with what it is made of as far as that is told.
type Member = (SeriesKey, Option<Breakdown>);

/// Its contributors of one kind.
pub(super) struct Table {
    pub(super) by: &'static str,
    /// Shown once somebody asks.
    pub(super) folded: bool,
    pub(super) lines: Vec<Line>,
}

pub(super) struct Line {
    pub(super) name: String,
    pub(super) series: u32,
    pub(super) part: String,
    pub(super) share: String,
}

/// Incidents of at least two series among those shown, the largest first.
pub(super) fn of(rows: &[&VerdictRow]) -> Vec<Together> {
    let mut incidents: BTreeMap<(&str, &str), Vec<Member>> = BTreeMap::new();
    let drifting = |row: &&&VerdictRow| State::of(row) == State::Drifting;
    for row in rows.iter().filter(drifting) {
        let place = (row.model.as_str(), row.service.as_str());
        let member = (key(row), Evidence::of(row).breakdown);
        incidents.entry(place).or_default().push(member);
    }
    let several = incidents.into_iter().filter(|(_, of)| of.len() > 1);
    let mut together: Vec<Together> = several
        .filter_map(|((model, service), of)| one(model, service, &of))
        .collect();
    together.sort_by(|a, b| b.score.total_cmp(&a.score));
    together.truncate(INCIDENTS_MAX);
    together
}

fn key(row: &VerdictRow) -> SeriesKey {
    SeriesKey {
        service: row.service.clone(),
        model: row.model.clone(),
        version: row.version.clone(),
        variant: row.variant.clone(),
        device_class: row.device_class.clone(),
        metric: row.metric.clone(),
    }
}

fn one(model: &str, service: &str, of: &[Member]) -> Option<Together> {
    let incident = Incident::of(of.iter().map(|(key, of)| (key, of.as_ref())));
    let tables = ContributorKind::ALL.into_iter().map(|kind| Table {
        by: by(kind),
        folded: kind == ContributorKind::Bin,
        lines: lines(&incident, kind),
    });
    (incident.series > 0).then(|| Together {
        model: model.to_owned(),
        service: service.to_owned(),
        sentence: sentence(&incident),
        tables: tables.collect(),
        score: incident.score,
    })
}

fn sentence(incident: &Incident) -> String {
    let largest = |kind| {
        let first = incident.ranked(kind, CONTRIBUTORS_MAX).into_iter().next()?;
        let share = units::percent(first.part / incident.score);
        Some(format!("{} ({share})", name(kind, first)))
    };
    let all = incident.series + incident.untold;
    let mut sentence = format!(
        "{all} series drift together, {} nats apart from their references.",
        units::significant(incident.score)
    );
    let most = [ContributorKind::Class, ContributorKind::Signal].map(largest);
    if let ([Some(class), Some(signal)], true) = (most, incident.score > 0.0) {
        sentence += &format!(" Most of it is {class} and {signal}.");
    }
    if incident.untold > 0 {
        let untold = incident.untold;
        sentence += &format!(" Of {untold} of them no distance is known, or told.");
    }
    sentence
}

fn by(kind: ContributorKind) -> &'static str {
    match kind {
        ContributorKind::Class => "Class",
        ContributorKind::Version => "Version",
        ContributorKind::Signal => "Signal",
        ContributorKind::Site => "Where",
        ContributorKind::Bin => "Values",
    }
}

fn lines(incident: &Incident, kind: ContributorKind) -> Vec<Line> {
    let whole = incident.score;
    let line = |part: IncidentPart| Line {
        series: part.series,
        part: units::significant(part.part),
        share: match whole > 0.0 {
            true => units::percent(part.part / whole),
            false => units::UNKNOWN.to_owned(),
        },
        name: name(kind, part),
    };
    let ranked = incident.ranked(kind, CONTRIBUTORS_MAX);
    ranked.into_iter().map(line).collect()
}

/// A signal without what all names of its kind have, a bin with its signal.
fn name(kind: ContributorKind, part: IncidentPart) -> String {
    match (kind, part.metric) {
        (ContributorKind::Signal, _) => names::signal(&part.name),
        (_, Some(metric)) => format!("{} {}", names::signal(&metric), part.name),
        (_, None) => part.name,
    }
}
