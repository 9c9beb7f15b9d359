//! Alerts for Prometheus's Alertmanager, version 2 of its API: `POST /api/v2/alerts`. Pure.
//!
//! In: events that fire or end. Out: an array of alerts. Their labels are their identity and name a
//! cohort, never a device. An alert is to be believed until `endsAt`; one that goes on is told
//! again well before that, so that a collector that is gone leaves no alert behind.

use serde_json::{Map, Value, json};

use super::{Parcel, ParcelError, Shape, words};
use crate::{
    alert::{fit::fit, trial},
    clock::rfc3339,
    database::{endpoints::Firing, outbox::Letter},
};

/// Of an event's fields, those that say which alert it is: one less and two cohorts would be one
/// alert, and a device among them would make one alert of each.
const LABELS: [&str; 7] = [
    "service",
    "model",
    "version",
    "variant",
    "device_class",
    "metric",
    "series",
];
/// What is said about it.
const ANNOTATIONS: [&str; 8] = [
    "evidence",
    "since",
    "score",
    "threshold",
    "count",
    "devices",
    "reference",
    "unit",
];
/// Alertmanager believes an alert for so many times the pause between two tellings.
const BELIEVED: i64 = 4;

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Fires,
    IsOver,
}

/// Where the event leaves its alert; none if it is about none.
pub(crate) fn standing(event: &Value) -> Option<Standing> {
    match event["data"]["state"].as_str()? {
        "drifting" | "firing" => Some(Standing::Fires),
        "steady" | "resolved" => Some(Standing::IsOver),
        _ => None,
    }
}

/// The alerts of one letter.
pub(super) fn of_letter(
    letter: &Letter,
    event: &Value,
    times: (i64, i64),
) -> Result<String, ParcelError> {
    if letter.kind == trial::kind() {
        return Ok(json!([test(event, times.0)]).to_string());
    }
    let standing = standing(event).ok_or(ParcelError::NoAlert)?;
    Ok(json!([alert(event, standing, times)]).to_string())
}

impl Shape {
    /// Alerts that go on, told again; none where nobody is told again.
    pub(crate) fn again(&self, firing: &[Firing], now_us: i64) -> Option<Parcel> {
        let Self::Alertmanager { headers, resend_us } = self else {
            return None;
        };
        let events = firing.iter().filter_map(|firing| {
            let body = fit(&firing.body, super::BODY_BYTES_MAX)?;
            serde_json::from_str::<Value>(&body).ok()
        });
        let alerts = events.map(|event| alert(&event, Standing::Fires, (now_us, *resend_us)));
        let mut sent = super::json_headers();
        headers.add(&mut sent);
        Some(Parcel {
            headers: sent,
            body: Value::Array(alerts.collect()).to_string(),
        })
    }
}

fn alert(event: &Value, standing: Standing, (now_us, resend_us): (i64, i64)) -> Value {
    let believed = rfc3339(now_us.saturating_add(BELIEVED.saturating_mul(resend_us)));
    let mut told = json!({
        "labels": labels(event),
        "annotations": annotations(event),
        "generatorURL": words::link(event).unwrap_or_default(),
    });
    match standing {
        Standing::Fires => {
            told["startsAt"] = event["timestamp"].clone();
            told["endsAt"] = json!(believed);
        }
        // It began when the firing event said, which Alertmanager knows.
        Standing::IsOver => told["endsAt"] = json!(rfc3339(now_us)),
    }
    told
}

/// Fires and ends at once: it shows up and goes by itself.
fn test(event: &Value, now_us: i64) -> Value {
    json!({
        "labels": { "alertname": "FathomlineTest" },
        "annotations": { "summary": "a test, asked for by a person" },
        "startsAt": event["timestamp"],
        "endsAt": rfc3339(now_us.saturating_add(60 * crate::clock::SECOND_US)),
    })
}

fn labels(event: &Value) -> Map<String, Value> {
    let data = &event["data"];
    let named = LABELS.iter().filter_map(|label| {
        let value = data[label].as_str().filter(|value| !value.is_empty())?;
        Some(((*label).to_owned(), json!(value)))
    });
    let name = ("alertname".to_owned(), json!("FathomlineDrift"));
    std::iter::once(name).chain(named).collect()
}

fn annotations(event: &Value) -> Map<String, Value> {
    let data = &event["data"];
    let told = ANNOTATIONS.iter().filter_map(|name| {
        let text = match &data[name] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some(((*name).to_owned(), json!(text)))
    });
    let summary = ("summary".to_owned(), json!(words::headline(event)));
    std::iter::once(summary).chain(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND_US;

    const NOW_US: i64 = 1_795_392_000 * SECOND_US;

    fn event(state: &str) -> Value {
        json!({
            "type": "fathomline.verdict.changed",
            "timestamp": "2026-11-22T23:59:00Z",
            "data": {
                "state": state, "series": "abc", "model": "tiny", "version": "1",
                "device_class": "kiosk", "metric": "fathomline.output.surprisal",
                "device": "kiosk-7", "site": "", "score": 9.5, "devices": 6,
                "link": "https://fathomline.example/drift/abc",
            },
        })
    }

    fn letter(kind: &str, event: &Value) -> Letter {
        Letter {
            event_id: "evt_1".to_owned(),
            kind: kind.to_owned(),
            subject: "abc".to_owned(),
            body: event.to_string(),
        }
    }

    fn told(event: &Value) -> Result<Value, ParcelError> {
        let letter = letter("fathomline.verdict.changed", event);
        let text = of_letter(&letter, event, (NOW_US, 60 * SECOND_US))?;
        Ok(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn an_alert_has_the_same_labels_when_it_fires_and_when_it_ends_and_no_device() {
        let (fires, ends) = (
            told(&event("drifting")).unwrap(),
            told(&event("steady")).unwrap(),
        );
        assert_eq!(fires[0]["labels"], ends[0]["labels"]);
        assert_eq!(fires[0]["labels"]["alertname"], "FathomlineDrift");
        assert_eq!(fires[0]["labels"]["device_class"], "kiosk");
        let labels = fires[0]["labels"].to_string();
        assert!(
            !labels.contains("kiosk-7") && !labels.contains("site"),
            "{labels}"
        );
        assert_eq!(fires[0]["startsAt"], "2026-11-22T23:59:00Z");
        assert_eq!(fires[0]["endsAt"], "2026-11-23T00:04:00Z");
        assert_eq!(ends[0]["endsAt"], "2026-11-23T00:00:00Z");
        assert_eq!(
            fires[0]["generatorURL"],
            "https://fathomline.example/drift/abc"
        );
        assert_eq!(fires[0]["annotations"]["score"], "9.5");
    }

    #[test]
    fn what_neither_fires_nor_ends_is_no_alert_and_a_test_ends_by_itself() {
        assert!(matches!(
            told(&event("undecided")),
            Err(ParcelError::NoAlert)
        ));
        let event = json!({ "type": "t", "timestamp": "2026-11-23T00:00:00Z", "data": {} });
        let letter = letter("fathomline.webhook.test", &event);
        let test = of_letter(&letter, &event, (NOW_US, 0)).unwrap();
        assert!(test.contains("2026-11-23T00:01:00Z"), "{test}");
    }
}
