//! One signal of one class. Before the start its event is frozen, with the share that the baseline
//! had and how clustered it is; since then bets are held, window by window.

use std::collections::BTreeMap;

use fathomline_wire::names;

use super::{
    ArmSeen, Role, Settings, SignalAnswer, Standing,
    arms::{Both, Place},
    signal::{Event, Readings},
};
use crate::stats::{Mixture, design_effect, ln_mean};

/// Bets on harm: the ratio of shares is not 1 but one of these.
const HARM: [f64; 5] = [1.1, 1.25, 1.5, 2.0, 4.0];

/// Bets on no harm: it is not the margin but one of these.
const OK: [f64; 4] = [1.1, 1.0, 0.9, 0.8];

/// A change without a better side is none below this ratio, and above its inverse.
const CHANGE_TOLERANCE: f64 = 1.05;

/// Where the baseline's share is more than this, ratios are of the rarer side.
const RARER_ABOVE: f64 = 0.5;

/// What is frozen before the start, and the bets.
#[derive(Clone, Debug)]
pub(super) struct Judging {
    place: Place,
    role: Role,
    event: Event,
    frozen_share: f64,
    /// Whether most inferences are events, so that those which are not are counted.
    swapped: bool,
    /// The share it is held against where a ratio means nothing.
    rare: Option<f64>,
    design_effect: f64,
    /// Evidence that the halves of the baseline differ.
    aa_ln_e: f64,
    harm: Vec<Mixture>,
    ok: Option<Mixture>,
    better: Option<Mixture>,
    candidate: ArmSeen,
    against: ArmSeen,
    windows: u64,
    left_out: u64,
    changed: bool,
}

impl Judging {
    /// Freezes an event by what the baseline did before the start.
    pub(super) fn freeze(
        (place, role, event): (&Place, Role, Event),
        before: &BTreeMap<i64, Both>,
        settings: &Settings,
        must_improve: bool,
    ) -> Self {
        let mut readings: Vec<Readings> = before
            .values()
            .map(|both| Readings::of(&event, both))
            .collect();
        let frozen_share = share(&readings);
        let swapped = frozen_share > RARER_ABOVE;
        if swapped {
            readings = readings.iter().map(Readings::rarer).collect();
        }
        let design_effect = design_effect(readings.iter().map(|reading| reading.more));
        let rare = (frozen_share < settings.rare).then_some(settings.rare);
        let ok = |margin: f64| {
            let unit = rare.unwrap_or(1.0);
            let bets = OK.into_iter().filter(|bet| *bet < margin);
            Mixture::new(unit * margin, bets.map(|bet| unit * bet))
        };
        let harm = match role {
            Role::Harm => vec![Mixture::new(1.0, HARM)],
            Role::Change => both_ways(CHANGE_TOLERANCE),
        };
        let is_harm = role == Role::Harm;
        Self {
            place: place.clone(),
            role,
            event,
            frozen_share,
            swapped,
            rare: rare.filter(|_| is_harm),
            design_effect,
            aa_ln_e: apart(&readings, design_effect),
            harm,
            ok: is_harm.then(|| ok(settings.margin)),
            better: must_improve.then(|| Mixture::new(1.0, HARM.map(|bet| 1.0 / bet))),
            candidate: ArmSeen::default(),
            against: ArmSeen::default(),
            windows: 0,
            left_out: 0,
            changed: false,
        }
    }

    /// One window more. Outputs of few devices are left out: what two answers differ by would tell
    /// of them.
    pub(super) fn add(&mut self, both: &Both, settings: &Settings) {
        let (Some(candidate), Some(against)) = (&both.candidate, &both.against) else {
            return;
        };
        let devices = candidate.devices.min(against.devices);
        if devices < settings.group_devices && !names::shown_per_device(&self.place.0) {
            self.left_out += 1;
            return;
        }
        let mut readings = Readings::of(&self.event, both);
        if !readings.more.is_whole() {
            return;
        }
        self.windows += 1;
        let middle = |least: f64, most: f64| (least + most) / 2.0;
        self.candidate.events += middle(readings.more.events, readings.fewer.events);
        self.candidate.records += readings.more.records;
        let (least, most) = (readings.fewer.against_events, readings.more.against_events);
        self.against.events += middle(least, most);
        self.against.records += readings.more.against_records;
        if self.swapped {
            readings = readings.rarer();
        }
        let effect = self.design_effect;
        match self.harm.as_mut_slice() {
            [more, fewer] => {
                more.add(&readings.more, effect);
                fewer.add(&readings.fewer, effect);
            }
            harm => harm.iter_mut().for_each(|h| h.add(&readings.more, effect)),
        }
        match (&mut self.ok, self.rare) {
            (Some(ok), Some(_)) => ok.add_share(&readings.fewer, effect),
            (Some(ok), None) => ok.add(&readings.fewer, effect),
            (None, _) => {}
        }
        if let Some(better) = &mut self.better {
            better.add(&readings.fewer, effect);
        }
        let limit = libm::log(1.0 / settings.rollback_alpha);
        self.changed |= self.role == Role::Change && self.harm_ln_e() >= limit;
    }

    /// Ln of the evidence of harm, or of change.
    pub(super) fn harm_ln_e(&self) -> f64 {
        let each: Vec<f64> = self.harm.iter().map(Mixture::ln_e).collect();
        ln_mean(&each)
    }

    pub(super) const fn role(&self) -> Role {
        self.role
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn metric(&self) -> &str {
        &self.place.0
    }

    pub(super) fn event(&self) -> String {
        self.event.words()
    }

    pub(super) const fn aa_ln_e(&self) -> f64 {
        self.aa_ln_e
    }

    /// Whether it changed at any time, of what has no better side.
    pub(super) const fn has_changed(&self) -> bool {
        self.changed
    }

    /// Whether it stands in nobody's way.
    pub(super) fn is_fine(&self, promote_ln_e: f64) -> bool {
        let passes = |mixture: &Option<Mixture>| {
            mixture
                .as_ref()
                .is_none_or(|mixture| mixture.ln_e() >= promote_ln_e)
        };
        !self.changed && passes(&self.ok) && passes(&self.better)
    }

    pub(super) fn answer(&self, standing: Standing) -> SignalAnswer {
        let (candidate, against) = (self.candidate.share(), self.against.share());
        let ratio = candidate.zip(against).filter(|(_, against)| *against > 0.0);
        SignalAnswer {
            metric: self.place.0.clone(),
            source: self.place.1.clone(),
            event: self.event(),
            role: self.role,
            threshold: self.event.threshold(),
            standing,
            frozen_share: self.frozen_share,
            held_against_share: self.rare,
            candidate: self.candidate,
            against: self.against,
            ratio: ratio.map(|(candidate, against)| candidate / against),
            windows: self.windows,
            left_out: self.left_out,
            design_effect: self.design_effect,
            harm_ln_e: self.harm_ln_e(),
            ok_ln_e: self.ok.as_ref().map(Mixture::ln_e),
            better_ln_e: self.better.as_ref().map(Mixture::ln_e),
        }
    }
}

/// Bets on more and on less, beyond a tolerance.
fn both_ways(tolerance: f64) -> Vec<Mixture> {
    let more = Mixture::new(tolerance, HARM.map(|bet| bet * tolerance));
    let fewer = Mixture::new(1.0 / tolerance, HARM.map(|bet| 1.0 / (bet * tolerance)));
    vec![more, fewer]
}

/// Ln of the evidence that two arms differ which should not.
fn apart(readings: &[Readings], design_effect: f64) -> f64 {
    let mut sides = both_ways(1.0);
    for reading in readings {
        if let [more, fewer] = sides.as_mut_slice() {
            more.add(&reading.more, design_effect);
            fewer.add(&reading.fewer, design_effect);
        }
    }
    let each: Vec<f64> = sides.iter().map(Mixture::ln_e).collect();
    ln_mean(&each)
}

/// Share of the events with the devices that stand for the baseline.
fn share(readings: &[Readings]) -> f64 {
    let (mut events, mut records) = (0.0, 0);
    for reading in readings {
        events += reading.more.against_events;
        records += reading.more.against_records;
    }
    events / u64::max(records, 1) as f64
}
