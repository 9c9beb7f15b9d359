//! One upload over HTTP. In: a window with its identity. Out: what the collector replied, or why
//! there was no reply. Owns connection, time limits and headers. Never retries, never follows a
//! redirect: a token must not wander to another host.

use std::time::Duration;

use fathomline_wire::{identity::Identity, names};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use ureq::{Agent, Proxy, Timeout};

use super::reply::{self, Reply};
use crate::{clock::Clock, destination::Destination, spool::Part};

/// A reply is a status and a few sentences.
const REPLY_BYTES_MAX: u64 = 64 * 1024;

/// A line holds one connection; buffers of the client's default size would be most of its memory.
const BUFFER_BYTES: usize = 16 * 1024;

/// Where windows go. Not shown anywhere: its headers are secrets.
pub(super) struct Door {
    agent: Agent,
    url: String,
    headers: Vec<(String, String)>,
}

impl Door {
    pub(super) fn new(destination: &Destination, limit: Duration) -> Self {
        let url = destination.url();
        let proxy = if is_loopback(&url) {
            None
        } else {
            Proxy::try_from_env()
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(limit))
            // Apart from the whole, so that a black hole is known to have cost no bytes.
            .timeout_connect(Some(limit / 2))
            .proxy(proxy)
            .max_idle_connections(1)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .user_agent(concat!("fathomline-edge/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: config.new_agent(),
            url,
            headers: destination.headers(),
        }
    }

    /// Posts one part of a window. `clock` is the sender's, by which the collector corrects times.
    pub(super) fn post(
        &self,
        identity: &Identity,
        part: &Part,
        clock: Clock,
    ) -> Result<Answer, ureq::Error> {
        let mut request = self
            .agent
            .post(&self.url)
            .header("content-type", "application/x-protobuf")
            .header(names::HEADER_INSTALLATION, &identity.installation)
            .header(names::HEADER_BOOT, &identity.boot)
            .header(names::HEADER_SEQUENCE, identity.sequence.to_string())
            .header(names::HEADER_CLOCK, clock.unix_nano().to_string());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(number) = part.number() {
            request = request.header(names::HEADER_PART, number.to_string());
        }
        let mut response = request.send(&part.body[..])?;
        let header = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let status = response.status().as_u16();
        let reply = reply::judge(status, header("retry-after"), header("date"));
        let reply = reply::judge_typed(reply, header("content-type"));
        let pace = header(names::HEADER_PACE).and_then(|millis| millis.trim().parse().ok());
        let pace = pace.map(Duration::from_millis);
        let clock_offset = header("date")
            .and_then(reply::http_date)
            .map(|seconds| clock_offset(seconds, clock.unix_nano()));
        let body = response
            .body_mut()
            .with_config()
            .limit(REPLY_BYTES_MAX)
            .read_to_vec();
        // The status has decided; a body that cannot be read says nothing more.
        let body = body.unwrap_or_default();
        Ok(Answer {
            status,
            reply,
            pace,
            clock_offset,
            points_rejected: points_rejected(reply, &body),
        })
    }
}

/// What came back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reply: Reply,
    /// How long to wait between two windows of a backlog.
    pub(super) pace: Option<Duration>,
    /// The collector's clock minus ours, in seconds, if the reply says its time.
    pub(super) clock_offset: Option<f64>,
    /// Points that a stored window lost there.
    pub(super) points_rejected: u64,
}

/// Whether an upload that failed may have cost bytes all the same.
pub(super) fn may_have_sent(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    match error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => false,
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => false,
        ureq::Error::Io(error) => !matches!(
            error.kind(),
            ConnectionRefused | HostUnreachable | NetworkUnreachable
        ),
        _ => true,
    }
}

fn points_rejected(reply: Reply, body: &[u8]) -> u64 {
    let stored = (reply == Reply::Stored).then(|| ExportMetricsServiceResponse::decode(body).ok());
    let partial = stored
        .flatten()
        .and_then(|response| response.partial_success);
    partial
        .and_then(|partial| u64::try_from(partial.rejected_data_points).ok())
        .unwrap_or(0)
}

/// A `Date` is cut to its second: half of one is what is missing on average.
fn clock_offset(date_seconds: u64, now_unix_nano: u64) -> f64 {
    date_seconds as f64 + 0.5 - now_unix_nano as f64 / 1e9
}

/// Whether the collector runs on this device, where no proxy can reach it.
fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    ["127.", "localhost", "[::1]"]
        .iter()
        .any(|local| host.starts_with(local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_shows_how_far_the_clocks_are_apart() {
        let day = 86_400;
        let ours = 784_111_777_500_000_000;
        assert_eq!(clock_offset(784_111_777, ours), 0.0);
        assert_eq!(clock_offset(784_111_777 + day, ours), 86_400.0);
        assert_eq!(clock_offset(784_111_777 - day, ours), -86_400.0);
    }

    #[test]
    fn only_this_device_is_reached_past_the_proxy() {
        assert!(is_loopback("http://127.0.0.1:4318") && is_loopback("https://localhost"));
        assert!(!is_loopback("http://10.0.0.1:4318") && !is_loopback("https://relay.example"));
    }
}
