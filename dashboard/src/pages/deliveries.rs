//! What was told to whom: endpoints and how they fare, deliveries with their last answer. In: what
//! the collector keeps; a wish to send one again, or to enable an endpoint. Out: a page, or the way
//! back to it. Who may do that is the collector's to say.

use askama::Template;
use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::{Html, Redirect},
};

use super::{Shell, failure::Failure, render};
use crate::{
    deliveries::{Delivery, Endpoint},
    router::Dashboard,
    view::units,
    visit::Visit,
};

/// Where the page is.
const PATH: &str = "/deliveries";

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    shell: Shell,
    endpoints: Vec<EndpointLine>,
    lines: Vec<Line>,
}

struct EndpointLine {
    name: String,
    kind: String,
    events: String,
    badge: Badge,
    /// Since when it is stopped.
    since: Option<String>,
    /// Where its button leads.
    enable: String,
    pending: String,
    stopped: String,
    failed: String,
}

struct Line {
    id: i64,
    created: String,
    rfc3339: String,
    kind: String,
    event_id: String,
    endpoint: String,
    badge: Badge,
    attempts: u32,
    answer: String,
    answered: String,
    next: String,
    /// What the button says.
    again: &'static str,
}

/// A word with a shape beside its colour.
struct Badge {
    style: &'static str,
    mark: &'static str,
    word: String,
}

pub(crate) async fn show(
    State(dashboard): State<Dashboard>,
    visit: Visit,
) -> Result<Html<String>, Failure> {
    let deliveries = dashboard.control.deliveries().await?;
    let now_us = visit.now_us;
    let lines = deliveries.newest.iter();
    render(&DeliveriesPage {
        endpoints: deliveries.endpoints.iter().map(endpoint_line).collect(),
        lines: lines.map(|delivery| line(delivery, now_us)).collect(),
        shell: Shell::new(&visit, "Deliveries", "deliveries", PATH),
    })
}

/// Sends a delivery again, and shows the list.
pub(crate) async fn replay(
    State(dashboard): State<Dashboard>,
    headers: HeaderMap,
    Path(id): Path<i64>,
) -> Result<Redirect, Failure> {
    dashboard.control.replay(&headers, id).await?;
    Ok(Redirect::to(PATH))
}

/// Enables an endpoint, and shows the list.
pub(crate) async fn enable(
    State(dashboard): State<Dashboard>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Redirect, Failure> {
    dashboard.control.enable(&headers, &name).await?;
    Ok(Redirect::to(PATH))
}

fn endpoint_line(endpoint: &Endpoint) -> EndpointLine {
    let stopped = endpoint.stopped_since_us;
    let badge = match stopped {
        Some(_) => badge("drifting", "\u{25a0}", "stopped"),
        None => badge("steady", "\u{25cf}", "enabled"),
    };
    EndpointLine {
        name: endpoint.name.clone(),
        kind: endpoint.kind.clone(),
        events: endpoint.events.join(", "),
        badge,
        since: stopped.map(units::date_and_time),
        enable: format!("{PATH}/endpoints/{}/enable", in_path(&endpoint.name)),
        pending: units::signed(endpoint.pending),
        stopped: units::signed(endpoint.stopped),
        failed: units::signed(endpoint.failed),
    }
}

/// A name as one segment of a path, whatever is in it.
fn in_path(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encoded = name.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect()
}

fn line(delivery: &Delivery, now_us: i64) -> Line {
    let last = delivery.last.as_ref();
    let next = delivery
        .next_attempt_us
        .map(|next_us| match next_us > now_us {
            true => format!("in {}", units::span(next_us - now_us)),
            false => "now".to_owned(),
        });
    Line {
        id: delivery.id,
        created: units::date_and_time(delivery.created_us),
        rfc3339: units::rfc3339(delivery.created_us),
        kind: delivery.kind.clone(),
        event_id: delivery.event_id.clone(),
        endpoint: delivery.endpoint.clone(),
        badge: state(&delivery.state),
        attempts: delivery.attempts,
        answer: last.map_or_else(|| "none yet".to_owned(), |last| last.outcome.clone()),
        answered: last
            .map(|last| units::date_and_time(last.time_us))
            .unwrap_or_default(),
        next: next.unwrap_or_else(|| "none".to_owned()),
        again: match delivery.state.as_str() {
            "pending" => "Try now",
            _ => "Send again",
        },
    }
}

fn state(word: &str) -> Badge {
    let (style, mark) = match word {
        "delivered" => ("steady", "\u{25cf}"),
        "failed" | "stopped" => ("drifting", "\u{25a0}"),
        "pending" => ("undecided", "\u{25b2}"),
        _ => ("absent", "\u{25cb}"),
    };
    badge(style, mark, word)
}

fn badge(style: &'static str, mark: &'static str, word: &str) -> Badge {
    Badge {
        style,
        mark,
        word: word.to_owned(),
    }
}
