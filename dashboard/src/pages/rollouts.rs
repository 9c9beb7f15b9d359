//! Rollouts: which versions run on how many devices, and of one rollout what the gate says, since
//! when, and by which signals. In: what the collector keeps, and its gate's answer. Out: a page. A
//! rollout is begun and ended through the API: a page changes nothing.

use askama::Template;
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Html,
};
use fathomline_queries::gate::{
    Answer, ArmSeen, ClassAnswer, Decision, KeptRollout, RunningVersion, SignalAnswer, Standing,
};
use fathomline_wire::names as wire;
use serde::Deserialize;

use super::{Shell, failure::Failure, render};
use crate::{
    router::Dashboard,
    view::{names, units},
    visit::Visit,
};

/// Evidence beyond which its size says nothing more.
const LN_E_MAX: f64 = 14.0;

#[derive(Template)]
#[template(path = "rollouts.html")]
struct RolloutsPage {
    shell: Shell,
    chosen: Option<Chosen>,
    lines: Vec<Line>,
    shares: Vec<Share>,
}

/// One rollout of the list.
struct Line {
    link: String,
    title: String,
    service: String,
    since: String,
    by: String,
    ended: String,
    chosen: bool,
}

/// One version on one class.
struct Share {
    model: String,
    service: String,
    device_class: String,
    version: String,
    devices: String,
    share: String,
    first: String,
}

/// The rollout that is shown.
struct Chosen {
    title: String,
    badge: Option<Sign>,
    sentence: String,
    facts: Vec<Fact>,
    classes: Vec<Class>,
    settings: String,
}

/// A word with a shape beside its colour.
struct Sign {
    style: &'static str,
    mark: &'static str,
    word: &'static str,
}

struct Fact {
    name: &'static str,
    value: String,
    note: String,
}

struct Class {
    name: String,
    badge: Sign,
    devices: String,
    reasons: Vec<String>,
    signals: Vec<SignalLine>,
}

struct SignalLine {
    signal: String,
    event: String,
    title: String,
    badge: Sign,
    candidate: String,
    candidate_of: String,
    against: String,
    against_of: String,
    ratio: String,
    harm: String,
    fine: String,
    design_effect: String,
}

/// Which rollout: its number; the newest where it is absent.
#[derive(Debug, Deserialize)]
pub(crate) struct Choice {
    rollout: Option<i64>,
}

pub(crate) async fn show(
    State(dashboard): State<Dashboard>,
    visit: Visit,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Result<Html<String>, Failure> {
    let Query(choice) = choice.map_err(|error| Failure::malformed(error.body_text()))?;
    let control = &dashboard.control;
    let (kept, versions) = tokio::try_join!(control.rollouts(), control.versions())?;
    let admits = |model: &str| {
        visit
            .url
            .model
            .as_deref()
            .is_none_or(|wanted| wanted == model)
    };
    let kept: Vec<KeptRollout> = kept
        .into_iter()
        .filter(|kept| admits(&kept.model))
        .collect();
    let chosen = match choice.rollout {
        None => kept.first(),
        Some(id) => Some(kept.iter().find(|kept| kept.id == id).ok_or_else(|| {
            Failure::missing(format!("there is no rollout {id}; choose one of the list"))
        })?),
    };
    let id = chosen.map(|kept| kept.id);
    let chosen = match chosen {
        None => None,
        Some(kept) => {
            let answer = control.gate(kept).await?;
            Some(self::chosen(kept, answer))
        }
    };
    render(&RolloutsPage {
        lines: kept.iter().map(|kept| line(kept, id, &visit)).collect(),
        shares: shares(&versions, admits),
        chosen,
        shell: Shell::new(&visit, "Rollouts", "rollouts", "/rollouts"),
    })
}

fn line(kept: &KeptRollout, chosen: Option<i64>, visit: &Visit) -> Line {
    let path = visit.url.link("/rollouts");
    let join = if path.contains('?') { '&' } else { '?' };
    Line {
        link: format!("{path}{join}rollout={}", kept.id),
        title: title(kept),
        service: kept.service.clone(),
        since: units::date_and_time(kept.started_us),
        by: kept.started_by.clone(),
        ended: match (kept.finished_us, &kept.outcome) {
            (Some(us), Some(outcome)) => {
                format!("{} {}", outcome.replace('_', " "), units::date_and_time(us))
            }
            _ => "goes on".to_owned(),
        },
        chosen: chosen == Some(kept.id),
    }
}

fn title(kept: &KeptRollout) -> String {
    format!("{} {} against {}", kept.model, kept.candidate, kept.against)
}

/// Devices of each version, as a part of those of its class.
fn shares(versions: &[RunningVersion], admits: impl Fn(&str) -> bool) -> Vec<Share> {
    let all = |version: &RunningVersion| {
        let place =
            |v: &RunningVersion| (v.service.clone(), v.model.clone(), v.device_class.clone());
        let own = versions
            .iter()
            .filter(|other| place(other) == place(version));
        own.map(|version| version.devices).sum::<u64>()
    };
    let running = versions
        .iter()
        .filter(|v| v.devices > 0 && admits(&v.model));
    let mut shares: Vec<_> = running
        .map(|version| {
            let share = version.devices as f64 / all(version).max(1) as f64;
            let order = (
                version.model.clone(),
                version.device_class.clone(),
                version.first_us,
            );
            let share = Share {
                model: version.model.clone(),
                service: version.service.clone(),
                device_class: version.device_class.clone(),
                version: version.version.clone(),
                devices: units::count(version.devices),
                share: units::percent(share),
                first: units::date_and_time(version.first_us),
            };
            (order, share)
        })
        .collect();
    shares.sort_by(|(a, _), (b, _)| a.cmp(b));
    shares.into_iter().map(|(_, share)| share).collect()
}

fn chosen(kept: &KeptRollout, answer: Result<Answer, String>) -> Chosen {
    let answer = match answer {
        Ok(answer) => answer,
        Err(sentence) => {
            return Chosen {
                title: title(kept),
                badge: None,
                sentence,
                facts: vec![],
                classes: vec![],
                settings: String::new(),
            };
        }
    };
    Chosen {
        title: title(kept),
        badge: Some(of_decision(answer.decision)),
        sentence: sentence(&answer.reason),
        facts: facts(&answer),
        classes: answer
            .classes
            .iter()
            .map(|class| of_class(class, &answer))
            .collect(),
        settings: settings(&answer),
    }
}

/// Begins with a capital letter and ends with a stop.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

const fn of_decision(decision: Decision) -> Sign {
    let (style, mark) = match decision {
        Decision::Promote => ("steady", "●"),
        Decision::Rollback => ("drifting", "▲"),
        Decision::Hold => ("undecided", "◌"),
    };
    Sign {
        style,
        mark,
        word: decision.name(),
    }
}

const fn of_standing(standing: Standing) -> Sign {
    let (style, mark) = match standing {
        Standing::Fine => ("steady", "●"),
        Standing::Worse => ("drifting", "▲"),
        Standing::Changed => ("undecided", "◆"),
        Standing::Undecided => ("undecided", "◌"),
    };
    Sign {
        style,
        mark,
        word: standing.name(),
    }
}

fn facts(answer: &Answer) -> Vec<Fact> {
    let fact = |name, value: String, note: &str| Fact {
        name,
        value,
        note: note.to_owned(),
    };
    let time = |us: Option<i64>| us.map_or(units::UNKNOWN.to_owned(), units::date_and_time);
    let harm = evidence(answer.harm_ln_e);
    let mut facts = vec![
        fact("Began", units::date_and_time(answer.started_us), ""),
        fact(
            "Decided",
            time(answer.decided_us),
            "end of the window that was enough",
        ),
        fact("Judged until", time(answer.judged_until_us), ""),
        fact(
            "Evidence of harm",
            harm,
            &format!(
                "of all signals; {} rolls back",
                evidence(Some(answer.rollback_ln_e))
            ),
        ),
    ];
    if let Some(improve) = &answer.improve {
        facts.push(fact("Must get better", names::signal(improve), improve));
    }
    facts
}

fn of_class(class: &ClassAnswer, answer: &Answer) -> Class {
    Class {
        name: class.device_class.clone(),
        badge: of_decision(class.decision),
        devices: format!(
            "{} devices run {}, {} run {}",
            units::count(class.candidate_devices),
            answer.candidate,
            units::count(class.against_devices),
            answer.against
        ),
        reasons: class
            .reasons
            .iter()
            .map(|reason| sentence(reason))
            .collect(),
        signals: class.signals.iter().map(of_signal).collect(),
    }
}

fn of_signal(signal: &SignalAnswer) -> SignalLine {
    let share = |seen: ArmSeen| {
        seen.share()
            .map_or(units::UNKNOWN.to_owned(), units::percent)
    };
    let of = |seen: ArmSeen| units::count(seen.records);
    let fine = match (signal.ok_ln_e, signal.better_ln_e) {
        (Some(ok), Some(better)) => Some(ok.min(better)),
        (ok, better) => ok.or(better),
    };
    let source = match signal.source.is_empty() {
        true => String::new(),
        false => format!(" ({})", signal.source),
    };
    SignalLine {
        signal: format!("{}{source}", names::signal(&signal.metric)),
        event: signal.event.clone(),
        title: title_of(signal),
        badge: of_standing(signal.standing),
        candidate: share(signal.candidate),
        candidate_of: of(signal.candidate),
        against: share(signal.against),
        against_of: of(signal.against),
        ratio: signal
            .ratio
            .map_or(units::UNKNOWN.to_owned(), |ratio| format!("{ratio:.2}")),
        harm: evidence(Some(signal.harm_ln_e)),
        fine: evidence(fine),
        design_effect: format!("{:.2}", signal.design_effect),
    }
}

/// What hovering tells: the metric, its threshold, and what it is held against.
fn title_of(signal: &SignalAnswer) -> String {
    let unit = wire::metric(&signal.metric).map_or("1", |metric| metric.unit);
    let threshold = signal
        .threshold
        .map(|threshold| format!(", above {}", units::quantity(threshold, unit)));
    let held = signal.held_against_share.map(|share| {
        format!(
            "; too rare for a ratio, held against {}",
            units::percent(share)
        )
    });
    format!(
        "{}{}; {} before the start{}; {} windows, {} left out",
        signal.metric,
        threshold.unwrap_or_default(),
        units::percent(signal.frozen_share),
        held.unwrap_or_default(),
        signal.windows,
        signal.left_out
    )
}

/// An e-value as people read it.
fn evidence(ln_e: Option<f64>) -> String {
    match ln_e {
        None => units::UNKNOWN.to_owned(),
        Some(ln_e) if ln_e > LN_E_MAX => "over 1,000,000".to_owned(),
        Some(ln_e) if ln_e < -4.6 => "under 0.01".to_owned(),
        Some(ln_e) => units::significant(ln_e.exp()),
    }
}

fn settings(answer: &Answer) -> String {
    let settings = &answer.settings;
    let time = |us: i64| match us {
        us if us >= 7_200_000_000 => format!("{:.0} h", us as f64 / 3_600e6),
        us => format!("{:.0} s", us as f64 / 1e6),
    };
    format!(
        "Windows of {}; {} of the baseline before the start; {} at least and {} at most; {} devices \
         on each side; margin {}; evidence {:.0} rolls back and {:.0} promotes.",
        time(settings.window_us),
        time(settings.aa_us),
        time(settings.min_time_us),
        time(settings.deadline_us),
        settings.min_devices.max(settings.group_devices),
        settings.margin,
        1.0 / settings.rollback_alpha,
        1.0 / settings.promote_alpha,
    )
}
