//! Standard Webhooks: the event as it is, signed with every secret of the file. The id is the same
//! at every attempt; the time, and so the signature, is that of the attempt.

use std::path::Path;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::super::{
    kept_file::KeptFile,
    signature::{SecretError, Secrets},
};

/// Secrets that are read again at each attempt.
pub(crate) struct Signing(KeptFile<Secrets>);

impl Signing {
    pub(super) fn open(secret_file: &Path) -> Result<Self, SecretError> {
        KeptFile::open(secret_file, Secrets::read).map(Self)
    }

    /// Adds the three headers of the specification.
    pub(super) fn sign(&self, headers: &mut HeaderMap, id: &str, timestamp_s: i64, body: &str) {
        let signature = self.0.now(Secrets::read).sign(id, timestamp_s, body);
        for (name, value) in [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp_s.to_string()),
            ("webhook-signature", signature),
        ] {
            let value = HeaderValue::from_str(&value)
                .expect("ids are hexadecimal, times are digits and signatures base64");
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}
