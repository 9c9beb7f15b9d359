//! Standard Webhooks, written from the specification: HMAC-SHA256 over `id.timestamp.body`. In:
//! headers, body, now. Out: the delivery's id, or why it is refused; the signature of an answer.
//! Comparison takes the same time wherever the bytes differ.

use axum::http::HeaderMap;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

/// An older or newer delivery may be a recording played again.
const TOLERANCE_S: i64 = 5 * 60;
const SECRET_BYTES: usize = 32;

/// Why a delivery is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("it lacks one of webhook-id, webhook-timestamp and webhook-signature")]
    Headers,
    #[error("its timestamp is more than five minutes from now")]
    Timestamp,
    #[error("its signature was not made with our secret")]
    Signature,
}

/// What sender and receiver share.
#[derive(Clone)]
pub struct Secret([u8; SECRET_BYTES]);

impl Secret {
    /// A new secret from the thread's cryptographic generator.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// As it is handed to the sender.
    pub fn text(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0))
    }

    /// The id of a delivery that was signed with this secret, recently.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now_s: i64) -> Result<String, Refusal> {
        let header = |name| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.ok_or(Refusal::Headers)
        };
        let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
        let signatures = header("webhook-signature")?;
        let sent_s: i64 = timestamp.parse().map_err(|_| Refusal::Timestamp)?;
        if now_s.abs_diff(sent_s) > TOLERANCE_S.unsigned_abs() {
            return Err(Refusal::Timestamp);
        }
        // A list, so that a sender can sign with an old and a new secret while it changes them.
        let ours = signatures.split(' ').any(|entry| {
            let encoded = entry.strip_prefix("v1,").unwrap_or_default();
            let signature = STANDARD.decode(encoded).unwrap_or_default();
            self.digest(id, timestamp, body)
                .verify_slice(&signature)
                .is_ok()
        });
        if ours {
            Ok(id.to_owned())
        } else {
            Err(Refusal::Signature)
        }
    }

    fn digest(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut digest = Hmac::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            digest.update(part);
        }
        digest
    }

    /// The header that vouches for a message of ours.
    pub(crate) fn sign(&self, id: &str, now_s: i64, body: &[u8]) -> String {
        let digest = self.digest(id, &now_s.to_string(), body).finalize();
        format!("v1,{}", STANDARD.encode(digest.into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"test":2432232314}"#;

    fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", id),
            ("webhook-timestamp", timestamp),
            ("webhook-signature", signature),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        headers
    }

    fn secret() -> Secret {
        Secret(std::array::from_fn(|index| index as u8))
    }

    // The signature was computed with Python's hmac and base64 modules.
    #[test]
    fn a_signature_made_elsewhere_verifies() {
        assert_eq!(
            secret().text(),
            "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
        );
        let made = "v1,pdY93Mv/rl7lSuXvtePW1L00bBT3C2pcaOgXPFcveGs=";
        let headers = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", made);
        let id = secret().verify(&headers, BODY, 1_614_265_330).unwrap();
        assert_eq!(id, "msg_p5jXN8AQM9LWM0D4loKWxJek");
    }

    #[test]
    fn whatever_is_changed_is_refused() {
        let signature = secret().sign("a", 1_000, BODY);
        let verify = |id: &str, timestamp: &str, signature: &str, body: &[u8], now_s| {
            secret().verify(&headers(id, timestamp, signature), body, now_s)
        };
        let ok = Ok("a".to_owned());
        assert_eq!(verify("a", "1000", &signature, BODY, 1_000), ok);
        let several = format!("v1a,x v1,!! v1, {signature}");
        assert_eq!(verify("a", "1000", &several, BODY, 1_300), ok);

        let refused = Err(Refusal::Signature);
        assert_eq!(verify("b", "1000", &signature, BODY, 1_000), refused);
        assert_eq!(verify("a", "1001", &signature, BODY, 1_000), refused);
        assert_eq!(verify("a", "1000", &signature, b"{}", 1_000), refused);
        assert_eq!(verify("a", "1000", "v1,", BODY, 1_000), refused);
        let other = Secret::random().verify(&headers("a", "1000", &signature), BODY, 1_000);
        assert_eq!(other, refused);

        let late = Err(Refusal::Timestamp);
        assert_eq!(verify("a", "1000", &signature, BODY, 1_301), late);
        assert_eq!(verify("a", "1000", &signature, BODY, 699), late);
        assert_eq!(verify("a", "soon", &signature, BODY, 1_000), late);
        let none = secret().verify(&HeaderMap::new(), BODY, 1_000);
        assert_eq!(none, Err(Refusal::Headers));
    }
}
