//! Incidents: what fires, since when, how sure, what to do; what people made of pages, what they
//! silenced, and which rules page for nothing. In: what the collector keeps. Out: a page, or the
//! way back to it. Who may act is the collector's to say.

use askama::Template;
use axum::{
    Form,
    extract::{State, rejection::FormRejection},
    http::HeaderMap,
    response::{Html, Redirect},
};

use super::{Shell, failure::Failure, render};
use crate::{
    alerts::{AlertAct, Evidence, Incident, Member, Precision, Silence},
    router::Dashboard,
    view::{names, units, url_state::UrlState},
    visit::Visit,
};

const PATH: &str = "/alerts";

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    shell: Shell,
    lead: String,
    open: Vec<IncidentPart>,
    history: Vec<HistoryLine>,
    pending: Vec<PendingLine>,
    silences: Vec<SilenceLine>,
    maintenance: Vec<MaintenanceLine>,
    precision: Vec<PrecisionLine>,
}

struct IncidentPart {
    id: String,
    title: String,
    badge: Badge,
    since: Moment,
    age: String,
    told: String,
    advice: &'static str,
    answer: Option<String>,
    members: Vec<MemberLine>,
}

struct MemberLine {
    link: String,
    signal: String,
    cohort: String,
    badge: Badge,
    fired: Moment,
    muted: Option<String>,
    words: String,
    sure: String,
    contributors: String,
}

struct HistoryLine {
    id: String,
    title: String,
    signals: String,
    opened: Moment,
    lasted: String,
    pages: u32,
    answer: Option<String>,
}

struct PendingLine {
    link: String,
    series: String,
    since: Moment,
}

struct SilenceLine {
    id: i64,
    matches: String,
    badge: Badge,
    from: Moment,
    until: Moment,
    by: String,
    why: String,
    over: bool,
    ended: Option<String>,
}

struct MaintenanceLine {
    name: String,
    matches: String,
    badge: Badge,
}

struct PrecisionLine {
    signal: String,
    useful: usize,
    noise: usize,
    share: String,
    proposal: Option<(String, String)>,
}

/// A word with a shape beside its colour.
struct Badge {
    style: &'static str,
    mark: &'static str,
    word: &'static str,
}

const FIRING: Badge = badge("drifting", "\u{25a0}", "firing");
const MUTED: Badge = badge("undecided", "\u{25b2}", "firing, muted");
const RESOLVED: Badge = badge("steady", "\u{25cf}", "resolved");

struct Moment {
    words: String,
    rfc3339: String,
}

pub(crate) async fn show(
    State(dashboard): State<Dashboard>,
    visit: Visit,
) -> Result<Html<String>, Failure> {
    let alerts = dashboard.control.alerts().await?;
    let now_us = visit.now_us;
    let (open, over): (Vec<_>, Vec<_>) = alerts
        .incidents
        .iter()
        .partition(|incident| incident.resolved_us.is_none());
    let pending = alerts.pending.iter().map(|pending| PendingLine {
        link: drift_link(&visit.url, &pending.series),
        series: pending.series.chars().take(12).collect(),
        since: moment(pending.since_us),
    });
    render(&AlertsPage {
        lead: lead(open.len()),
        open: open
            .iter()
            .map(|one| part(one, &visit.url, now_us))
            .collect(),
        history: over.iter().map(|one| history(one)).collect(),
        pending: pending.collect(),
        silences: alerts.silences.iter().map(silence).collect(),
        maintenance: alerts
            .maintenance
            .into_iter()
            .map(|planned| MaintenanceLine {
                matches: planned.matches.unwrap_or_else(|| "everything".to_owned()),
                name: planned.name,
                badge: match planned.holds {
                    true => badge("undecided", "\u{25b2}", "holds now"),
                    false => badge("absent", "\u{25cb}", "planned"),
                },
            })
            .collect(),
        precision: alerts.precision.into_iter().map(precision).collect(),
        shell: Shell::new(&visit, "Alerts", "alerts", PATH),
    })
}

/// Afterwards the page is asked for again, so that a reload presses nothing twice.
pub(crate) async fn act(
    State(dashboard): State<Dashboard>,
    headers: HeaderMap,
    pressed: Result<Form<AlertAct>, FormRejection>,
) -> Result<Redirect, Failure> {
    let Form(act) = pressed.map_err(|error| Failure::malformed(error.body_text()))?;
    dashboard.control.act_on_alerts(&headers, act).await?;
    Ok(Redirect::to(PATH))
}

fn lead(open: usize) -> String {
    match open {
        0 => "Nothing fires.".to_owned(),
        1 => "1 incident is open.".to_owned(),
        open => format!("{open} incidents are open."),
    }
}

fn part(incident: &Incident, url: &UrlState, now_us: i64) -> IncidentPart {
    let mut firing = incident
        .members
        .iter()
        .filter(|of| of.resolved_us.is_none());
    let muted = firing.all(|member| member.muted.is_some());
    IncidentPart {
        id: incident.id.clone(),
        title: format!("{}, {}", incident.model, incident.service),
        badge: match muted {
            true => MUTED,
            false => FIRING,
        },
        since: moment(incident.opened_us),
        age: units::age(now_us, incident.opened_us),
        told: match (incident.pages, muted) {
            (0, _) => "nobody was paged".to_owned(),
            (1, _) => "paged once".to_owned(),
            (pages, _) => format!("paged {pages} times"),
        },
        advice: advice(&incident.members),
        answer: answer(incident),
        members: incident.members.iter().map(|of| line(of, url)).collect(),
    }
}

/// What to look at first: what moved says who caused it.
fn advice(members: &[Member]) -> &'static str {
    let firing = || members.iter().filter(|of| of.resolved_us.is_none());
    let inputs = firing().any(|of| of.metric.contains(".input."));
    let classes = |of: &Member| of.device_class.clone();
    let mut named: Vec<String> = firing().map(classes).collect();
    named.sort();
    named.dedup();
    match (inputs, named.len()) {
        (true, _) => {
            "The inputs moved: look at what devices are asked, and at what feeds the prompt, before the model."
        }
        (false, 0 | 1) => {
            "One class of devices: look at what changed there (firmware, release, place) before the model."
        }
        (false, _) => {
            "Several classes at once: look at what they share (model version, prompt, data) first; where it stands, ask for retraining on the page of the series."
        }
    }
}

fn line(member: &Member, url: &UrlState) -> MemberLine {
    let nothing = Evidence::default();
    let evidence = member.evidence.as_ref().unwrap_or(&nothing);
    MemberLine {
        link: drift_link(url, &member.series),
        signal: names::signal(&member.metric),
        cohort: format!("{}, version {}", member.device_class, member.version),
        badge: match (member.resolved_us, &member.muted) {
            (Some(_), _) => RESOLVED,
            (None, Some(_)) => MUTED,
            (None, None) => FIRING,
        },
        fired: moment(member.fired_us),
        muted: member.muted.clone(),
        words: evidence.words.clone(),
        sure: sure(evidence),
        contributors: contributors(&evidence.contributors),
    }
}

fn sure(evidence: &Evidence) -> String {
    let mut said = vec![];
    if let Some((score, threshold)) = evidence.score.zip(evidence.threshold) {
        let (score, threshold) = (units::significant(score), units::significant(threshold));
        said.push(format!("score {score}, threshold {threshold}"));
    }
    if let Some((distance, interval)) = evidence.distance {
        let distance = units::significant(distance);
        said.push(match interval {
            Some([low, high]) => format!(
                "distance {distance} nat, 95 % {} to {}",
                units::significant(low),
                units::significant(high)
            ),
            None => format!("distance {distance} nat"),
        });
    }
    if let Some((count, devices)) = evidence.count.zip(evidence.devices) {
        let (count, devices) = (units::count(count), units::count(devices));
        said.push(format!("n {count} on {devices} devices"));
    }
    match said.is_empty() {
        true => "not told".to_owned(),
        false => said.join("; "),
    }
}

fn contributors(named: &[(String, f64)]) -> String {
    let named = named
        .iter()
        .map(|(name, part)| format!("{name} {} nat", units::significant(*part)));
    let named = named.collect::<Vec<_>>().join(", ");
    match named.is_empty() {
        true => "none told".to_owned(),
        false => named,
    }
}

fn history(incident: &Incident) -> HistoryLine {
    let ended_us = incident.resolved_us.unwrap_or(incident.opened_us);
    let mut signals: Vec<String> = incident
        .members
        .iter()
        .map(|member| {
            format!(
                "{} on {}",
                names::signal(&member.metric),
                member.device_class
            )
        })
        .collect();
    signals.dedup();
    HistoryLine {
        id: incident.id.clone(),
        title: format!("{}, {}", incident.model, incident.service),
        signals: signals.join(", "),
        opened: moment(incident.opened_us),
        lasted: units::span(ended_us - incident.opened_us),
        pages: incident.pages,
        answer: answer(incident),
    }
}

fn answer(incident: &Incident) -> Option<String> {
    let said = incident.acknowledged.as_ref()?;
    let note = said.note.as_ref().map(|note| format!(": {note}"));
    Some(
        format!(
            "{} says {}, {}",
            said.answer,
            said.by,
            units::date_and_time(said.time_us)
        ) + &note.unwrap_or_default(),
    )
}

fn silence(silence: &Silence) -> SilenceLine {
    SilenceLine {
        id: silence.id,
        matches: silence.matches.clone(),
        badge: match silence.state.as_str() {
            "active" => badge("undecided", "\u{25b2}", "active"),
            "over" => badge("absent", "\u{25cb}", "over"),
            _ => badge("absent", "\u{25cb}", "planned"),
        },
        from: moment(silence.from_us),
        until: moment(silence.until_us),
        by: silence.by.clone(),
        why: silence.why.clone(),
        over: silence.state == "over",
        ended: silence.ended_by.clone(),
    }
}

fn precision(precision: Precision) -> PrecisionLine {
    let all = precision.useful + precision.noise;
    PrecisionLine {
        signal: names::signal(&precision.rule),
        useful: precision.useful,
        noise: precision.noise,
        share: units::percent(precision.useful as f64 / all.max(1) as f64),
        proposal: precision.proposal,
    }
}

const fn badge(style: &'static str, mark: &'static str, word: &'static str) -> Badge {
    Badge { style, mark, word }
}

fn moment(time_us: i64) -> Moment {
    Moment {
        words: units::date_and_time(time_us),
        rfc3339: units::rfc3339(time_us),
    }
}

fn drift_link(url: &UrlState, series: &str) -> String {
    url.unfiltered().link(&format!("/drift/{series}"))
}
