//! Slack's incoming webhooks: a text for those who see only that, and blocks. Pure.

use serde_json::{Value, json};

use super::words;

/// A section takes 3,000 characters; escaping makes them more.
const SECTION_CHARS_MAX: usize = 2_900;

/// What is posted.
pub(super) fn body(event: &Value) -> String {
    let headline = escaped(&words::headline(event));
    let facts = words::facts(event);
    let lines = facts.iter().map(|(name, value)| format!("{name}: {value}"));
    let lines = escaped(&lines.collect::<Vec<_>>().join("\n"));
    let mut blocks = vec![section(&format!("*{headline}*"))];
    if !lines.is_empty() {
        blocks.push(section(&lines));
    }
    if let Some(link) = words::link(event) {
        let link = escaped(link);
        blocks.push(section(&format!("<{link}|See it in Fathomline>")));
    }
    json!({ "text": headline, "blocks": blocks }).to_string()
}

fn section(text: &str) -> Value {
    let text: String = text.chars().take(SECTION_CHARS_MAX).collect();
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
}

/// The three characters that Slack reads as its own: without this a name could mention everybody.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_drifts_and_mentions_nobody() {
        let event = json!({
            "type": "fathomline.verdict.changed",
            "data": {
                "state": "drifting", "metric": "fathomline.output.surprisal", "model": "tiny",
                "version": "1", "device_class": "<!everyone> & co", "count": 240,
                "interval": [0.1, 0.2], "link": "https://fathomline.example/drift/abc",
            },
        });
        let posted: Value = serde_json::from_str(&body(&event)).unwrap();
        assert_eq!(
            posted["text"],
            "drifting: fathomline.output.surprisal of tiny 1 on &lt;!everyone&gt; &amp; co"
        );
        let text = |at: usize| posted["blocks"][at]["text"]["text"].as_str().unwrap();
        assert!(text(1).contains("count: 240"), "{posted}");
        assert!(!posted.to_string().contains("<!"), "{posted}");
        assert_eq!(
            text(2),
            "<https://fathomline.example/drift/abc|See it in Fathomline>"
        );
    }

    #[test]
    fn an_event_without_content_is_a_message_too() {
        let event = json!({ "type": "fathomline.webhook.test", "data": {} });
        let posted: Value = serde_json::from_str(&body(&event)).unwrap();
        assert_eq!(posted["text"], "webhook.test");
        assert_eq!(posted["blocks"].as_array().unwrap().len(), 1);
    }
}
