//! A template that an operator wrote, for whoever wants a shape of their own: Airflow, Kubeflow
//! Pipelines, Argo Events and others.
//!
//! In: a file with JSON and expressions in it, and an event. Out: a body. Every value is written as
//! JSON, quotes included, so that no text in an event can be more than a text: `{{ event.data }}`
//! is an object, `{{ "run-" ~ id }}` a string. What is not there is null. A file that does not
//! parse is refused at the start with its line; a body that is not JSON is not sent.

use std::path::Path;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, context, value::Serde};
use serde_json::{Value, json};

use super::{super::trial, ParcelError};

/// The one template of an environment.
const NAME: &str = "body";

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("cannot read its template {path}: {source}")]
    Read {
        path: String,
        source: std::io::Error,
    },
    #[error("cannot use its template {path}, line {line}: {why}")]
    Syntax {
        path: String,
        line: usize,
        why: String,
    },
    #[error("cannot use its template {path}: of a test event it makes no JSON: {why}")]
    Json { path: String, why: String },
}

/// A template that parses, and makes JSON of a test event.
#[derive(Debug)]
pub(crate) struct Template(Environment<'static>);

impl Template {
    pub(crate) fn open(path: &Path) -> Result<Self, TemplateError> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| TemplateError::Read {
            path: shown(),
            source,
        })?;
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Json);
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        let parsed = environment.add_template_owned(NAME, text);
        parsed.map_err(|error| TemplateError::Syntax {
            path: shown(),
            line: error.line().unwrap_or(1),
            why: in_words(&error),
        })?;
        let template = Self(environment);
        let event = json!({ "type": trial::kind(), "timestamp": "", "data": {} });
        let tried = template.body("evt_test", event);
        tried.map_err(|error| TemplateError::Json {
            path: shown(),
            why: error.to_string(),
        })?;
        Ok(template)
    }

    /// What it makes of an event.
    pub(super) fn body(&self, id: &str, event: Value) -> Result<String, ParcelError> {
        let failed = |error: &minijinja::Error| ParcelError::Template(in_words(error));
        let template = self.0.get_template(NAME).map_err(|error| failed(&error))?;
        let body = template.render(context! { id, event => Serde(&event) });
        let body = body.map_err(|error| failed(&error))?;
        let read: Result<serde::de::IgnoredAny, _> = serde_json::from_str(&body);
        read.map_err(|error| ParcelError::Template(format!("that is no JSON: {error}")))?;
        Ok(body)
    }
}

fn in_words(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str) -> Result<Template, TemplateError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("airflow.json");
        std::fs::write(&path, text).unwrap();
        Template::open(&path)
    }

    #[test]
    fn values_are_json_whatever_they_hold() {
        let template = open(
            r#"{"run": {{ "fathomline__" ~ id }}, "conf": {{ event.data }}, "no": {{ event.x.y }}}"#,
        )
        .unwrap();
        let hostile = "\" }, \"admin\": true, {{ id }} \\ </script> \n \u{1}";
        let event = json!({ "type": "t", "data": { "model": hostile, "count": 3, "f": 0.5 } });
        let body = template.body("evt_1", event.clone()).unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        let expected = json!({ "run": "fathomline__evt_1", "conf": event["data"], "no": null });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_template_that_does_not_parse_names_file_and_line() {
        for (text, says) in [
            ("{\n\"a\": {{ event. }}\n}", "line 2"),
            ("{\n\n{% if %}\n}", "line 3"),
            ("{\n{% for x in event.data %}\n}", "line"),
            ("{\"a\": {{ event.data }}", "no JSON"),
            ("{\"a\": {{ event.data | nope }} }", "nope"),
        ] {
            let error = open(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error} lacks {says}");
            assert!(error.contains("airflow.json"), "{error}");
        }
        let absent = Template::open(Path::new("/nowhere/t.json")).unwrap_err();
        assert!(absent.to_string().contains("/nowhere/t.json"), "{absent}");
    }

    #[test]
    fn what_is_safe_by_its_own_word_is_still_json_or_not_sent() {
        let template = open(r#"{"a": {{ event.data.model | default("\"\"") | safe }} }"#).unwrap();
        let event = json!({ "data": { "model": "1, \"b\": " } });
        let refused = template.body("evt_1", event).unwrap_err().to_string();
        assert!(refused.contains("no JSON"), "{refused}");
    }
}
