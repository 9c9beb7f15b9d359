//! Which batch is this: the key that lets the collector count every window once.
//!
//! In: header values. Out: an [`Identity`], or the reason why there is none. Never trusts a value
//! because a device sent it: identifiers are bounded and of a small alphabet.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::IDENTIFIER_BYTES_MAX;

/// Numbers that a part of a window may have beside the first, which counts as the window itself.
pub const PARTS: std::ops::RangeInclusive<u64> = 2..=64;

/// Number of the first part.
const FIRST_PART: u64 = 1;

/// Stands between an installation and the boot that counts apart, because the installation was
/// cloned; no identifier holds it.
pub const CLONE_MARK: char = '~';

/// One window of one boot of one installation. The same identity always means the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// Random installation identifier (`device.id`), never a serial number.
    pub installation: String,
    /// New at each start of the process (`service.instance.id`).
    pub boot: String,
    /// Counts windows of this boot from 1 upwards, without gaps on the device.
    pub sequence: u64,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}#{}", self.installation, self.boot, self.sequence)
    }
}

/// Why headers do not form an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// Some identity headers are present, this one is not.
    Missing(&'static str),
    /// The header's value is outside of the alphabet, too long, or not a number.
    Invalid(&'static str),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(header) => {
                write!(
                    f,
                    "header {header} is missing beside the other identity headers; send all or none"
                )
            }
            Self::Invalid(header) => write!(
                f,
                "header {header} is not valid; identifiers are 1 to {IDENTIFIER_BYTES_MAX} bytes of [A-Za-z0-9_.:-], the sequence counts from 1, parts are 1 to 64, the clock is a decimal integer"
            ),
        }
    }
}

impl std::error::Error for IdentityError {}

/// What the identity headers of one request said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Which window this is.
    pub identity: Identity,
    /// The body is one part of the window, perhaps its first.
    pub is_part: bool,
    /// The sender's clock at upload, in nanoseconds since the Unix epoch.
    pub clock_unix_nano: Option<u64>,
}

/// Reads the identity headers through `get`. `Ok(None)` when the sender is not our SDK.
///
/// # Errors
/// When only some of the headers are there, or one is malformed.
pub fn from_headers<'a>(
    get: impl Fn(&'static str) -> Option<&'a str>,
) -> Result<Option<Declared>, IdentityError> {
    use crate::names::{
        HEADER_BOOT, HEADER_CLOCK, HEADER_INSTALLATION, HEADER_PART, HEADER_SEQUENCE,
    };
    let required = [HEADER_INSTALLATION, HEADER_BOOT, HEADER_SEQUENCE];
    let present = required.iter().filter(|name| get(name).is_some()).count();
    if present == 0 {
        return Ok(None);
    }
    let text = |name| get(name).ok_or(IdentityError::Missing(name));
    let identifier = |name| {
        let value = text(name)?;
        is_identifier(value)
            .then(|| value.to_owned())
            .ok_or(IdentityError::Invalid(name))
    };
    let number = |name, value: &str| {
        let digits = value.bytes().all(|b| b.is_ascii_digit());
        let parsed = value.parse().ok().filter(|_| digits);
        parsed.ok_or(IdentityError::Invalid(name))
    };
    let mut identity = Identity {
        installation: identifier(HEADER_INSTALLATION)?,
        boot: identifier(HEADER_BOOT)?,
        sequence: number(HEADER_SEQUENCE, text(HEADER_SEQUENCE)?)?,
    };
    if !is_sequence(identity.sequence) {
        return Err(IdentityError::Invalid(HEADER_SEQUENCE));
    }
    let part = get(HEADER_PART).map(|part| number(HEADER_PART, part));
    let part = part.transpose()?;
    if let Some(part) = part.filter(|part| *part != FIRST_PART) {
        identity.boot = boot_of_part(&identity.boot, part)?;
    }
    let clock_unix_nano = get(HEADER_CLOCK)
        .map(|v| number(HEADER_CLOCK, v))
        .transpose()?;
    Ok(Some(Declared {
        identity,
        is_part: part.is_some(),
        clock_unix_nano,
    }))
}

/// The boot under which one part of a window counts: every part has a count of its own, so that it
/// counts once whatever became of the others.
fn boot_of_part(boot: &str, part: u64) -> Result<String, IdentityError> {
    let counted = format!("{boot}:{part}");
    let valid = PARTS.contains(&part) && is_identifier(&counted);
    valid
        .then_some(counted)
        .ok_or(IdentityError::Invalid(crate::names::HEADER_PART))
}

/// Whether an identity's boot is `boot`, which a resource names, or a part of its window.
pub fn is_of_boot(identity_boot: &str, boot: &str) -> bool {
    let Some(rest) = identity_boot.strip_prefix(boot) else {
        return false;
    };
    let part = rest.strip_prefix(':').and_then(|part| part.parse().ok());
    rest.is_empty() || part.is_some_and(|part| PARTS.contains(&part))
}

/// The installation behind a device of the tables: a cloned one counts once for each boot.
pub fn installation_of(device: &str) -> &str {
    device
        .split_once(CLONE_MARK)
        .map_or(device, |(installation, _)| installation)
}

/// Whether a window may have this number: windows are counted from 1, in 63 bits.
pub fn is_sequence(sequence: u64) -> bool {
    (1..=crate::limits::INTEGER_MAX).contains(&sequence)
}

/// Whether `value` may name an installation or a boot: 1 to 64 bytes of `[A-Za-z0-9_.:-]`.
pub fn is_identifier(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= IDENTIFIER_BYTES_MAX
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
}

/// Whether `value` may be a declared label: 1 to 32 bytes of `[a-z0-9_.-]`.
pub fn is_label(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= crate::limits::LABEL_BYTES_MAX
        && value
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{
        HEADER_BOOT, HEADER_CLOCK, HEADER_INSTALLATION, HEADER_PART, HEADER_SEQUENCE,
    };

    /// The boot that headers with this boot and part make.
    fn boot_of(boot: &str, part: &str) -> Result<String, IdentityError> {
        let get = |name: &'static str| match name {
            HEADER_INSTALLATION => Some("i-1"),
            HEADER_BOOT => Some(boot),
            HEADER_SEQUENCE => Some("7"),
            HEADER_PART => Some(part),
            _ => None,
        };
        from_headers(get).map(|declared| declared.unwrap().identity.boot)
    }

    #[test]
    fn a_part_counts_under_a_boot_of_its_own() {
        assert_eq!(boot_of("b-1", "2"), Ok("b-1:2".into()));
        assert_eq!(boot_of("b-1", "64"), Ok("b-1:64".into()));
        assert_eq!(boot_of("b-1", "1"), Ok("b-1".into()), "the window itself");
        let invalid = Err(IdentityError::Invalid(HEADER_PART));
        for part in ["0", "65", "", "-2", "+2", "two", "99999999999999999999"] {
            assert_eq!(boot_of("b-1", part), invalid, "{part:?}");
        }
        // A boot that leaves no room for the part would be no identifier any more.
        assert_eq!(
            boot_of(&"b".repeat(61), "64").map(|boot| boot.len()),
            Ok(64)
        );
        assert_eq!(boot_of(&"b".repeat(62), "64"), invalid);
    }

    #[test]
    fn a_clone_is_of_its_installation() {
        assert_eq!(installation_of("i-1~0a1b2c3d"), "i-1");
        assert_eq!(installation_of("i-1"), "i-1");
    }

    #[test]
    fn a_part_is_of_the_boot_that_its_resource_names_and_of_no_other() {
        assert!(is_of_boot("b-1", "b-1") && is_of_boot("b-1:2", "b-1"));
        for other in ["b-2", "b-1:1", "b-1:65", "b-1:", "b-1:x", "b-12", "b"] {
            assert!(!is_of_boot(other, "b-1"), "{other}");
        }
    }

    #[test]
    fn all_headers_make_an_identity_and_none_make_none() {
        let get = |name: &'static str| match name {
            HEADER_INSTALLATION => Some("i-1"),
            HEADER_BOOT => Some("b-1"),
            HEADER_SEQUENCE => Some("7"),
            HEADER_CLOCK => Some("1700000000000000000"),
            _ => None,
        };
        let declared = from_headers(get).unwrap().unwrap();
        assert_eq!(declared.identity.to_string(), "i-1/b-1#7");
        assert_eq!(declared.clock_unix_nano, Some(1_700_000_000_000_000_000));
        assert_eq!(from_headers(|_| None).unwrap(), None);
    }

    #[test]
    fn a_partial_or_hostile_identity_is_refused_with_the_header_named() {
        let partial = from_headers(|name| (name == HEADER_BOOT).then_some("b"));
        assert_eq!(partial, Err(IdentityError::Missing(HEADER_INSTALLATION)));
        for sequence in ["-1", "+2", "0", "", "1.0", "9223372036854775808"] {
            let hostile = from_headers(|name| {
                Some(if name == HEADER_SEQUENCE {
                    sequence
                } else {
                    "x"
                })
            });
            let invalid = Err(IdentityError::Invalid(HEADER_SEQUENCE));
            assert_eq!(hostile, invalid, "{sequence:?}");
        }
        assert!(!is_identifier("a b") && !is_identifier("") && !is_identifier(&"x".repeat(65)));
        assert!(is_label("set.target_1") && !is_label("Set") && !is_label(&"x".repeat(33)));
    }
}
