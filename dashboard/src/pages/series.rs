//! One series, judged: what, where, since when, how sure, and what to do. In: the id of a series,
//! its verdicts and rollups in the span, the reference it was held against. Out: a page in the
//! order in which somebody who was paged asks.

mod apart;
mod charts;
mod quality;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Html,
};
use fathomline_queries::{
    drift::{Breakdown, Reference},
    event, published,
    rows::VerdictRow,
    series::{self, Series, SeriesSpan, Span, TrendPoint},
    verdict,
};

use self::{apart::Apart, quality::Quality};
use super::{
    Shell,
    evidence::{self, Evidence, ReferenceSpan},
    failure::Failure,
    happened::{self, Happened},
    render, verdicts_from,
};
use crate::{
    router::Dashboard,
    view::{
        names::{self, Badge, CohortName, State as SeriesState},
        overlay::Overlay,
        timeline::Timeline,
        units,
    },
    visit::Visit,
};

/// Lanes shown as current: enough to see a shape, few enough to be now.
const CURRENT_LANES: i64 = 12;
/// The most of them, where a drift began long ago.
const DRIFT_LANES_MAX: i64 = 60;
/// Steps of the trend.
const TREND_STEPS: i64 = 60;
/// Lines of the history table; the score chart has all lanes of the span.
const HISTORY_LINES: usize = 30;

#[derive(Template)]
#[template(path = "series.html")]
struct SeriesPage {
    shell: Shell,
    badge: Badge,
    signal: String,
    name: CohortName,
    /// Link to the rollouts of its model.
    rollouts: String,
    sentence: String,
    facts: Vec<Fact>,
    advice: Advice,
    overlay: Option<Overlay>,
    /// Why there is no overlay.
    overlay_missing: &'static str,
    score: Option<Timeline>,
    trend: Option<Timeline>,
    distances: Vec<Fact>,
    /// What a drift, or what somebody asked for, is made of.
    apart: Option<Apart>,
    /// Why what somebody asked for is not told.
    apart_refused: Option<String>,
    /// Where to ask for the last lanes, if there is anything to hold them against.
    apart_link: Option<String>,
    quality: Option<Quality>,
    history: Vec<HistoryLine>,
    happened: Vec<Happened>,
}

/// A name, a value, and what it means.
struct Fact {
    name: &'static str,
    value: String,
    note: String,
}

/// What a person may do now.
struct Advice {
    sentence: &'static str,
    /// Body of the request that freezes a reference over the span shown.
    freeze_body: Option<String>,
    /// Whether a new version may be asked for.
    retraining: bool,
}

struct HistoryLine {
    badge: Badge,
    time: String,
    rfc3339: String,
    /// The page as it was then.
    link: String,
    score: String,
    count: String,
    devices: String,
    revision: String,
}

/// Everything that the page is made of.
struct Found {
    verdict: VerdictRow,
    evidence: Evidence,
    history: Vec<VerdictRow>,
    reference: Option<Reference>,
    current_span: Span,
    current: Option<SeriesSpan>,
    trend: Vec<TrendPoint>,
    quality: Option<Quality>,
    /// What somebody asked for, or why it is not told.
    apart: Option<Result<Breakdown, String>>,
}

pub(crate) async fn show(
    State(dashboard): State<Dashboard>,
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Html<String>, Failure> {
    let (engine, span) = (&dashboard.engine, visit.span);
    let history = verdict::history(engine, &id, verdicts_from(&visit), span.to_us);
    let events = event::between(engine, span.from_us, span.to_us);
    let (mut history, events) = tokio::try_join!(history, events)?;
    let Some(verdict) = history.last().cloned() else {
        return Err(Failure::missing(format!(
            "no series {id:?} was judged before the end of this range; choose a later one, or look \
             for it in the list of series"
        )));
    };
    history.retain(|row| row.time > span.from_us);
    let found = found(&dashboard, &visit, verdict, history).await?;
    let happened = happened::lines(&events, Some(&id), &visit.url);
    render(&page(&visit, &id, found, happened))
}

async fn found(
    dashboard: &Dashboard,
    visit: &Visit,
    verdict: VerdictRow,
    history: Vec<VerdictRow>,
) -> Result<Found, Failure> {
    let reference = match &verdict.reference {
        Some(hash) => dashboard.control.reference(hash).await?,
        None => None,
    };
    let min_devices = dashboard.engine.publication().min_devices();
    let shown = |devices| published::shows(min_devices, &verdict.metric, devices);
    let reference = reference.filter(|reference| shown(reference.devices()));
    let (engine, key) = (&dashboard.engine, series_of(&verdict));
    let current_span = current_span(&verdict, dashboard.lane_us);
    let step_us = step(visit.span);
    // Feedback is asked for where there is a drift to show it beside.
    let drifted = reference.as_ref().filter(|_| verdict.since.is_some());
    let evidence = Evidence::of(&verdict);
    let asked = reference.as_ref().filter(|_| visit.url.apart.is_some());
    let apart = match asked {
        Some(reference) => Some(take_apart(dashboard, reference, &verdict, &evidence).await?),
        None => None,
    };
    let (current, trend, quality) = tokio::try_join!(
        series::span(engine, &key, current_span),
        series::trend(engine, &key, visit.span, step_us),
        quality::of(engine, &key, drifted, current_span),
    )?;
    Ok(Found {
        evidence,
        verdict,
        history,
        reference,
        current_span,
        current,
        trend,
        quality,
        apart,
    })
}

/// The last lanes, by the stream that leads.
async fn take_apart(
    dashboard: &Dashboard,
    reference: &Reference,
    verdict: &VerdictRow,
    evidence: &Evidence,
) -> Result<Result<Breakdown, String>, Failure> {
    let leading = evidence.leading.as_ref().map(|leading| &leading.stream);
    let mut streams = reference.streams().iter().map(|(stream, _)| stream);
    let stream = streams.position(|stream| Some(&stream.to_string()) == leading);
    let apart = dashboard
        .control
        .take_apart(reference, verdict.time, stream);
    Ok(apart.await?)
}

fn series_of(verdict: &VerdictRow) -> Series {
    Series {
        service: verdict.service.clone(),
        model: verdict.model.clone(),
        version: verdict.version.clone(),
        variant: verdict.variant.clone(),
        device_class: verdict.device_class.clone(),
        metric: verdict.metric.clone(),
    }
}

/// The lanes since the drift began, or the last few.
fn current_span(verdict: &VerdictRow, lane_us: i64) -> Span {
    let few = verdict.time - CURRENT_LANES * lane_us;
    let from_us = verdict.since.map_or(few, |since| {
        since.clamp(
            verdict.time - DRIFT_LANES_MAX * lane_us,
            verdict.time - lane_us,
        )
    });
    Span {
        width_us: lane_us,
        from_us,
        to_us: verdict.time,
    }
}

/// Whole lanes, at most so many steps.
fn step(span: Span) -> i64 {
    let lanes = (span.to_us - span.from_us) / span.width_us;
    (lanes.saturating_add(TREND_STEPS - 1) / TREND_STEPS).max(1) * span.width_us
}

fn page(visit: &Visit, id: &str, found: Found, happened: Vec<Happened>) -> SeriesPage {
    let state = SeriesState::of(&found.verdict);
    let signal = names::signal(&found.verdict.metric);
    let title = format!("{signal} on {}", found.verdict.device_class);
    let overlay = charts::overlay_of(&found);
    let (asked, refused) = match &found.apart {
        Some(Ok(asked)) => (Some(asked), None),
        Some(Err(why)) => (None, Some(why.clone())),
        None => (None, None),
    };
    SeriesPage {
        shell: Shell::new(visit, title, "drift", &format!("/drift/{id}")),
        badge: Badge { state },
        name: CohortName::of(&found.verdict),
        rollouts: visit
            .url
            .unfiltered()
            .of_model(&found.verdict.model)
            .link("/rollouts"),
        sentence: found.evidence.sentence(state),
        facts: facts(&found, visit.now_us),
        advice: advice(state, &found, visit),
        overlay_missing: match found.reference {
            None if found.verdict.reference.is_some() => {
                "Its reference is of too few devices to be drawn, or is gone."
            }
            None => "There is no reference to hold it against yet.",
            Some(_) => {
                "There is nothing in these lanes to hold against the reference, or too few devices \
                 reported for their outputs to be shown."
            }
        },
        overlay,
        score: charts::score_of(&found, visit),
        trend: charts::trend_of(&found, visit),
        distances: distances(&found.evidence),
        apart: asked.or(found.evidence.breakdown.as_ref()).map(Apart::of),
        apart_refused: refused,
        apart_link: found
            .reference
            .as_ref()
            .map(|_| visit.url.apart().link(&format!("/drift/{id}"))),
        quality: found.quality,
        history: history(&found.history, visit, id),
        happened,
        signal,
    }
}

/// What, since when, how sure: the answers with their numbers.
fn facts(found: &Found, now_us: i64) -> Vec<Fact> {
    let (verdict, evidence) = (&found.verdict, &found.evidence);
    let unknown = || units::UNKNOWN.to_owned();
    let fact = |name, value, note: String| Fact { name, value, note };
    let effective = verdict
        .effective_count
        .map_or_else(unknown, units::significant);
    let mut facts = vec![
        fact(
            "since",
            verdict.since.map_or_else(unknown, units::date_and_time),
            verdict
                .since
                .map(|us| units::age(now_us, us))
                .unwrap_or_default(),
        ),
        fact(
            "evidence",
            verdict.score.map_or_else(unknown, units::significant),
            verdict.threshold.map_or_else(
                || "not enough to say".to_owned(),
                |limit| match verdict.since {
                    Some(_) => format!("after its page; pages at {}", units::significant(limit)),
                    None => format!("pages at {}", units::significant(limit)),
                },
            ),
        ),
        fact(
            "inferences in the lane",
            units::signed(verdict.count),
            format!("worth {effective} independent ones"),
        ),
        fact(
            "devices in the lane",
            units::signed(verdict.devices),
            String::new(),
        ),
        fact(
            "last judged",
            units::age(now_us, verdict.time),
            format!("lane to {}", units::date_and_time(verdict.time)),
        ),
    ];
    facts.push(match (&verdict.reference, evidence.reference.clone()) {
        (Some(hash), Some(span)) => fact(
            "reference",
            hash.chars().take(12).collect(),
            reference_words(&span),
        ),
        _ => fact("reference", "none".to_owned(), String::new()),
    });
    if let Some(late) = evidence.late_records {
        let note = "arrived after their lane was judged; not in the score".to_owned();
        facts.push(fact("late records", units::signed(late), note));
    }
    facts
}

fn reference_words(span: &ReferenceSpan) -> String {
    let of = match span.level.as_deref() {
        Some("version") => ", of all variants of its version",
        Some("model") => ", of all versions of its model",
        _ => "",
    };
    let hours = match span.season.as_deref() {
        Some("hour-of-day") => ", by hour of the day",
        Some("hour-of-week") => ", by hour of the week",
        _ => "",
    };
    format!(
        "{} records, {} to {}{of}{hours}",
        units::signed(span.records),
        units::time_of_day(span.from_us),
        units::date_and_time(span.to_us)
    )
}

fn advice(state: SeriesState, found: &Found, visit: &Visit) -> Advice {
    let sentence = match state {
        SeriesState::Drifting => {
            "If the change is one you want (a new season, a new prompt), freeze a new reference. If \
             not, look at what changed around the time above, and retrain or roll back."
        }
        SeriesState::Undecided if has_none(found) => {
            "Choose a range in which the model behaved as it should, and freeze it as the reference."
        }
        SeriesState::Undecided => "Wait for more data; it says above what is missing.",
        SeriesState::Steady | SeriesState::NotJudged => "Nothing to do.",
    };
    let can_freeze = state == SeriesState::Drifting || has_none(found);
    let (from_us, to_us) = visit.range.at(visit.now_us);
    let mut body = serde_json::json!({
        "service": found.verdict.service,
        "model": found.verdict.model,
        "version": found.verdict.version,
        "from_us": from_us,
        "to_us": to_us,
    });
    if state == SeriesState::Drifting {
        // What drifted is how it should be from now on, or nobody would freeze it.
        body["include_incidents"] = true.into();
    }
    Advice {
        sentence,
        freeze_body: can_freeze.then(|| in_single_quotes(&body.to_string())),
        retraining: state == SeriesState::Drifting,
    }
}

/// Whether a series has no reference of its own: none at all, or one that is borrowed.
fn has_none(found: &Found) -> bool {
    let reference = found.evidence.reference.as_ref();
    let level = reference.and_then(|reference| reference.level.as_deref());
    found.verdict.reference.is_none() || level.is_some_and(|level| level != "variant")
}

/// For a shell: names come from devices, and people paste what pages offer.
fn in_single_quotes(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn distances(evidence: &Evidence) -> Vec<Fact> {
    let Some(distances) = evidence.distances else {
        return vec![];
    };
    let fact = |name, value: f64, note: &str| Fact {
        name,
        value: units::significant(value),
        note: note.to_owned(),
    };
    let mut facts = vec![
        fact(
            "PSI, debiased",
            distances.psi_debiased,
            evidence::size_of_shift(distances.psi_debiased),
        ),
        fact("PSI", distances.psi, "nats, chance included"),
        fact("Jensen-Shannon", distances.jensen_shannon, "0 to 1"),
        fact("Hellinger", distances.hellinger, "0 to 1"),
        fact("Kolmogorov-Smirnov", distances.ks, "0 to 1"),
    ];
    if let Some(normalized) = distances.wasserstein_normalized {
        let note = "standard deviations of the reference";
        facts.push(fact("Wasserstein-1", normalized, note));
    }
    facts
}

/// The newest verdicts first, each linked to this page as it was then.
fn history(rows: &[VerdictRow], visit: &Visit, id: &str) -> Vec<HistoryLine> {
    let length_us = visit.span.to_us - visit.span.from_us;
    let millis = |us: i64| (us / 1000).to_string();
    let newest = rows.iter().rev().take(HISTORY_LINES);
    newest
        .map(|row| {
            let then = visit
                .url
                .over(&millis(row.time - length_us), &millis(row.time));
            history_line(row, then.link(&format!("/drift/{id}")))
        })
        .collect()
}

fn history_line(row: &VerdictRow, link: String) -> HistoryLine {
    HistoryLine {
        link,
        badge: Badge {
            state: SeriesState::of(row),
        },
        time: units::date_and_time(row.time),
        rfc3339: units::rfc3339(row.time),
        score: row
            .score
            .map_or_else(|| units::UNKNOWN.to_owned(), units::significant),
        count: units::signed(row.count),
        devices: units::signed(row.devices),
        revision: row.revision.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes_in_a_shell() {
        assert_eq!(in_single_quotes("a'b"), r"'a'\''b'");
    }

    #[test]
    fn a_trend_has_few_steps_of_whole_lanes() {
        let span = |lanes: i64| Span {
            width_us: 5,
            from_us: 0,
            to_us: lanes * 5,
        };
        assert_eq!(
            [1, 60, 61, 600].map(|lanes| step(span(lanes))),
            [5, 5, 10, 50]
        );
    }
}
