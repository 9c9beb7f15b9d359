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
    fit::{BODY_BYTES_MAX, fit},
    signature::SecretError,
};
use crate::{clock::SECOND_US, database::outbox::Letter};

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
    #[error("the event makes {0} bytes, and {BODY_BYTES_MAX} are sent at most")]
    Long(usize),
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
        let timestamp_s = now_us.div_euclid(SECOND_US);
        let fitted = fit(&letter.body).ok_or(ParcelError::Long(letter.body.len()))?;
        let event = || serde_json::from_str::<Value>(&fitted);
        let mut headers = json_headers();
        let body = match self {
            Self::Webhook(signing) => {
                signing.sign(&mut headers, &letter.event_id, timestamp_s, &fitted);
                fitted
            }
            Self::Alertmanager {
                headers: extra,
                resend_us,
            } => {
                extra.add(&mut headers);
                alertmanager::of_letter(letter, &event()?, (now_us, *resend_us))?
            }
            Self::Github(extra) => {
                extra.add(&mut headers);
                github::body(&letter.event_id, &event()?)
            }
            Self::Slack => slack::body(&event()?),
            Self::Http {
                template,
                headers: extra,
                signing,
            } => {
                extra.add(&mut headers);
                let body = template.body(&letter.event_id, event()?)?;
                if let Some(signing) = signing {
                    signing.sign(&mut headers, &letter.event_id, timestamp_s, &body);
                }
                body
            }
        };
        match body.len() < BODY_BYTES_MAX {
            true => Ok(Parcel { headers, body }),
            false => Err(ParcelError::Long(body.len())),
        }
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
