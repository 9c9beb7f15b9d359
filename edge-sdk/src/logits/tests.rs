//! One pass against the textbook in 64 bits. Does not prove speed.

use proptest::prelude::*;

use super::LogitStats;

struct Naive {
    entropy: f64,
    uncertainty: f64,
    margin: f64,
    surprisals: Vec<f64>,
}

/// Probabilities first, then every definition as it is written.
fn naive(logits: &[f32]) -> Naive {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits
        .iter()
        .map(|x| (f64::from(*x) - f64::from(largest)).exp())
        .collect();
    let total: f64 = powers.iter().sum();
    let shares: Vec<f64> = powers.iter().map(|power| power / total).collect();
    let mut sorted = shares.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    Naive {
        entropy: shares
            .iter()
            .filter(|p| **p > 0.0)
            .map(|p| -p * p.ln())
            .sum(),
        uncertainty: sorted[1..].iter().sum(),
        margin: sorted[0] - sorted.get(1).copied().unwrap_or(0.0),
        surprisals: shares.iter().map(|p| -p.ln()).collect(),
    }
}

fn close(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= 1e-6 * theirs.abs() + 1e-9
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn one_pass_agrees_with_the_definitions(
        logits in prop::collection::vec(prop_oneof![9 => -40f32..40f32, 1 => Just(f32::NEG_INFINITY)], 1..300),
        chosen: prop::sample::Index,
    ) {
        prop_assume!(logits.iter().any(|x| x.is_finite()));
        let (ours, theirs) = (LogitStats::of(&logits).unwrap(), naive(&logits));
        let chosen = chosen.index(logits.len());
        prop_assert!(close(ours.entropy, theirs.entropy), "{} {}", ours.entropy, theirs.entropy);
        prop_assert!(close(ours.uncertainty, theirs.uncertainty));
        prop_assert!(close(ours.margin, theirs.margin));
        // The naive side is infinite as soon as e^x underflows, ours only for a token ruled out.
        let surprisal = ours.surprisal(logits[chosen]);
        if theirs.surprisals[chosen].is_finite() {
            prop_assert!(close(surprisal, theirs.surprisals[chosen]));
        } else {
            prop_assert_eq!(surprisal.is_infinite(), logits[chosen] == f32::NEG_INFINITY);
        }
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        prop_assert_eq!(logits.iter().position(|x| *x == top), Some(ours.likeliest as usize));
    }

    #[test]
    fn adding_a_constant_to_every_logit_changes_nothing(
        logits in prop::collection::vec(-8i16..8, 2..50),
        constant in -64i16..64,
    ) {
        let row = |by: i16| -> Vec<f32> { logits.iter().map(|x| f32::from(x + by)).collect() };
        let (here, there) = (LogitStats::of(&row(0)).unwrap(), LogitStats::of(&row(constant)).unwrap());
        prop_assert_eq!(here.entropy, there.entropy);
        prop_assert_eq!(here.uncertainty, there.uncertainty);
        prop_assert_eq!(here.margin, there.margin);
    }

    #[test]
    fn no_row_of_bits_panics_or_gives_a_number_that_is_none(
        bits in prop::collection::vec(any::<u32>(), 0..40),
    ) {
        let logits: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
        if let Some(stats) = LogitStats::of(&logits) {
            prop_assert!(stats.entropy.is_finite() && stats.entropy >= 0.0);
            prop_assert!((0.0..=1.0).contains(&stats.uncertainty));
            prop_assert!((0.0..=1.0).contains(&stats.margin));
        }
    }
}

#[test]
fn a_row_without_sense_has_no_statistics() {
    for row in [
        &[][..],
        &[f32::NAN, 1.0],
        &[1.0, f32::NAN],
        &[f32::INFINITY],
        &[f32::NEG_INFINITY; 3],
    ] {
        assert_eq!(LogitStats::of(row), None, "{row:?}");
    }
}

#[test]
fn a_confident_model_keeps_its_digits() {
    // 1 - p as a difference from 1 would be 0 here.
    let stats = LogitStats::of(&[0.0, -40.0]).unwrap();
    assert!(
        (stats.uncertainty / (-40f64).exp() - 1.0).abs() < 1e-12,
        "{}",
        stats.uncertainty
    );
    assert_eq!(stats.surprisal(0.0), stats.uncertainty);
}

#[test]
fn a_single_token_is_certain() {
    let stats = LogitStats::of(&[3.5]).unwrap();
    assert_eq!(
        (stats.entropy, stats.uncertainty, stats.margin),
        (0.0, 0.0, 1.0)
    );
    assert_eq!(stats.surprisal(3.5), 0.0);
}
