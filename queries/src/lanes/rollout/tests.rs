//! A rollout as it is read: from device windows of two versions to a decision.

use fathomline_wire::names::{OUTPUT_FINISH, OUTPUT_SURPRISAL};

use super::*;
use crate::{
    engine::EngineLimits,
    examples::{LANE_US, counter, distribution, engine_over},
    gate::{Decision, decide},
    published::{Lanes, Publication},
    rows::{DistributionRow, MeasurementRow},
};

const BEFORE: i64 = 40;
const LANES: i64 = 240;
const STARTED_US: i64 = BEFORE * LANE_US;

fn settings() -> Settings {
    Settings {
        window_us: LANE_US,
        aa_us: BEFORE * LANE_US,
        min_time_us: LANE_US,
        deadline_us: LANES * LANE_US,
        margin: 2.0,
        ..Settings::default()
    }
    .checked()
    .unwrap()
}

fn wanted(settings: &Settings) -> Wanted<'_> {
    Wanted {
        service: "assistant",
        model: "assistant",
        candidate: "2",
        against: "1.4.0",
        device_class: None,
        started_us: STARTED_US,
        to_us: LANES * LANE_US,
        lane_us: LANE_US,
        improve: None,
        settings,
    }
}

/// Twelve devices: the first six take version 2 at the start, whose surprisal is `times` as high.
fn fleet(times: f64) -> (Vec<DistributionRow>, Vec<MeasurementRow>) {
    let (mut rows, mut counters) = (vec![], vec![]);
    for lane in 0..LANES {
        for device in 0..12_i64 {
            let (name, time) = (format!("d{device}"), (lane + 1) * LANE_US - device);
            let moved = lane >= BEFORE && device < 6;
            let place = |n: i64| ((n * 37 + lane * 11 + device * 17) % 101) as f64 / 101.0;
            let times = if moved { times } else { 1.0 };
            let values: Vec<f64> = (0..8).map(|n| times * (0.1 + place(n))).collect();
            let mut row = distribution(&name, time, &values);
            let mut count = counter(&name, time, OUTPUT_FINISH, "stop");
            if moved {
                row.columns.version = "2".into();
                count.columns.version = "2".into();
            }
            rows.push(row);
            counters.push(count);
        }
    }
    (rows, counters)
}

#[tokio::test]
async fn a_worse_version_is_rolled_back_and_an_equal_one_promoted() {
    let settings = settings();
    for (times, expected) in [(1.0, Decision::Promote), (2.0, Decision::Rollback)] {
        let (rows, counters) = fleet(times);
        let engine = engine_over(&rows, &counters);
        let rollout = seen(&engine, &wanted(&settings)).await.unwrap();
        let class = &rollout.classes[0];
        assert_eq!((class.candidate_devices, class.against_devices), (6, 6));
        let answer = decide(&rollout, &settings, LANES * LANE_US);
        assert_eq!(answer.decision, expected, "{}", answer.reason);
        let signals = &answer.classes[0].signals;
        let metrics: BTreeSet<_> = signals
            .iter()
            .map(|signal| signal.metric.as_str())
            .collect();
        assert_eq!(metrics, BTreeSet::from([OUTPUT_FINISH, OUTPUT_SURPRISAL]));
    }
}

#[tokio::test]
async fn windows_hold_what_both_versions_did_in_them() {
    let settings = settings();
    let (rows, counters) = fleet(1.0);
    let engine = engine_over(&rows, &counters);
    let rollout = seen(&engine, &wanted(&settings)).await.unwrap();
    let class = &rollout.classes[0];
    let of = |windows: &[ArmWindow], arm, metric: &str| {
        let its = windows
            .iter()
            .filter(|w| w.arm == arm && w.metric == metric);
        let counts = its.map(|w| (w.end_us, w.summary.count(), w.devices));
        counts.collect::<Vec<_>>()
    };
    let since = of(&class.since, Arm::Candidate, OUTPUT_SURPRISAL);
    assert_eq!(since.len() as i64, LANES - BEFORE);
    assert_eq!(since[0], (STARTED_US + LANE_US, 6 * 8, 6));
    // The very devices that move later stand for the candidate before.
    let before = of(&class.before, Arm::Candidate, OUTPUT_FINISH);
    assert_eq!(before.len() as i64, BEFORE);
    assert_eq!(before[0], (LANE_US, 6, 0));
    assert_eq!(before[BEFORE as usize - 1].0, STARTED_US);
}

#[tokio::test]
async fn without_devices_that_moved_a_part_of_the_others_stands_for_them() {
    let names = |numbers: std::ops::Range<u32>| numbers.map(|n| format!("d{n}")).collect();
    let fresh = Counted {
        candidate: names(100..110),
        against: names(0..40),
        before: names(0..40),
    };
    let group = fresh.group(5);
    assert_eq!(group.len(), 8);
    assert_eq!(group, fresh.group(5));
    let moved = Counted {
        candidate: names(0..10),
        against: names(10..40),
        before: names(0..40),
    };
    let group: BTreeSet<String> = moved.group(5).into_iter().collect();
    assert_eq!(group, names(0..10));
    let none = Counted::default();
    assert!(none.group(5).is_empty());
}

#[tokio::test]
async fn who_does_not_run_it_is_in_no_class_and_doors_are_told_nothing() {
    let settings = settings();
    let (rows, counters) = fleet(1.0);
    let engine = engine_over(&rows, &counters);
    let elsewhere = Wanted {
        device_class: Some("camera"),
        ..wanted(&settings)
    };
    assert!(seen(&engine, &elsewhere).await.unwrap().classes.is_empty());
    let unknown = Wanted {
        candidate: "3",
        ..wanted(&settings)
    };
    let rollout = seen(&engine, &unknown).await.unwrap();
    let answer = decide(&rollout, &settings, LANES * LANE_US);
    assert_eq!(answer.decision, Decision::Hold);
    assert!(
        answer.reason.contains("no device runs 3"),
        "{}",
        answer.reason
    );
    let publication = Publication::of_groups(5, Lanes::every());
    let lake = std::sync::Arc::clone(engine.lake());
    let door = Engine::new(lake, EngineLimits::default(), publication).unwrap();
    assert!(seen(&door, &wanted(&settings)).await.is_err());
}

#[tokio::test]
async fn versions_are_listed_with_when_they_were_first_seen() {
    let (rows, counters) = fleet(1.0);
    let engine = engine_over(&rows, &counters);
    let span = Span {
        width_us: LANE_US,
        from_us: 0,
        to_us: LANES * LANE_US,
    };
    let found = versions(&engine, span).await.unwrap();
    let said: Vec<_> = found
        .iter()
        .map(|seen| (seen.version.as_str(), seen.first_us, seen.devices))
        .collect();
    assert_eq!(said, [("1.4.0", 0, 12), ("2", STARTED_US, 6)]);
}
