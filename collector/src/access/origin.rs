//! Which names this server answers to. A page of another site can make a browser send requests to
//! loopback, under its own name (Origin) or, after rebinding DNS, under ours (Host); both are
//! refused before anything else looks at the request.
//!
//! In: Host, Origin and target of a request. Out: the request passed on, or 403 with the reason.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, Uri,
        header::{HOST, ORIGIN},
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use url::{Host, Url};

use crate::api::refusal::Refusal;

/// The names that are ours beside loopback.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostRules {
    hosts: Vec<String>,
}

impl HostRules {
    /// `hosts` are names or addresses without a port, as `http.hosts` lists them.
    pub(crate) fn new(hosts: &[String]) -> Self {
        Self {
            hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        }
    }

    /// Why a request is not for us, if it is not. Pure.
    pub(crate) fn refuse(&self, target: &Uri, headers: &HeaderMap) -> Option<String> {
        let Some(host) = single(headers, HOST.as_str()) else {
            return Some("a request must carry exactly one Host header".to_owned());
        };
        let named = authority("http", host).filter(|url| self.is_ours(url));
        // An absolute target (as sent to proxies) would otherwise be a second opinion.
        let agrees = target
            .authority()
            .is_none_or(|target| target.as_str() == host);
        if named.is_none() || !agrees {
            return Some(format!(
                "the host {host:?} is not served here; use localhost, or add the name to http.hosts"
            ));
        }
        headers.get(ORIGIN)?;
        let same = single(headers, ORIGIN.as_str()).is_some_and(|origin| is_same(origin, host));
        (!same).then(|| "requests from pages of another origin are not served".to_owned())
    }

    fn is_ours(&self, url: &Url) -> bool {
        let loopback = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let name = url.host_str().unwrap_or_default();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        loopback || self.hosts.iter().any(|host| host == name || host == bare)
    }
}

/// Passes requests for us on, refuses others.
pub(crate) async fn check(
    State(rules): State<Arc<HostRules>>,
    request: Request,
    next: Next,
) -> Response {
    match rules.refuse(request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(why) => Refusal::forbidden("host", why).into_response(),
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// `host[:port]` as a URL, if it is nothing else.
fn authority(scheme: &str, host: &str) -> Option<Url> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if host.is_empty() || !host.chars().all(allowed) {
        return None;
    }
    Url::parse(&format!("{scheme}://{host}/")).ok()
}

/// Whether a page of `origin` was served under `host`.
fn is_same(origin: &str, host: &str) -> bool {
    let Some((scheme @ ("http" | "https"), origin_host)) = origin.split_once("://") else {
        return false;
    };
    match (authority(scheme, origin_host), authority(scheme, host)) {
        (Some(origin), Some(host)) => origin == host,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(rules: &HostRules, pairs: &[(&str, &str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        rules.refuse(&Uri::from_static("/api/v1/verdicts"), &headers)
    }

    #[test]
    fn loopback_and_configured_names_are_served_on_any_port() {
        let rules = HostRules::new(&["Fathom.example.org".to_owned(), "10.0.0.7".to_owned()]);
        for host in [
            "localhost",
            "localhost:8330",
            "LOCALHOST:1",
            "127.0.0.1:8330",
            "127.9.9.9",
            "[::1]:8330",
            "fathom.example.org",
            "fathom.example.org:443",
            "10.0.0.7:8330",
        ] {
            assert_eq!(refusal(&rules, &[("host", host)]), None, "{host}");
        }
    }

    #[test]
    fn rebound_and_odd_hosts_are_refused() {
        let rules = HostRules::default();
        for host in [
            "evil.example",
            "evil.example:8330",
            "localhost.evil.example",
            "localhost.",
            "10.0.0.7",
            "user@localhost",
            "localhost/x",
            "localhost#",
            "",
            "localhost:notaport",
            "a b",
        ] {
            let why = refusal(&rules, &[("host", host)]);
            assert!(why.is_some_and(|why| why.contains("http.hosts")), "{host}");
        }
        assert!(refusal(&rules, &[]).is_some());
        assert!(refusal(&rules, &[("host", "localhost"), ("host", "evil.example")]).is_some());
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "localhost".parse().unwrap());
        assert!(
            rules
                .refuse(&Uri::from_static("http://evil.example/"), &headers)
                .is_some()
        );
    }

    #[test]
    fn only_pages_of_our_own_origin_may_ask() {
        let rules = HostRules::default();
        let from = |origin| refusal(&rules, &[("host", "localhost:8330"), ("origin", origin)]);
        assert_eq!(from("http://localhost:8330"), None);
        for origin in [
            "http://localhost:3000",
            "http://localhost",
            "https://evil.example",
            "null",
            "",
            "http://127.0.0.1:8330",
            "file://localhost:8330",
        ] {
            assert!(from(origin).is_some(), "{origin}");
        }
        let behind_tls = [("host", "localhost"), ("origin", "https://localhost:443")];
        assert_eq!(refusal(&rules, &behind_tls), None);
    }
}
