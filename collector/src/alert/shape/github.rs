//! GitHub's `repository_dispatch`: starts workflows that listen for the event's name. Its
//! `event_type` may have 100 characters and its `client_payload` ten fields; ours has four, so that
//! whatever an event holds fits. Pure but for the token's file.

use std::path::Path;

use serde_json::{Value, json};

use super::{HeaderError, headers::Extra};

/// Longest `event_type`.
const EVENT_TYPE_CHARS_MAX: usize = 100;

/// What its API asks for, and the token.
pub(super) fn headers(token_file: &Path) -> Result<Extra, HeaderError> {
    let fixed = [
        ("accept", "application/vnd.github+json"),
        ("x-github-api-version", "2022-11-28"),
    ];
    Extra::with_token(&fixed, token_file)
}

/// What is posted. A workflow that has seen `client_payload.id` has seen the event.
pub(super) fn body(id: &str, event: &Value) -> String {
    let kind = event["type"].as_str().unwrap_or_default();
    let event_type: String = kind.chars().take(EVENT_TYPE_CHARS_MAX).collect();
    json!({
        "event_type": event_type,
        "client_payload": {
            "id": id,
            "type": kind,
            "timestamp": event["timestamp"],
            "data": event["data"],
        },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_event_holds_it_stays_within_what_github_takes() {
        let fields: serde_json::Map<_, _> = (0..30)
            .map(|number| (format!("field_{number}"), json!(number)))
            .collect();
        let kind = format!("fathomline.{}", "x".repeat(200));
        let event = json!({ "type": kind, "timestamp": "2026-11-23T00:00:00Z", "data": fields });
        let posted: Value = serde_json::from_str(&body("evt_1", &event)).unwrap();
        assert!(posted["event_type"].as_str().unwrap().len() <= 100);
        let payload = posted["client_payload"].as_object().unwrap();
        assert!(payload.len() <= 10, "{payload:?}");
        assert_eq!(payload["id"], "evt_1");
        assert_eq!(payload["data"]["field_29"], 29);
    }

    #[test]
    fn the_token_comes_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let refused = headers(&path).err().unwrap().to_string();
        assert!(refused.contains("token"), "{refused}");
        std::fs::write(&path, "github_pat_1\n").unwrap();
        let mut sent = reqwest::header::HeaderMap::new();
        headers(&path).unwrap().add(&mut sent);
        assert_eq!(sent["authorization"], "Bearer github_pat_1");
        assert_eq!(sent["accept"], "application/vnd.github+json");
    }
}
