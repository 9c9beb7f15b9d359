//! Who is who: names from outside to keys of one size. In: identities and windows. Out: keys, the
//! first bytes of a SHA-256, so that no sender can make two names meet; or why headers and body do
//! not belong together.

use fathomline_wire::{
    identity::{self, Identity},
    rejection::Rejection,
};
use sha2::{Digest, Sha256};

use super::devices::Place;
use crate::intake::{Refusal, Window};

/// Headers and body must speak of one device: nothing is trusted because a device sent it.
pub(super) fn check_sender(identity: &Identity, windows: &[Window]) -> Result<(), Refusal> {
    let [window] = windows else {
        return Err(no_window(windows.len()));
    };
    let same_boot = identity::is_of_boot(&identity.boot, &window.boot);
    if window.installation == identity.installation && same_boot {
        return Ok(());
    }
    Err(Refusal::new(
        Rejection::Malformed,
        "the identity headers name another device.id or service.instance.id than the resource",
    ))
}

pub(super) fn no_window(windows: usize) -> Refusal {
    let detail = format!("identity headers promise one window, the body has {windows}");
    Refusal::new(Rejection::Malformed, detail)
}

pub(super) fn place(identity: &Identity, boot: &str) -> Place {
    Place {
        device: device_key(&identity.installation),
        boot: boot_key(&identity.boot),
        of: boot_key(boot),
        sequence: identity.sequence,
    }
}

pub(super) fn relayed_identity(window: &Window) -> Option<Identity> {
    use identity::{is_identifier, is_sequence};
    let sequence = window.sequence.filter(|number| is_sequence(*number))?;
    let valid = is_identifier(&window.installation) && is_identifier(&window.boot);
    valid.then(|| Identity {
        installation: window.installation.clone(),
        boot: window.boot.clone(),
        sequence,
    })
}

/// Whoever sent a window; a sender that names no device is told apart by its service.
pub(super) fn sender_key(window: &Window) -> u128 {
    let first = window.points.first();
    let service = first.map_or("", |point| point.columns.service.as_str());
    match window.installation.as_str() {
        "" if window.boot.is_empty() => device_key(&format!("\u{1f}{service}")),
        "" => device_key(&window.boot),
        installation => device_key(installation),
    }
}

pub(super) fn device_key(name: &str) -> u128 {
    key_of(&Sha256::digest(name).into())
}

/// The key of the device whose name has this digest.
pub(super) fn key_of(digest: &[u8; 32]) -> u128 {
    let first = digest.iter().take(16);
    first.fold(0, |key, byte| key << 8 | u128::from(*byte))
}

pub(super) fn boot_key(name: &str) -> u64 {
    digest_key(&Sha256::digest(name).into())
}

pub(super) fn digest_key(digest: &[u8; 32]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |key, byte| key << 8 | u64::from(*byte))
}
