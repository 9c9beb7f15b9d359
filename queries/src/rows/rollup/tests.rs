//! What cohort increments promise.

use std::collections::BTreeMap;

use fathomline_wire::histogram::{ExplicitHistogram, ExponentialHistogram};
use proptest::prelude::*;

use super::*;
use crate::examples::{device_columns, distribution, histogram};

const WIDTH_US: i64 = 5_000_000;

fn measurement(kind: MeasurementKind, category: &str, count: Option<i64>) -> MeasurementRow {
    let value = count.is_none().then_some(1.5);
    MeasurementRow {
        columns: device_columns(),
        category: Some(category.into()),
        kind,
        count,
        value,
    }
}

#[test]
fn lanes_are_open_at_the_start_and_closed_at_the_end() {
    assert_eq!(
        [lane_end(1, 10), lane_end(10, 10), lane_end(11, 10)],
        [10, 10, 20]
    );
    assert_eq!(lane_end(-5, 10), 0);
}

#[test]
fn devices_of_one_cohort_and_lane_become_one_row() {
    let rows = [
        distribution("a", WIDTH_US, &[1.0, 2.0]),
        distribution("b", WIDTH_US - 1, &[3.0]),
        distribution("a", WIDTH_US + 1, &[4.0]),
    ];
    let rolled = rollup(&rows, &[], WIDTH_US);
    assert_eq!(rolled.len(), 2);
    assert_eq!(
        (rolled[0].time, rolled[0].count, rolled[0].device_windows),
        (WIDTH_US, 3, 2)
    );
    assert_eq!(rolled[0].devices.count(), 2);
    assert_eq!(
        rolled[0].distribution,
        Some(Distribution::Exponential(histogram(&[1.0, 2.0, 3.0])))
    );
    assert_eq!((rolled[1].time, rolled[1].count), (2 * WIDTH_US, 1));
}

#[test]
fn another_version_is_another_cohort() {
    let mut other = distribution("a", WIDTH_US, &[1.0]);
    other.columns.version = "1.5.0".into();
    let rows = [distribution("a", WIDTH_US, &[1.0]), other];
    assert_eq!(rollup(&rows, &[], WIDTH_US).len(), 2);
}

#[test]
fn rows_of_unknown_time_enter_no_lane() {
    let mut row = distribution("a", WIDTH_US, &[1.0]);
    row.columns.clock = Clock::Unknown;
    assert_eq!(rollup(&[row], &[], WIDTH_US), []);
}

#[test]
fn counters_roll_up_by_category_and_gauges_do_not() {
    let rows = [
        measurement(MeasurementKind::Delta, "correct", Some(2)),
        measurement(MeasurementKind::Delta, "correct", Some(3)),
        measurement(MeasurementKind::Delta, "wrong", Some(1)),
        measurement(MeasurementKind::Gauge, "level", Some(9)),
    ];
    let rolled = rollup(&[], &rows, WIDTH_US);
    let counts = rolled
        .iter()
        .map(|row| (row.cohort.category.as_str(), row.count));
    assert_eq!(counts.collect::<Vec<_>>(), [("correct", 5), ("wrong", 1)]);
    assert!(rolled.iter().all(|row| row.distribution.is_none()));
}

#[test]
fn a_floating_increase_is_one_value_whose_sum_is_the_whole() {
    let rows = [
        measurement(MeasurementKind::Delta, "idle", None),
        measurement(MeasurementKind::Delta, "idle", None),
        measurement(MeasurementKind::Gauge, "level", None),
    ];
    let rolled = rollup(&[], &rows, WIDTH_US);
    let whole = Distribution::Explicit(ExplicitHistogram {
        bounds: vec![],
        counts: vec![2],
        count: 2,
        sum: Some(3.0),
        min: Some(1.5),
        max: Some(1.5),
    });
    assert_eq!(rolled.len(), 1);
    assert_eq!(
        (rolled[0].count, &rolled[0].distribution),
        (2, &Some(whole))
    );
}

#[test]
fn histograms_of_other_bounds_keep_rows_of_their_own() {
    let explicit = |bounds: Vec<f64>| {
        let counts = vec![1; bounds.len() + 1];
        let count = counts.len() as u64;
        Distribution::Explicit(ExplicitHistogram {
            bounds,
            counts,
            count,
            sum: None,
            min: None,
            max: None,
        })
    };
    let row = |distribution| DistributionRow {
        columns: device_columns(),
        category: None,
        distribution,
    };
    let exponential = Distribution::Exponential(ExponentialHistogram::new(4));
    let rows = [
        row(explicit(vec![1.0])),
        row(explicit(vec![2.0])),
        row(explicit(vec![1.0])),
        row(exponential),
    ];
    let counts: Vec<_> = rollup(&rows, &[], WIDTH_US)
        .iter()
        .map(|row| row.count)
        .collect();
    assert_eq!(counts, [4, 2, 0]);
}

#[test]
fn as_many_bounds_as_there_are_points_do_not_keep_everybody_waiting() {
    let row = |bound: usize| DistributionRow {
        columns: device_columns(),
        category: None,
        distribution: Distribution::Explicit(ExplicitHistogram {
            bounds: vec![bound as f64],
            counts: vec![1, 0],
            count: 1,
            sum: None,
            min: None,
            max: None,
        }),
    };
    // The first bound is too far back to be looked for, the last is not.
    let bounds = (0..=APART_MAX).chain([0, APART_MAX]);
    let rolled = rollup(&bounds.map(row).collect::<Vec<_>>(), &[], WIDTH_US);
    assert_eq!(rolled.len(), APART_MAX + 2);
    assert_eq!(rolled.iter().map(|row| row.count).max(), Some(2));
    assert_eq!(rolled[0].count, 1);
}

#[test]
fn no_row_counts_more_than_what_is_read_again() {
    let row = |count| {
        let mut histogram = ExponentialHistogram::new(4);
        (histogram.zero_count, histogram.count) = (count, count);
        DistributionRow {
            columns: device_columns(),
            category: None,
            distribution: Distribution::Exponential(histogram),
        }
    };
    let rolled = rollup(&[POINT_COUNT_MAX, 1, 2].map(row), &[], WIDTH_US);
    let counts: Vec<_> = rolled.iter().map(|row| row.count.unsigned_abs()).collect();
    assert_eq!(counts, [POINT_COUNT_MAX, 3]);
}

#[test]
fn counts_that_would_overflow_stay_apart() {
    let rows = [i64::MAX, 1].map(|n| measurement(MeasurementKind::Delta, "hostile", Some(n)));
    let counts: Vec<_> = rollup(&[], &rows, WIDTH_US)
        .iter()
        .map(|row| row.count)
        .collect();
    assert_eq!(counts, [i64::MAX, 1]);
}

proptest! {
    /// Increments add up: rolling up two halves and merging equals rolling up the whole.
    #[test]
    fn parts_add_up_to_the_whole(
        rows in prop::collection::vec((0u8..6, 1i64..4, 1e-3f64..1e3), 1..30),
        cut in 0usize..30,
    ) {
        let rows: Vec<_> = rows.iter()
            .map(|(device, lane, value)| distribution(&device.to_string(), lane * WIDTH_US, &[*value]))
            .collect();
        let whole = rollup(&rows, &[], WIDTH_US);
        let (left, right) = rows.split_at(cut.min(rows.len()));
        let mut sums = BTreeMap::new();
        for part in rollup(left, &[], WIDTH_US).into_iter().chain(rollup(right, &[], WIDTH_US)) {
            let entry = sums.entry(part.time);
            entry.and_modify(|sum: &mut RollupRow| {
                sum.count += part.count;
                sum.device_windows += part.device_windows;
                sum.devices.merge(&part.devices);
                assert!(merged(&mut sum.distribution, part.distribution.as_ref()));
            }).or_insert(part);
        }
        for (sum, row) in sums.values().zip(&whole) {
            prop_assert_eq!((sum.count, sum.device_windows), (row.count, row.device_windows));
            prop_assert_eq!(&sum.devices, &row.devices);
            let (Some(Distribution::Exponential(a)), Some(Distribution::Exponential(b))) =
                (&sum.distribution, &row.distribution) else { panic!("not exponential") };
            prop_assert!(a.agrees_with(b));
        }
        prop_assert_eq!(sums.len(), whole.len());
    }
}
