//! The three doors, opened or refused. In: the configuration. Out: listeners and their
//! certificates. Owns the rule that a door is not opened wider than loopback unless whoever comes
//! in has to prove something, or the operator insists.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    collector::StartError,
    config::Config,
    listener::{
        Listener,
        certificates::{CertificateFiles, Certificates, Spoken},
    },
};

/// Open, and not yet served.
pub(crate) struct Doors {
    pub(crate) http: Listener,
    pub(crate) otlp_http: Listener,
    pub(crate) otlp_grpc: Listener,
    /// To be read again when they change.
    pub(crate) certificates: Vec<Arc<Certificates>>,
}

/// One door, as the configuration has it.
struct Plan<'a> {
    name: &'static str,
    flag: &'static str,
    address: SocketAddr,
    section: &'static str,
    /// What anyone could do there who has to prove nothing.
    deed: &'static str,
    require_token: bool,
    tls: Option<&'a CertificateFiles>,
    spoken: Spoken,
}

impl Doors {
    pub(crate) async fn open(config: &Config, now_us: i64) -> Result<Self, StartError> {
        let dashboard = Plan {
            name: "dashboard and API",
            flag: "--http",
            address: config.http,
            section: "http",
            deed: "read everything",
            require_token: config.access.read,
            tls: config.http_tls.as_ref(),
            spoken: Spoken::Http1,
        };
        let otlp = |name, flag, address, spoken| Plan {
            name,
            flag,
            address,
            section: "otlp",
            deed: "write",
            require_token: config.access.send,
            tls: config.otlp_tls.as_ref(),
            spoken,
        };
        let otlp_http = otlp("OTLP/HTTP", "--otlp-http", config.otlp_http, Spoken::Http1);
        let otlp_grpc = otlp("OTLP/gRPC", "--otlp-grpc", config.otlp_grpc, Spoken::Http2);
        let plans = [&dashboard, &otlp_http, &otlp_grpc];
        for plan in plans {
            plan.check(config.insecure)?;
        }
        let mut certificates = vec![];
        let mut open = async |plan: &Plan<'_>| plan.open(&mut certificates, now_us).await;
        Ok(Self {
            http: open(&dashboard).await?,
            otlp_http: open(&otlp_http).await?,
            otlp_grpc: open(&otlp_grpc).await?,
            certificates,
        })
    }
}

impl Plan<'_> {
    fn check(&self, insecure: bool) -> Result<(), StartError> {
        if self.address.ip().is_loopback() || insecure {
            return Ok(());
        }
        let certified = self.tls.is_some_and(|tls| tls.client_ca.is_some());
        if !self.require_token && !certified {
            return Err(StartError::Exposed {
                address: self.address,
                deed: self.deed,
                section: self.section,
            });
        }
        if self.tls.is_none() {
            let (address, section) = (self.address, self.section);
            tracing::warn!(
                %address, section,
                "tokens come in the clear; name {section}.tls.certificate, or put TLS in front"
            );
        }
        Ok(())
    }

    async fn open(
        &self,
        opened: &mut Vec<Arc<Certificates>>,
        now_us: i64,
    ) -> Result<Listener, StartError> {
        let tls = self.tls.cloned();
        let tls = tls.map(|files| Certificates::open(files, self.spoken, now_us).map(Arc::new));
        let tls = tls.transpose().map_err(StartError::room)?;
        opened.extend(tls.clone());
        let listener = Listener::bind(self.address, tls).await;
        listener.map_err(|source| StartError::Listen {
            address: self.address,
            door: self.name,
            source,
            flag: self.flag,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(address: &str) -> Plan<'static> {
        Plan {
            name: "OTLP/HTTP",
            flag: "--otlp-http",
            address: address.parse().unwrap(),
            section: "otlp",
            deed: "write",
            require_token: false,
            tls: None,
            spoken: Spoken::Http1,
        }
    }

    fn files(client_ca: Option<&str>) -> CertificateFiles {
        CertificateFiles {
            section: "otlp.tls",
            certificate: "c.pem".into(),
            key: "k.pem".into(),
            client_ca: client_ca.map(Into::into),
        }
    }

    #[test]
    fn only_who_proves_something_comes_in_from_elsewhere() {
        for loopback in ["127.0.0.1:1", "[::1]:1"] {
            assert!(plan(loopback).check(false).is_ok());
        }
        let refused = plan("0.0.0.0:4318").check(false).unwrap_err().to_string();
        for needle in [
            "refusing to listen on 0.0.0.0:4318",
            "could write",
            "otlp.require_token = true",
            "otlp.tls.client_ca",
            "--insecure",
        ] {
            assert!(refused.contains(needle), "{refused} lacks {needle}");
        }
        assert!(plan("0.0.0.0:4318").check(true).is_ok());
        let (own, mutual) = (files(None), files(Some("ca.pem")));
        let with = |require_token, tls| Plan {
            require_token,
            tls,
            ..plan("[::]:4318")
        };
        // A certificate of our own says who we are, not who comes.
        assert!(with(false, Some(&own)).check(false).is_err());
        assert!(with(false, Some(&mutual)).check(false).is_ok());
        assert!(with(true, None).check(false).is_ok());
        assert!(with(true, Some(&own)).check(false).is_ok());
    }
}
