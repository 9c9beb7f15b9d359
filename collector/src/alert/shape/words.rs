//! An event in words, for those who read it elsewhere. Pure. In: an event as JSON. Out: a headline,
//! and what it says, name by name. Knows how our events are built and not which there are, so that
//! a new one is told without a change here.

use serde_json::Value;

/// Facts that a message has room for.
const FACTS_MAX: usize = 20;
/// Longest fact.
const FACT_CHARS_MAX: usize = 300;

/// What happened, in one line: `drifting: fathomline.output.surprisal of tiny 1 on kiosk`.
pub(super) fn headline(event: &Value) -> String {
    let data = &event["data"];
    let text = |key: &str| data[key].as_str().unwrap_or_default();
    let kind = event["type"].as_str().unwrap_or_default();
    let what = match text("state") {
        "" => kind.strip_prefix("fathomline.").unwrap_or(kind),
        state => state,
    };
    let model = [text("model"), text("version")].join(" ");
    let parts = [
        ("", text("metric")),
        ("of", model.trim()),
        ("on", text("device_class")),
    ];
    let mut said = String::new();
    for (before, part) in parts {
        if !part.is_empty() {
            said = format!("{said} {before} {part}");
        }
    }
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    match said.is_empty() {
        true => what.to_owned(),
        false => format!("{what}: {said}"),
    }
}

/// What the event says beside its link: numbers and short texts.
pub(super) fn facts(event: &Value) -> Vec<(String, String)> {
    let data = event["data"].as_object();
    let fields = data.into_iter().flatten();
    let facts = fields.filter_map(|(name, value)| {
        let text = match value {
            Value::String(text) => text.chars().take(FACT_CHARS_MAX).collect(),
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        (name != "link").then(|| (name.replace('_', " "), text))
    });
    facts.take(FACTS_MAX).collect()
}

/// Where a person can look.
pub(super) fn link(event: &Value) -> Option<&str> {
    event["data"]["link"].as_str()
}
