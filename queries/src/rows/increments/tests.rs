//! Whatever is joined, questions about lanes are answered the same.

use fathomline_wire::{
    histogram::{ExplicitHistogram, ExponentialHistogram},
    limits::POINT_COUNT_MAX,
    names::{OUTPUT_FINISH, OUTPUT_SURPRISAL},
};
use proptest::prelude::*;

use super::*;
use crate::{
    engine::{Engine, EngineLimits},
    examples::{LANE_US, counter, distribution, empty_lake},
    lanes::{self, SeriesLane},
    published::Publication,
    rows::{self, DeviceSketch},
    schema::Table,
    series::{Span, Values},
};

fn sorted(mut rows: Vec<RollupRow>) -> Vec<RollupRow> {
    rows.sort_by_key(|row| {
        let cohort = row.cohort.clone();
        (
            cohort.metric.clone(),
            cohort.category.clone(),
            row.time,
            cohort,
        )
    });
    rows
}

/// As files are joined, some rows at a time.
fn join(rows: &[RollupRow], at_once: usize) -> Vec<RollupRow> {
    let mut increments = Increments::default();
    let mut found = vec![];
    for rows in rows.chunks(at_once) {
        let batch = rows::rollups(rows).unwrap();
        found.extend(stored::rollups(&increments.add(&batch).unwrap()).unwrap());
    }
    found.extend(stored::rollups(&increments.end().unwrap()).unwrap());
    found
}

/// Device windows of one segment.
type Segment = Vec<(u8, i64, f64, bool)>;

fn increments(segment: &Segment) -> Vec<RollupRow> {
    let mut distributions = vec![];
    let mut counters = vec![];
    for (device, lane, value, other) in segment {
        let (name, time) = (device.to_string(), lane * LANE_US);
        let mut row = distribution(&name, time, &[*value]);
        row.columns.quantization = other.then(|| "q4".to_owned());
        distributions.push(row);
        let reason = if *other { "stop" } else { "length" };
        counters.push(counter(&name, time, OUTPUT_FINISH, reason));
    }
    rows::rollup(&distributions, &counters, LANE_US)
}

fn engine(files: Vec<Vec<RollupRow>>) -> Engine {
    let lake = empty_lake();
    for (segment, rows) in (0..).zip(files) {
        let batch = rows::rollups(&rows).unwrap();
        lake.push(segment, [(Table::Rollups, batch)]).unwrap();
    }
    Engine::new(lake, EngineLimits::default(), Publication::everything()).unwrap()
}

/// What the two questions about lanes say.
async fn answers(engine: &Engine) -> (Vec<SeriesLane>, Vec<lanes::LaneCount>) {
    let span = Span {
        width_us: LANE_US,
        from_us: 0,
        to_us: 10 * LANE_US,
    };
    let metrics = [OUTPUT_FINISH, OUTPUT_SURPRISAL];
    let closed = lanes::closed(engine, span, &metrics).await.unwrap();
    (
        closed,
        lanes::counted(engine, span, &metrics).await.unwrap(),
    )
}

/// A lane with its sum apart, which agrees to 1e-12 and no further.
fn without_sum(lane: &SeriesLane) -> (SeriesLane, f64) {
    let mut lane = lane.clone();
    let mut sum = 0.0;
    if let Values::Histogram(histogram) = &mut lane.values {
        sum = histogram.sum;
        *histogram = histogram.without_sum();
    }
    (lane, sum)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn joined_or_not_in_any_order_and_in_any_files_lanes_are_the_same(
        segments in prop::collection::vec(prop::collection::vec(
            (0u8..6, 1i64..4, prop_oneof![1e-9f64..1e-3, 1e-3f64..1e6], any::<bool>()), 1..12), 1..8),
        files in prop::collection::vec((0usize..3, any::<bool>()), 8),
        order in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle(),
        at_once in 1usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let apart = engine(segments.iter().map(increments).collect());
        let mut laid: Vec<Vec<RollupRow>> = vec![vec![]; 3];
        for at in order.iter().filter(|at| **at < segments.len()) {
            laid[files[*at].0].extend(increments(&segments[*at]));
        }
        let before: usize = laid.iter().map(Vec::len).sum();
        for (file, (_, joins)) in laid.iter_mut().zip(&files) {
            if *joins {
                *file = join(&sorted(std::mem::take(file)), at_once);
            }
        }
        prop_assert!(laid.iter().map(Vec::len).sum::<usize>() <= before);
        let (lanes, counts) = runtime.block_on(answers(&apart));
        let (found, found_counts) = runtime.block_on(answers(&engine(laid)));
        prop_assert_eq!(&counts, &found_counts);
        prop_assert_eq!(lanes.len(), found.len());
        for (lane, found) in lanes.iter().zip(&found) {
            let ((lane, sum), (found, found_sum)) = (without_sum(lane), without_sum(found));
            prop_assert_eq!(lane, found);
            prop_assert!((sum - found_sum).abs() <= 1e-12 * sum.abs(), "{sum} {found_sum}");
        }
    }
}

#[test]
fn increments_of_one_lane_become_one_and_those_of_another_do_not() {
    let segments = [(1, 1, 0.5, false), (2, 1, 2.0, false), (1, 1, 0.5, true)];
    let rows = sorted(
        segments
            .iter()
            .flat_map(|row| increments(&vec![*row]))
            .collect(),
    );
    assert_eq!(rows.len(), 6);
    let joined = join(&rows, 1);
    let found = joined.iter().filter(|row| row.distribution.is_some());
    let found: Vec<_> = found
        .map(|row| {
            (
                row.cohort.quantization.as_deref(),
                row.count,
                row.devices.count(),
            )
        })
        .collect();
    assert_eq!(found, [(None, 2, 2), (Some("q4"), 1, 1)]);
}

fn with(distribution: Distribution) -> RollupRow {
    let mut rows = increments(&vec![(1, 1, 0.5, false)]);
    let row = rows.swap_remove(
        rows.iter()
            .position(|row| row.distribution.is_some())
            .unwrap(),
    );
    RollupRow {
        count: i64::try_from(distribution.count()).unwrap(),
        distribution: Some(distribution),
        devices: DeviceSketch::of("1"),
        ..row
    }
}

fn explicit(bound: f64, sum: Option<f64>) -> RollupRow {
    with(Distribution::Explicit(ExplicitHistogram {
        bounds: vec![bound],
        counts: vec![1, 1],
        count: 2,
        sum,
        min: None,
        max: None,
    }))
}

#[test]
fn what_does_not_add_up_alike_in_every_order_stays_apart() {
    let rows = [1.0, 2.0, 1.0].map(|bound| explicit(bound, Some(3.0)));
    let found = join(&rows, 2);
    let counts: Vec<_> = found.iter().map(|row| row.count).collect();
    assert_eq!(counts, [4, 2], "bounds");
    let rows = [Some(1.0), None, Some(2.0), Some(f64::MAX), Some(f64::MAX)];
    let found = join(&rows.map(|sum| explicit(1.0, sum)), 2);
    let sums = found.iter().map(|row| match &row.distribution {
        Some(Distribution::Explicit(found)) => found.sum,
        other => panic!("{other:?}"),
    });
    let sums: Vec<_> = sums.collect();
    assert_eq!(sums, [Some(f64::MAX), None, Some(f64::MAX)], "sums");
    let histogram = |zero_threshold, count| {
        let mut histogram = ExponentialHistogram::new(4);
        (histogram.zero_threshold, histogram.zero_count) = (zero_threshold, count);
        histogram.count = count;
        with(Distribution::Exponential(histogram))
    };
    let half = POINT_COUNT_MAX / 2;
    for (thresholds, counts, rows) in [
        ([0.0, 0.0], [half, half], 1),
        ([0.0, 0.0], [half, half + 1], 2),
        ([0.0, 0.1], [1, 1], 2),
        ([0.1, 0.1], [1, 1], 2),
    ] {
        let parts = [0, 1].map(|at| histogram(thresholds[at], counts[at]));
        assert_eq!(join(&parts, 2).len(), rows, "{thresholds:?} {counts:?}");
    }
}

#[test]
fn as_many_bounds_as_there_are_rows_are_not_held_in_memory() {
    let rows: Vec<_> = (0..500)
        .map(|n| explicit(f64::from(n), Some(1.0)))
        .collect();
    let mut increments = Increments::default();
    let whole = increments.add(&rows::rollups(&rows).unwrap()).unwrap();
    assert!(increments.last.len() <= APART_MAX);
    assert_eq!(whole.num_rows() + increments.last.len(), 500);
}
