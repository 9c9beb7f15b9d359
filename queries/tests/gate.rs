//! The gate's error rates in short: the worlds of `examples/gate.rs`, few runs of each, and the
//! bits of its evidence. `docs/gate.md` has 300 runs.
#![allow(clippy::unwrap_used)]

#[path = "../examples/gate/world.rs"]
mod world;

use fathomline_queries::gate::{Answer, Decision, decide};
use world::{STARTED_US, Trial, WINDOW_US, WINDOWS, settings};

const RUNS: u64 = 24;

/// How often each decision was taken: rollback, promote, hold.
fn decisions(share: f64, ratio: f64) -> [usize; 3] {
    let answers: Vec<Answer> = (0..RUNS)
        .map(|seed| {
            decide(
                &Trial::new(share, ratio, seed).rollout,
                &settings(),
                i64::MAX,
            )
        })
        .collect();
    [Decision::Rollback, Decision::Promote, Decision::Hold]
        .map(|decision| answers.iter().filter(|a| a.decision == decision).count())
}

#[test]
fn equal_versions_are_promoted_and_worse_ones_rolled_back() {
    let [rollback, promote, _] = decisions(0.05, 1.0);
    // At 5 % each, three or more of 24 are as good as impossible.
    assert!(rollback <= 3 && promote >= 20, "{rollback} {promote}");
    let [rollback, promote, hold] = decisions(0.05, 1.5);
    assert!(
        promote == 0 && rollback >= 21,
        "{rollback} {promote} {hold}"
    );
    let [_, promote, _] = decisions(0.05, 1.2);
    assert!(promote <= 3, "{promote}");
}

#[test]
fn a_test_that_is_looked_at_every_hour_rolls_equal_versions_back() {
    let naive = (0..RUNS).filter(|seed| Trial::new(0.05, 1.0, *seed).naive_rollback());
    assert!(naive.count() >= 5);
}

/// Evidence is a pure function of what was seen: these bits change only with the method.
#[test]
fn evidence_has_the_bits_it_had() {
    let trial = Trial::new(0.05, 1.2, 7);
    let answer = decide(&trial.rollout, &settings(), i64::MAX);
    let signal = &answer.classes[0].signals[0];
    let bits = [
        signal.harm_ln_e,
        signal.ok_ln_e.unwrap(),
        signal.design_effect,
    ];
    assert_eq!(bits.map(f64::to_bits), GOLDEN, "{bits:?}");
    let again = decide(&trial.rollout, &settings(), i64::MAX);
    assert_eq!(answer, again);
}

const GOLDEN: [u64; 3] = [
    4_627_050_624_149_547_352,
    13_844_083_287_042_332_261,
    4_609_018_595_720_638_489,
];

/// What came later changes nothing of what was decided before.
#[test]
fn an_answer_depends_on_the_windows_that_have_ended() {
    let trial = Trial::new(0.05, 2.0, 3);
    let whole = decide(&trial.rollout, &settings(), i64::MAX);
    assert_eq!(whole.decision, Decision::Rollback);
    let at = whole.decided_us.unwrap();
    let before = decide(&trial.rollout, &settings(), at - 1);
    assert_eq!(before.decision, Decision::Hold, "{}", before.reason);
    assert_eq!(before.judged_until_us, Some(at - WINDOW_US));
    let then = decide(&trial.rollout, &settings(), at);
    assert_eq!(
        (then.decision, then.decided_us),
        (Decision::Rollback, Some(at))
    );
    let end_us = STARTED_US + WINDOWS as i64 * WINDOW_US;
    assert_eq!(whole.judged_until_us, Some(end_us));
}
