//! Standard Webhooks signatures: HMAC-SHA256 over `id.timestamp.body`.
//!
//! In: secrets from a file, what is to be signed. Out: the value of `webhook-signature`. A secret
//! is changed without a gap: the new one is written beside the old one, every attempt is signed
//! with both, and the old one is taken out once the receiver has the new one. Never: a secret in a
//! log, an error or a debug print.

use std::{fmt, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

const PREFIX: &str = "whsec_";
/// The specification's bounds: shorter is guessable, longer is a mistake.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Two are in use while one replaces the other; more only make a header that nobody reads.
const SECRETS_MAX: usize = 4;

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("{path}: {source}; put the secret into this file, readable by the collector")]
    Read {
        path: String,
        source: std::io::Error,
    },
    #[error(
        "{0} must hold whsec_ followed by the base64 of 24 to 64 random bytes, on each of one to four lines"
    )]
    Malformed(String),
}

/// Shared secrets: each of them signs.
#[derive(Clone)]
pub(crate) struct Secrets(Vec<Vec<u8>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Secrets {
    /// Reads `whsec_...` from a file, one on each line; white space around them is ignored.
    pub(crate) fn read(path: &Path) -> Result<Self, SecretError> {
        let text = std::fs::read_to_string(path).map_err(|source| SecretError::Read {
            path: path.display().to_string(),
            source,
        })?;
        Self::parse(&text).ok_or_else(|| SecretError::Malformed(path.display().to_string()))
    }

    fn parse(text: &str) -> Option<Self> {
        let secrets: Option<Vec<_>> = text.split_whitespace().map(secret).collect();
        let secrets = secrets?;
        (1..=SECRETS_MAX)
            .contains(&secrets.len())
            .then_some(Self(secrets))
    }

    /// The value of `webhook-signature` for one attempt: a signature of each, in the order of the
    /// file.
    pub(crate) fn sign(&self, id: &str, timestamp_s: i64, body: &str) -> String {
        let signed = self.0.iter().map(|key| sign(key, id, timestamp_s, body));
        signed.collect::<Vec<_>>().join(" ")
    }

    /// Whether one of the signatures of a header is one of ours, of this message: several on either
    /// side are how secrets change.
    pub(crate) fn signed(&self, (id, timestamp_s): (&str, i64), body: &str, header: &str) -> bool {
        self.0.iter().any(|key| {
            let ours = sign(key, id, timestamp_s, body);
            let mut theirs = header.split(' ');
            theirs.any(|theirs| bool::from(theirs.as_bytes().ct_eq(ours.as_bytes())))
        })
    }
}

fn secret(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64_STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
    SECRET_BYTES.contains(&bytes.len()).then_some(bytes)
}

fn sign(key: &[u8], id: &str, timestamp_s: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)
        .expect("HMAC takes a key of any length, and ours has 24 to 64 bytes");
    for part in [id, ".", &timestamp_s.to_string(), ".", body] {
        mac.update(part.as_bytes());
    }
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    // The expected value was computed by Python's hmac module and by OpenSSL, which agreed.
    #[test]
    fn a_signature_equals_what_other_implementations_compute() {
        let body =
            r#"{"type":"fathomline.webhook.test","timestamp":"2026-11-23T00:00:00Z","data":{}}"#;
        let secret = Secrets::parse(SECRET).unwrap();
        assert_eq!(
            secret.sign("evt_0123456789abcdef", 1_763_856_000, body),
            "v1,30xzZrJkC4G/5BX417b5gvX7XUNJLBxvMXom7NAme3w="
        );
    }

    #[test]
    fn either_side_may_have_a_new_secret_first() {
        let other = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let (old, new) = (
            Secrets::parse(SECRET).unwrap(),
            Secrets::parse(other).unwrap(),
        );
        let both = Secrets::parse(&format!("{SECRET}\n{other}")).unwrap();
        let of = |secrets: &Secrets| secrets.sign("m", 1, "{}");
        assert!(both.signed(("m", 1), "{}", &of(&new)) && both.signed(("m", 1), "{}", &of(&old)));
        assert!(new.signed(("m", 1), "{}", &of(&both)) && old.signed(("m", 1), "{}", &of(&both)));
        assert!(!new.signed(("m", 1), "{}", &of(&old)) && !new.signed(("m", 1), "{}", ""));
    }

    #[test]
    fn id_time_and_body_are_all_signed() {
        let secret = Secrets::parse(SECRET).unwrap();
        let signed = secret.sign("evt_1", 1, "{}");
        for other in [secret.sign("evt_2", 1, "{}"), secret.sign("evt_1", 2, "{}")] {
            assert_ne!(signed, other);
        }
        assert_ne!(signed, secret.sign("evt_1", 1, "{} "));
    }

    #[test]
    fn a_secret_is_read_from_its_file_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, format!("{SECRET}\n")).unwrap();
        assert_eq!(
            format!("{:?}", Secrets::read(&path).unwrap()),
            "Secrets(..)"
        );
        for wrong in [
            "",
            "whsec_",
            "whsec_AAAA",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            &format!("{SECRET}\nwhsec_AAAA"),
            &[SECRET; 5].join("\n"),
        ] {
            std::fs::write(&path, wrong).unwrap();
            let error = Secrets::read(&path).unwrap_err().to_string();
            assert!(error.contains("24 to 64 random bytes"), "{error}");
        }
        let absent = Secrets::read(&folder.path().join("absent"))
            .unwrap_err()
            .to_string();
        assert!(absent.contains("absent"), "{absent}");
    }

    #[test]
    fn while_a_secret_is_replaced_both_sign() {
        const NEXT: &str = "whsec_HxAREhMUFRYXGBkaGxwdHgABAgMEBQYHCAkKCwwNDg8=";
        let both = Secrets::parse(&format!("{NEXT}\n{SECRET}\n")).unwrap();
        let signed = both.sign("evt_1", 1, "{}");
        let each = [NEXT, SECRET].map(|one| Secrets::parse(one).unwrap().sign("evt_1", 1, "{}"));
        assert_eq!(signed, each.join(" "));
        assert_ne!(each[0], each[1]);
    }
}
