//! What the gate says of small worlds whose answer is known. How often it errs: `tests/gate.rs`.

use std::collections::BTreeMap;

use fathomline_wire::{histogram::ExponentialHistogram, names};
use proptest::prelude::*;

use super::*;
use crate::{
    drift::Summary,
    gate::{Arm, ArmWindow, Class},
};

const WINDOW: i64 = 5_000_000;
const START: i64 = 1_000 * WINDOW;

fn settings() -> Settings {
    Settings {
        window_us: WINDOW,
        aa_us: 40 * WINDOW,
        min_time_us: 10 * WINDOW,
        deadline_us: 10_000 * WINDOW,
        margin: 2.0,
        ..Settings::default()
    }
    .checked()
    .unwrap()
}

/// Values whose spread is the same in every window, `times` as large.
fn durations(at: i64, times: f64) -> Summary {
    let mut histogram = ExponentialHistogram::new(5);
    for n in 0..60 {
        let place = f64::from((n * 37 + at as i32 * 11) % 101) / 101.0;
        histogram.record(times * libm::exp(place));
    }
    Summary::Histogram(histogram)
}

fn categories(counts: &[(&str, u64)]) -> Summary {
    let counts = counts
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count));
    Summary::Categories(counts.collect::<BTreeMap<_, _>>())
}

fn window(arm: Arm, at: i64, metric: &str, summary: Summary) -> ArmWindow {
    ArmWindow {
        arm,
        end_us: START + at * WINDOW,
        metric: metric.to_owned(),
        source: String::new(),
        summary,
        devices: 8,
    }
}

/// A class of which `each` says what an arm does in a window.
fn class(name: &str, each: impl Fn(Arm, i64) -> Vec<(&'static str, Summary)>) -> Class {
    let windows = |from: i64, to: i64| {
        let ats = (from..to).flat_map(|at| [(Arm::Candidate, at), (Arm::Against, at)]);
        let windows = ats.flat_map(|(arm, at)| {
            let seen = each(if at <= 0 { Arm::Against } else { arm }, at);
            let windows = seen.into_iter();
            windows.map(move |(metric, summary)| window(arm, at, metric, summary))
        });
        windows.collect()
    };
    Class {
        device_class: name.to_owned(),
        candidate_devices: 8,
        against_devices: 24,
        before: windows(-40, 1),
        since: windows(1, 400),
    }
}

fn rollout(classes: Vec<Class>) -> Rollout {
    Rollout {
        service: "assistant".into(),
        model: "tiny".into(),
        candidate: "2".into(),
        against: "1".into(),
        started_us: START,
        improve: None,
        classes,
    }
}

/// A candidate that is so many times as slow.
fn slower(name: &str, times: f64) -> Class {
    class(name, |arm, at| {
        let times = if arm == Arm::Candidate { times } else { 1.0 };
        vec![(names::OPERATION_DURATION, durations(at, times))]
    })
}

fn ask(rollout: &Rollout) -> Answer {
    decide(rollout, &settings(), START + 500 * WINDOW)
}

#[test]
fn equal_versions_are_promoted_and_not_before_their_time() {
    let rollout = rollout(vec![slower("kiosk", 1.0)]);
    let answer = ask(&rollout);
    assert_eq!(answer.decision, Decision::Promote, "{}", answer.reason);
    assert!(answer.decided_us.unwrap() >= START + 10 * WINDOW);
    let early = decide(&rollout, &settings(), START + 5 * WINDOW);
    assert_eq!(early.decision, Decision::Hold);
    assert!(early.reason.contains("25 s of 50 s"), "{}", early.reason);
}

#[test]
fn a_slower_candidate_is_rolled_back_and_a_faster_one_is_not() {
    let answer = ask(&rollout(vec![slower("kiosk", 1.5)]));
    assert_eq!(answer.decision, Decision::Rollback);
    let signal = &answer.classes[0].signals[0];
    assert_eq!(signal.standing, Standing::Worse);
    assert!(
        answer.reason.contains("1.10 times the baseline's p95"),
        "{}",
        answer.reason
    );
    assert_eq!(
        ask(&rollout(vec![slower("kiosk", 0.5)])).decision,
        Decision::Promote
    );
}

#[test]
fn a_regression_on_one_class_alone_is_found_and_named() {
    let classes = ["camera", "gateway", "kiosk", "panel"].map(|name| {
        let times = if name == "kiosk" { 1.5 } else { 1.0 };
        slower(name, times)
    });
    let answer = ask(&rollout(classes.into()));
    assert_eq!(answer.decision, Decision::Rollback);
    assert_eq!(answer.leading.as_ref().unwrap().device_class, "kiosk");
    let says = |class: &ClassAnswer| (class.device_class.clone(), class.decision);
    let said: Vec<_> = answer.classes.iter().map(says).collect();
    let rolled = said
        .iter()
        .filter(|(_, decision)| *decision == Decision::Rollback);
    assert_eq!(rolled.count(), 1, "{said:?}");
    assert!(answer.reason.contains("on kiosk"), "{}", answer.reason);
    assert!(!answer.reason.contains("on camera"), "{}", answer.reason);
}

#[test]
fn labels_hold_and_never_roll_back() {
    let labels = class("kiosk", |arm, _| {
        let on = if arm == Arm::Candidate { 55 } else { 20 };
        let labels = categories(&[("light_on", on), ("light_off", 60 - on)]);
        vec![(names::OUTPUT_LABEL, labels)]
    });
    let answer = ask(&rollout(vec![labels]));
    assert_eq!(answer.decision, Decision::Hold);
    assert!(
        answer.reason.contains("a person must look"),
        "{}",
        answer.reason
    );
    assert!(answer.reason.contains("light_on"), "{}", answer.reason);
    assert_eq!(answer.harm_ln_e, None);
}

#[test]
fn errors_roll_back_even_where_the_baseline_has_none_and_none_at_all_promotes() {
    let errors = |candidate: u64| {
        class("kiosk", move |arm, _| {
            let errors = if arm == Arm::Candidate { candidate } else { 0 };
            let finish = categories(&[("stop", 60 - errors), ("error", errors)]);
            vec![(names::OUTPUT_FINISH, finish)]
        })
    };
    let answer = ask(&rollout(vec![errors(3)]));
    assert_eq!(answer.decision, Decision::Rollback, "{}", answer.reason);
    assert_eq!(answer.leading.unwrap().event, "ended with an error");
    let answer = ask(&rollout(vec![errors(0)]));
    assert_eq!(answer.decision, Decision::Promote, "{}", answer.reason);
    assert_eq!(answer.classes[0].signals[0].held_against_share, Some(0.01));
}

#[test]
fn feedback_that_is_mostly_bad_is_counted_by_its_rarer_side() {
    let feedback = |candidate: u64| {
        class("kiosk", move |arm, _| {
            let good = if arm == Arm::Candidate { candidate } else { 12 };
            let feedback = categories(&[("correct", good), ("wrong", 60 - good)]);
            vec![(names::FEEDBACK, feedback)]
        })
    };
    assert_eq!(
        ask(&rollout(vec![feedback(3)])).decision,
        Decision::Rollback
    );
    let answer = ask(&rollout(vec![feedback(12)]));
    assert_eq!(answer.decision, Decision::Promote, "{}", answer.reason);
    // A candidate that is better than all of that.
    assert_eq!(
        ask(&rollout(vec![feedback(40)])).decision,
        Decision::Promote
    );
}

#[test]
fn what_must_get_better_is_not_promoted_for_staying_as_it_was() {
    let feedback = |candidate: u64| {
        class("kiosk", move |arm, _| {
            let wrong = if arm == Arm::Candidate { candidate } else { 12 };
            let feedback = categories(&[("correct", 60 - wrong), ("wrong", wrong)]);
            vec![(names::FEEDBACK, feedback)]
        })
    };
    let improving = |candidate: u64, metric: &str| Rollout {
        improve: Some(metric.to_owned()),
        ..rollout(vec![feedback(candidate)])
    };
    let same = ask(&improving(12, names::FEEDBACK));
    assert_eq!(same.decision, Decision::Hold);
    assert!(same.reason.contains("being better"), "{}", same.reason);
    let better = ask(&improving(4, names::FEEDBACK));
    assert_eq!(better.decision, Decision::Promote, "{}", better.reason);
    let absent = ask(&improving(4, names::OUTPUT_SURPRISAL));
    assert_eq!(absent.decision, Decision::Hold);
    assert!(
        absent.reason.contains("is not looked at"),
        "{}",
        absent.reason
    );
}

#[test]
fn groups_that_differ_with_the_same_version_are_not_comparable() {
    let mut apart = slower("kiosk", 1.5);
    for window in &mut apart.before {
        if window.arm == Arm::Candidate {
            window.summary = durations(1, 1.5);
        }
    }
    let answer = ask(&rollout(vec![apart]));
    assert_eq!(answer.decision, Decision::Hold);
    assert!(
        answer.reason.contains("cohorts not comparable"),
        "{}",
        answer.reason
    );
    assert!(answer.classes[0].signals.is_empty());
}

#[test]
fn too_little_is_undecided_with_what_is_missing() {
    let says = |change: fn(&mut Class)| {
        let mut class = slower("kiosk", 1.0);
        change(&mut class);
        let answer = ask(&rollout(vec![class]));
        assert_eq!(answer.decision, Decision::Hold, "{}", answer.reason);
        assert!(
            answer.reason.starts_with("undecided: "),
            "{}",
            answer.reason
        );
        answer
    };
    let few = says(|class| class.candidate_devices = 4);
    assert!(
        few.reason.contains("4 of 5 devices run 2"),
        "{}",
        few.reason
    );
    assert!(few.classes[0].signals.is_empty(), "few devices are shown");
    assert!(
        says(|class| class.before.clear())
            .reason
            .contains("0 of 20 windows")
    );
    let one = says(|class| class.before.retain(|window| window.arm == Arm::Against));
    assert!(one.reason.contains("both halves"), "{}", one.reason);
    let thin = says(|class| {
        for window in &mut class.before {
            let mut histogram = ExponentialHistogram::new(5);
            histogram.record(1.0);
            window.summary = Summary::Histogram(histogram);
        }
    });
    assert!(thin.reason.contains("41 of 100 records"), "{}", thin.reason);
    let silent = says(|class| class.since.clear());
    assert!(
        silent.reason.contains("no window has records"),
        "{}",
        silent.reason
    );
    let nobody = ask(&rollout(vec![]));
    assert_eq!(nobody.decision, Decision::Hold);
    assert!(
        nobody.reason.contains("no device runs 2"),
        "{}",
        nobody.reason
    );
}

#[test]
fn outputs_of_few_devices_in_a_window_are_left_out() {
    let mut class = class("kiosk", |_, at| {
        vec![(names::OUTPUT_SURPRISAL, durations(at, 1.0))]
    });
    for window in &mut class.since {
        window.devices = 4;
    }
    let answer = ask(&rollout(vec![class]));
    assert_eq!(answer.decision, Decision::Hold);
    assert!(
        answer.reason.contains("fewer than 5 devices"),
        "{}",
        answer.reason
    );
    assert_eq!(answer.classes[0].signals[0].candidate.records, 0);
}

#[test]
fn after_the_deadline_a_person_decides() {
    let short = Settings {
        deadline_us: 12 * WINDOW,
        min_time_us: 12 * WINDOW,
        margin: 1.05,
        ..settings()
    };
    let answer = decide(&rollout(vec![slower("kiosk", 1.0)]), &short, i64::MAX);
    assert_eq!(answer.decision, Decision::Hold);
    assert!(
        answer.reason.contains("a person must decide"),
        "{}",
        answer.reason
    );
}

#[test]
fn histograms_too_coarse_for_the_threshold_decide_nothing() {
    let mut coarse = slower("kiosk", 1.5);
    for window in &mut coarse.since {
        if let Summary::Histogram(histogram) = &mut window.summary {
            histogram.downscale(6);
        }
    }
    assert_eq!(ask(&rollout(vec![coarse])).decision, Decision::Hold);
}

#[test]
fn answers_survive_json() {
    let answer = ask(&rollout(vec![slower("kiosk", 1.5)]));
    let json = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<Answer>(&json).unwrap(), answer);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn the_order_of_what_was_seen_changes_no_bit(seed in any::<u64>(), times in 0.8_f64..1.6) {
        let whole = rollout(vec![slower("kiosk", times), slower("camera", 1.0)]);
        let mut shuffled = whole.clone();
        let mut state = seed | 1;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        for class in &mut shuffled.classes {
            for windows in [&mut class.before, &mut class.since] {
                for at in (1..windows.len()).rev() {
                    windows.swap(at, next(at + 1));
                }
            }
        }
        shuffled.classes.reverse();
        prop_assert_eq!(ask(&whole), ask(&shuffled));
    }
}
