//! What is remembered of each device: its boots, and how much its streams take. In: entries of
//! the log. Out: which boots are known, which were alive at once. Memory a device: about 0.3 KiB
//! with one boot (`memory_of_what_is_remembered` measures it), 1,024 boots at most; a device
//! nobody heard of for as long as boots are remembered goes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BOOTS_REMEMBERED_US, CLOCK_TOLERANCE_US, boots::Boot, streams::Grown, times};

/// Boots of one device that are remembered: a restart every 42 minutes for 30 days. The one that
/// was silent longest is forgotten first, and nothing from before its last contact is counted then.
pub(super) const BOOTS_MAX: usize = 1024;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Devices {
    known: BTreeMap<u128, Device>,
    /// How many came with each token first.
    by_token: BTreeMap<u64, usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Device {
    /// When it was heard of last.
    pub(super) seen_us: i64,
    /// Whose token it came with first; 0 for none.
    token: u64,
    /// By a hash of their names.
    boots: Vec<(u64, Boot)>,
    /// The boot that began last.
    newest: u64,
    /// Boots that were seen last until then may be forgotten.
    pub(super) forgotten_us: i64,
    pub(super) streams: u32,
    pub(super) stream_bytes: u64,
}

/// One window's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) device: u128,
    /// Under which boot it counts: that of its device, or one of a part.
    pub(crate) boot: u64,
    /// The boot that its resource names.
    pub(crate) of: u64,
    pub(crate) sequence: u64,
}

/// How a window came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contact {
    /// Start of the body's digest; none if a relay brought it, perhaps in parts.
    pub(crate) digest: Option<u64>,
    /// What to add to the boot's times, frozen at first contact.
    pub(crate) offset_us: i64,
    pub(crate) seen_us: i64,
    /// Its end, corrected.
    pub(crate) end_us: i64,
    /// Its points are remembered by their streams.
    pub(crate) by_stream: bool,
}

impl Contact {
    fn is_ahead(&self) -> bool {
        times::is_ahead(self.end_us, self.seen_us)
    }
}

impl Devices {
    pub(super) fn get(&self, device: u128) -> Option<&Device> {
        self.known.get(&device)
    }

    pub(super) fn get_mut(&mut self, device: u128) -> Option<&mut Device> {
        self.known.get_mut(&device)
    }

    /// Makes a device known if it was not, and heard of.
    pub(super) fn meet(&mut self, device: u128, token: u64, seen_us: i64) {
        let by_token = &mut self.by_token;
        let device = self.known.entry(device).or_insert_with(|| {
            *by_token.entry(token).or_default() += 1;
            Device {
                token,
                ..Device::default()
            }
        });
        device.seen_us = device.seen_us.max(seen_us);
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn with_token(&self, token: u64) -> usize {
        self.by_token.get(&token).copied().unwrap_or(0)
    }

    pub(super) fn boots(&self) -> impl Iterator<Item = &Boot> {
        let boots = self.known.values().flat_map(|device| &device.boots);
        boots.map(|(_, boot)| boot)
    }

    /// Books what a device's streams take more, or less.
    pub(super) fn grow(&mut self, grown: &Grown) {
        if let Some(device) = self.known.get_mut(&grown.device) {
            device.streams = device.streams.saturating_add_signed(grown.streams);
            device.stream_bytes = device.stream_bytes.saturating_add_signed(grown.bytes);
        }
    }

    /// Forgets a device with all of its boots.
    pub(super) fn erase(&mut self, device: u128) {
        let gone = self.known.remove(&device);
        let token = gone.map(|device| device.token);
        if let Some(devices) = token.and_then(|token| self.by_token.get_mut(&token)) {
            *devices -= 1;
        }
        self.by_token.retain(|_, devices| *devices > 0);
    }

    /// Forgets boots, and then devices, that were silent for too long.
    pub(super) fn forget(&mut self, latest_us: i64) {
        let silent = |seen_us: i64| latest_us - seen_us >= BOOTS_REMEMBERED_US;
        let by_token = &mut self.by_token;
        self.known.retain(|_, device| {
            device.boots.retain(|(_, boot)| !silent(boot.seen_us));
            let keep = !silent(device.seen_us) || !device.boots.is_empty() || device.streams > 0;
            if let Some(devices) = by_token.get_mut(&device.token).filter(|_| !keep) {
                *devices -= 1;
            }
            keep
        });
        by_token.retain(|_, devices| *devices > 0);
    }
}

impl Device {
    pub(super) fn boot(&self, boot: u64) -> Option<&Boot> {
        let mut boots = self.boots.iter();
        boots.find(|(known, _)| *known == boot).map(|(_, b)| b)
    }

    pub(super) fn is_cloned(&self, boot: u64) -> bool {
        self.boot(boot).is_some_and(|boot| boot.cloned)
    }

    /// Remembers a window.
    pub(super) fn count(&mut self, place: Place, contact: &Contact) {
        if contact.digest.is_some() {
            self.tell_clones(place, contact);
        }
        // What came in parts alone has a boot all the same: its clock counts for every part.
        let of = self.boot_mut(place.of, contact.offset_us);
        of.seen_us = of.seen_us.max(contact.seen_us);
        let boot = self.boot_mut(place.boot, contact.offset_us);
        boot.seen_us = boot.seen_us.max(contact.seen_us);
        boot.is_part = place.boot != place.of;
        boot.insert(place.sequence, contact.digest, contact.by_stream);
        if !contact.by_stream {
            let end_us = contact.end_us.saturating_sub(boot.offset_us);
            boot.insert_whole(end_us, contact.is_ahead());
        }
        self.keep_few_boots(place);
    }

    /// A boot that goes on measuring after a later one began is not its past: two processes carry
    /// one installation id.
    fn tell_clones(&mut self, place: Place, contact: &Contact) {
        let Some(known) = self.boot(place.of) else {
            for (_, boot) in &mut self.boots {
                if boot.superseded_us == 0 {
                    boot.superseded_us = contact.seen_us;
                }
            }
            self.newest = place.of;
            return;
        };
        let since_us = known.superseded_us;
        let is_past = contact.end_us <= since_us + CLOCK_TOLERANCE_US;
        // A time that has not come says nothing about when it was measured.
        if since_us == 0 || is_past || contact.is_ahead() {
            return;
        }
        let newest = self.newest;
        let both = self.boots.iter_mut();
        for (_, boot) in both.filter(|(name, _)| [newest, place.of].contains(name)) {
            boot.cloned = true;
        }
    }

    fn boot_mut(&mut self, boot: u64, offset_us: i64) -> &mut Boot {
        let known = self.boots.iter().position(|(known, _)| *known == boot);
        let at = known.unwrap_or_else(|| {
            // Most devices have one: room for four would be most of what a device takes.
            self.boots.reserve_exact(1);
            self.boots.push((boot, Boot::new(offset_us)));
            self.boots.len() - 1
        });
        &mut self.boots[at].1
    }

    fn keep_few_boots(&mut self, place: Place) {
        while self.boots.len() > BOOTS_MAX {
            let others = self.boots.iter().enumerate();
            let others = others.filter(|(_, (name, _))| ![place.boot, place.of].contains(name));
            let Some((at, _)) = others.min_by_key(|(_, (name, boot))| (boot.seen_us, *name)) else {
                return;
            };
            let (_, gone) = self.boots.swap_remove(at);
            self.forgotten_us = self.forgotten_us.max(gone.seen_us);
        }
    }
}
