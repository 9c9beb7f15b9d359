//! What happened lately, in sentences: changes of a verdict, deliveries. In: event rows, whose
//! bodies are ours. Out: lines with a time and, where there is one, a link to the series.

use fathomline_queries::rows::EventRow;
use fathomline_wire::event::{
    Event, EventBody, RetrainingChanged, RetrainingRequested, VerdictChanged,
};
use serde::Deserialize;

use crate::view::{
    names::{self, Badge, State},
    units,
    url_state::UrlState,
};

/// Lines shown; the API has them all.
const LINES_MAX: usize = 12;

/// One thing that happened.
pub(super) struct Happened {
    pub(super) time: String,
    pub(super) rfc3339: String,
    pub(super) badge: Option<Badge>,
    pub(super) sentence: String,
    pub(super) link: Option<String>,
}

/// A delivery, as the collector keeps it.
#[derive(Deserialize)]
struct Delivered {
    endpoint: String,
}

/// The newest events first; of one series if it is given.
pub(super) fn lines(events: &[EventRow], series: Option<&str>, url: &UrlState) -> Vec<Happened> {
    let wanted = |event: &&EventRow| series.is_none_or(|series| event.subject == series);
    let newest = events.iter().rev().filter(wanted).take(LINES_MAX);
    newest
        .map(|event| line(event, series.is_none(), url))
        .collect()
}

fn line(event: &EventRow, linked: bool, url: &UrlState) -> Happened {
    let (badge, sentence) = match serde_json::from_str::<Event>(&event.body) {
        Ok(Event {
            body: EventBody::VerdictChanged(change),
            ..
        }) => {
            let state = State::from_word(&change.state).map(|state| Badge { state });
            (state, changed(&change))
        }
        Ok(Event {
            body: EventBody::RetrainingRequested(asked),
            ..
        }) => (None, requested(&asked)),
        Ok(Event {
            body: EventBody::RetrainingChanged(change),
            ..
        }) => (None, moved(&change)),
        Ok(Event {
            body: EventBody::Test {},
            ..
        }) => (None, "a webhook was tested".to_owned()),
        Err(_) => (None, other(event)),
    };
    let link = match event.kind.starts_with("fathomline.retraining.") {
        true => format!("/retraining#{}", event.subject),
        false => format!("/drift/{}", event.subject),
    };
    Happened {
        time: units::time_of_day(event.time),
        rfc3339: units::rfc3339(event.time),
        badge,
        sentence,
        link: (linked && !event.subject.is_empty()).then(|| url.unfiltered().link(&link)),
    }
}

fn changed(change: &VerdictChanged) -> String {
    format!(
        "{} of {} {} on {} turned from {} to {}",
        names::signal(&change.metric),
        change.model,
        change.version,
        change.device_class,
        change.previous,
        change.state
    )
}

fn requested(asked: &RetrainingRequested) -> String {
    let (model, version) = (&asked.model, &asked.version);
    match asked.requested_by.as_str() {
        "drift" => format!("drift asked to train {model} {version} again"),
        _ => format!("an operator asked to train {model} {version} again"),
    }
}

fn moved(change: &RetrainingChanged) -> String {
    let (model, state) = (&change.model, &change.state);
    match &change.new_version {
        Some(new) => format!("retraining of {model}: {state}, version {new}"),
        None => format!("retraining of {model}: {state}"),
    }
}

fn other(event: &EventRow) -> String {
    match serde_json::from_str::<Delivered>(&event.body) {
        Ok(Delivered { endpoint }) => format!("signed webhook taken by {endpoint}"),
        Err(_) => event.kind.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_names_its_endpoint_and_what_is_unknown_its_kind() {
        let event = |body: &str| EventRow {
            time: 0,
            id: "e".to_owned(),
            kind: "some.kind".to_owned(),
            subject: "abc".to_owned(),
            body: body.to_owned(),
        };
        let events = [
            event(r#"{"event": "e", "endpoint": "trainer"}"#),
            event("{}"),
        ];
        let url = UrlState::default();
        let lines = lines(&events, None, &url);
        assert_eq!(lines[0].sentence, "some.kind");
        assert_eq!(lines[1].sentence, "signed webhook taken by trainer");
        assert_eq!(lines[1].link.as_deref(), Some("/drift/abc"));
        assert!(super::lines(&events, Some("other"), &url).is_empty());
    }
}
