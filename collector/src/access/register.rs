//! What is known of tokens and devices, in memory. In: rows that changed. Out: what a token opens,
//! and what became of a device. Follows the database by the numbers of its changes, so a command
//! line in another process is heard without a restart.

use std::collections::{HashMap, HashSet};

use subtle::ConstantTimeEq as _;

use super::{Actor, Denied, Role, secret};
use crate::database::{
    credentials::{Changes, DeviceRow, TokenRow},
    erasures::{self, ErasedDigest},
};

/// What a token opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Sends for devices of a fleet, and for those that belong to none.
    Fleet(String),
    /// Sends as one device.
    Device(String),
    /// Asks, or changes.
    Person(Actor),
}

struct Known {
    digest: [u8; 32],
    grant: Grant,
    revoked: bool,
}

/// Tokens by key, devices by name.
#[derive(Default)]
pub(super) struct Register {
    /// The last change that is in here.
    seen: i64,
    tokens: HashMap<String, Known>,
    devices: HashMap<String, DeviceRow>,
    erased: HashSet<ErasedDigest>,
}

impl Register {
    pub(super) fn seen(&self) -> i64 {
        self.seen
    }

    pub(super) fn apply(&mut self, changes: Changes) {
        self.seen = changes.last;
        for row in changes.tokens {
            let known = Known {
                digest: row.digest,
                revoked: row.revoked_us.is_some(),
                grant: grant(&row),
            };
            self.tokens.insert(row.key, known);
        }
        for row in changes.devices {
            self.devices.insert(row.device.clone(), row);
        }
        self.erased.extend(changes.erased);
    }

    /// What a token of ours opens.
    pub(super) fn grant(&self, token: &str) -> Result<Grant, Denied> {
        let known = secret::key_of(token).and_then(|key| self.tokens.get(key));
        let known = known.ok_or(Denied::Unknown)?;
        // Digests have one length whatever was sent: time tells nothing about the secret.
        if !bool::from(secret::digest(token).ct_eq(&known.digest)) {
            return Err(Denied::Unknown);
        }
        match known.revoked {
            true => Err(Denied::Revoked),
            false => Ok(known.grant.clone()),
        }
    }

    pub(super) fn has_erased(&self, device: &str) -> bool {
        !self.erased.is_empty() && self.erased.contains(&erasures::digest_of(device))
    }

    pub(super) fn device(&self, device: &str) -> Option<&DeviceRow> {
        self.devices.get(device)
    }
}

/// The database's checks leave exactly one of the three.
fn grant(row: &TokenRow) -> Grant {
    match (&row.fleet, &row.device) {
        (Some(fleet), _) => Grant::Fleet(fleet.clone()),
        (None, Some(device)) => Grant::Device(device.clone()),
        (None, None) => Grant::Person(Actor {
            name: row.name.clone().unwrap_or_else(|| row.key.clone()),
            role: match row.scope.as_str() {
                "admin" => Role::Admin,
                _ => Role::Viewer,
            },
        }),
    }
}
