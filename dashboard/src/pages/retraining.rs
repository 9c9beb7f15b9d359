//! Models that are to be trained again: what was asked, by whom, what became of it, and whether the
//! new version is better. Buttons are forms, which whoever may act can press without JavaScript.

use askama::Template;
use axum::{
    Form,
    extract::{State, rejection::FormRejection},
    http::HeaderMap,
    response::{Html, Redirect},
};
use serde::Deserialize;

use super::{Shell, failure::Failure, render};
use crate::{
    retraining::{RetrainingAct, RetrainingRequest, RetrainingSignal, RetrainingStep},
    router::Dashboard,
    view::{
        names::{self, State as Look},
        units,
        url_state::UrlState,
    },
    visit::Visit,
};

#[derive(Template)]
#[template(path = "retraining.html")]
struct RetrainingPage {
    shell: Shell,
    open: usize,
    requests: Vec<RequestPart>,
}

struct RequestPart {
    id: String,
    title: String,
    state: String,
    /// Name in the style sheet of what the state is like.
    style: &'static str,
    mark: &'static str,
    waiting: bool,
    open: bool,
    asked_by: String,
    proof: Option<String>,
    signals: Vec<SignalLine>,
    steps: Vec<StepLine>,
}

struct SignalLine {
    link: String,
    signal: String,
    device_class: String,
    direction: &'static str,
    devices: String,
}

struct StepLine {
    time: String,
    rfc3339: String,
    sentence: String,
}

/// What a form says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, tag = "act", rename_all = "lowercase")]
pub(crate) enum Pressed {
    Ask {
        service: String,
        model: String,
        version: String,
    },
    Approve {
        id: String,
    },
    Decline {
        id: String,
    },
    Cancel {
        id: String,
    },
}

pub(crate) async fn show(
    State(dashboard): State<Dashboard>,
    visit: Visit,
) -> Result<Html<String>, Failure> {
    let requests = dashboard.control.retraining().await?;
    render(&RetrainingPage {
        open: requests.iter().filter(|request| request.open).count(),
        requests: requests.iter().map(|of| part(of, &visit.url)).collect(),
        shell: Shell::new(&visit, "Retraining", "retraining", "/retraining"),
    })
}

/// Afterwards the page is asked for again, so that a reload presses nothing twice.
pub(crate) async fn act(
    State(dashboard): State<Dashboard>,
    headers: HeaderMap,
    pressed: Result<Form<Pressed>, FormRejection>,
) -> Result<Redirect, Failure> {
    let Form(pressed) = pressed.map_err(|error| Failure::malformed(error.body_text()))?;
    let act = match pressed {
        Pressed::Ask {
            service,
            model,
            version,
        } => RetrainingAct::Ask {
            service,
            model,
            version,
        },
        Pressed::Approve { id } => RetrainingAct::Approve(id),
        Pressed::Decline { id } => RetrainingAct::Decline(id),
        Pressed::Cancel { id } => RetrainingAct::Cancel(id),
    };
    dashboard.control.act_on_retraining(&headers, act).await?;
    Ok(Redirect::to("/retraining"))
}

fn part(request: &RetrainingRequest, url: &UrlState) -> RequestPart {
    let look = look_of(&request.state);
    let title = match &request.new_version {
        Some(new) => format!("{} {} to {new}", request.model, request.version),
        None => format!("{} {}", request.model, request.version),
    };
    RequestPart {
        id: request.id.clone(),
        title: format!("{title}, {}", request.service),
        state: request.state.clone(),
        style: look.style(),
        mark: look.mark(),
        waiting: request.state == "waiting",
        open: request.open,
        asked_by: request.requested_by.clone(),
        proof: request.proof.clone().map(|proof| {
            let times = match request.looks {
                1 => "looked at once".to_owned(),
                looks => format!("looked at {looks} times"),
            };
            format!("{proof} ({times})")
        }),
        signals: request.signals.iter().map(|of| signal(of, url)).collect(),
        steps: request.steps.iter().map(step).collect(),
    }
}

/// What a state looks like: good, bad, over, or under way.
fn look_of(state: &str) -> Look {
    match state {
        "proven" => Look::Steady,
        "failed" | "unproven" | "expired" => Look::Drifting,
        "declined" | "cancelled" => Look::NotJudged,
        _ => Look::Undecided,
    }
}

fn signal(signal: &RetrainingSignal, url: &UrlState) -> SignalLine {
    SignalLine {
        link: url.unfiltered().link(&format!("/drift/{}", signal.series)),
        signal: names::signal(&signal.metric),
        device_class: signal.device_class.clone(),
        direction: match signal.direction.as_deref() {
            Some("up") => "up",
            Some("down") => "down",
            _ => "not told",
        },
        devices: units::count(signal.devices),
    }
}

fn step(step: &RetrainingStep) -> StepLine {
    let RetrainingStep {
        state, by, detail, ..
    } = step;
    let sentence = match detail {
        Some(detail) => format!("{state} by {by}: {detail}"),
        None => format!("{state} by {by}"),
    };
    StepLine {
        time: units::date_and_time(step.time_us),
        rfc3339: units::rfc3339(step.time_us),
        sentence,
    }
}
