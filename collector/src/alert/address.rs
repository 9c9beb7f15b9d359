//! Which addresses are internal: a webhook URL must not turn the collector into a door to its own
//! network.
//!
//! In: URLs and host names. Out: the addresses that may be connected to. Names are judged by what
//! they resolve to at each connection, so a name that changes its mind later is refused too.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Whether `address` is anything but a public unicast address.
pub(crate) fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_internal_v4(address),
        IpAddr::V6(address) => is_internal_v6(address),
    }
}

fn is_internal_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || a >= 224 // multicast, reserved, broadcast
        || (a == 100 && (64..128).contains(&b)) // shared by carriers
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (b & 0xfe) == 18) // benchmarks
}

fn is_internal_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_internal_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Public unicast is 2000::/3; of it, 2001::/23 (Teredo and others) and documentation are
        // not.
        [0x2001, second, ..] => second < 0x200 || second == 0xdb8,
        [first, ..] => first & 0xe000 != 0x2000,
    }
}

/// Reads an endpoint's URL. A literal internal address is refused here; names when they resolve.
pub(crate) fn check_url(text: &str, allow_internal: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; write http(s)://host/path"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the scheme {} is not http or https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it carries a user or password; deliveries are signed instead".to_owned());
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) => None,
        None => return Err("it names no host".to_owned()),
    };
    match literal {
        Some(address) if !allow_internal && is_internal(address) => Err(refusal(&address)),
        _ => Ok(url),
    }
}

fn refusal(host: &dyn std::fmt::Display) -> String {
    format!("{host} is an internal address; set alert.allow_internal = true to insist")
}

/// Resolves names as the system does, then keeps public addresses only.
pub(crate) struct PublicResolver;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| !is_internal(address.ip()))
                .collect();
            if public.is_empty() {
                return Err(io::Error::other(refusal(&name.as_str())).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_addresses_are_recognised_however_they_are_written() {
        let internal = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.19.0.1",
            "192.0.0.8",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ];
        for text in internal {
            assert!(is_internal(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_internal(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn urls_that_reach_inside_are_refused_unless_allowed() {
        for text in [
            "http://127.0.0.1/x",
            "http://2130706433/",
            "http://[::1]:8080/",
            "http://0x7f.1/",
        ] {
            let why = check_url(text, false).unwrap_err();
            assert!(why.contains("alert.allow_internal"), "{text}: {why}");
            assert!(check_url(text, true).is_ok());
        }
        for text in [
            "ftp://example.org/",
            "http://user:word@example.org/",
            "example.org",
            "data:x",
        ] {
            assert!(check_url(text, true).is_err(), "{text}");
        }
        assert!(check_url("https://example.org/hook", false).is_ok());
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_addresses() {
        let client = reqwest::Client::builder()
            .no_proxy()
            .dns_resolver(std::sync::Arc::new(PublicResolver))
            .build()
            .unwrap();
        let error = client.get("http://localhost:9/").send().await.unwrap_err();
        let text = format!("{error:?}");
        assert!(text.contains("internal address"), "{text}");
    }
}
