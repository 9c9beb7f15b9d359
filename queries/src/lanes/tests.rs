//! Lanes as the watcher gets them.

use std::collections::BTreeMap;

use fathomline_wire::names::{OUTPUT_FINISH, OUTPUT_SURPRISAL};

use super::*;
use crate::{
    examples::{LANE_US, counter, distribution, engine_over, histogram},
    rows,
    schema::Table,
};

fn all() -> Span {
    Span {
        width_us: LANE_US,
        from_us: 0,
        to_us: 10 * LANE_US,
    }
}

#[tokio::test]
async fn increments_of_one_lane_are_one_lane() {
    let engine = engine_over(
        &[
            distribution("a", 1, &[1.0, 2.0]),
            distribution("b", 2, &[3.0]),
        ],
        &[],
    );
    let late = rows::rollup(&[distribution("a", LANE_US, &[4.0])], &[], LANE_US);
    engine
        .lake()
        .push(1, [(Table::Rollups, rows::rollups(&late).unwrap())])
        .unwrap();
    let lanes = closed(&engine, all(), &[OUTPUT_SURPRISAL]).await.unwrap();
    assert_eq!(lanes.len(), 1);
    let lane = &lanes[0];
    assert_eq!((lane.start_us, lane.end_us), (0, LANE_US));
    assert_eq!((lane.count, lane.device_windows, lane.devices), (4, 3, 2));
    assert_eq!(
        lane.series.to_string(),
        "assistant 1.4.0 kiosk fathomline.output.surprisal"
    );
    let Values::Histogram(found) = &lane.values else {
        panic!("{:?}", lane.values)
    };
    assert!(found.agrees_with(&histogram(&[1.0, 2.0, 3.0, 4.0])));
}

#[tokio::test]
async fn lanes_come_series_by_series_in_times_order_within_the_span() {
    let row = |version: &str, time| {
        let mut row = distribution("a", time, &[1.0]);
        row.columns.version = version.into();
        row
    };
    let times = [3, 1, 2].map(|lane| lane * LANE_US);
    let rows: Vec<_> = times
        .iter()
        .flat_map(|time| [row("2", *time), row("1", *time)])
        .collect();
    let engine = engine_over(&rows, &[]);
    let span = Span {
        from_us: LANE_US,
        to_us: 3 * LANE_US,
        ..all()
    };
    let lanes = closed(&engine, span, &[OUTPUT_SURPRISAL]).await.unwrap();
    let found: Vec<_> = lanes
        .iter()
        .map(|lane| (lane.series.version.as_str(), lane.end_us))
        .collect();
    assert_eq!(
        found,
        [
            ("1", times[2]),
            ("1", times[0]),
            ("2", times[2]),
            ("2", times[0])
        ]
    );
}

#[tokio::test]
async fn categories_are_counted_by_name() {
    let counts = [("a", "stop"), ("a", "stop"), ("b", "stop"), ("b", "error")];
    let counts = counts.map(|(device, reason)| counter(device, 1, OUTPUT_FINISH, reason));
    let engine = engine_over(&[distribution("a", 1, &[1.0])], &counts);
    let lanes = closed(&engine, all(), &[OUTPUT_FINISH, OUTPUT_SURPRISAL])
        .await
        .unwrap();
    assert_eq!(lanes.len(), 2);
    let finish = lanes
        .iter()
        .find(|lane| lane.series.metric == OUTPUT_FINISH)
        .unwrap();
    let expected = BTreeMap::from([("error".into(), 1), ("stop".into(), 3)]);
    assert_eq!(finish.values, Values::Categories(expected));
    assert_eq!((finish.count, finish.devices), (4, 2));
}

#[tokio::test]
async fn other_metrics_and_widths_are_left_out() {
    let engine = engine_over(&[distribution("a", 1, &[1.0])], &[]);
    assert_eq!(closed(&engine, all(), &[OUTPUT_FINISH]).await.unwrap(), []);
    assert_eq!(closed(&engine, all(), &[]).await.unwrap(), []);
    let other = Span {
        width_us: 1,
        ..all()
    };
    assert_eq!(
        closed(&engine, other, &[OUTPUT_SURPRISAL]).await.unwrap(),
        []
    );
}

#[tokio::test]
async fn counts_without_histograms_are_those_of_the_lanes() {
    let reasons = [("a", "stop"), ("b", "stop"), ("b", "error")];
    let reasons = reasons.map(|(device, reason)| counter(device, 1, OUTPUT_FINISH, reason));
    let rows = [
        distribution("a", 1, &[1.0, 2.0]),
        distribution("b", 2, &[3.0]),
        distribution("a", 3 * LANE_US, &[4.0]),
    ];
    let engine = engine_over(&rows, &reasons);
    let metrics = [OUTPUT_FINISH, OUTPUT_SURPRISAL];
    let lanes = closed(&engine, all(), &metrics).await.unwrap();
    let expected = lanes.into_iter().map(|lane| {
        let (key, lane) = lane.keyed();
        LaneCount {
            key,
            end_us: lane.end_us,
            count: lane.count,
            devices: lane.devices,
        }
    });
    let expected: Vec<LaneCount> = expected.collect();
    assert_eq!(expected.len(), 3);
    assert_eq!(counted(&engine, all(), &metrics).await.unwrap(), expected);
}
