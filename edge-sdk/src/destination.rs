//! Where windows go, and what opens the door there. In: an endpoint, a token, headers. Out: one URL
//! and the headers of every upload, checked. Never shows a secret: not in a log, not in an error.

use fathomline_wire::names;

use crate::{builder::Builder, error::Error};

/// Where a collector on the same device listens.
const ENDPOINT: &str = "http://127.0.0.1:4318";

/// Where OTLP takes metrics below an endpoint.
const PATH: &str = "/v1/metrics";

/// Headers an application may add: a gateway asks for one or two.
const HEADERS_MAX: usize = 16;

/// Longest name or value of one.
const HEADER_BYTES_MAX: usize = 4096;

/// Headers that describe the upload itself. Whoever changed them would break it.
const OURS: [&str; 9] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What a builder knows about the way to the collector.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    endpoint: String,
    /// Nothing is appended to the endpoint.
    whole: bool,
    authorization: Option<Secret>,
    headers: Vec<(String, Secret)>,
}

/// A value that no log shows.
#[derive(Clone)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Default for Destination {
    fn default() -> Self {
        Self {
            endpoint: ENDPOINT.to_owned(),
            whole: false,
            authorization: None,
            headers: Vec::new(),
        }
    }
}

impl Builder {
    /// Base URL of the collector's OTLP/HTTP door; `http://127.0.0.1:4318` unless set. The path
    /// `/v1/metrics` is appended.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.destination.endpoint = url.into();
        self.destination.whole = false;
        self
    }

    /// The whole URL that windows are posted to, for gateways with paths of their own. Nothing is
    /// appended. Takes the place of [`endpoint`](Self::endpoint).
    pub fn metrics_endpoint(mut self, url: impl Into<String>) -> Self {
        self.destination.endpoint = url.into();
        self.destination.whole = true;
        self
    }

    /// Sent as `Authorization: Bearer`.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        let authorization = format!("Bearer {}", token.into());
        self.destination.authorization = Some(Secret(authorization));
        self
    }

    /// Sent with every upload, for a gateway in between: at most 16, none of those that describe
    /// the upload itself. The same name again replaces the value; `authorization` takes the place
    /// of [`token`](Self::token). Values are kept out of logs.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into().to_ascii_lowercase();
        let value = Secret(value.into());
        let destination = &mut self.destination;
        if name == "authorization" {
            destination.authorization = Some(value);
        } else if let Some(known) = destination.headers.iter_mut().find(|(n, _)| *n == name) {
            known.1 = value;
        } else {
            destination.headers.push((name, value));
        }
        self
    }
}

impl Destination {
    /// OTLP's rule: the path of the signal is appended, unless the URL is whole.
    pub(crate) fn url(&self) -> String {
        let base = self.endpoint.trim_end_matches('/');
        if self.whole {
            self.endpoint.clone()
        } else if base.ends_with(PATH) {
            base.to_owned()
        } else {
            format!("{base}{PATH}")
        }
    }

    /// What is sent besides the window's own headers.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), value.0.clone()));
        let authorization = self.authorization.iter();
        let authorization =
            authorization.map(|value| ("authorization".to_owned(), value.0.clone()));
        headers.chain(authorization).collect()
    }

    /// # Errors
    /// When something could not be sent as it is.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !is_url(&self.endpoint) {
            let rule = "give a URL such as http://127.0.0.1:4318";
            return Err(invalid("endpoint", &self.endpoint, rule));
        }
        let sendable = |value: &Secret| {
            value.0.len() <= HEADER_BYTES_MAX
                && !value.0.starts_with(' ')
                && value.0.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
        };
        let rule = "it must have visible ASCII characters only";
        if !self.authorization.as_ref().is_none_or(sendable) {
            return Err(invalid("token", "(hidden)", rule));
        }
        for (name, value) in &self.headers {
            if !is_free_header(name) {
                let rule = "name a header that is neither the upload's nor this SDK's own";
                return Err(invalid("header", name, rule));
            }
            if !sendable(value) {
                return Err(invalid("header", name, "its value must be visible ASCII"));
            }
        }
        if self.headers.len() > HEADERS_MAX {
            let count = self.headers.len().to_string();
            return Err(invalid("headers", &count, "at most 16 may be added"));
        }
        Ok(())
    }
}

fn is_url(url: &str) -> bool {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && url.bytes().all(|b| b.is_ascii_graphic())
}

/// A token as HTTP defines it, in lower case, that the upload does not need itself.
fn is_free_header(name: &str) -> bool {
    let of_identity = [
        names::HEADER_INSTALLATION,
        names::HEADER_BOOT,
        names::HEADER_SEQUENCE,
        names::HEADER_PART,
        names::HEADER_CLOCK,
    ];
    (1..=HEADER_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        && !OURS.contains(&name)
        && !of_identity.contains(&name)
}

fn invalid(what: &'static str, value: &str, rule: &'static str) -> Error {
    Error::Declaration {
        what,
        value: value.to_owned(),
        rule,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Fathomline;

    fn builder() -> Builder {
        Fathomline::builder("m", "1")
    }

    #[test]
    fn the_signals_path_is_appended_once_and_never_to_a_whole_url() {
        let wanted = "http://127.0.0.1:4318/v1/metrics";
        for endpoint in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/", wanted] {
            assert_eq!(builder().endpoint(endpoint).destination.url(), wanted);
        }
        let relay = builder().endpoint("https://relay.example/otlp");
        assert_eq!(
            relay.destination.url(),
            "https://relay.example/otlp/v1/metrics"
        );
        for whole in ["https://gateway.example/ingest/", "https://gateway.example"] {
            let builder = builder().metrics_endpoint(whole);
            assert_eq!(builder.destination.url(), whole);
        }
    }

    #[test]
    fn the_last_word_counts_whatever_its_case() {
        let builder = builder()
            .token("one")
            .header("X-Tenant", "a")
            .header("x-tenant", "b")
            .header("Authorization", "Basic two");
        let sent = builder.destination.headers();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let wanted = [pair("x-tenant", "b"), pair("authorization", "Basic two")];
        assert_eq!(sent, wanted);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_and_no_secret_is_repeated() {
        let many = (0..17).fold(builder(), |builder, n| {
            builder.header(format!("x-{n}"), "v")
        });
        for (builder, message) in [
            (many, "cannot declare headers \"17\""),
            (
                builder().header("Host", "s3cret"),
                "cannot declare header \"host\"",
            ),
            (
                builder().header("Fathomline-Boot", "s3cret"),
                "cannot declare header \"fathomline-boot\"",
            ),
            (
                builder().header("a b", "s3cret"),
                "cannot declare header \"a b\"",
            ),
            (builder().header("", "s3cret"), "cannot declare header"),
            (
                builder().header("x-key", "s3cret\r\nhost: x"),
                "cannot declare header \"x-key\"",
            ),
            (
                builder().token("s3cret\n"),
                "cannot declare token \"(hidden)\"",
            ),
            (
                builder().metrics_endpoint("gateway"),
                "cannot declare endpoint \"gateway\"",
            ),
        ] {
            let shown = format!("{builder:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
            let error = builder.destination.check().unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
