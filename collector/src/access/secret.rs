//! What a token looks like: `fathomline_<key>_<secret>`. In: random bytes, or what somebody sent.
//! Out: a new token, the key that names one, the digest that is kept of one. The key is public; the
//! secret has 256 bits, so a plain digest is as hard to turn back as the secret is to guess. Never
//! shows a secret in a log.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// Tells our tokens from what a sender means for somebody else, also to scanners of leaked secrets.
const PREFIX: &str = "fathomline_";
const KEY_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;

/// A new token.
pub(crate) struct Secret {
    /// Public: names the token.
    pub(crate) key: String,
    /// The whole token, to be shown once.
    pub(crate) text: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {}", self.key)
    }
}

impl Secret {
    /// Draws a token.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let (mut key, mut secret) = ([0; KEY_BYTES], [0; SECRET_BYTES]);
        getrandom::fill(&mut key)?;
        getrandom::fill(&mut secret)?;
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("{PREFIX}{key}_{}", BASE64_URL_SAFE_NO_PAD.encode(secret));
        Ok(Self { key, text })
    }
}

/// The key that names a token of ours; none when it is not one.
pub(super) fn key_of(token: &str) -> Option<&str> {
    let (key, _secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
    Some(key)
}

/// What is kept of a token.
pub(crate) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_key_and_no_two_are_alike() {
        let (one, two) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_eq!(key_of(&one.text), Some(one.key.as_str()));
        assert_eq!(one.key.len(), 12);
        assert!(one.text.len() >= 11 + 12 + 1 + 43, "{}", one.text.len());
        assert_ne!(one.text, two.text);
        assert!(!format!("{one:?}").contains(&one.text));
        for other in [
            "",
            "fathomline_",
            "fathomline_abc",
            "Fathomline_a_b",
            "x_a_b",
        ] {
            assert_eq!(key_of(other), None, "{other}");
        }
    }
}
