//! The fold over windows: every window of every class is one step, after which the evidence may be
//! enough. What was shown once stays shown: the bounds on both errors hold for ever (Ville), so
//! nobody is punished for looking often.
//!
//! Rolling back needs one signal; promoting needs all of them, so no correction for their number is
//! due there. A rollback after a promotion wins.

use std::collections::BTreeSet;

use super::{
    Answer, ClassAnswer, Decision, Leading, Role, Rollout, Settings, SignalAnswer, Standing,
    class::{Judged, hours},
};
use crate::stats::ln_mean;

/// Shortfalls that a sentence names.
const NAMED_MAX: usize = 3;

/// What the fold found so far.
#[derive(Default)]
struct Found {
    judged_until_us: Option<i64>,
    rollback_us: Option<i64>,
    promote_us: Option<i64>,
    leading: Option<Leading>,
    harm_ln_e: Option<f64>,
}

/// Decides a rollout by what was seen in windows that ended by `now_us`.
pub fn decide(rollout: &Rollout, settings: &Settings, now_us: i64) -> Answer {
    let mut classes: Vec<&super::Class> = rollout.classes.iter().collect();
    classes.sort_by(|a, b| a.device_class.cmp(&b.device_class));
    let freeze = |class| Judged::freeze(rollout, class, settings);
    let mut classes: Vec<Judged<'_>> = classes.into_iter().map(freeze).collect();
    let (rollback_ln_e, promote_ln_e) = (
        libm::log(1.0 / settings.rollback_alpha),
        libm::log(1.0 / settings.promote_alpha),
    );
    let ends: BTreeSet<i64> = classes.iter().flat_map(Judged::ends).collect();
    let improves = rollout.improve.is_none() || must_improve(rollout, &classes);
    let mut found = Found::default();
    for end_us in ends.into_iter().filter(|end_us| *end_us <= now_us) {
        classes
            .iter_mut()
            .for_each(|class| class.add(end_us, settings));
        found.judged_until_us = Some(end_us);
        found.look(&classes, end_us, rollback_ln_e);
        let fine = improves && classes.iter().all(|class| class.is_fine(promote_ln_e));
        if fine && within(rollout, settings, end_us) {
            found.promote_us.get_or_insert(end_us);
        }
    }
    let signals = classes.iter().flat_map(|class| class.signals());
    let harms = signals.filter(|signal| signal.role() == Role::Harm).count();
    let worse_ln_e = rollback_ln_e + libm::log(harms.max(1) as f64);
    let in_time = found
        .judged_until_us
        .is_some_and(|end_us| within(rollout, settings, end_us));
    let answer = |class: &Judged<'_>| class.answer((worse_ln_e, promote_ln_e), in_time);
    let classes: Vec<ClassAnswer> = classes.iter().map(answer).collect();
    found.answer(rollout, settings, now_us, classes)
}

/// Whether the metric that must get better is looked at anywhere.
fn must_improve(rollout: &Rollout, classes: &[Judged<'_>]) -> bool {
    let named = |signal: &super::judging::Judging| {
        signal.role() == Role::Harm && Some(signal.metric()) == rollout.improve.as_deref()
    };
    classes
        .iter()
        .any(|class| class.signals().iter().any(named))
}

/// After the least time, and before a person must decide.
fn within(rollout: &Rollout, settings: &Settings, end_us: i64) -> bool {
    let since_us = end_us.saturating_sub(rollout.started_us);
    (settings.min_time_us..=settings.deadline_us).contains(&since_us)
}

impl Found {
    /// The evidence of harm over everything, after a window.
    fn look(&mut self, classes: &[Judged<'_>], end_us: i64, rollback_ln_e: f64) {
        let harms = classes.iter().flat_map(|class| {
            let signals = class.signals().iter();
            let harm = signals.filter(|signal| signal.role() == Role::Harm);
            harm.map(move |signal| (class, signal, signal.harm_ln_e()))
        });
        let harms: Vec<_> = harms.collect();
        let each: Vec<f64> = harms.iter().map(|(_, _, ln_e)| *ln_e).collect();
        if each.is_empty() || self.rollback_us.is_some() {
            return;
        }
        let ln_e = ln_mean(&each);
        self.harm_ln_e = Some(ln_e);
        // The first of equals: classes and signals have an order.
        let most = harms
            .iter()
            .rev()
            .max_by(|(_, _, a), (_, _, b)| a.total_cmp(b));
        self.leading = most.map(|(class, signal, ln_e)| Leading {
            device_class: class.device_class().to_owned(),
            metric: signal.metric().to_owned(),
            event: signal.event(),
            ln_e: *ln_e,
        });
        if ln_e >= rollback_ln_e {
            self.rollback_us = Some(end_us);
        }
    }

    fn answer(
        self,
        rollout: &Rollout,
        settings: &Settings,
        now_us: i64,
        mut classes: Vec<ClassAnswer>,
    ) -> Answer {
        let decision = match (self.rollback_us, self.promote_us) {
            (Some(_), _) => Decision::Rollback,
            (None, Some(_)) => Decision::Promote,
            (None, None) => Decision::Hold,
        };
        if let (Decision::Rollback, Some(leading)) = (decision, &self.leading) {
            blame(&mut classes, leading);
        }
        let reason = match decision {
            Decision::Rollback => worse(rollout, &classes, self.leading.as_ref()),
            Decision::Promote => {
                let signals: usize = classes.iter().map(|class| class.signals.len()).sum();
                format!(
                    "{signals} signals on {} are shown to be fine: nothing that harms is {} times as \
                     frequent as with {}",
                    count(classes.len(), "device class", "device classes"),
                    settings.margin,
                    rollout.against
                )
            }
            Decision::Hold => hold(rollout, settings, (self.judged_until_us, now_us), &classes),
        };
        Answer {
            decision,
            reason,
            service: rollout.service.clone(),
            model: rollout.model.clone(),
            candidate: rollout.candidate.clone(),
            against: rollout.against.clone(),
            started_us: rollout.started_us,
            judged_until_us: self.judged_until_us,
            decided_us: self.rollback_us.or(self.promote_us),
            promoted_us: self.promote_us,
            improve: rollout.improve.clone(),
            harm_ln_e: self.harm_ln_e,
            rollback_ln_e: libm::log(1.0 / settings.rollback_alpha),
            promote_ln_e: libm::log(1.0 / settings.promote_alpha),
            leading: self.leading,
            classes,
            settings: settings.clone(),
        }
    }
}

/// The signal that rolled back is worse, and so is its class, whatever came since.
fn blame(classes: &mut [ClassAnswer], leading: &Leading) {
    let its = |class: &&mut ClassAnswer| class.device_class == leading.device_class;
    for class in classes.iter_mut().filter(its) {
        class.decision = Decision::Rollback;
        for signal in &mut class.signals {
            if signal.metric == leading.metric && signal.event == leading.event {
                signal.standing = Standing::Worse;
            }
        }
    }
}

fn worse(rollout: &Rollout, classes: &[ClassAnswer], leading: Option<&Leading>) -> String {
    let mut named = Vec::new();
    for class in classes {
        let worse = |signal: &&SignalAnswer| signal.standing == Standing::Worse;
        for signal in class.signals.iter().filter(worse) {
            let first = leading.is_some_and(|leading| {
                (&leading.device_class, &leading.metric, &leading.event)
                    == (&class.device_class, &signal.metric, &signal.event)
            });
            named.push((!first, on(class, signal)));
        }
    }
    named.sort_by_key(|(later, _)| *later);
    let named: Vec<String> = named.into_iter().map(|(_, words)| words).collect();
    format!("worse than {}: {}", rollout.against, listed(&named))
}

/// A signal with both its shares.
fn on(class: &ClassAnswer, signal: &SignalAnswer) -> String {
    let percent =
        |share: Option<f64>| share.map_or("none".to_owned(), |s| format!("{:.1} %", 100.0 * s));
    format!(
        "on {}, {} {}: {} against {}",
        class.device_class,
        signal.metric,
        signal.event,
        percent(signal.candidate.share()),
        percent(signal.against.share())
    )
}

fn hold(
    rollout: &Rollout,
    settings: &Settings,
    (judged_until_us, now_us): (Option<i64>, i64),
    classes: &[ClassAnswer],
) -> String {
    let changed: Vec<String> = classes
        .iter()
        .flat_map(|class| {
            let signals = class.signals.iter();
            let changed = signals.filter(|signal| signal.standing == Standing::Changed);
            changed.map(|signal| on(class, signal))
        })
        .collect();
    if !changed.is_empty() {
        let changed = listed(&changed);
        return format!("changed, for better or worse, and a person must look: {changed}");
    }
    let lacking = lacking(rollout, settings, judged_until_us, classes);
    let passed_us = now_us.saturating_sub(rollout.started_us);
    match passed_us > settings.deadline_us {
        true => format!(
            "undecided after {}, and a person must decide: {}",
            hours(settings.deadline_us),
            listed(&lacking)
        ),
        false => format!("undecided: {}", listed(&lacking)),
    }
}

/// Everything that a promotion lacks, in sentences.
fn lacking(
    rollout: &Rollout,
    settings: &Settings,
    judged_until_us: Option<i64>,
    classes: &[ClassAnswer],
) -> Vec<String> {
    let mut lacking = Vec::new();
    if classes.is_empty() {
        let candidate = &rollout.candidate;
        lacking.push(format!(
            "no device runs {candidate} beside {}",
            rollout.against
        ));
    }
    for class in classes {
        let each = class.reasons.iter();
        lacking.extend(each.map(|reason| format!("on {}, {reason}", class.device_class)));
    }
    let signals = classes.iter().flat_map(|class| &class.signals);
    let named = |improve: &String| signals.clone().any(|signal| signal.metric == *improve);
    if let Some(improve) = rollout.improve.as_ref().filter(|improve| !named(improve)) {
        lacking.push(format!(
            "{improve}, which must get better, is not looked at"
        ));
    }
    let seen_us = judged_until_us.map_or(0, |until_us| until_us - rollout.started_us);
    if !classes.is_empty() && seen_us < settings.min_time_us {
        let (seen, least) = (hours(seen_us.max(0)), hours(settings.min_time_us));
        lacking.push(format!("{seen} of {least} have passed"));
    }
    for class in classes {
        let open = |signal: &&SignalAnswer| signal.standing == Standing::Undecided;
        for signal in class.signals.iter().filter(open) {
            lacking.push(format!(
                "on {}, {} {}: {}",
                class.device_class,
                signal.metric,
                signal.event,
                evidence(signal, settings)
            ));
        }
    }
    lacking
}

/// What evidence a signal has of what it needs.
fn evidence(signal: &SignalAnswer, settings: &Settings) -> String {
    let needed = 1.0 / settings.promote_alpha;
    let limit = libm::log(needed);
    let value = |ln_e: f64| match libm::exp(ln_e) {
        e if e < 0.01 => "less than 0.01".to_owned(),
        e => format!("{e:.2}"),
    };
    match (signal.ok_ln_e, signal.better_ln_e) {
        _ if signal.windows == 0 && signal.left_out > 0 => format!(
            "fewer than {} devices were behind each of {} windows",
            settings.group_devices, signal.left_out
        ),
        _ if signal.windows == 0 => "no window has records of both versions".to_owned(),
        (Some(ok), _) if ok < limit => format!("evidence {} of {needed}", value(ok)),
        (_, Some(better)) => format!("evidence of being better {} of {needed}", value(better)),
        _ => "undecided".to_owned(),
    }
}

/// The first few, and how many more there are.
fn listed(sentences: &[String]) -> String {
    let named = sentences
        .iter()
        .take(NAMED_MAX)
        .cloned()
        .collect::<Vec<_>>();
    let more = sentences.len().saturating_sub(NAMED_MAX);
    match (named.is_empty(), more) {
        (true, _) => "nothing was seen".to_owned(),
        (false, 0) => named.join("; "),
        (false, more) => format!("{}; and {more} more", named.join("; ")),
    }
}

fn count(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

#[cfg(test)]
mod tests;
