//! References of made-up pasts: their names, their hours, and what is refused.

use std::collections::BTreeMap;

use fathomline_wire::histogram::ExponentialHistogram;
use proptest::prelude::*;

use super::*;

const HOUR_US: i64 = 3_600_000_000;
/// 2026-11-23, a Monday.
const MONDAY_US: i64 = 1_795_392_000_000_000;

fn key() -> SeriesKey {
    SeriesKey {
        service: "s".into(),
        model: "m".into(),
        version: "1".into(),
        variant: "v".into(),
        device_class: "c".into(),
        metric: "x".into(),
    }
}

fn reference(sum_error: f64, shift: f64) -> Reference {
    let lane = |number: i64| {
        let mut histogram = ExponentialHistogram::new(4);
        for value in 1..=200 {
            assert!(histogram.record(shift + f64::from(value) * 0.01));
        }
        histogram.sum += sum_error;
        Lane {
            start_us: number,
            end_us: number + 1,
            count: histogram.count,
            summary: Summary::Histogram(histogram),
            device_windows: 1,
            devices: 1,
        }
    };
    let lanes: Vec<_> = (0..20).map(lane).collect();
    Reference::freeze(key(), &lanes, &Policy::default()).unwrap()
}

/// Hourly lanes of `days` days; at night half of the answers are short, by day a tenth.
fn nights(days: i64) -> Vec<Lane> {
    let lane = |hour: i64| {
        let night = hour.rem_euclid(24) < 6;
        let short = if night { 100 } else { 20 };
        let counts = BTreeMap::from([
            ("long".to_owned(), 200 - short),
            ("short".to_owned(), short),
        ]);
        Lane {
            start_us: MONDAY_US + hour * HOUR_US,
            end_us: MONDAY_US + (hour + 1) * HOUR_US,
            summary: Summary::Categories(counts),
            count: 200,
            device_windows: 4,
            devices: 4,
        }
    };
    (0..days * 24).map(lane).collect()
}

fn hourly() -> Policy {
    Policy {
        lane_us: HOUR_US,
        ..Policy::default()
    }
}

fn seasonal(season: Season, days: i64) -> Result<Reference, Shortfall> {
    let making = Making {
        key: key(),
        level: Level::Variant,
        season,
    };
    making.freeze(&nights(days), &hourly())
}

#[test]
fn the_name_of_a_reference_is_its_counts_and_not_the_order_they_came_in() {
    let hash = reference(0.0, 0.0).hash();
    assert_eq!(hash.len(), 64);
    assert_eq!(hash, reference(1e-13, 0.0).hash());
    assert_ne!(hash, reference(0.0, 0.5).hash());
}

#[test]
fn what_is_expected_of_an_hour_is_what_that_hour_was() {
    for (season, days) in [(Season::HourOfDay, 7), (Season::HourOfWeek, 14)] {
        let reference = seasonal(season, days).unwrap();
        assert_eq!(reference.check(), Ok(()));
        let short = reference
            .streams()
            .iter()
            .position(|(s, _)| s.to_string() == "\"short\"");
        let at = |hour: i64| {
            let middle_us = MONDAY_US + 70 * 24 * HOUR_US + hour * HOUR_US + HOUR_US / 2;
            reference.expected_at(middle_us)[short.unwrap()].share
        };
        assert!((at(2) - 0.5).abs() < 0.03, "{season:?} at night: {}", at(2));
        assert!((at(12) - 0.1).abs() < 0.02, "{season:?} by day: {}", at(12));
        let pooled = reference.streams()[short.unwrap()].1.share;
        assert!((pooled - 0.2).abs() < 0.01, "{pooled}");
        assert_eq!(
            reference.hour_counts().iter().sum::<u64>(),
            reference.count()
        );
        let bytes = postcard::to_allocvec(&reference).unwrap();
        assert!(bytes.len() < REFERENCE_BYTES_MAX, "{}", bytes.len());
    }
}

#[test]
fn the_largest_reference_fits_what_one_may_take() {
    let lanes: Vec<Lane> = nights(28)
        .into_iter()
        .map(|lane| {
            let counts = (0..40).map(|n| (format!("{n:0>32}"), 1_000_000_000));
            let summary = Summary::Categories(counts.collect());
            Lane {
                summary,
                count: 40_000_000_000,
                ..lane
            }
        })
        .collect();
    let making = Making {
        key: key(),
        level: Level::Variant,
        season: Season::HourOfWeek,
    };
    let reference = making.freeze(&lanes, &hourly()).unwrap();
    let bytes = postcard::to_allocvec(&reference).unwrap();
    assert!(bytes.len() < REFERENCE_BYTES_MAX, "{}", bytes.len());
    assert_eq!(
        postcard::from_bytes::<Reference>(&bytes).unwrap().hash(),
        reference.hash()
    );
}

#[test]
fn a_season_without_the_days_it_needs_is_a_shortfall_in_words() {
    let shortfall = seasonal(Season::HourOfDay, 6).unwrap_err().to_string();
    assert!(
        shortfall.ends_with("and 6 of 7 days that its season needs"),
        "{shortfall}"
    );
    let shortfall = seasonal(Season::HourOfWeek, 13).unwrap_err().to_string();
    assert!(shortfall.contains("13 of 14 days"), "{shortfall}");
    // Fourteen days of which eight have nothing are not fourteen days.
    let mut lanes = nights(14);
    lanes.retain(|lane| lane.end_us % (3 * DAY_US) < DAY_US);
    let making = Making {
        key: key(),
        level: Level::Variant,
        season: Season::HourOfWeek,
    };
    assert!(making.freeze(&lanes, &hourly()).is_err());
}

#[test]
fn a_night_that_is_like_all_nights_is_within_tolerance_only_by_its_season() {
    let with = seasonal(Season::HourOfDay, 14).unwrap();
    let without = seasonal(Season::None, 14).unwrap();
    let night_us = MONDAY_US + 20 * 24 * HOUR_US + 2 * HOUR_US + HOUR_US / 2;
    let off = |reference: &Reference| {
        let expected = reference.expected_at(night_us);
        let short = reference
            .streams()
            .iter()
            .position(|(s, _)| s.to_string() == "\"short\"");
        let expected = expected[short.unwrap()];
        (0.5 - expected.share).abs() / expected.tolerance
    };
    assert!(off(&with) < 1.0, "{}", off(&with));
    assert!(off(&without) > 1.0, "{}", off(&without));
}

#[test]
fn what_does_not_fit_together_is_refused_with_its_reason() {
    let sound = seasonal(Season::HourOfDay, 7).unwrap();
    type Break = fn(&mut Reference);
    let broken: [(Break, &str); 9] = [
        (|r| r.contract = 7, "contract version 7"),
        (|r| r.key.service = "s".repeat(129), "129 bytes"),
        (|r| r.level = Level::Version, "level \"version\""),
        (|r| r.count += 1, "records and its values are not as many"),
        (|r| r.end_us = r.start_us, "its span holds no lane"),
        (|r| r.streams.clear(), "watches 0 streams"),
        (
            |r| r.streams[0].1.share = f64::NAN,
            "is no share, noise and tolerance",
        ),
        (
            |r| {
                r.streams[0].0 = Stream::Above {
                    quantile: 0.5,
                    threshold: 1.0,
                }
            },
            "cannot watch",
        ),
        (
            |r| r.hour_shares[0].truncate(3),
            "hours are not those of the season",
        ),
    ];
    for (break_it, says) in broken {
        let mut reference = sound.clone();
        break_it(&mut reference);
        let why = reference.check().unwrap_err();
        assert!(why.contains(says), "{why} lacks {says}");
    }
}

proptest! {
    #[test]
    fn lanes_of_nothing_and_the_order_of_merging_change_no_name(
        values in prop::collection::vec(0.01_f64..100.0, 200..220),
        empty in 0_usize..20,
    ) {
        let lane = |number: i64, turned: bool| {
            let mut histogram = ExponentialHistogram::new(4);
            let mut values = values.clone();
            if turned {
                values.reverse();
            }
            values.iter().for_each(|value| assert!(histogram.record(*value)));
            Lane {
                start_us: number,
                end_us: number + 1,
                count: histogram.count,
                summary: Summary::Histogram(histogram),
                device_windows: 1,
                devices: 1,
            }
        };
        let name = |turned: bool, with_empty: bool| {
            let mut lanes: Vec<_> = (0..20).map(|number| lane(number, turned)).collect();
            if with_empty {
                let summary = Summary::Histogram(ExponentialHistogram::new(4));
                let nothing = Lane { count: 0, summary, ..lanes[empty].clone() };
                lanes.insert(empty, nothing);
            }
            Reference::freeze(key(), &lanes, &Policy::default()).unwrap().hash()
        };
        prop_assert_eq!(name(false, false), name(true, true));
    }
}
