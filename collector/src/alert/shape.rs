//! What is sent to each kind of endpoint: a letter becomes headers and a body.
//!
//! In: a letter and the time. Out: a parcel, or why the letter cannot be sent there. The same
//! letter makes the same body at every attempt, an Alertmanager's apart, whose alerts say until
//! when they are to be believed. Never: sockets.
//!
//! | module | for |
//! |---|---|
//! | `webhook` | Standard Webhooks, signed |
//! | `alertmanager` | Prometheus's Alertmanager |
//! | `github` | GitHub's `repository_dispatch` |
//! | `slack` | Slack's incoming webhooks |
//! | `template` | whatever a template makes |
//! | `words` | an event in words, for people |

pub(super) mod alertmanager;
mod github;
mod headers;
mod slack;
mod template;
mod webhook;
mod words;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::Value;

use self::{headers::Extra, template::Template, webhook::Signing};
pub(crate) use self::{headers::HeaderError, template::TemplateError};
use super::{
    endpoint::{Endpoint, Kind},
    fit::fit,
    signature::SecretError,
};
use crate::{clock::SECOND_US, database::outbox::Letter};

/// What Standard Webhooks asks senders to stay below.
const WEBHOOK_BYTES_MAX: usize = 20_000;
/// What the others are sent at most: GitHub takes 64 KB of payload, and nobody of them takes less.
const BODY_BYTES_MAX: usize = 60_000;
/// How often an event is shortened once more, because what is made of it is longer than it.
const SHORTENED_MAX: usize = 8;

/// What one attempt sends.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// Why an endpoint cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShapeError {
    #[error("cannot read its secret: {0}")]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// Why a letter cannot be sent to an endpoint, however often it is tried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParcelError {
    #[error("the event is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the event makes {bytes} bytes, and less than {most} are sent")]
    Long { bytes: usize, most: usize },
    #[error("the event says nothing that fires or ends, so it is no alert")]
    NoAlert,
    #[error("the template makes no body of this event: {0}")]
    Template(String),
}

/// How letters to one endpoint look.
pub(crate) enum Shape {
    Webhook(Signing),
    Alertmanager {
        headers: Extra,
        resend_us: i64,
    },
    Github(Extra),
    Slack,
    Http {
        template: Box<Template>,
        headers: Extra,
        signing: Option<Signing>,
    },
}

impl Shape {
    /// Reads what the endpoint needs: secrets, tokens, its template.
    pub(crate) fn open(endpoint: &Endpoint) -> Result<Self, ShapeError> {
        Ok(match &endpoint.kind {
            Kind::Webhook { secret_file } => Self::Webhook(Signing::open(secret_file)?),
            Kind::Alertmanager { resend, headers } => Self::Alertmanager {
                headers: Extra::open(headers)?,
                resend_us: i64::try_from(resend.as_micros()).unwrap_or(i64::MAX),
            },
            Kind::Github { token_file } => Self::Github(github::headers(token_file)?),
            Kind::Slack => Self::Slack,
            Kind::Http {
                template_file,
                headers,
                secret_file,
                ..
            } => Self::Http {
                template: Box::new(Template::open(template_file)?),
                headers: Extra::open(headers)?,
                signing: secret_file.as_deref().map(Signing::open).transpose()?,
            },
        })
    }

    /// What is sent at `now_us`.
    pub(crate) fn parcel(&self, letter: &Letter, now_us: i64) -> Result<Parcel, ParcelError> {
        let body = self.short_body(letter, now_us)?;
        let mut headers = json_headers();
        match self {
            Self::Alertmanager { headers: extra, .. }
            | Self::Github(extra)
            | Self::Http { headers: extra, .. } => extra.add(&mut headers),
            Self::Webhook(_) | Self::Slack => {}
        }
        if let Self::Webhook(signing)
        | Self::Http {
            signing: Some(signing),
            ..
        } = self
        {
            let timestamp_s = now_us.div_euclid(SECOND_US);
            signing.sign(&mut headers, &letter.event_id, timestamp_s, &body);
        }
        Ok(Parcel { headers, body })
    }

    /// A body that is as long as the endpoint takes at most: the event is shortened until what is
    /// made of it fits.
    fn short_body(&self, letter: &Letter, now_us: i64) -> Result<String, ParcelError> {
        let most = match self {
            Self::Webhook(_) => WEBHOOK_BYTES_MAX,
            _ => BODY_BYTES_MAX,
        };
        let mut room = most;
        let mut bytes = letter.body.len();
        for _ in 0..SHORTENED_MAX {
            let Some(event) = fit(&letter.body, room) else {
                break;
            };
            let body = self.body(letter, event, now_us)?;
            if body.len() < most {
                return Ok(body);
            }
            bytes = body.len();
            // What is made of an event grows with it, and a little is kept for what does not.
            room = room.saturating_mul(most) / bytes * 99 / 100;
        }
        Err(ParcelError::Long { bytes, most })
    }

    fn body(&self, letter: &Letter, event: String, now_us: i64) -> Result<String, ParcelError> {
        let read = || serde_json::from_str::<Value>(&event);
        Ok(match self {
            Self::Webhook(_) => event,
            Self::Alertmanager { resend_us, .. } => {
                alertmanager::of_letter(letter, &read()?, (now_us, *resend_us))?
            }
            Self::Github(_) => github::body(&letter.event_id, &read()?),
            Self::Slack => slack::body(&read()?),
            Self::Http { template, .. } => template.body(&letter.event_id, read()?)?,
        })
    }
}

/// Whether a template can be used.
#[cfg(test)]
pub(crate) fn check_template(path: &std::path::Path) -> Result<(), TemplateError> {
    Template::open(path).map(drop)
}

/// What every parcel says of its body.
fn json_headers() -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    HeaderMap::from_iter([(CONTENT_TYPE, json)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::alert::endpoint::Headers;

    fn letter(bytes: usize) -> Letter {
        // A hundred bytes for what is around the list, and five for each of it.
        let bins = vec!["ab"; (bytes - 100) / 5];
        let mut body = json!({ "type": "fathomline.retraining.requested", "timestamp": "t",
                               "data": { "bins": bins } })
        .to_string();
        // Blanks are as good as any other byte.
        body.push_str(&" ".repeat(bytes.saturating_sub(body.len())));
        Letter {
            event_id: "evt_00000000000000aa".to_owned(),
            kind: "fathomline.retraining.requested".to_owned(),
            subject: "s".to_owned(),
            body,
        }
    }

    #[test]
    fn an_event_of_any_length_fits_every_kind_of_endpoint() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let token = file("token", "t");
        let secret = file("secret", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz");
        let twice = file("twice", "{\"a\": {{ event }}, \"b\": {{ event.data }}}");
        let shapes = [
            (
                Shape::Webhook(Signing::open(&secret).unwrap()),
                WEBHOOK_BYTES_MAX,
            ),
            (
                Shape::Github(github::headers(&token).unwrap()),
                BODY_BYTES_MAX,
            ),
            (
                Shape::Http {
                    template: Box::new(Template::open(&twice).unwrap()),
                    headers: Extra::open(&Headers::default()).unwrap(),
                    signing: None,
                },
                BODY_BYTES_MAX,
            ),
        ];
        for (shape, most) in &shapes {
            for bytes in (most - 400..most + 400).step_by(37).chain([4 * most]) {
                let parcel = shape.parcel(&letter(bytes), 0).unwrap();
                assert!(parcel.body.len() < *most, "{bytes}: {}", parcel.body.len());
                // As much as fits, and not a scrap of it.
                assert!(parcel.body.len() > most / 3, "{}", parcel.body.len());
                serde_json::from_str::<Value>(&parcel.body).unwrap();
            }
        }
    }
}
