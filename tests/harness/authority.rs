//! Signs certificates for doors and devices. In: names. Out: PEM files in a folder of its own, as
//! an operator would have them. Every authority is another one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use tempfile::TempDir;

/// An authority nobody knows but those who are told.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as files.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            folder,
        }
    }

    /// The authority's own certificate.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// For a door on this machine.
    pub(crate) fn door(&self) -> Pair {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign("door", &params)
    }

    /// For a device, which the certificate may name.
    pub(crate) fn device(&self, device: Option<&str>) -> Pair {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let uri = device.map(|device| format!("urn:fathomline:device:{device}"));
        let uri = uri.map(|uri| SanType::URI(uri.try_into().unwrap()));
        params.subject_alt_names.extend(uri);
        self.sign(device.unwrap_or("any-device"), &params)
    }

    fn sign(&self, name: &str, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pair = Pair {
            certificate: self.folder.path().join(format!("{name}.pem")),
            key: self.folder.path().join(format!("{name}.key")),
        };
        fs::write(&pair.certificate, certificate.pem()).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }
}

impl Pair {
    /// The same files with another authority's content.
    pub(crate) fn become_like(&self, other: &Self) {
        fs::copy(&other.key, &self.key).unwrap();
        fs::copy(&other.certificate, &self.certificate).unwrap();
    }

    /// The section of a configuration that names these files.
    pub(crate) fn section(&self, name: &str, client_ca: Option<&Path>) -> String {
        let client_ca = client_ca.map(|path| format!("client_ca = {path:?}\n"));
        format!(
            "[{name}.tls]\ncertificate = {:?}\nkey = {:?}\n{}",
            self.certificate,
            self.key,
            client_ca.unwrap_or_default()
        )
    }
}
