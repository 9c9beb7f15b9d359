//! Distances and evidence against numbers computed by scipy (`vectors/`; another folder of the
//! same shapes can be named by `FATHOMLINE_VECTORS`).
#![allow(clippy::unwrap_used)]

use fathomline_queries::stats::{
    Accumulators, Aligned, Expectation, Mixture, Pair, Season, SeasonWindow, bin, chi_square, e_bh,
    explicit_positions, hellinger, jensen_shannon, jensen_shannon_distance, ks, log_e_values, psi,
    psi_expected_of_noise, psi_expected_without_drift, reference_cuts, sliced_wasserstein,
    wasserstein,
};
use fathomline_wire::histogram::{Buckets, ExponentialHistogram, Parts};
use serde_json::Value;

fn vectors(name: &str) -> Value {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors");
    let folder = std::env::var("FATHOMLINE_VECTORS").unwrap_or_else(|_| default.into());
    let path = std::path::Path::new(&folder).join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    let items = of[key].as_array().unwrap();
    assert!(!items.is_empty(), "no {key} in the vectors");
    items
}

fn counts(of: &Value, key: &str) -> Vec<u64> {
    list(of, key)
        .iter()
        .map(|count| count.as_u64().unwrap())
        .collect()
}

fn floats(of: &Value, key: &str) -> Vec<f64> {
    list(of, key)
        .iter()
        .map(|value| value.as_f64().unwrap())
        .collect()
}

/// Compares with `key` of `expected` if it is there.
fn agrees(found: f64, expected: &Value, key: &str) {
    if let Some(value) = expected[key].as_f64() {
        let tolerance = 1e-9 * value.abs().max(1e-6);
        assert!(
            (found - value).abs() <= tolerance,
            "{key}: {found} against {value}"
        );
    }
}

fn all_agree(reference: &[u64], current: &[u64], positions: Option<&[f64]>, expected: &Value) {
    agrees(psi(reference, current), expected, "psi");
    agrees(jensen_shannon(reference, current), expected, "js_nats");
    agrees(
        jensen_shannon_distance(reference, current),
        expected,
        "js_distance_base2",
    );
    agrees(hellinger(reference, current), expected, "hellinger");
    agrees(ks(reference, current), expected, "ks");
    let total = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
    let noise = psi_expected_without_drift(reference.len(), total(reference), total(current));
    agrees(noise, expected, "psi_null_mean");
    if let Some(found) = chi_square(reference, current) {
        agrees(found.statistic, expected, "chi2");
        agrees(found.degrees as f64, expected, "dof");
        agrees(found.cramers_v, expected, "cramers_v");
        p_value_agrees(found.p_value(), expected);
    }
    if let Some(positions) = positions {
        let (distance, normalized) = wasserstein(reference, current, positions);
        agrees(distance, expected, "w1");
        if let Some(normalized) = normalized {
            agrees(normalized, expected, "w1_norm");
        }
    }
}

/// Relative to its size, however small; what is zero to scipy is next to it to us.
fn p_value_agrees(found: f64, expected: &Value) {
    if let Some(value) = expected["chi2_p"].as_f64() {
        let near = (found - value).abs() <= 1e-8 * value;
        assert!(
            near || value == 0.0 && found < 1e-300,
            "chi2_p: {found} against {value}"
        );
    }
}

fn histogram(of: &Value) -> ExponentialHistogram {
    let buckets = |of: &Value| Buckets {
        offset: of["offset"].as_i64().unwrap() as i32,
        counts: of["counts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c.as_u64().unwrap())
            .collect(),
    };
    ExponentialHistogram::from_parts(Parts {
        scale: of["scale"].as_i64().unwrap() as i32,
        zero_threshold: of["zero_threshold"].as_f64().unwrap(),
        zero_count: of["zero_count"].as_u64().unwrap(),
        count: of["count"].as_u64().unwrap(),
        sum: of["sum"].as_f64().unwrap(),
        min: of["min"].as_f64(),
        max: of["max"].as_f64(),
        positive: buckets(&of["positive"]),
        negative: buckets(&of["negative"]),
    })
    .unwrap()
}

#[test]
fn distances_agree() {
    for case in list(&vectors("distances.json"), "cases") {
        let positions = floats(case, "pos");
        all_agree(
            &counts(case, "ref"),
            &counts(case, "cur"),
            Some(&positions),
            case,
        );
    }
}

#[test]
fn noise_for_privacy_raises_psi_as_foretold() {
    for case in list(&vectors("privacy.json"), "psi_bias") {
        let shares = floats(case, "p");
        let number = |key: &str| case[key].as_f64().unwrap();
        let (current, reference) = (number("n"), number("N"));
        let sampling = psi_expected_without_drift(shares.len(), reference, current);
        let noise = psi_expected_of_noise(&shares, current, number("noise_variance"));
        agrees(sampling + noise, case, "predicted_null_mean");
    }
}

#[test]
fn projections_of_embeddings_are_as_far_apart_as_written() {
    let bounds: Vec<f64> = (-16..=16).map(|quarter| f64::from(quarter) / 4.0).collect();
    let positions = explicit_positions(&bounds).unwrap();
    for case in list(&vectors("sliced_wasserstein.json"), "cases") {
        let each = floats(case, "w1_binned");
        let (a, b) = (counts(case, "hist_a_0"), counts(case, "hist_b_0"));
        let (first, _) = wasserstein(&a, &b, &positions);
        assert!(
            (first - each[0]).abs() <= 1e-9,
            "{first} against {}",
            each[0]
        );
        agrees(sliced_wasserstein(&each).unwrap(), case, "sliced_w1_binned");
    }
    assert_eq!(sliced_wasserstein(&[]), None);
}

#[test]
fn histograms_are_aligned_and_binned_as_written() {
    for case in list(&vectors("distances.json"), "aligned") {
        let aligned = Aligned::of(&histogram(&case["ref"]), &histogram(&case["cur"]));
        assert_eq!(i64::from(aligned.scale), case["scale"].as_i64().unwrap());
        assert_eq!(
            i64::from(aligned.first_index),
            case["first_index"].as_i64().unwrap()
        );
        // Cell 0 holds what is not positive, of which these cases have none.
        assert_eq!((aligned.reference[0], aligned.current[0]), (0, 0));
        let (reference, current) = (&aligned.reference[1..], &aligned.current[1..]);
        assert_eq!(reference, counts(case, "ref_counts"));
        assert_eq!(current, counts(case, "cur_counts"));
        let cuts = reference_cuts(reference, case["K"].as_u64().unwrap() as usize);
        let expected: Vec<_> = counts(case, "cuts")
            .into_iter()
            .map(|cut| cut as usize)
            .collect();
        assert_eq!(cuts, expected);
        let (r, c) = (bin(reference, &cuts), bin(current, &cuts));
        assert_eq!(
            (&r, &c),
            (&counts(case, "ref_binned"), &counts(case, "cur_binned"))
        );
        all_agree(&r, &c, None, &case["on_bins"]);
        all_agree(
            reference,
            current,
            Some(&aligned.positions()[1..]),
            &case["on_buckets"],
        );
    }
}

#[test]
fn evidence_accumulates_as_written() {
    for case in list(&vectors("sequential.json"), "streams") {
        let number = |key: &str| case[key].as_f64().unwrap();
        let expected = Expectation {
            share: number("m"),
            noise: number("b"),
            tolerance: number("tol"),
        };
        let (n, x) = (counts(case, "n"), counts(case, "x"));
        let values = |window: usize| log_e_values(x[window] as f64, n[window], &expected);
        for (window, key) in [(0, "first_loge"), (79, "loge_79"), (80, "loge_80")] {
            for (found, expected) in values(window).into_iter().zip(floats(case, key)) {
                assert!(
                    (found - expected).abs() <= 1e-8,
                    "{key}: {found} against {expected}"
                );
            }
        }
        let threshold = number("A");
        let cap = (threshold * 12.0).ln() / number("min_windows");
        let mut accumulators = Accumulators::new(12, 0);
        let mut alarm = None;
        for (window, expected) in floats(case, "ln_mean_cusum").into_iter().enumerate() {
            if n[window] > 0 {
                accumulators.add(values(window), cap, window as i64);
            }
            let found = accumulators.ln_mean();
            assert!(
                (found - expected).abs() <= 1e-8,
                "window {window}: {found}, {expected}"
            );
            if alarm.is_none() && found >= threshold.ln() {
                alarm = Some(window as u64);
            }
        }
        assert_eq!(alarm, case["cusum_alarm"].as_u64());
    }
}

#[test]
fn series_that_moved_together_are_found_as_written() {
    for case in list(&vectors("sequential.json"), "ebh") {
        let ln: Vec<f64> = floats(case, "e").into_iter().map(libm::log).collect();
        let found = e_bh(&ln, ln.len(), case["alpha"].as_f64().unwrap());
        let expected = case["reject"].as_array().unwrap();
        let expected: Vec<_> = expected
            .iter()
            .map(|i| i.as_u64().unwrap() as usize)
            .collect();
        assert_eq!(found, expected);
    }
    // Tests that did not happen count as well, and so do their values of nothing.
    assert_eq!(e_bh(&[100.0_f64.ln(), f64::NEG_INFINITY], 4, 0.1), [0]);
    assert_eq!(e_bh(&[100.0_f64.ln()], 11, 0.1), [0_usize; 0]);
}

#[test]
fn the_reference_by_hour_of_the_week_agrees() {
    const MINUTE_US: f64 = 60e6;
    let model = vectors("reference_model.json");
    let counts = counts(&model, "n");
    // 2026-11-23 was a Monday.
    let begin_us = 1_795_392_000_000_000_i64;
    for stream in 0..2 {
        let events = list(&model, "x")
            .iter()
            .map(|x| x[stream].as_f64().unwrap());
        let window = |(hour, (events, count)): (i64, (f64, &u64))| SeasonWindow {
            middle_us: begin_us + hour * 3_600_000_000 + 1_800_000_000,
            events,
            count: *count as f64,
        };
        let windows: Vec<_> = (0..).zip(events.zip(&counts)).map(window).collect();
        let learnt = Season::HourOfWeek.learn(&windows, 3_600_000_000).unwrap();
        let close = |found: f64, expected: &Value, tolerance: f64| {
            let expected = expected.as_f64().unwrap();
            assert!(
                (found - expected).abs() <= tolerance * expected.abs(),
                "{found} against {expected}"
            );
        };
        for (share, slot) in learnt.shares.iter().zip(list(&model, "slot")) {
            close(*share, &slot[stream], 1e-9);
        }
        let minutes = floats(&model, "expect_minute");
        for (minute, expected) in minutes.iter().zip(list(&model, "expect")) {
            let at_us = begin_us + (minute * MINUTE_US) as i64;
            let share = Season::HourOfWeek.share_at(&learnt.shares, at_us).unwrap();
            close(share, &expected[stream], 1e-9);
        }
        close(learnt.overall.noise, &model["b"][stream], 1e-9);
        close(learnt.overall.tolerance, &model["tol"][stream], 1e-9);
    }
}

#[test]
fn evidence_on_ratios_agrees() {
    for case in list(&vectors("sequential.json"), "canary") {
        let column = |key: &str| counts(case, key);
        let (events, records) = (column("xc"), column("nc"));
        let (against, others) = (column("xb"), column("nb"));
        let mut harm = Mixture::new(1.0, [1.1, 1.25, 1.5, 2.0, 4.0]);
        let mut ok = Mixture::new(1.2, [1.1, 1.0, 0.9, 0.8]);
        let (harms, oks) = (
            floats(case, "ln_e_harm_r0_1"),
            floats(case, "ln_e_ok_r0_1.2"),
        );
        for at in 0..events.len() {
            let seen = Pair {
                events: events[at] as f64,
                records: records[at],
                against_events: against[at] as f64,
                against_records: others[at],
            };
            harm.add(&seen, 1.0);
            ok.add(&seen, 1.0);
            let close = |found: f64, expected: f64| (found - expected).abs() < 1e-8;
            assert!(
                close(harm.ln_e(), harms[at]),
                "{} {}",
                harm.ln_e(),
                harms[at]
            );
            assert!(close(ok.ln_e(), oks[at]), "{} {}", ok.ln_e(), oks[at]);
        }
    }
}
