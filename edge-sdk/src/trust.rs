//! Whom uploads trust, and how they show who they are. In: paths of PEM files. Out: what the HTTP
//! client needs for TLS, or which file cannot be used and why. Files are read once, when the line
//! starts. Never shows a key.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    InconsistentKeys, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::{builder::Builder, error::Error};

/// Files that a builder was given; none of them was read yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    pub(crate) root: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl Builder {
    /// Trusts the certificates in this PEM file, and no public ones: for a collector whose
    /// certificate a private authority signed. Read when the line starts.
    pub fn root_certificate(mut self, path: impl Into<PathBuf>) -> Self {
        self.destination.trust.root = Some(path.into());
        self
    }

    /// Shows a certificate to a collector that asks for one: PEM files with the certificate, those
    /// that signed it after it, and its key. Read when the line starts.
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.destination.trust.certificate = Some(certificate.into());
        self.destination.trust.key = Some(key.into());
        self
    }
}

impl Trust {
    /// Reads the files; none when there are none.
    pub(crate) fn read(&self) -> Result<Option<TlsConfig>, Error> {
        let client = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some(client(certificate, key)?),
            (Some(path), None) => return Err(unusable(path, "its key is not named")),
            (None, Some(path)) => return Err(unusable(path, "the certificate is not named")),
            (None, None) => None,
        };
        let root = self.root.as_deref().map(roots).transpose()?;
        if client.is_none() && root.is_none() {
            return Ok(None);
        }
        let config = TlsConfig::builder()
            .client_cert(client)
            .root_certs(root.unwrap_or(RootCerts::WebPki))
            // The one that the key was tried with, whatever the application has installed.
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
        Ok(Some(config.build()))
    }
}

fn roots(path: &Path) -> Result<RootCerts, Error> {
    let chain = chain(path)?;
    let mut store = RootCertStore::empty();
    for certificate in &chain {
        let added = store.add(certificate.clone());
        added.map_err(|error| unusable(path, error))?;
    }
    Ok(RootCerts::new_with_certs(&for_client(&chain)))
}

/// Tried here first: the client panics on a certificate and a key that do not belong together.
fn client(certificate: &Path, key: &Path) -> Result<ClientCert, Error> {
    let chain = chain(certificate)?;
    let pem = read(key)?;
    let none = || {
        unusable(
            key,
            "it holds no private key; give PEM without a passphrase",
        )
    };
    let secret = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| none())?;
    let provider = ring::default_provider();
    CertifiedKey::from_der(chain.clone(), secret, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let certificate = certificate.display();
            unusable(key, format!("it is not the key of {certificate}"))
        }
        error => unusable(
            certificate,
            format!("{error}, with the key {}", key.display()),
        ),
    })?;
    // The same bytes again: the client takes a type of its own.
    let secret = PrivateKey::from_pem(&pem).map_err(|_| none())?;
    Ok(ClientCert::new_with_certs(&for_client(&chain), secret))
}

fn for_client(chain: &[CertificateDer<'static>]) -> Vec<Certificate<'static>> {
    let chain = chain.iter();
    chain
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect()
}

/// The certificates of a file, one at least.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| unusable(path, format!("{error:?}")))?;
    match chain.is_empty() {
        true => Err(unusable(path, "it holds no certificate; give PEM")),
        false => Ok(chain),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| unusable(path, error))
}

fn unusable(path: &Path, problem: impl ToString) -> Error {
    Error::Certificate {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, generate_simple_self_signed};

    use super::*;

    #[test]
    fn what_cannot_be_used_is_named_before_the_line_starts() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let pair = generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let certificate = file("cert.pem", &pair.cert.pem());
        let key = file("key.pem", &pair.signing_key.serialize_pem());
        let other = file("other.pem", &KeyPair::generate().unwrap().serialize_pem());
        let empty = file("empty.pem", "");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let broken = file("broken.pem", broken);
        let missing = folder.path().join("missing.pem");
        let builder = || crate::Fathomline::builder("m", "1");
        for (builder, needles) in [
            (
                builder().root_certificate(&missing),
                ["missing.pem", "No such file"],
            ),
            (
                builder().root_certificate(&empty),
                ["empty.pem", "no certificate"],
            ),
            (
                builder().root_certificate(&broken),
                ["broken.pem", "BadEncoding"],
            ),
            (
                builder().client_certificate(&certificate, &other),
                ["other.pem", "is not the key of"],
            ),
            (
                builder().client_certificate(&certificate, &empty),
                ["empty.pem", "no private key"],
            ),
            (
                builder().client_certificate(&broken, &key),
                ["broken.pem", "BadEncoding"],
            ),
        ] {
            // A spool that cannot be used would be the next error.
            let started = builder.spool(folder.path().join("spool")).start();
            let error = started.err().unwrap().to_string();
            for needle in needles {
                assert!(error.contains(needle), "{error} lacks {needle}");
            }
        }
        let mut half = builder();
        half.destination.trust.key = Some(key.clone());
        let error = half.start().err().unwrap().to_string();
        assert!(error.contains("certificate is not named"), "{error}");
        let good = builder().client_certificate(&certificate, &key);
        let good = good.root_certificate(&certificate).destination.trust;
        assert!(good.read().unwrap().is_some());
        assert!(Trust::default().read().unwrap().is_none());
    }
}
