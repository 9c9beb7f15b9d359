//! For whom a sender may send. In: headers, what its certificate said, and what it sent. Out: a
//! [`Sender`], an arrival without what it may not send, or the refusal that says why. A revoked
//! device is refused whoever sends for it; others that came with it in one request are not.

use std::net::IpAddr;

use axum::http::{HeaderMap, header::AUTHORIZATION};
use fathomline_wire::rejection::Rejection;
use sha2::{Digest, Sha256};

use super::{Access, Denied, Grant, secret, token_in};
use crate::intake::{Arrival, Refusal};

/// What a client certificate says beyond that its authority is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Certified {
    /// The device that it names, if it names one.
    pub(crate) device: Option<String>,
}

/// Who sends, for as far as it had to be shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sender {
    grant: Option<Grant>,
    certified: Option<Certified>,
}

/// Where a request comes from.
pub(crate) struct Origin<'a> {
    pub(crate) address: IpAddr,
    pub(crate) certified: Option<&'a Certified>,
    pub(crate) now_us: i64,
}

impl Sender {
    /// Whether it sent a token at all.
    pub(super) fn is_known(&self) -> bool {
        self.grant.is_some()
    }

    /// Names the token's bearer for the books; 0 without a token.
    pub(crate) fn number(&self) -> u64 {
        let bearer = match &self.grant {
            Some(Grant::Fleet(fleet)) => format!("fleet {fleet}"),
            Some(Grant::Device(device)) => format!("device {device}"),
            Some(Grant::Person(_)) | None => return 0,
        };
        let digest = Sha256::digest(bearer);
        let word = digest.first_chunk::<8>();
        word.map_or(0, |bytes| u64::from_le_bytes(*bytes)).max(1)
    }

    /// The fleet whose token was sent.
    pub(super) fn fleet(&self) -> Option<&str> {
        match &self.grant {
            Some(Grant::Fleet(fleet)) => Some(fleet),
            _ => None,
        }
    }
}

impl Access {
    /// Who sends a request. A token of ours is checked even where none is needed: one that was
    /// revoked opens nothing. What is no token of ours is then meant for somebody in between.
    pub(crate) fn sender(
        &self,
        headers: &HeaderMap,
        origin: &Origin<'_>,
    ) -> Result<Sender, Refusal> {
        let value = headers.get(AUTHORIZATION);
        let token = value.and_then(token_in);
        let grant = match token.as_deref() {
            Some(token) if self.rules.send || secret::key_of(token).is_some() => {
                self.grant(token).map(Some)
            }
            None if self.rules.send && value.is_some() => Err(Denied::Unknown),
            None if self.rules.send => Err(Denied::Absent),
            _ => Ok(None),
        };
        match grant {
            Ok(Some(Grant::Person(actor))) if actor.role < super::Role::Admin => {
                Err(refusal(Denied::ReadsOnly))
            }
            Ok(grant) => Ok(Sender {
                grant,
                certified: origin.certified.cloned(),
            }),
            Err(Denied::Absent) => Err(refusal(Denied::Absent)),
            Err(denied) => Err(match self.failed(origin.address, origin.now_us) {
                None => refusal(denied),
                Some(wait) => Refusal::new(
                    Rejection::Attempts,
                    format!("counting starts again in {} s", wait.as_secs() + 1),
                ),
            }),
        }
    }

    /// Takes out of an arrival what its sender may not send.
    ///
    /// # Errors
    /// When that is the batch's identity, or everything.
    pub(crate) fn admit(&self, sender: &Sender, arrival: &mut Arrival) -> Result<(), Refusal> {
        let forbidden = |why| Refusal::new(Rejection::Forbidden, why);
        let declared = arrival.declared.as_ref();
        if let Some(why) = declared.and_then(|d| self.barred(sender, &d.identity.installation)) {
            return Err(forbidden(why));
        }
        let mut last = None;
        let rejected = &mut arrival.rejected;
        arrival.windows.retain(|window| {
            let why = self.barred(sender, &window.installation);
            if why.is_some() {
                rejected.add(Rejection::Forbidden, window.points.len());
                last.clone_from(&why);
            }
            why.is_none()
        });
        arrival.spans.retain(|span| {
            let why = self.barred(sender, &span.device);
            if why.is_some() {
                rejected.add(Rejection::Forbidden, 1);
                last.clone_from(&why);
            }
            why.is_none()
        });
        let empty = arrival.windows.is_empty() && arrival.spans.is_empty();
        match last {
            Some(why) if empty => Err(forbidden(why)),
            _ => Ok(()),
        }
    }

    /// Why a sender may not send for a device, if it may not.
    pub(crate) fn barred(&self, sender: &Sender, device: &str) -> Option<String> {
        let register = self.register();
        if register.has_erased(device) {
            return Some(format!(
                "the device {} was erased; nothing is taken from it under this name any more",
                shown(device)
            ));
        }
        let known = register.device(device);
        if known.is_some_and(|known| known.revoked_us.is_some()) {
            return Some(format!("the device {} was revoked", shown(device)));
        }
        let certified = sender.certified.as_ref();
        if let Some(own) = certified.and_then(|certified| certified.device.as_deref())
            && own != device
        {
            return Some(format!(
                "the certificate is of device {}, and this names device {}",
                shown(own),
                shown(device)
            ));
        }
        match &sender.grant {
            Some(Grant::Device(own)) if own != device => Some(format!(
                "the token is of device {}, and this names device {}",
                shown(own),
                shown(device)
            )),
            Some(Grant::Fleet(fleet)) => {
                let other = known.and_then(|known| known.fleet.as_ref());
                other.filter(|other| *other != fleet).map(|_| {
                    let device = shown(device);
                    format!("the device {device} belongs to another fleet than the token's")
                })
            }
            _ => None,
        }
    }
}

/// A name in a sentence, whatever its sender put into it.
fn shown(device: &str) -> String {
    let start: String = device.chars().take(64).collect();
    format!("{start:?}")
}

fn refusal(denied: Denied) -> Refusal {
    let (rejection, why) = match denied {
        Denied::Absent => (Rejection::Unauthenticated, "no token came with the request"),
        Denied::Revoked => (Rejection::Unauthenticated, "the token was revoked"),
        Denied::ReadsOnly | Denied::SendsOnly | Denied::Role { .. } => {
            (Rejection::Forbidden, "the token reads and may not send")
        }
        Denied::Unknown => (Rejection::Unauthenticated, "the token is not known"),
    };
    Refusal::new(rejection, why)
}

#[cfg(test)]
mod tests;
