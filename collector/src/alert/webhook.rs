//! One signed POST to one endpoint, as Standard Webhooks describes it.
//!
//! In: a letter and the time. Out: what the endpoint answered, in words that can be logged. Owns
//! the HTTP client: no redirects, no proxies (they would hide the address that is connected to),
//! a time limit. Never: a retry (that is the outbox's business), the endpoint's answer body.

use std::{error::Error as _, sync::Arc, time::Duration};

use chrono::DateTime;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use sha2::{Digest as _, Sha256};

use super::{AlertError, AlertSettings, Endpoint, address, signature::Secret};
use crate::{clock::SECOND_US, database::outbox::Letter};

const USER_AGENT: &str = concat!("fathomline/", env!("CARGO_PKG_VERSION"));
/// An endpoint may ask us to wait, but not for longer than the schedule's longest delay.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);
/// A cause of failure is a line in a table.
const OUTCOME_BYTES_MAX: usize = 300;

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) verdict: ReplyKind,
    /// HTTP status, if there was an answer.
    pub(crate) status: Option<u16>,
    /// For people: `delivered`, or what went wrong.
    pub(crate) outcome: String,
}

/// What the answer means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    Delivered,
    /// 410: never again.
    Gone,
    /// Try again by the schedule, but not before so long.
    Failed {
        wait: Duration,
    },
}

/// The client that all endpoints share.
pub(crate) fn client(settings: &AlertSettings) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(settings.timeout)
        .connect_timeout(settings.timeout);
    if settings.allow_internal {
        return builder.build();
    }
    builder
        .dns_resolver(Arc::new(address::PublicResolver))
        .build()
}

/// An endpoint with its secret.
pub(crate) struct Webhook {
    client: Client,
    name: String,
    url: Url,
    secret: Secret,
}

impl Webhook {
    pub(crate) fn new(
        client: Client,
        endpoint: &Endpoint,
        allow_internal: bool,
    ) -> Result<Self, AlertError> {
        let name = endpoint.name.clone();
        let url =
            address::check_url(&endpoint.url, allow_internal).map_err(|why| AlertError::Url {
                endpoint: name.clone(),
                why,
            })?;
        let secret = Secret::read(&endpoint.secret_file).map_err(|source| AlertError::Secret {
            endpoint: name.clone(),
            source,
        })?;
        Ok(Self {
            client,
            name,
            url,
            secret,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Names the URL without storing it: some URLs are secrets themselves.
    pub(crate) fn url_digest(&self) -> String {
        let digest = Sha256::digest(self.url.as_str().as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Posts the letter at `now_us`: the same id at every attempt, a new timestamp and so a new
    /// signature each time.
    pub(crate) async fn post(&self, letter: &Letter, now_us: i64) -> Reply {
        let timestamp_s = now_us.div_euclid(SECOND_US);
        let signature = self
            .secret
            .sign(&letter.event_id, timestamp_s, &letter.body);
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &letter.event_id)
            .header("webhook-timestamp", timestamp_s)
            .header("webhook-signature", signature)
            .body(letter.body.clone());
        match request.send().await {
            Ok(response) => answered(&response, now_us),
            Err(error) => Reply {
                verdict: ReplyKind::Failed {
                    wait: Duration::ZERO,
                },
                status: None,
                outcome: cause(error),
            },
        }
    }
}

fn answered(response: &Response, now_us: i64) -> Reply {
    let status = response.status();
    let failed = |wait| ReplyKind::Failed { wait };
    let (verdict, outcome) = if status.is_success() {
        (ReplyKind::Delivered, "delivered".to_owned())
    } else if status == StatusCode::GONE {
        (
            ReplyKind::Gone,
            "the endpoint is gone (410) and is not asked again".to_owned(),
        )
    } else if status.is_redirection() {
        let outcome = format!("{status}: redirects are not followed; configure the final url");
        (failed(Duration::ZERO), outcome)
    } else {
        (
            failed(retry_after(response, now_us)),
            format!("the endpoint answered {status}"),
        )
    };
    Reply {
        verdict,
        status: Some(status.as_u16()),
        outcome,
    }
}

/// Seconds or a date; nothing when absent or unreadable.
fn retry_after(response: &Response, now_us: i64) -> Duration {
    let header = response.headers().get(RETRY_AFTER);
    let Some(text) = header.and_then(|value| value.to_str().ok()) else {
        return Duration::ZERO;
    };
    wait_of(text, now_us).min(RETRY_AFTER_MAX)
}

fn wait_of(text: &str, now_us: i64) -> Duration {
    if let Ok(seconds) = text.trim().parse() {
        return Duration::from_secs(seconds);
    }
    let until = DateTime::parse_from_rfc2822(text.trim()).map_or(0, |date| date.timestamp_micros());
    Duration::from_micros(u64::try_from(until.saturating_sub(now_us)).unwrap_or(0))
}

/// The chain of causes without the URL, which may be a secret.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    let end = text.floor_char_boundary(OUTCOME_BYTES_MAX);
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now_us = 1_445_412_470 * SECOND_US; // Wed, 21 Oct 2015 07:27:50 GMT
        assert_eq!(wait_of("120", now_us), Duration::from_secs(120));
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(wait_of(date, now_us), Duration::from_secs(10));
        assert_eq!(
            wait_of(date, now_us + 60 * SECOND_US),
            Duration::ZERO,
            "a date that passed"
        );
        assert_eq!(wait_of("soon", now_us), Duration::ZERO);
    }
}
