//! What each device did: the parts that a series' lanes are merged from. Read when a reference is
//! made, when a series is about to page and when somebody asks, never lane by lane.
//!
//! In: parts in any order. Out: counts of the reference's streams and bins, by device and by site,
//! in an order of their own.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Bins, Reference, Stream, Summary};
use crate::stats::{Aligned, bin};

/// Sites that are told apart, the busiest; the others are one.
pub(super) const SITES_MAX: usize = 32;

/// All other sites together.
pub(super) const OTHER_SITES: &str = "*";

/// What one device did in a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Which device.
    pub device: String,
    /// Where it says it is; empty where it does not.
    pub site: String,
    /// End of the span, microseconds since the Unix epoch.
    pub end_us: i64,
    /// Its values.
    pub summary: Summary,
}

/// Records of a group, as the streams and bins of a reference count them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// Records.
    pub count: u64,
    /// Events of each stream.
    pub events: Vec<f64>,
    /// Records in each bin; none where values are coarser than bins.
    pub bins: Vec<u64>,
}

/// One site of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// Its name; empty for devices that name none.
    pub name: String,
    /// Devices that were there.
    pub devices: u64,
    /// What they did.
    pub counted: Counted,
}

impl Counted {
    fn of(reference: &Reference, watched: &[Stream], summary: &Summary) -> Self {
        let events = watched.iter().map(|stream| stream.events(summary, watched));
        Self {
            count: summary.count(),
            events: events.collect(),
            bins: binned(reference, summary),
        }
    }

    /// Share of a stream's events.
    pub(super) fn share(&self, stream: usize) -> f64 {
        let events = self.events.get(stream).copied().unwrap_or(0.0);
        events / self.count.max(1) as f64
    }

    /// Where one of both has no bins, there are none.
    pub(super) fn add(&mut self, other: &Self) {
        let first = self.events.is_empty();
        self.count += other.count;
        if first {
            self.events = vec![0.0; other.events.len()];
            self.bins = vec![0; other.bins.len()];
        }
        for (sum, events) in self.events.iter_mut().zip(&other.events) {
            *sum += events;
        }
        if self.bins.len() != other.bins.len() {
            self.bins.clear();
        }
        for (sum, count) in self.bins.iter_mut().zip(&other.bins) {
            *sum += count;
        }
    }
}

/// Counts in all bins of the reference; none where values are coarser than its buckets.
pub(super) fn binned(reference: &Reference, summary: &Summary) -> Vec<u64> {
    match (reference.bins(), reference.summary(), summary) {
        (bins @ Bins::Values { scale, .. }, Summary::Histogram(was), Summary::Histogram(is)) => {
            if is.scale < *scale {
                return Vec::new();
            }
            let aligned = Aligned::of(was, is);
            bin(&aligned.current, &bins.cuts(&aligned, bins.count()))
        }
        (bins @ Bins::Categories { .. }, Summary::Categories(_), Summary::Categories(is)) => {
            bins.categories(is)
        }
        _ => Vec::new(),
    }
}

/// One device at one site, in one span.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    /// Which device.
    pub(super) device: String,
    /// Where.
    pub(super) site: String,
    /// End of the span.
    pub(super) end_us: i64,
    /// What it did.
    pub(super) counted: Counted,
}

/// Parts as a reference counts them, in the order of site, device and time, each once.
pub(super) fn members(reference: &Reference, parts: &[Part]) -> Vec<Member> {
    let watched: Vec<Stream> = reference.streams().iter().map(|(s, _)| s.clone()).collect();
    let mut found: BTreeMap<(&str, &str, i64), Counted> = BTreeMap::new();
    for part in parts {
        let place = (part.site.as_str(), part.device.as_str(), part.end_us);
        let counted = Counted::of(reference, &watched, &part.summary);
        found.entry(place).or_default().add(&counted);
    }
    let member = |((site, device, end_us), counted): ((&str, &str, i64), Counted)| Member {
        device: device.to_owned(),
        site: site.to_owned(),
        end_us,
        counted,
    };
    let found = found.into_iter().map(member);
    found.filter(|member| member.counted.count > 0).collect()
}

/// Every site by name.
pub(super) fn by_site(members: &[Member]) -> Vec<Site> {
    let mut found: BTreeMap<&str, (BTreeSet<&str>, Counted)> = BTreeMap::new();
    for member in members {
        let (devices, counted) = found.entry(&member.site).or_default();
        devices.insert(&member.device);
        counted.add(&member.counted);
    }
    let site = |(name, (devices, counted)): (&str, (BTreeSet<&str>, Counted))| Site {
        name: name.to_owned(),
        devices: devices.len() as u64,
        counted,
    };
    found.into_iter().map(site).collect()
}

/// Sites, those of fewer than `min_devices` devices and those beyond so many as one; if that one
/// has too few, too, the smallest of the others joins it.
pub(super) fn folded(mut sites: Vec<Site>, min_devices: u64) -> Vec<Site> {
    let order = |site: &Site| (site.devices, site.counted.count);
    sites.sort_by(|a, b| order(b).cmp(&order(a)).then(a.name.cmp(&b.name)));
    let few = |site: &Site| site.devices < min_devices || site.name == OTHER_SITES;
    let mut kept = sites.clone();
    kept.retain(|site| !few(site));
    kept.truncate(SITES_MAX - 1);
    let is_kept = |site: &Site| kept.iter().any(|kept| kept.name == site.name);
    let mut others: Vec<Site> = sites.into_iter().filter(|site| !is_kept(site)).collect();
    while !others.is_empty() && together(&others).devices < min_devices {
        let Some(smallest) = kept.pop() else { break };
        others.push(smallest);
    }
    if !others.is_empty() {
        kept.push(together(&others));
    }
    kept.sort_by(|a, b| a.name.cmp(&b.name));
    kept
}

/// Several sites as one. A device at two of them counts twice.
fn together(sites: &[Site]) -> Site {
    let mut sum = Counted::default();
    let mut ordered: Vec<&Site> = sites.iter().collect();
    ordered.sort_by(|a, b| a.name.cmp(&b.name));
    ordered.iter().for_each(|site| sum.add(&site.counted));
    Site {
        name: OTHER_SITES.to_owned(),
        devices: sites.iter().map(|site| site.devices).sum(),
        counted: sum,
    }
}
