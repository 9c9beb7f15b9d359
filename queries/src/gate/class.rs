//! One device class of a rollout: what is frozen before its start, whether its arms may be compared
//! at all, and what it still lacks.

use std::collections::BTreeMap;

use super::{
    Class, ClassAnswer, Comparable, Decision, Role, Rollout, Settings, Standing,
    arms::{Both, Place, ordered},
    judging::Judging,
    signal::Event,
};
use crate::{drift::Summary, stats::ln_mean};

/// Records of the baseline before the start that an event needs: a quantile of fewer is a guess.
const RECORDS_MIN: u64 = 100;

/// A class while it is judged.
pub(super) struct Judged<'a> {
    class: &'a Class,
    comparable: Option<Comparable>,
    /// What forbids a promotion, whatever comes.
    reasons: Vec<String>,
    signals: Vec<Judging>,
    since: BTreeMap<Place, BTreeMap<i64, Both>>,
}

impl<'a> Judged<'a> {
    pub(super) fn freeze(rollout: &Rollout, class: &'a Class, settings: &Settings) -> Self {
        let mut judged = Self {
            class,
            comparable: None,
            reasons: devices_missing(rollout, class, settings),
            signals: vec![],
            since: BTreeMap::new(),
        };
        // Shares of a handful of devices are nobody's business.
        if class.candidate_devices.min(class.against_devices) < settings.group_devices {
            return judged;
        }
        let before = ordered(&class.before);
        let windows = before.values().map(whole_windows).max().unwrap_or(0);
        let needed = settings.aa_windows_min();
        if windows < needed {
            judged.reasons.push(format!(
                "before the start, both halves of the baseline's devices report in {windows} of \
                 {needed} windows; it runs for {} before a comparison starts",
                hours(settings.aa_us)
            ));
            return judged;
        }
        for (place, before) in &before {
            judged.freeze_metric(rollout, settings, (place, before));
        }
        if judged.signals.is_empty() {
            judged
                .reasons
                .push("no signal has records before the start".to_owned());
            return judged;
        }
        judged.compare(settings, windows);
        judged.since = ordered(&class.since);
        judged
    }

    /// The events of one metric, or what it lacks for them.
    fn freeze_metric(
        &mut self,
        rollout: &Rollout,
        settings: &Settings,
        (place, before): (&Place, &BTreeMap<i64, Both>),
    ) {
        if !settings.metrics.contains(&place.0) {
            return;
        }
        let Some(was) = merged(before) else { return };
        let records = was.count();
        if records < RECORDS_MIN {
            let metric = named(place);
            self.reasons.push(format!(
                "{metric} has {records} of {RECORDS_MIN} records before the start"
            ));
            return;
        }
        let improve = rollout.improve.as_deref() == Some(&place.0);
        for (role, event) in Event::of(&place.0, &was, settings.worse) {
            let better = improve && role == Role::Harm;
            let signal = Judging::freeze((place, role, event), before, settings, better);
            self.signals.push(signal);
        }
    }

    /// Like with like: where the baseline's own devices differ, the arms cannot be compared.
    fn compare(&mut self, settings: &Settings, windows: u64) {
        let each: Vec<f64> = self.signals.iter().map(Judging::aa_ln_e).collect();
        let comparable = Comparable {
            comparable: ln_mean(&each) < libm::log(1.0 / settings.rollback_alpha),
            windows,
            ln_e: ln_mean(&each),
            limit_ln_e: libm::log(1.0 / settings.rollback_alpha),
        };
        self.comparable = Some(comparable);
        if comparable.comparable {
            return;
        }
        let most = self.signals.iter().max_by(|a, b| {
            let by_evidence = a.aa_ln_e().total_cmp(&b.aa_ln_e());
            by_evidence.then_with(|| b.event().cmp(&a.event()))
        });
        let which = most.map(|signal| format!("{} {}", signal.metric(), signal.event()));
        self.reasons.push(format!(
            "cohorts not comparable: before the start, with the same version, {} already differed \
             between the two groups of devices; choose the candidate's devices at random",
            which.unwrap_or_default()
        ));
    }

    /// Ends of its windows; none where there is nothing to compare.
    pub(super) fn ends(&self) -> impl Iterator<Item = i64> + '_ {
        let places = self.since.values().filter(|_| self.is_comparable());
        places.flat_map(|windows| windows.keys().copied())
    }

    pub(super) fn add(&mut self, end_us: i64, settings: &Settings) {
        if !self.is_comparable() {
            return;
        }
        for signal in &mut self.signals {
            let windows = self.since.get(signal.place());
            if let Some(both) = windows.and_then(|windows| windows.get(&end_us)) {
                signal.add(both, settings);
            }
        }
    }

    pub(super) fn device_class(&self) -> &str {
        &self.class.device_class
    }

    /// Signals that bets are held on.
    pub(super) fn signals(&self) -> &[Judging] {
        match self.is_comparable() {
            true => &self.signals,
            false => &[],
        }
    }

    /// Whether it stands in no promotion's way, time apart.
    pub(super) fn is_fine(&self, promote_ln_e: f64) -> bool {
        let fine = |signal: &Judging| signal.is_fine(promote_ln_e);
        self.reasons.is_empty() && self.signals.iter().all(fine)
    }

    fn is_comparable(&self) -> bool {
        self.comparable.is_some_and(|found| found.comparable)
    }

    /// What it says; `worse_ln_e` is what one signal alone needs to be called worse.
    pub(super) fn answer(
        &self,
        (worse_ln_e, promote_ln_e): (f64, f64),
        in_time: bool,
    ) -> ClassAnswer {
        let standing = |signal: &Judging| match signal.role() {
            _ if signal.has_changed() => Standing::Changed,
            Role::Harm if signal.harm_ln_e() >= worse_ln_e => Standing::Worse,
            Role::Harm if signal.is_fine(promote_ln_e) => Standing::Fine,
            Role::Change if !signal.has_changed() => Standing::Fine,
            _ => Standing::Undecided,
        };
        let signals = self.signals().iter();
        let signals: Vec<_> = signals
            .map(|signal| signal.answer(standing(signal)))
            .collect();
        let worse = signals.iter().any(|s| s.standing == Standing::Worse);
        let decision = match (worse, in_time && self.is_fine(promote_ln_e)) {
            (true, _) => Decision::Rollback,
            (false, true) => Decision::Promote,
            (false, false) => Decision::Hold,
        };
        ClassAnswer {
            device_class: self.class.device_class.clone(),
            decision,
            reasons: self.reasons.clone(),
            candidate_devices: self.class.candidate_devices,
            against_devices: self.class.against_devices,
            comparable: self.comparable,
            signals,
        }
    }
}

fn devices_missing(rollout: &Rollout, class: &Class, settings: &Settings) -> Vec<String> {
    let needed = settings.min_devices.max(settings.group_devices);
    let arms = [
        (&rollout.candidate, class.candidate_devices),
        (&rollout.against, class.against_devices),
    ];
    let few = arms.into_iter().filter(|(_, devices)| *devices < needed);
    few.map(|(version, devices)| format!("{devices} of {needed} devices run {version}"))
        .collect()
}

/// Windows in which both arms have records.
fn whole_windows(windows: &BTreeMap<i64, Both>) -> u64 {
    let whole = |both: &&Both| both.candidate.is_some() && both.against.is_some();
    windows.values().filter(whole).count() as u64
}

/// What the baseline did with the devices that stand for it: those that stand for the candidate may
/// be others, which is still to be found out.
fn merged(windows: &BTreeMap<i64, Both>) -> Option<Summary> {
    let each = windows.values().filter_map(|both| both.against.as_ref());
    let mut each = each.map(|seen| &seen.summary);
    let mut sum = each.next()?.clone();
    each.for_each(|summary| sum.merge(summary));
    Some(sum)
}

/// A metric, with its source if it has one.
pub(super) fn named((metric, source): &Place) -> String {
    match source.is_empty() {
        true => metric.clone(),
        false => format!("{metric} ({source})"),
    }
}

/// A length of time in words.
pub(super) fn hours(us: i64) -> String {
    let seconds = us as f64 / 1e6;
    match seconds {
        s if s < 600.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}
