//! Why a collector was not reached. In: its URL. Out: a sentence that names the first step which
//! fails: name, connection, or what is spoken over it. Sends nothing.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// What stands between this device and `endpoint`.
pub(crate) fn explained(endpoint: &str) -> String {
    let Some((scheme, host, port)) = address(endpoint) else {
        return "not reached: the URL names no host".to_owned();
    };
    let addresses = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(error) => {
            return format!("not reached: no address for the name {host} ({error}); check DNS");
        }
    };
    let mut failed = None;
    for address in &addresses {
        match TcpStream::connect_timeout(address, CONNECT_LIMIT) {
            Ok(_) if scheme == "https" => {
                return format!(
                    "not reached: {address} answers, but not with TLS that this device trusts; \
                     check the certificate, its name and the device's clock, or use http"
                );
            }
            Ok(_) => {
                return format!("not reached: {address} answers, but not with HTTP in time");
            }
            Err(error) => failed = Some((address, error)),
        }
    }
    match failed {
        Some((address, error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            format!("not reached: nothing listens on {address}; check the port")
        }
        Some((address, error)) => {
            format!("not reached: no connection to {address} ({error}); check firewall and network")
        }
        None => format!("not reached: the name {host} has no address; check DNS"),
    }
}

/// Scheme, host and port of a URL.
fn address(endpoint: &str) -> Option<(&str, &str, u16)> {
    let (scheme, rest) = endpoint.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let authority = authority.rsplit('@').next()?;
    let default = if scheme == "https" { 443 } else { 80 };
    // A colon inside of brackets is part of an IPv6 address.
    let split = authority
        .rsplit_once(':')
        .filter(|(_, port)| !port.ends_with(']'));
    let (host, port) = match split {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, default),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then_some((scheme, host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_found_in_every_form() {
        for (url, found) in [
            ("http://127.0.0.1:4318", ("http", "127.0.0.1", 4318)),
            (
                "https://relay.example/otlp",
                ("https", "relay.example", 443),
            ),
            ("http://[::1]:4318/v1", ("http", "::1", 4318)),
            ("http://[::1]", ("http", "::1", 80)),
            ("http://user:word@host:1/x", ("http", "host", 1)),
        ] {
            assert_eq!(address(url), Some(found), "{url}");
        }
        assert_eq!(address("http://:4318"), None);
        assert_eq!(address("host"), None);
    }

    #[test]
    fn the_first_step_that_fails_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(explained(&format!("https://{address}")).contains("TLS"));
        assert!(explained(&format!("http://{address}")).contains("not with HTTP"));
        drop(listener);
        assert!(explained(&format!("http://{address}")).contains("nothing listens"));
        assert!(explained("http://no..name:1").contains("DNS"));
    }
}
