//! The histogram against numbers computed by mpmath and scipy (`vectors/exphist.json`; another
//! folder of the same shapes can be named by `FATHOMLINE_VECTORS`).
#![allow(clippy::unwrap_used)]

use fathomline_wire::histogram::{
    Buckets, ExplicitHistogram, ExponentialHistogram, Parts, bucket_index, lower_bound,
};
use serde_json::Value;

fn vectors() -> Value {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors");
    let folder = std::env::var("FATHOMLINE_VECTORS").unwrap_or_else(|_| default.into());
    let path = std::path::Path::new(&folder).join("exphist.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    let items = of[key].as_array().unwrap();
    assert!(!items.is_empty(), "no {key} in the vectors");
    items
}

fn floats(of: &Value, key: &str) -> Vec<f64> {
    list(of, key)
        .iter()
        .map(|value| value.as_f64().unwrap())
        .collect()
}

fn buckets(of: &Value) -> Buckets {
    Buckets {
        offset: of["offset"].as_i64().unwrap() as i32,
        counts: of["counts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c.as_u64().unwrap())
            .collect(),
    }
}

fn histogram(of: &Value) -> ExponentialHistogram {
    let number = |key: &str| of[key].as_f64().unwrap();
    ExponentialHistogram::from_parts(Parts {
        scale: of["scale"].as_i64().unwrap() as i32,
        zero_threshold: number("zero_threshold"),
        zero_count: of["zero_count"].as_u64().unwrap(),
        count: of["count"].as_u64().unwrap(),
        sum: number("sum"),
        min: Some(number("min")),
        max: Some(number("max")),
        positive: buckets(&of["positive"]),
        negative: buckets(&of["negative"]),
    })
    .unwrap()
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * b.abs().max(1e-300)
}

#[test]
fn indexes_are_exact() {
    for case in list(&vectors(), "index") {
        let value = case["value"].as_f64().unwrap();
        for (scale, index) in case["index"].as_object().unwrap() {
            let found = bucket_index(value, scale.parse().unwrap());
            assert_eq!(
                i64::from(found),
                index.as_i64().unwrap(),
                "{value} at scale {scale}"
            );
        }
    }
}

#[test]
fn boundaries_agree_to_1e_12() {
    for case in list(&vectors(), "boundaries") {
        let (scale, index) = (
            case["scale"].as_i64().unwrap(),
            case["index"].as_i64().unwrap(),
        );
        let found = lower_bound(index as i32, scale as i32);
        assert!(
            close(found, case["lower"].as_f64().unwrap(), 1e-12),
            "{index} at {scale}"
        );
    }
}

#[test]
fn merges_agree_count_by_count() {
    for case in list(&vectors(), "merge") {
        for (limit, key) in [(160, "merged_max160"), (20, "merged_max20")] {
            let expected = histogram(&case[key]);
            for (into, from) in [("a", "b"), ("b", "a")] {
                let mut merged = histogram(&case[into]);
                merged.merge_within(&histogram(&case[from]), limit);
                assert!(close(merged.zero_threshold, expected.zero_threshold, 1e-9));
                merged.zero_threshold = expected.zero_threshold;
                assert!(merged.agrees_with(&expected), "{merged:?}\n{expected:?}");
            }
        }
    }
}

#[test]
fn quantiles_and_cdf_agree_and_keep_their_promise() {
    for case in list(&vectors(), "quantile") {
        let histogram = histogram(&case["hist"]);
        let base = lower_bound(1, histogram.scale);
        let expected = floats(case, "quantile")
            .into_iter()
            .zip(floats(case, "sample_quantile"));
        for (q, (expected, sample)) in floats(case, "q").into_iter().zip(expected) {
            let found = histogram.quantile(q).unwrap();
            assert!(
                close(found, expected, 1e-9),
                "q {q}: {found} against {expected}"
            );
            let bound = (base - 1.0) * sample.abs() + 2.0 * histogram.zero_threshold + 1e-12;
            assert!(
                (found - sample).abs() <= bound,
                "q {q}: {found} against {sample}"
            );
        }
        for (x, expected) in floats(case, "x").into_iter().zip(floats(case, "cdf")) {
            assert!(close(histogram.cdf(x).unwrap(), expected, 1e-9), "cdf({x})");
        }
    }
}

#[test]
fn explicit_quantiles_agree() {
    for case in list(&vectors(), "explicit") {
        let counts: Vec<u64> = list(case, "counts")
            .iter()
            .map(|c| c.as_u64().unwrap())
            .collect();
        let histogram = ExplicitHistogram {
            bounds: floats(case, "bounds"),
            count: counts.iter().sum(),
            counts,
            sum: None,
            min: case["min"].as_f64(),
            max: case["max"].as_f64(),
        }
        .checked()
        .unwrap();
        for (q, expected) in floats(case, "q").into_iter().zip(floats(case, "quantile")) {
            assert!(
                close(histogram.quantile(q).unwrap(), expected, 1e-9),
                "q {q}"
            );
        }
    }
}
