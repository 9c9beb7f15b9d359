//! Certificate files to a TLS configuration, and again when they change. In: the paths of one
//! door. Out: what an incoming handshake needs, or which file cannot be used and why. A change
//! that cannot be used leaves what is in force: half a rotation must not close the door. Never
//! logs a key.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    CertificateError, Error as TlsError, InconsistentKeys, RootCertStore, ServerConfig,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{ParsedCertificate, WebPkiClientVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::clock::{Clock, rfc3339};

/// How often files are looked at. They are read whole, because links that are swapped keep times.
const LOOK: Duration = Duration::from_secs(2);

/// When the end of a certificate is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// Where the certificates of a door are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    /// The section of the configuration, for messages: `otlp.tls`.
    pub(crate) section: &'static str,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Whoever connects must show a certificate that one of these signed.
    pub(crate) client_ca: Option<PathBuf>,
}

/// What is spoken under TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spoken {
    Http1,
    Http2,
}

/// Which file cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificatesError {
    #[error("cannot read {section}.{key} = {path}: {source}; check the path and who may read it", path = path.display())]
    Unreadable {
        section: &'static str,
        key: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot use {section}.{key} = {path}: {problem}", path = path.display())]
    Unusable {
        section: &'static str,
        key: &'static str,
        path: PathBuf,
        problem: String,
    },
    #[error(
        "cannot use {section}.key = {key}: it is not the key of {section}.certificate = {certificate}; give the two that were made together",
        key = key.display(), certificate = certificate.display()
    )]
    Mismatch {
        section: &'static str,
        key: PathBuf,
        certificate: PathBuf,
    },
}

type Result<T> = std::result::Result<T, CertificatesError>;

/// The certificates of one door.
pub(crate) struct Certificates {
    files: CertificateFiles,
    spoken: Spoken,
    current: ArcSwap<ServerConfig>,
    /// What was read last, and what came of it.
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    contents: Option<Contents>,
    problem: Option<String>,
}

/// The files as they were read.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

impl Certificates {
    /// Reads the files.
    pub(crate) fn open(files: CertificateFiles, spoken: Spoken, now_us: i64) -> Result<Self> {
        let contents = Contents::read(&files)?;
        let config = configure(&files, &contents, spoken)?;
        warn_of_end(&files, &contents, now_us);
        Ok(Self {
            files,
            spoken,
            current: ArcSwap::from_pointee(config),
            seen: Mutex::new(Seen {
                contents: Some(contents),
                problem: None,
            }),
        })
    }

    /// For the next handshake.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Looks at the files until the collector stops.
    pub(crate) async fn follow(
        self: Arc<Self>,
        clock: Arc<dyn Clock>,
        mut stopping: watch::Receiver<bool>,
    ) {
        loop {
            let stopped = stopping.wait_for(|stop| *stop);
            if tokio::time::timeout(LOOK, stopped).await.is_ok() {
                return;
            }
            let (certificates, now_us) = (Arc::clone(&self), clock.now_us());
            // Reading must not hold up connections; a panic there would be said on its own.
            let _ = tokio::task::spawn_blocking(move || certificates.look(now_us)).await;
        }
    }

    /// Takes changed files, if they can be used. A problem is logged when it begins.
    fn look(&self, now_us: i64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = match Contents::read(&self.files) {
            Ok(contents) if seen.contents.as_ref() == Some(&contents) => return,
            Ok(contents) => contents,
            Err(error) => return seen.note(&error),
        };
        match configure(&self.files, &contents, self.spoken) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                tracing::info!(section = self.files.section, "certificates were read again");
                warn_of_end(&self.files, &contents, now_us);
                seen.contents = Some(contents);
                seen.problem = None;
            }
            Err(error) => seen.note(&error),
        }
    }
}

impl Seen {
    fn note(&mut self, error: &CertificatesError) {
        let problem = error.to_string();
        if self.problem.as_ref() != Some(&problem) {
            tracing::error!(
                error = problem,
                "the certificates read before stay in force"
            );
            self.problem = Some(problem);
        }
    }
}

impl Contents {
    fn read(files: &CertificateFiles) -> Result<Self> {
        let read = |key, path: &Path| {
            std::fs::read(path).map_err(|source| CertificatesError::Unreadable {
                section: files.section,
                key,
                path: path.to_owned(),
                source,
            })
        };
        let client_ca = files.client_ca.as_deref();
        Ok(Self {
            certificate: read("certificate", &files.certificate)?,
            key: read("key", &files.key)?,
            client_ca: client_ca.map(|path| read("client_ca", path)).transpose()?,
        })
    }
}

impl CertificateFiles {
    fn unusable(
        &self,
        key: &'static str,
        path: &Path,
        problem: impl ToString,
    ) -> CertificatesError {
        CertificatesError::Unusable {
            section: self.section,
            key,
            path: path.to_owned(),
            problem: problem.to_string(),
        }
    }

    /// The certificates in a PEM file, one at least.
    fn chain(
        &self,
        key: &'static str,
        path: &Path,
        pem: &[u8],
    ) -> Result<Vec<CertificateDer<'static>>> {
        let chain = CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| self.unusable(key, path, format!("{error:?}")))?;
        if chain.is_empty() {
            let problem = "it holds no certificate; give PEM, with BEGIN CERTIFICATE";
            return Err(self.unusable(key, path, problem));
        }
        Ok(chain)
    }
}

/// Only `ring`: one provider for everything we serve, whatever others in the process use.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn configure(
    files: &CertificateFiles,
    contents: &Contents,
    spoken: Spoken,
) -> Result<ServerConfig> {
    let own = certified_key(files, contents)?;
    let certificate = |error: TlsError| files.unusable("certificate", &files.certificate, error);
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(certificate)?;
    let builder = match (&files.client_ca, &contents.client_ca) {
        (Some(path), Some(pem)) => {
            let unusable = |problem: String| files.unusable("client_ca", path, problem);
            let mut roots = RootCertStore::empty();
            for root in files.chain("client_ca", path, pem)? {
                roots
                    .add(root)
                    .map_err(|error| unusable(error.to_string()))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|e| unusable(e.to_string()))?)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = vec![match spoken {
        Spoken::Http1 => b"http/1.1".to_vec(),
        Spoken::Http2 => b"h2".to_vec(),
    }];
    Ok(config)
}

fn certified_key(files: &CertificateFiles, contents: &Contents) -> Result<CertifiedKey> {
    let chain = files.chain("certificate", &files.certificate, &contents.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|_| {
        let problem = "it holds no private key; give PEM without a passphrase";
        files.unusable("key", &files.key, problem)
    })?;
    // Before the key, which would be blamed for what is no certificate.
    ParsedCertificate::try_from(&chain[0])
        .map_err(|error| files.unusable("certificate", &files.certificate, error))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertificatesError::Mismatch {
            section: files.section,
            key: files.key.clone(),
            certificate: files.certificate.clone(),
        },
        error => files.unusable("key", &files.key, error),
    })
}

/// Serving goes on: a client decides for itself, and some trust a certificate by its bytes.
fn warn_of_end(files: &CertificateFiles, contents: &Contents, now_us: i64) {
    let own = ("certificate", &files.certificate, &contents.certificate);
    let ca = files.client_ca.as_ref().zip(contents.client_ca.as_ref());
    let ca = ca.map(|(path, pem)| ("client_ca", path, pem));
    for (key, path, pem) in [own].into_iter().chain(ca) {
        for certificate in CertificateDer::pem_slice_iter(pem).flatten() {
            if let Some(state) = state(&certificate, now_us) {
                let (section, path) = (files.section, path.display());
                tracing::warn!(section, key, %path, "a certificate {state}");
            }
        }
    }
}

/// What is wrong with a certificate's time, if anything is.
fn state(certificate: &CertificateDer<'_>, now_us: i64) -> Option<String> {
    let now = Duration::from_micros(u64::try_from(now_us).unwrap_or(0));
    let shown = |time: UnixTime| {
        let us = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        rfc3339(us.saturating_mul(1_000_000))
    };
    match time_error(certificate, now) {
        Some(CertificateError::ExpiredContext { not_after, .. }) => {
            return Some(format!("expired at {}", shown(not_after)));
        }
        Some(CertificateError::NotValidYetContext { not_before, .. }) => {
            return Some(format!("is not valid before {}", shown(not_before)));
        }
        _ => {}
    }
    match time_error(certificate, now + SOON) {
        Some(CertificateError::ExpiredContext { not_after, .. }) => Some(format!(
            "expires at {}; replace the file before",
            shown(not_after)
        )),
        _ => None,
    }
}

/// Times are checked before trust, so that trusting nobody leaves their error, if there is one.
fn time_error(certificate: &CertificateDer<'_>, at: Duration) -> Option<CertificateError> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let nobody = RootCertStore::empty();
    let algorithms = provider().signature_verification_algorithms.all;
    let at = UnixTime::since_unix_epoch(at);
    match verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], at, algorithms) {
        Err(TlsError::InvalidCertificate(error)) => Some(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
