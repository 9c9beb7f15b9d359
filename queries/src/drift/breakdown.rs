//! A change taken apart: what of it is another mix of sites and what happened within sites, which
//! sites and bins it is made of, and how sure its distance is.
//!
//! In: a reference that knows its sites, and what each device did in a window. Out: numbers that
//! add up. The window is brought to the reference's mix: each site counts for as much as it did
//! there. A site that is new has nothing to be held against, and one that is gone does nothing:
//! both are composition. Where the sites that are in both held less than half of the reference,
//! it does not speak of this fleet, and nothing is decided.

use std::collections::BTreeSet;

use fathomline_wire::histogram::lower_bound;
use serde::{Deserialize, Serialize};

use super::{
    Bins, Part, Reference, Site,
    lane::middle,
    parts::{self, Counted, Member, OTHER_SITES},
    resampling,
};
use crate::stats::{Expectation, PsiPart, psi_expected_without_drift, psi_parts};

/// Share of the reference that the sites in both must hold.
const COVERED_MIN: f64 = 0.5;

/// Standard errors that a share within sites may be off beyond the tolerance.
const ERRORS: f64 = 2.0;

/// A window of a series, taken apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Start of the window, exclusive.
    pub start_us: i64,
    /// Its end.
    pub end_us: i64,
    /// Records in it.
    pub count: u64,
    /// Devices in it.
    pub devices: u64,
    /// Of the stream that leads; none where the reference knows no sites.
    pub mix: Option<Mix>,
    /// Debiased PSI of the window in all bins of the reference; none where values are coarser.
    pub psi_debiased: Option<f64>,
    /// From and to where it lies with 95 % certainty, by resampling devices; none of few.
    pub interval: Option<(f64, f64)>,
    /// So often a device was left out.
    pub resamples: u32,
    /// What each site adds to the distance; they add up to it. The largest first.
    pub sites: Vec<SitePart>,
    /// What each bin adds to it, likewise.
    pub bins: Vec<BinPart>,
}

/// A share's change, in two parts that add up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// Share of events now, less what is expected.
    pub change: f64,
    /// What of it happened within sites: at the reference's mix, the share would have moved by it.
    pub within: f64,
    /// The rest: another mix of sites.
    pub composition: f64,
    /// Share of the reference that the sites in both held, 0 to 1.
    pub covered: f64,
    /// Sites that the reference does not know.
    pub new: u32,
    /// Sites of the reference that sent nothing.
    pub gone: u32,
    /// How far a share within sites may be off and nothing have happened.
    pub allowed: f64,
}

/// What one site adds to a distance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SitePart {
    /// Its name; empty for devices that name none, `*` for several of few devices.
    pub site: String,
    /// Its devices in the window.
    pub devices: u64,
    /// Its part of the records in the reference.
    pub reference_share: f64,
    /// Its part of the records now.
    pub share: f64,
    /// What it adds.
    pub part: f64,
}

impl SitePart {
    /// Its name in words.
    pub fn named(&self) -> String {
        match self.site.as_str() {
            "" => "devices without a site".to_owned(),
            OTHER_SITES => "all other sites".to_owned(),
            site => format!("site {site}"),
        }
    }
}

/// What one bin adds to a distance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BinPart {
    /// Which values or category, in words.
    pub bin: String,
    /// Its part of the records in the reference.
    pub reference_share: f64,
    /// Its part of the records now.
    pub share: f64,
    /// What it adds.
    pub part: f64,
}

/// Whether a page is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Explained {
    /// Something happened within sites, or nobody knows of sites.
    No,
    /// The mix of sites moved, and within them nothing did.
    Composition,
    /// The sites are others.
    OtherSites,
}

/// What was to be taken apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Start, exclusive.
    pub start_us: i64,
    /// End.
    pub end_us: i64,
    /// The stream that leads, by its number in the reference.
    pub stream: Option<usize>,
    /// Devices that a group needs to be told of.
    pub min_devices: u64,
}

impl Breakdown {
    /// Takes a window apart; none without records. What is told of sites is of groups of at least
    /// `min_devices` devices, whatever the reference tells apart.
    pub fn of(reference: &Reference, parts: &[Part], window: Window) -> Option<Self> {
        let members = parts::members(reference, parts);
        let devices: BTreeSet<&str> = members.iter().map(|of| of.device.as_str()).collect();
        let devices = devices.len() as u64;
        let whole = sum(members.iter().map(|member| &member.counted));
        if whole.count == 0 {
            return None;
        }
        let was = parts::binned(reference, reference.summary());
        let effective = effective(reference, &window, whole.count);
        let distance = Distance::of(&was, &whole.bins, effective);
        let enough = devices >= window.min_devices.max(resampling::DEVICES_MIN);
        let sure = distance.as_ref().filter(|_| enough);
        let interval = sure.and_then(|_| resampling::interval(&was, &resampling::strata(&members)));
        let sites = distance
            .as_ref()
            .map(|distance| distance.sites(reference, &members, &was));
        let bins = distance
            .as_ref()
            .map(|distance| distance.bins(reference, &was, &whole.bins));
        let stream = window.stream;
        Some(Self {
            start_us: window.start_us,
            end_us: window.end_us,
            count: whole.count,
            devices,
            mix: stream.and_then(|stream| Mix::of(reference, &members, &window, stream)),
            psi_debiased: distance.as_ref().map(Distance::value),
            interval,
            resamples: interval.map_or(0, |_| u32::try_from(devices).unwrap_or(u32::MAX)),
            sites: told(sites.unwrap_or_default(), window.min_devices),
            bins: bins.unwrap_or_default(),
        })
    }

    /// The largest parts, for a sentence; none where nothing is known of sites.
    pub fn words(&self) -> Option<String> {
        let mix = self.mix?;
        let mut words = format!(
            "{:+.1} points within sites, {:+.1} by another mix of sites",
            100.0 * mix.within,
            100.0 * mix.composition
        );
        let largest = self.sites.first().filter(|site| site.part > 0.0);
        if let (Some(site), Some(whole)) = (largest, self.psi_debiased.filter(|psi| *psi > 0.0)) {
            let part = 100.0 * site.part / whole;
            words += &format!("; most of the distance at {} ({part:.0} %)", site.named());
        }
        Some(words)
    }

    /// Whether what would page is no more than another mix.
    pub fn explained(&self) -> Explained {
        match self.mix {
            None => Explained::No,
            Some(mix) if mix.covered < COVERED_MIN => Explained::OtherSites,
            Some(mix) if mix.is_composition() => Explained::Composition,
            Some(_) => Explained::No,
        }
    }
}

/// What the window's records are worth for the stream that leads.
fn effective(reference: &Reference, window: &Window, count: u64) -> f64 {
    let lanes = ((window.end_us - window.start_us) / reference.lane_us().max(1)).max(1);
    let stream = window
        .stream
        .and_then(|stream| reference.streams().get(stream));
    stream.map_or(count as f64, |(_, expected)| {
        let expected = expected.over(u32::try_from(lanes).unwrap_or(u32::MAX));
        expected.effective_count(count)
    })
}

fn sum<'a>(counted: impl Iterator<Item = &'a Counted>) -> Counted {
    counted.fold(Counted::default(), |mut sum, counted| {
        sum.add(counted);
        sum
    })
}

impl Mix {
    fn of(
        reference: &Reference,
        members: &[Member],
        window: &Window,
        stream: usize,
    ) -> Option<Self> {
        let were = reference.sites();
        if were.is_empty() {
            return None;
        }
        let are = as_in(were, members);
        let at = middle(window.start_us, window.end_us);
        let expected = *reference.expected_at(at).get(stream)?;
        let whole = sum(are.iter().map(|site| &site.counted));
        let records = were.iter().map(|site| site.counted.count).sum::<u64>() as f64;
        let weight = |site: &Site| site.counted.count as f64 / records;
        let usual: f64 = were
            .iter()
            .map(|site| weight(site) * site.counted.share(stream))
            .sum();
        // The hour of the window may be another than those of the sites.
        let hour = expected.share - usual;
        let (mut covered, mut within, mut variance) = (0.0, 0.0, 0.0);
        for (was, is) in were
            .iter()
            .filter_map(|was| Some((was, named(&are, &was.name)?)))
        {
            let (before, now) = (was.counted.share(stream), is.counted.share(stream));
            covered += weight(was);
            within += weight(was) * (now - before - hour);
            let share = ((before + now) / 2.0).clamp(0.01, 0.99);
            let records = 1.0 / was.counted.count as f64 + 1.0 / is.counted.count as f64;
            variance += weight(was) * weight(was) * share * (1.0 - share) * records;
        }
        let within = if covered > 0.0 { within / covered } else { 0.0 };
        let variance = variance / (covered * covered).max(1e-12);
        let change = whole.share(stream) - expected.share;
        let unknown = |site: &&Site| named(were, &site.name).is_none();
        let silent = |site: &&Site| named(&are, &site.name).is_none();
        Some(Self {
            change,
            within,
            composition: change - within,
            covered,
            new: are.iter().filter(unknown).count() as u32,
            gone: were.iter().filter(silent).count() as u32,
            allowed: allowed(&expected, variance, reference.lane_us(), window),
        })
    }

    /// Most of the change is composition, and the rest is within tolerance.
    fn is_composition(&self) -> bool {
        let most = self.composition.abs() >= self.change.abs() / 2.0;
        most && self.composition != 0.0 && self.within.abs() <= self.allowed
    }
}

fn allowed(expected: &Expectation, variance: f64, lane_us: i64, window: &Window) -> f64 {
    let lanes = ((window.end_us - window.start_us) / lane_us.max(1)).max(1) as f64;
    expected.tolerance + ERRORS * libm::sqrt(variance + expected.noise / lanes)
}

/// The sites of a window under the names that the reference tells apart: what it does not know
/// belongs to its others, if it has any.
fn as_in(were: &[Site], members: &[Member]) -> Vec<Site> {
    let others = named(were, OTHER_SITES).is_some();
    let renamed: Vec<Member> = members
        .iter()
        .map(
            |member| match others && named(were, &member.site).is_none() {
                true => Member {
                    site: OTHER_SITES.to_owned(),
                    ..member.clone()
                },
                false => member.clone(),
            },
        )
        .collect();
    parts::by_site(&renamed)
}

fn named<'a>(sites: &'a [Site], name: &str) -> Option<&'a Site> {
    sites.iter().find(|site| site.name == name)
}

/// Debiased PSI as a sum: bin by bin, and in each of them site by site.
struct Distance {
    parts: Vec<PsiPart>,
    raw: f64,
    noise: f64,
}

impl Distance {
    /// Of a window whose records are worth `effective` independent ones.
    fn of(was: &[u64], is: &[u64], effective: f64) -> Option<Self> {
        if was.is_empty() || was.len() != is.len() {
            return None;
        }
        let records = was.iter().sum::<u64>().max(1) as f64;
        let parts = psi_parts(was, is);
        Some(Self {
            raw: parts.iter().map(PsiPart::part).sum(),
            parts,
            noise: psi_expected_without_drift(was.len(), records, effective.max(1.0)),
        })
    }

    fn value(&self) -> f64 {
        (self.raw - self.noise).max(0.0)
    }

    /// Chance is taken off every part alike.
    fn debias(&self, part: f64) -> f64 {
        match self.raw > 0.0 {
            true => part * self.value() / self.raw,
            false => 0.0,
        }
    }

    fn bins(&self, reference: &Reference, was: &[u64], is: &[u64]) -> Vec<BinPart> {
        let share = |counts: &[u64], bin: usize| {
            counts[bin] as f64 / counts.iter().sum::<u64>().max(1) as f64
        };
        let part = |(bin, (part, name)): (usize, (&PsiPart, String))| BinPart {
            bin: name,
            reference_share: share(was, bin),
            share: share(is, bin),
            part: self.debias(part.part()),
        };
        let named = self.parts.iter().zip(names(reference.bins()));
        let mut parts: Vec<BinPart> = named.enumerate().map(part).collect();
        parts.sort_by(|a, b| b.part.total_cmp(&a.part).then(a.bin.cmp(&b.bin)));
        parts
    }

    /// What a site has more of in a bin than it had in the reference, at the bin's weight.
    fn sites(&self, reference: &Reference, members: &[Member], was: &[u64]) -> Vec<SitePart> {
        let were = reference.sites();
        let known = were.iter().all(|site| site.counted.bins.len() == was.len());
        if were.is_empty() || !known {
            return Vec::new();
        }
        let are = as_in(were, members);
        let (before, now) = (
            sum(were.iter().map(|site| &site.counted)),
            sum(are.iter().map(|site| &site.counted)),
        );
        let names = were.iter().chain(&are).map(|site| site.name.as_str());
        let names: BTreeSet<&str> = names.collect();
        let part = |name: &str| {
            let (was_at, is_at) = (named(were, name), named(&are, name));
            SitePart {
                site: name.to_owned(),
                devices: is_at.map_or(0, |site| site.devices),
                reference_share: part_of(was_at, &before),
                share: part_of(is_at, &now),
                part: self.debias(self.of_site((was_at, &before), (is_at, &now))),
            }
        };
        names.into_iter().map(part).collect()
    }

    fn of_site(&self, was: (Option<&Site>, &Counted), is: (Option<&Site>, &Counted)) -> f64 {
        let (was_part, is_part) = (part_of(was.0, was.1), part_of(is.0, is.1));
        let each = self.parts.iter().enumerate().map(|(bin, part)| {
            let usual = part.reference_share * within_bin(was.0, was.1, bin).unwrap_or(was_part);
            let current = part.share * within_bin(is.0, is.1, bin).unwrap_or(is_part);
            (current - usual) * part.weight
        });
        each.sum()
    }
}

/// A site's part of all records, 0 to 1.
fn part_of(site: Option<&Site>, all: &Counted) -> f64 {
    site.map_or(0.0, |site| {
        site.counted.count as f64 / all.count.max(1) as f64
    })
}

/// A site's part of the records of one bin; none where the bin is empty.
fn within_bin(site: Option<&Site>, all: &Counted, bin: usize) -> Option<f64> {
    let records = all.bins[bin];
    let own = site.map_or(0, |site| site.counted.bins[bin]);
    (records > 0).then(|| own as f64 / records as f64)
}

/// Sites of fewer than `min_devices` devices as one, which has enough. Sites that sent nothing are
/// told of by what they were.
fn told(mut sites: Vec<SitePart>, min_devices: u64) -> Vec<SitePart> {
    let order = |a: &SitePart, b: &SitePart| b.devices.cmp(&a.devices).then(a.site.cmp(&b.site));
    sites.sort_by(order);
    let is_few = |site: &SitePart| (1..min_devices).contains(&site.devices);
    let (few, mut kept): (Vec<_>, Vec<_>) = sites.into_iter().partition(is_few);
    let mut others: Option<SitePart> = None;
    let add = |others: &mut Option<SitePart>, site: SitePart| match others {
        None => {
            *others = Some(SitePart {
                site: OTHER_SITES.to_owned(),
                ..site
            });
        }
        Some(sum) => {
            sum.devices += site.devices;
            sum.reference_share += site.reference_share;
            sum.share += site.share;
            sum.part += site.part;
        }
    };
    few.into_iter().for_each(|site| add(&mut others, site));
    while others.as_ref().is_some_and(|sum| sum.devices < min_devices) {
        let Some(last) = kept.iter().rposition(|site| site.devices > 0) else {
            break;
        };
        let smallest = kept.remove(last);
        add(&mut others, smallest);
    }
    let others_known = kept.iter().position(|site| site.site == OTHER_SITES);
    if let (Some(at), true) = (others_known, others.is_some()) {
        let known = kept.remove(at);
        add(&mut others, known);
    }
    kept.extend(others);
    kept.sort_by(|a, b| b.part.total_cmp(&a.part).then(a.site.cmp(&b.site)));
    kept
}

/// Bins in words, one for each.
fn names(bins: &Bins) -> Vec<String> {
    let number = |value: f64| match (1e-3..1e5).contains(&value) {
        true => format!("{value:.4}"),
        false => format!("{value:.3e}"),
    };
    match bins {
        Bins::Categories { names } => {
            let others = std::iter::once("any other".to_owned());
            names.iter().cloned().chain(others).collect()
        }
        Bins::Values { scale, zero, last } => {
            let ends: Vec<f64> = last
                .iter()
                .map(|index| lower_bound(index + 1, *scale))
                .collect();
            let first = match (zero, ends.first()) {
                (true, _) => "not above 0".to_owned(),
                (false, Some(end)) => format!("up to {}", number(*end)),
                (false, None) => "any".to_owned(),
            };
            let starts = zero.then_some(0.0).into_iter().chain(ends.iter().copied());
            let rest = starts.enumerate().map(|(at, start)| {
                match ends.get(if *zero { at } else { at + 1 }) {
                    Some(end) => format!("{} to {}", number(start), number(*end)),
                    None => format!("above {}", number(start)),
                }
            });
            std::iter::once(first).chain(rest).collect()
        }
    }
}
