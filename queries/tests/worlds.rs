//! What must hold of every score: it is a function of its own data, luck stays within the budget,
//! and what cannot be judged is undecided. The calibration report in its short form: the worlds of
//! `examples/calibration`, few days of each.
#![allow(clippy::unwrap_used)]

#[path = "../examples/calibration/world.rs"]
#[expect(dead_code, reason = "the report uses more of it")]
mod world;

use fathomline_queries::{
    drift::{Detector, Lane, Level, Making, Policy, Reference, Summary, Verdict, VerdictState},
    stats::Season,
};
use fathomline_wire::histogram::ExponentialHistogram;
use sha2::{Digest as _, Sha256};
use world::{DAY, Kind, Random, Shift, World, key};

/// A budget that is spent by this series alone: the hardest case.
fn alone() -> Policy {
    Policy {
        series_budget: 1,
        ..Policy::default()
    }
}

fn freeze(lanes: &[Lane]) -> Reference {
    Reference::freeze(key(), lanes, &alone()).unwrap()
}

fn fold(reference: &Reference, lanes: &[Lane]) -> Vec<Verdict> {
    let mut detector = Detector::new(reference, &alone());
    let verdicts = lanes.iter().map(|lane| detector.fold(reference, lane));
    verdicts.collect()
}

fn bits(verdicts: &[Verdict]) -> Vec<(u64, Option<u64>)> {
    let bits = |verdict: &Verdict| {
        let wide = verdict.wide.map(|wide| wide.score.to_bits());
        (verdict.score.to_bits(), wide)
    };
    verdicts.iter().map(bits).collect()
}

#[test]
fn scores_have_the_bits_they_had() {
    let mut world = World::new(Kind::Clustered(30), 10.0, 1);
    let reference = freeze(&world.lanes(2 * DAY));
    world.shift = Some((2 * DAY + 60, Shift::Part(0.2)));
    let lanes = world.lanes(400);
    let verdicts = fold(&reference, &lanes);
    assert!(verdicts.iter().any(|verdict| verdict.page));
    assert_eq!(
        digest(&verdicts),
        GOLDEN,
        "scores changed: change METHOD, too"
    );
    assert_eq!(
        bits(&verdicts),
        bits(&fold(&reference, &lanes)),
        "on repeat"
    );
}

const GOLDEN: &str = "6f042a14987b39d1f06313cc55e7fc9b6c1cbb76efcc2c0f2125c51bf15c1601";

fn digest(verdicts: &[Verdict]) -> String {
    let mut digest = Sha256::new();
    for (score, wide) in bits(verdicts) {
        digest.update(score.to_le_bytes());
        digest.update(wide.unwrap().to_le_bytes());
    }
    let digest: [u8; 32] = digest.finalize().into();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Four weeks of a fleet with days, weekends, shocks and sessions, by hour of the week: what the
/// report has over 30 days and many runs, for four days and one.
#[test]
fn a_season_is_no_drift_and_a_shift_is_seen_through_it() {
    let mut world = World::new(Kind::Real, 20.0, 11);
    let making = Making {
        key: key(),
        level: Level::Variant,
        season: Season::HourOfWeek,
    };
    let lanes = world.lanes(world::REFERENCE);
    let reference = making.freeze(&lanes, &alone()).unwrap();
    let quiet = fold(&reference, &world.again(12).lanes(4 * DAY));
    assert!(quiet.iter().all(|verdict| !verdict.page));
    let mut shifted = world.again(12);
    let noon = world::REFERENCE + 12 * world::HOUR;
    shifted.shift = Some((noon, Shift::Mean(1.0)));
    let verdicts = fold(&reference, &shifted.lanes(DAY));
    let page = verdicts.iter().position(|verdict| verdict.page).unwrap() as i64;
    let delay = page - 12 * world::HOUR;
    assert!((1..=3 * world::HOUR).contains(&delay), "{delay} minutes");
    assert_eq!(
        digest(&verdicts),
        GOLDEN_BY_HOURS,
        "scores changed: change METHOD, too"
    );
}

const GOLDEN_BY_HOURS: &str = "bfd1837f8ea9260950013e06efd89668996459ec35247df578f2882e3ac9b381";

#[test]
fn later_lanes_and_other_series_change_no_score() {
    let mut world = World::new(Kind::Independent, 20.0, 2);
    let reference = freeze(&world.lanes(DAY));
    let lanes = world.lanes(200);
    let whole = bits(&fold(&reference, &lanes));
    let (mut detector, mut other) = (
        Detector::new(&reference, &alone()),
        Detector::new(&reference, &alone()),
    );
    let mut stranger = World::new(Kind::Independent, 20.0, 3);
    for (number, lane) in lanes.iter().enumerate() {
        let verdict = detector.fold(&reference, lane);
        other.fold(&reference, &stranger.lane());
        assert_eq!(bits(&[verdict]), whole[number..=number]);
    }
}

#[test]
fn devices_can_be_merged_in_any_order() {
    let mut world = World::new(Kind::Independent, 30.0, 4);
    let reference = freeze(&world.lanes(DAY));
    let parts: Vec<Lane> = world.lanes(90);
    let merged = |order: &mut dyn Iterator<Item = &Lane>| {
        let first = order.next().unwrap().clone();
        let sum = order.fold(first, |mut sum, lane| {
            sum.summary.merge(&lane.summary);
            sum.count += lane.count;
            sum
        });
        Lane {
            start_us: parts[0].start_us,
            end_us: parts[0].end_us,
            ..sum
        }
    };
    let lanes: Vec<Lane> = parts.chunks(9).map(|of| merged(&mut of.iter())).collect();
    let back: Vec<Lane> = parts
        .chunks(9)
        .map(|of| merged(&mut of.iter().rev()))
        .collect();
    assert_eq!(
        bits(&fold(&reference, &lanes)),
        bits(&fold(&reference, &back))
    );
}

/// Lanes of exactly `count` records each.
fn even(random: &mut Random, lanes: i64, count: u64) -> Vec<Lane> {
    let lane = |number: i64| {
        let mut histogram = ExponentialHistogram::new(4);
        for _ in 0..count {
            histogram.record(libm::exp(random.normal()));
        }
        Lane {
            start_us: number * world::MINUTE_US,
            end_us: (number + 1) * world::MINUTE_US,
            summary: Summary::Histogram(histogram),
            count,
            device_windows: 10,
            devices: 10,
        }
    };
    (0..lanes).map(lane).collect()
}

#[test]
fn windows_of_the_same_values_alarm_in_one_of_a_hundred_at_most() {
    for (count, trials) in [(30, 300), (100, 200), (1_000, 100), (10_000, 20)] {
        let mut random = Random::new(count);
        let reference = freeze(&even(&mut random, 60, count.max(200)));
        let pages = (0..trials).filter(|_| {
            let verdicts = fold(&reference, &even(&mut random, 20, count));
            verdicts.iter().any(|verdict| verdict.page)
        });
        let pages = pages.count();
        assert!(
            pages * 100 <= trials,
            "{pages} of {trials} at {count} records"
        );
    }
}

#[test]
fn quiet_worlds_stay_within_the_budget() {
    for kind in [Kind::Independent, Kind::Clustered(10), Kind::Clustered(50)] {
        let mut world = World::new(kind, 20.0, 5);
        let reference = freeze(&world.lanes(4 * DAY));
        let verdicts = fold(&reference, &world.lanes(4 * DAY));
        let pages = verdicts.iter().filter(|verdict| verdict.page).count();
        assert_eq!(pages, 0, "{kind:?}");
    }
}

#[test]
fn a_mix_of_classes_that_moves_is_no_drift_of_any_class() {
    for second in [true, false] {
        let mut world = World::new(Kind::Class(second), 10.0, 6);
        let reference = freeze(&world.lanes(world::REFERENCE));
        let verdicts = fold(&reference, &world.lanes(2 * DAY));
        assert!(verdicts.iter().all(|verdict| !verdict.page));
    }
}

#[test]
fn a_shift_is_seen_in_long_windows_and_sharing_the_budget_costs_little() {
    let mut world = World::new(Kind::Independent, 3.0, 7);
    let reference = freeze(&world.lanes(3 * DAY));
    let verdicts = |long_lanes| {
        let mut world = world.again(8);
        world.shift = Some((3 * DAY, Shift::Mean(0.3)));
        let policy = Policy {
            long_lanes,
            ..alone()
        };
        let mut detector = Detector::new(&reference, &policy);
        let fold = |_| detector.fold(&reference, &world.lane());
        let until = |page: &mut bool, verdict: Verdict| {
            let before = !*page;
            *page |= verdict.page;
            before.then_some(verdict)
        };
        (0..5 * DAY)
            .map(fold)
            .scan(false, until)
            .collect::<Vec<_>>()
    };
    let (both, short) = (verdicts(60), verdicts(1));
    assert!(
        both.len() < short.len() * 6 / 5,
        "{} {}",
        both.len(),
        short.len()
    );
    let wide = both[both.len() - 1].wide.unwrap();
    assert!(wide.score > 0.5 * wide.threshold, "{wide:?}");
    assert_eq!(short[0].wide, None);
}

#[test]
fn what_cannot_be_judged_is_undecided_and_says_why() {
    let mut random = Random::new(9);
    let reference = freeze(&even(&mut random, 60, 100));
    let good = even(&mut random, 61, 100).pop().unwrap();
    let categories = Summary::Categories([("stop".to_owned(), 100)].into());
    let cases = [
        (
            Lane {
                count: 0,
                ..good.clone()
            },
            "holds no records",
        ),
        (
            Lane {
                count: 99,
                ..good.clone()
            },
            "says 99 records and holds 100",
        ),
        (
            Lane {
                summary: categories,
                ..good.clone()
            },
            "holds values and the lane categories",
        ),
        (
            even(&mut random, 1, 5).pop().unwrap(),
            "hold 5 of 30 records",
        ),
    ];
    for (lane, why) in cases {
        let verdict = Detector::new(&reference, &alone()).fold(&reference, &lane);
        assert_eq!(verdict.state, VerdictState::Undecided, "{why}");
        assert!(!verdict.page);
        let said = verdict.shortfall.unwrap();
        assert!(said.contains(why), "{said}");
    }
}

/// Lanes of one metric split by category.
fn split(number: i64, counts: &[(&str, u64)]) -> Lane {
    let categories = counts.iter().map(|(name, n)| ((*name).to_owned(), *n));
    Lane {
        start_us: number * world::MINUTE_US,
        end_us: (number + 1) * world::MINUTE_US,
        count: counts.iter().map(|(_, n)| n).sum(),
        summary: Summary::Categories(categories.collect()),
        device_windows: 10,
        devices: 10,
    }
}

#[test]
fn a_category_that_was_never_seen_drifts_once_it_is_more_than_luck() {
    let quiet: Vec<Lane> = (0..60).map(|n| split(n, &[("stop", 100)])).collect();
    let reference = freeze(&quiet);
    let lanes: Vec<Lane> = (60..80)
        .map(|n| split(n, &[("stop", 90), ("error", 10)]))
        .collect();
    let verdicts = fold(&reference, &lanes);
    let page = verdicts.iter().find(|verdict| verdict.page).unwrap();
    assert!(page.end_us <= 66 * world::MINUTE_US);
    let leading = page.leading.as_ref().unwrap();
    assert!(
        leading.current_share > 0.05 || leading.current_share < 0.95,
        "{leading:?}"
    );
    assert!(fold(&reference, &quiet).iter().all(|verdict| !verdict.page));
}

#[test]
fn supports_without_overlap_and_coarser_scales_are_judged() {
    let mut random = Random::new(10);
    let reference = freeze(&even(&mut random, 60, 100));
    let mut shifted = even(&mut random, 20, 100);
    for lane in &mut shifted {
        let mut far = ExponentialHistogram::new(4);
        (0..100).for_each(|_| assert!(far.record(1e6 * libm::exp(random.normal()))));
        lane.summary = Summary::Histogram(far);
    }
    assert!(
        fold(&reference, &shifted)
            .iter()
            .any(|verdict| verdict.page)
    );
    let mut coarse = even(&mut random, 20, 100);
    for lane in &mut coarse {
        let Summary::Histogram(histogram) = &mut lane.summary else {
            unreachable!()
        };
        histogram.downscale(3);
    }
    let verdicts = fold(&reference, &coarse);
    assert!(
        verdicts
            .iter()
            .all(|verdict| verdict.state == VerdictState::Steady)
    );
}
