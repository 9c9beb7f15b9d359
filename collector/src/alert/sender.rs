//! One POST to one endpoint. In: a letter and the time. Out: what the endpoint answered, in words
//! that can be logged. Owns the HTTP client: no redirects, no proxies (they would hide the address
//! that is connected to), a time limit. Never: a retry (that is the outbox's business), the
//! endpoint's answer body.

use std::{error::Error as _, time::Duration};

use chrono::DateTime;
use reqwest::{Client, Response, StatusCode, Url, header::RETRY_AFTER};
use sha2::{Digest as _, Sha256};

use super::{
    AlertError, AlertSettings, address,
    endpoint::{Endpoint, EndpointUrl, Kind},
    kept_file::line,
    shape::{Parcel, Shape},
};
use crate::database::{endpoints::Firing, outbox::Letter};

const USER_AGENT: &str = concat!("fathomline/", env!("CARGO_PKG_VERSION"));
/// An endpoint may ask us to wait, but not for longer than the schedule's longest delay.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);
/// How long an endpoint is left alone that says it has too much to do, and not how long.
const THROTTLE: Duration = Duration::from_secs(5);
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
    /// Try again by the schedule.
    Failed,
    /// 429, 502, 503 or 504: try again by the schedule, and nothing else before so long.
    Throttled {
        wait: Duration,
    },
    /// It cannot be sent at all.
    Hopeless,
}

impl Reply {
    fn without_answer(verdict: ReplyKind, outcome: String) -> Self {
        Self {
            verdict,
            status: None,
            outcome,
        }
    }
}

/// An endpoint that can be told things.
pub(crate) struct Sender {
    client: Client,
    name: String,
    url: Url,
    shape: Shape,
    /// Beside 2xx.
    delivered_statuses: Vec<u16>,
}

impl Sender {
    /// Reads secrets and templates and checks the address, so that a mistake shows at the start and
    /// not with the first drift.
    pub(crate) fn new(endpoint: &Endpoint, settings: &AlertSettings) -> Result<Self, AlertError> {
        let name = endpoint.name.clone();
        let allow_internal = settings.allow_internal || endpoint.allow_internal;
        let failed = |why: String| AlertError::Url {
            endpoint: name.clone(),
            why,
        };
        let text = match &endpoint.url {
            EndpointUrl::Given(url) => url.clone(),
            EndpointUrl::File(path) => line(path).map_err(|error| failed(error.to_string()))?,
        };
        let url = address::check_url(&text, allow_internal).map_err(failed)?;
        let shape = Shape::open(endpoint).map_err(|source| AlertError::Shape {
            endpoint: name.clone(),
            source,
        })?;
        let delivered_statuses = match &endpoint.kind {
            Kind::Http {
                delivered_statuses, ..
            } => delivered_statuses.clone(),
            _ => vec![],
        };
        Ok(Self {
            client: client(settings.timeout, allow_internal)?,
            name,
            url,
            shape,
            delivered_statuses,
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

    /// Of an Alertmanager: after how long an alert that goes on is told again.
    pub(crate) fn resend_us(&self) -> Option<i64> {
        match self.shape {
            Shape::Alertmanager { resend_us, .. } => Some(resend_us),
            _ => None,
        }
    }

    /// Posts the letter at `now_us`: the same id at every attempt, a new timestamp and so a new
    /// signature each time.
    pub(crate) async fn post(&self, letter: &Letter, now_us: i64) -> Reply {
        match self.shape.parcel(letter, now_us) {
            Ok(parcel) => self.send(parcel, now_us).await,
            Err(error) => Reply::without_answer(ReplyKind::Hopeless, error.to_string()),
        }
    }

    /// Tells alerts again that go on; nothing where nobody is told again.
    pub(crate) async fn post_again(&self, firing: &[Firing], now_us: i64) -> Option<Reply> {
        let parcel = self.shape.again(firing, now_us)?;
        Some(self.send(parcel, now_us).await)
    }

    async fn send(&self, Parcel { headers, body }: Parcel, now_us: i64) -> Reply {
        let request = self.client.post(self.url.clone());
        match request.headers(headers).body(body).send().await {
            Ok(response) => self.answered(&response, now_us),
            Err(error) => Reply::without_answer(ReplyKind::Failed, cause(error)),
        }
    }

    fn answered(&self, response: &Response, now_us: i64) -> Reply {
        let status = response.status();
        let there = self.delivered_statuses.contains(&status.as_u16());
        let (verdict, outcome) = match status {
            status if status.is_success() => (ReplyKind::Delivered, "delivered".to_owned()),
            status if there => {
                let outcome = format!("delivered: {status} says that it is there");
                (ReplyKind::Delivered, outcome)
            }
            StatusCode::GONE => {
                let outcome =
                    "the endpoint is gone (410) and is not asked again until it is enabled";
                (ReplyKind::Gone, outcome.to_owned())
            }
            status if status.is_redirection() => {
                let outcome =
                    format!("{status}: redirects are not followed; configure the final url");
                (ReplyKind::Failed, outcome)
            }
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let wait = retry_after(response, now_us);
                let outcome =
                    format!("the endpoint answered {status}, and is left alone for {wait:?}");
                (ReplyKind::Throttled { wait }, outcome)
            }
            status => (ReplyKind::Failed, format!("the endpoint answered {status}")),
        };
        Reply {
            verdict,
            status: Some(status.as_u16()),
            outcome,
        }
    }
}

fn client(timeout: Duration, allow_internal: bool) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(timeout)
        .connect_timeout(timeout);
    if allow_internal {
        return builder.build();
    }
    let resolver = address::PublicResolver::of_the_system();
    builder.dns_resolver(std::sync::Arc::new(resolver)).build()
}

/// Seconds or a date, within bounds; a little when absent or unreadable.
fn retry_after(response: &Response, now_us: i64) -> Duration {
    let header = response.headers().get(RETRY_AFTER);
    let Some(text) = header.and_then(|value| value.to_str().ok()) else {
        return THROTTLE;
    };
    match wait_of(text, now_us) {
        Duration::ZERO => THROTTLE,
        wait => wait.min(RETRY_AFTER_MAX),
    }
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
    use crate::clock::SECOND_US;

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
