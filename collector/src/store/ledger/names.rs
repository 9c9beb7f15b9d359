//! What senders may make: services, cohorts, metrics and categories. In: each point's names. Out:
//! known, or a place among the limits, or a reason for no. Everything that is made is made by
//! somebody: a device, and the token it came with, may make only a share, so that one of them
//! cannot take what others need. What nobody sent for as long as boots are remembered is free
//! again.

use std::collections::{BTreeMap, HashMap};

use fathomline_queries::rows::DeviceColumns;
use fathomline_wire::names::OTHER;
use serde::{Deserialize, Serialize};

use super::{BOOTS_REMEMBERED_US, Limits};

/// A known name is written to the log again only if it was not seen for this long.
const REFRESH_US: i64 = 86_400_000_000;

/// A token may make one in so many of all there may be.
pub(super) const TOKEN_SHARE: u32 = 4;

/// Stands between the parts of a name; values with control characters are refused before.
const BETWEEN: char = '\u{1f}';

/// What can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Service,
    /// Service, class, model, version, variant and quantization.
    Cohort,
    /// Metrics that the contract does not know.
    Metric,
    /// One value of a metric's category, in one service.
    Category,
}

const KINDS: usize = 4;

impl Kind {
    /// What one device may make, of `all` that there may be.
    fn of_device(self, all: u32) -> u32 {
        let most = match self {
            Self::Service => 16,
            Self::Cohort => 64,
            Self::Metric => 256,
            Self::Category => 512,
        };
        most.min(all.div_ceil(TOKEN_SHARE))
    }
}

/// Why a name is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// Its device or token made its share.
    Share,
    /// There are as many as there may be.
    All,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Maker {
    pub(super) device: u128,
    /// 0 for none.
    pub(super) token: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Names {
    known: [HashMap<String, Known>; KINDS],
    /// How many names each device made, and each token.
    by_device: BTreeMap<u128, [u32; KINDS]>,
    by_token: BTreeMap<u64, [u32; KINDS]>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Known {
    seen_us: i64,
    device: u128,
    token: u64,
}

impl Names {
    /// Whether the name may be used; `Ok(true)` if the log must remember that it was.
    pub(super) fn check(
        &self,
        (kind, name): (Kind, &str),
        maker: Maker,
        limits: &Limits,
        now_us: i64,
    ) -> Result<bool, Full> {
        let at = kind as usize;
        if let Some(known) = self.known[at].get(name) {
            return Ok(now_us - known.seen_us >= REFRESH_US);
        }
        let all = limits.of(kind);
        if self.known[at].len() >= all as usize {
            return Err(Full::All);
        }
        let by_device = self.by_device.get(&maker.device).map_or(0, |n| n[at]);
        let by_token = self.by_token.get(&maker.token).map_or(0, |n| n[at]);
        let token_full = maker.token != 0 && by_token >= all.div_ceil(TOKEN_SHARE);
        if by_device >= kind.of_device(all) || token_full {
            return Err(Full::Share);
        }
        Ok(true)
    }

    pub(super) fn insert(&mut self, kind: Kind, name: &str, maker: Maker, seen_us: i64) {
        let at = kind as usize;
        if let Some(known) = self.known[at].get_mut(name) {
            known.seen_us = known.seen_us.max(seen_us);
            return;
        }
        self.by_device.entry(maker.device).or_default()[at] += 1;
        self.by_token.entry(maker.token).or_default()[at] += 1;
        let known = Known {
            seen_us,
            device: maker.device,
            token: maker.token,
        };
        self.known[at].insert(name.to_owned(), known);
    }

    pub(super) fn forget(&mut self, latest_us: i64) {
        for (at, names) in self.known.iter_mut().enumerate() {
            names.retain(|_, known| {
                let keep = latest_us - known.seen_us < BOOTS_REMEMBERED_US + REFRESH_US;
                if !keep {
                    let made = self.by_device.get_mut(&known.device);
                    made.into_iter().for_each(|made| made[at] -= 1);
                    let made = self.by_token.get_mut(&known.token);
                    made.into_iter().for_each(|made| made[at] -= 1);
                }
                keep
            });
        }
        self.by_device.retain(|_, made| *made != [0; KINDS]);
        self.by_token.retain(|_, made| *made != [0; KINDS]);
    }

    pub(super) fn len(&self, kind: Kind) -> usize {
        self.known[kind as usize].len()
    }
}

/// The cohort of a row, as one name.
pub(super) fn cohort(columns: &DeviceColumns) -> String {
    let quantization = columns.quantization.as_deref().unwrap_or_default();
    let parts = [
        columns.device_class.as_str(),
        &columns.model,
        &columns.version,
        &columns.variant,
        quantization,
    ];
    parts.iter().fold(columns.service.clone(), joined)
}

/// A category of a row's metric, as one name.
pub(super) fn category(columns: &DeviceColumns, category: &str) -> String {
    let parts = [columns.metric.as_str(), category];
    parts.iter().fold(columns.service.clone(), joined)
}

fn joined(mut name: String, part: &&str) -> String {
    name.push(BETWEEN);
    name.push_str(part);
    name
}

/// Whether two rows are of one cohort.
pub(super) fn same_cohort(a: &DeviceColumns, b: &DeviceColumns) -> bool {
    a.service == b.service
        && a.device_class == b.device_class
        && a.model == b.model
        && a.version == b.version
        && a.variant == b.variant
        && a.quantization == b.quantization
}

/// Makes a row one of the cohort that stands for all beyond the limit.
pub(super) fn fold(columns: &mut DeviceColumns) {
    for part in [
        &mut columns.service,
        &mut columns.device_class,
        &mut columns.model,
        &mut columns.version,
        &mut columns.variant,
    ] {
        OTHER.clone_into(part);
    }
    columns.quantization = None;
}
