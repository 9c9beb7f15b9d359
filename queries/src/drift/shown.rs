//! How far a lane is from its reference, in the distances that people know (statistics, section
//! c), over the bins that were frozen with it. They are shown with their counts and never page.

use super::{Distances, Lane, Reference, Summary};
use crate::stats::{
    Aligned, bin, bins_for, hellinger, jensen_shannon_distance, ks, psi, psi_debiased, wasserstein,
};

impl Distances {
    /// Distances of a lane whose records are worth `effective` independent ones; none for an empty
    /// lane, for one that holds other than the reference, or where the reference fills a single
    /// bin, in which everything would be as near as can be.
    pub fn of(reference: &Reference, lane: &Lane, effective: f64) -> Option<Self> {
        if lane.count == 0 {
            return None;
        }
        let bins = bins_for(lane.count);
        let frozen = reference.bins();
        let (fine_reference, fine_current, positions, cuts) =
            match (reference.summary(), &lane.summary) {
                (Summary::Histogram(reference), Summary::Histogram(current)) => {
                    let aligned = Aligned::of(reference, current);
                    let cuts = frozen.cuts(&aligned, bins);
                    let positions = aligned.positions();
                    (aligned.reference, aligned.current, Some(positions), cuts)
                }
                (Summary::Categories(reference), Summary::Categories(current)) => {
                    let (was, is) = (frozen.categories(reference), frozen.categories(current));
                    let cuts = (0..was.len().saturating_sub(1)).collect();
                    (was, is, None, cuts)
                }
                _ => return None,
            };
        let (r, c) = (bin(&fine_reference, &cuts), bin(&fine_current, &cuts));
        if r.len() < 2 {
            return None;
        }
        let worth = (reference.count() as f64, effective.max(1.0));
        let moved =
            positions.map(|positions| wasserstein(&fine_reference, &fine_current, &positions));
        Some(Self {
            bins: r.len() as u32,
            psi: psi(&r, &c),
            psi_debiased: psi_debiased(&r, &c, worth),
            jensen_shannon: jensen_shannon_distance(&r, &c),
            hellinger: hellinger(&r, &c),
            ks: ks(&fine_reference, &fine_current),
            wasserstein: moved.map(|(distance, _)| distance),
            wasserstein_normalized: moved.and_then(|(_, normalized)| normalized),
        })
    }
}
