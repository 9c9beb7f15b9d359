//! What a drift is made of: how much of it another mix of sites explains, which sites, which
//! values. In: the breakdown in a verdict's evidence. Out: sentences and lines that add up to the
//! distance.

use fathomline_queries::drift::{Breakdown, Mix};

use crate::view::units;

/// A drift taken apart, in words and tables.
pub(super) struct Apart {
    pub(super) sentence: String,
    /// What was looked at and how sure the distance is.
    pub(super) note: String,
    pub(super) sites: Vec<Line>,
    pub(super) bins: Vec<Line>,
}

/// A site or a bin.
pub(super) struct Line {
    pub(super) name: String,
    /// Devices of a site.
    pub(super) devices: String,
    pub(super) was: String,
    pub(super) is: String,
    /// What it adds to the distance.
    pub(super) part: String,
}

impl Apart {
    pub(super) fn of(breakdown: &Breakdown) -> Self {
        let sites = breakdown.sites.iter().map(|site| Line {
            name: site.named(),
            devices: units::count(site.devices),
            was: units::percent(site.reference_share),
            is: units::percent(site.share),
            part: units::significant(site.part),
        });
        let bins = breakdown.bins.iter().map(|bin| Line {
            name: bin.bin.clone(),
            devices: String::new(),
            was: units::percent(bin.reference_share),
            is: units::percent(bin.share),
            part: units::significant(bin.part),
        });
        Self {
            sentence: breakdown.mix.as_ref().map_or_else(
                || "The reference knows no sites, so their mix is not told apart.".to_owned(),
                of_mix,
            ),
            note: note(breakdown),
            sites: sites.collect(),
            bins: bins.collect(),
        }
    }
}

fn of_mix(mix: &Mix) -> String {
    let points = |share: f64| format!("{:+.1} points", 100.0 * share);
    let mut sentence = format!(
        "The share moved by {}: {} within sites, {} by another mix of sites. Up to {:.1} points \
         within sites are within tolerance.",
        points(mix.change),
        points(mix.within),
        points(mix.composition),
        100.0 * mix.allowed
    );
    if mix.new > 0 || mix.gone > 0 {
        sentence += &format!(
            " Sites that are new: {}; that sent nothing: {}; those in both had {} of the reference.",
            mix.new,
            mix.gone,
            units::percent(mix.covered)
        );
    }
    sentence
}

fn note(breakdown: &Breakdown) -> String {
    let mut note = format!(
        "{} inferences of {} devices, {} to {}.",
        units::count(breakdown.count),
        units::count(breakdown.devices),
        units::time_of_day(breakdown.start_us),
        units::date_and_time(breakdown.end_us)
    );
    if let Some(psi) = breakdown.psi_debiased {
        note += &format!(
            " Parts add up to a debiased PSI of {}",
            units::significant(psi)
        );
        match breakdown.interval {
            Some((low, high)) => {
                note += &format!(
                    ", with 95 % certainty {} to {} by leaving out each of {} devices.",
                    units::significant(low),
                    units::significant(high),
                    breakdown.resamples
                );
            }
            None => note += "; devices are too few to say how sure that is.",
        }
    }
    note
}
