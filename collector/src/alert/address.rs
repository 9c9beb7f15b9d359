//! Which addresses are internal: a webhook URL must not turn the collector into a door to its own
//! network.
//!
//! In: URLs and host names. Out: the addresses that may be connected to. Names are judged by what
//! they resolve to at each connection, so a name that changes its mind later is refused too.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use futures::future::BoxFuture;
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
    format!(
        "{host} is an internal address; set allow_internal = true for the endpoint, or alert.allow_internal for all, to insist"
    )
}

/// Addresses that are being looked up.
type Looking = BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// Finds the addresses of a name.
type Lookup = dyn Fn(String) -> Looking + Send + Sync;

/// Resolves names and keeps public addresses only. The client connects to what this returns and
/// asks nobody again, so a name cannot change between the check and the connection.
#[derive(Clone)]
pub(crate) struct PublicResolver(Arc<Lookup>);

impl PublicResolver {
    /// Resolves as the system does.
    pub(crate) fn of_the_system() -> Self {
        Self(Arc::new(|name: String| -> Looking {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
        }))
    }
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let looking = (self.0)(name.as_str().to_owned());
        Box::pin(async move {
            let mut public = looking.await?;
            public.retain(|address| !is_internal(address.ip()));
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
            assert!(why.contains("allow_internal"), "{text}: {why}");
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

    fn client(resolver: PublicResolver) -> reqwest::Client {
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .connect_timeout(std::time::Duration::from_millis(300))
            .dns_resolver(Arc::new(resolver));
        client.build().unwrap()
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_addresses() {
        let client = client(PublicResolver::of_the_system());
        let error = client.get("http://localhost:9/").send().await.unwrap_err();
        let text = format!("{error:?}");
        assert!(text.contains("internal address"), "{text}");
    }

    /// A name that is public when it is first asked for and internal from then on: the second
    /// attempt is refused, and each attempt asks once, so that what was checked is what is
    /// connected to. (That the first cannot connect is due to the machine having no network, or to
    /// nobody listening at that address.)
    #[tokio::test]
    async fn a_name_that_changes_its_mind_is_refused_at_the_next_attempt() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let resolver = PublicResolver(Arc::new(move |_: String| -> Looking {
            let before = counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let address = [[192, 88, 98, 1], [127, 0, 0, 1]][before.min(1)];
            Box::pin(async move { Ok(vec![SocketAddr::from((address, 0))]) })
        }));
        let client = client(resolver);
        let url = format!("http://rebound.example:{port}/");
        let mut said = vec![];
        for _ in 0..2 {
            let error = client.get(&url).send().await.unwrap_err();
            said.push(format!("{error:?}"));
        }
        assert!(!said[0].contains("internal address"), "{}", said[0]);
        assert!(said[1].contains("internal address"), "{}", said[1]);
        assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 2);
        assert!(listener.accept().is_err(), "somebody connected to loopback");
    }

    #[tokio::test]
    async fn of_many_addresses_the_public_ones_are_left() {
        let resolver = PublicResolver(Arc::new(|_: String| -> Looking {
            let addresses = ["10.0.0.1:0", "1.1.1.1:0", "[::1]:0"];
            let found = addresses.map(|text| text.parse().unwrap()).to_vec();
            Box::pin(async move { Ok(found) })
        }));
        let name = "mixed.example".parse().unwrap();
        let found = resolver.resolve(name).await.unwrap();
        let found: Vec<SocketAddr> = found.collect();
        assert_eq!(found, ["1.1.1.1:0".parse().unwrap()]);
    }
}
