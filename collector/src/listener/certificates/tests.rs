//! Files to a TLS configuration: what is wrong is said with the file's name, and a change counts
//! without a restart.

use std::fs;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;

const NOW_US: i64 = 1_795_392_000_000_000;

/// A folder with a certificate and its key.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        files.renew();
        files
    }

    /// Another certificate with another key.
    fn renew(&self) -> Vec<u8> {
        self.renew_with(|_| {})
    }

    fn renew_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        self.write("key.pem", &key.serialize_pem());
        self.write("cert.pem", &certificate.pem());
        certificate.der().to_vec()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn named(&self, client_ca: Option<&str>) -> CertificateFiles {
        CertificateFiles {
            section: "otlp.tls",
            certificate: self.folder.path().join("cert.pem"),
            key: self.folder.path().join("key.pem"),
            client_ca: client_ca.map(|name| self.folder.path().join(name)),
        }
    }

    fn open(&self, client_ca: Option<&str>) -> Result<Certificates> {
        Certificates::open(self.named(client_ca), Spoken::Http1, NOW_US)
    }
}

#[test]
fn what_cannot_be_used_is_named_with_its_reason() {
    let refused = |spoil: &dyn Fn(&Files), client_ca| {
        let files = Files::new();
        spoil(&files);
        files.open(client_ca).unwrap_err().to_string()
    };
    let remove = |files: &Files| fs::remove_file(files.folder.path().join("key.pem")).unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    type Case<'a> = (&'a dyn Fn(&Files), Option<&'a str>, &'a [&'a str]);
    let cases: [Case<'_>; 8] = [
        (&remove, None, &["otlp.tls.key", "key.pem", "No such file"]),
        (
            &|files| files.write("cert.pem", "nothing\n"),
            None,
            &["otlp.tls.certificate", "cert.pem", "holds no certificate"],
        ),
        (
            &|files| files.write("cert.pem", broken),
            None,
            &["otlp.tls.certificate", "cert.pem", "BadEncoding"],
        ),
        (
            &|files| files.write("key.pem", "nothing\n"),
            None,
            &["otlp.tls.key", "key.pem", "holds no private key"],
        ),
        (
            &|files| files.write("key.pem", &KeyPair::generate().unwrap().serialize_pem()),
            None,
            &["key.pem", "is not the key of", "cert.pem"],
        ),
        (
            &|_| {},
            Some("ca.pem"),
            &["otlp.tls.client_ca", "ca.pem", "No such file"],
        ),
        (
            &|files| files.write("ca.pem", ""),
            Some("ca.pem"),
            &["otlp.tls.client_ca", "ca.pem", "holds no certificate"],
        ),
        (
            &|files| files.write("ca.pem", broken),
            Some("ca.pem"),
            &["otlp.tls.client_ca", "ca.pem", "BadEncoding"],
        ),
    ];
    for (spoil, client_ca, needles) in cases {
        let error = refused(spoil, client_ca);
        for needle in needles {
            assert!(error.contains(needle), "{error} lacks {needle}");
        }
    }
}

#[test]
fn the_end_of_a_certificate_is_noticed_before_and_after() {
    let files = Files::new();
    let days = |certificate: &[u8], days: i64| {
        let certificate = CertificateDer::from(certificate.to_vec());
        state(&certificate, NOW_US + days * 86_400_000_000)
    };
    // Valid from the 23rd of November to the 23rd of December of 2026.
    let certificate = files.renew_with(|params| {
        params.not_before = rcgen::date_time_ymd(2026, 11, 23);
        params.not_after = rcgen::date_time_ymd(2026, 12, 23);
    });
    assert_eq!(days(&certificate, 10), None);
    let soon = days(&certificate, 20).unwrap();
    assert!(
        soon.starts_with("expires at 2026-12-23T00:00:00Z"),
        "{soon}"
    );
    assert_eq!(
        days(&certificate, 31).as_deref(),
        Some("expired at 2026-12-23T00:00:00Z")
    );
    assert_eq!(
        days(&certificate, -1).as_deref(),
        Some("is not valid before 2026-11-23T00:00:00Z")
    );
}

/// The certificate that the next handshake would show.
fn shown(certificates: &Certificates) -> usize {
    Arc::as_ptr(&certificates.current.load_full()) as usize
}

#[test]
fn a_change_counts_without_a_restart_and_half_a_change_does_not() {
    let files = Files::new();
    let certificates = files.open(None).unwrap();
    let first = shown(&certificates);
    certificates.look(NOW_US);
    assert_eq!(shown(&certificates), first, "nothing changed");

    // The key comes first: until its certificate is there, the old two stay.
    let certificate = fs::read(files.folder.path().join("cert.pem")).unwrap();
    files.renew();
    let renewed = fs::read(files.folder.path().join("cert.pem")).unwrap();
    fs::write(files.folder.path().join("cert.pem"), certificate).unwrap();
    certificates.look(NOW_US);
    assert_eq!(shown(&certificates), first);
    let problem = certificates.seen.lock().unwrap().problem.clone();
    assert!(problem.is_some_and(|problem| problem.contains("is not the key of")));
    fs::write(files.folder.path().join("cert.pem"), renewed).unwrap();
    certificates.look(NOW_US);
    assert_ne!(shown(&certificates), first);
    assert_eq!(certificates.seen.lock().unwrap().problem, None);
}
