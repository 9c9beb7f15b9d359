//! Sends and asks over HTTP, and calls over gRPC. In: an address and what to say. Out: status and
//! body. Never retries and never follows a redirect: tests want the first answer.

use std::time::Duration;

use fathomline_wire::names;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

/// An answer of any door.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) retry_after: Option<String>,
    pub(crate) www_authenticate: Option<String>,
    /// What the collector asks of a device that has a backlog, milliseconds.
    pub(crate) pace: Option<String>,
}

impl Answer {
    /// The body with everything that is not text left out: refusals are sentences in a protobuf.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {} {}", self.status, self.text()))
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .new_agent()
}

/// Posts `body`; an error is the transport's, not the collector's.
pub(crate) fn post(
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, ureq::Error> {
    let mut request = agent().post(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request.send(body)?)
}

/// Gets a page.
pub(crate) fn get(url: &str, headers: &[(&str, &str)]) -> Result<Answer, ureq::Error> {
    let mut request = agent().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    answer(request.call()?)
}

/// Runs a call over gRPC to its end.
pub(crate) fn over_grpc<T>(endpoint: &str, call: impl AsyncFnOnce(Channel) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
    runtime.block_on(async { call(endpoint.connect().await.unwrap()).await })
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let header = |name| {
        let value = response.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let (retry_after, www_authenticate) = (header("retry-after"), header("www-authenticate"));
    let pace = header(names::HEADER_PACE);
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_vec()?;
    Ok(Answer {
        status,
        body,
        retry_after,
        www_authenticate,
        pace,
    })
}
