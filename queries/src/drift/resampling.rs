//! How sure a distance is: the same window with one device left out at its site, device by device,
//! because what one device sends is not independent (statistics, section d).
//!
//! In: counts by site and device. Out: an interval, made on the distance's fourth root by a
//! jackknife within strata (Jones 1974; Shao and Tu 1995, section 6.2), as wide as so few devices
//! demand, and less what chance adds. There is no luck in it: the same devices in any order give
//! the same bits.

use std::collections::BTreeMap;

use super::{Counted, parts::Member};
use crate::stats::{psi_of, student_point};

/// Devices below which an interval says nothing.
pub(super) const DEVICES_MIN: u64 = 5;

/// Probability of missing on either side.
const ERROR: f64 = 0.025;

/// Devices of one site, or of all sites that have one device each: what is left out is made up for
/// by the others.
pub(super) struct Stratum {
    bins: Vec<f64>,
    devices: Vec<Vec<f64>>,
}

impl Stratum {
    fn of(devices: Vec<Vec<f64>>) -> Self {
        let mut bins = vec![0.0; devices.first().map_or(0, Vec::len)];
        devices
            .iter()
            .for_each(|device| add(&mut bins, device, 1.0));
        Self { bins, devices }
    }

    fn count(&self) -> f64 {
        self.devices.len() as f64
    }

    /// The distance without each of its devices.
    fn without_each<'a>(&'a self, was: &'a [f64], whole: &'a [f64]) -> impl Iterator<Item = f64> {
        let stands_for = self.count() / (self.count() - 1.0);
        self.devices.iter().map(move |device| {
            let mut bins = whole.to_vec();
            add(&mut bins, &self.bins, stands_for - 1.0);
            add(&mut bins, device, -stands_for);
            // What is left of a bin that only this device filled may be off by rounding.
            bins.iter_mut().for_each(|bin| *bin = bin.max(0.0));
            root(psi_of(was, &bins))
        })
    }
}

fn add(sum: &mut [f64], bins: &[f64], times: f64) {
    for (sum, bin) in sum.iter_mut().zip(bins) {
        *sum += times * bin;
    }
}

/// Devices by the sites where they sent most; those of sites with a single device together.
pub(super) fn strata(members: &[Member]) -> Vec<Stratum> {
    let mut devices: BTreeMap<&str, (&Member, Counted)> = BTreeMap::new();
    for member in members {
        let (most, sum) = devices
            .entry(&member.device)
            .or_insert_with(|| (member, Counted::default()));
        if member.counted.count > most.counted.count {
            *most = member;
        }
        sum.add(&member.counted);
    }
    let mut sites: BTreeMap<&str, Vec<Vec<f64>>> = BTreeMap::new();
    for (member, sum) in devices.into_values() {
        let bins = sum.bins.iter().map(|count| *count as f64).collect();
        sites.entry(&member.site).or_default().push(bins);
    }
    let (mut several, single): (Vec<_>, Vec<_>) =
        sites.into_values().partition(|devices| devices.len() > 1);
    let mut single: Vec<Vec<f64>> = single.into_iter().flatten().collect();
    if let [one] = single.as_mut_slice()
        && let Some(smallest) = several.iter_mut().min_by_key(|devices| devices.len())
    {
        smallest.push(std::mem::take(one));
        single.clear();
    }
    several.extend((!single.is_empty()).then_some(single));
    several.into_iter().map(Stratum::of).collect()
}

/// Where the PSI from the reference's bins lies with 95 % certainty; none of a single device.
pub(super) fn interval(was: &[u64], strata: &[Stratum]) -> Option<(f64, f64)> {
    let was: Vec<f64> = was.iter().map(|count| *count as f64).collect();
    let mut whole = vec![0.0; was.len()];
    strata.iter().for_each(|of| add(&mut whole, &of.bins, 1.0));
    let seen = root(psi_of(&was, &whole));
    let (mut free, mut bias, mut variance) = (0.0, 0.0, 0.0);
    for stratum in strata {
        let others = stratum.count() - 1.0;
        if others < 1.0 {
            return None;
        }
        let without: Vec<f64> = stratum.without_each(&was, &whole).collect();
        let mean = without.iter().sum::<f64>() / stratum.count();
        let square = |root: &f64| (root - mean) * (root - mean);
        free += others;
        bias += others * (mean - seen);
        variance += others / stratum.count() * without.iter().map(square).sum::<f64>();
    }
    // What is taken off for chance is an estimate, too.
    let wide = student_point(free, ERROR) * libm::sqrt(variance + bias * bias);
    let middle = seen - bias;
    let distance = |root: f64| libm::pow(root.max(0.0), 4.0);
    Some((distance(middle - wide), distance(middle + wide)))
}

/// On this scale a distance is about as likely to be missed on either side.
fn root(distance: f64) -> f64 {
    libm::sqrt(libm::sqrt(distance))
}
