//! One line a cohort, from all its metrics.

use fathomline_wire::names::{
    FEEDBACK, OPERATION_DURATION, OUTPUT_SURPRISAL, OUTPUT_TOKENS, TIME_TO_FIRST_TOKEN,
};

use super::*;
use crate::{
    examples::{LANE_US, counter, distribution, engine_over, histogram},
    rows::DistributionRow,
};

fn measured(device: &str, metric: &str, values: &[f64]) -> DistributionRow {
    let mut row = distribution(device, 1, values);
    row.columns.metric = metric.into();
    row
}

fn all() -> Span {
    Span {
        width_us: LANE_US,
        from_us: 0,
        to_us: LANE_US,
    }
}

#[tokio::test]
async fn a_cohort_is_one_line_of_all_its_metrics() {
    let mut other = measured("c", OPERATION_DURATION, &[9.0]);
    other.columns.device_class = "panel".into();
    let rows = [
        measured("a", OPERATION_DURATION, &[1.0, 2.0]),
        measured("b", OPERATION_DURATION, &[1.0]),
        measured("a", TIME_TO_FIRST_TOKEN, &[0.5]),
        measured("a", OUTPUT_TOKENS, &[10.0, 20.0, 10.0]),
        measured("a", OUTPUT_SURPRISAL, &[0.25, 0.75]),
        other,
    ];
    let feedback = ["correct", "correct", "correct", "wrong", "edited"];
    let feedback = feedback.map(|kind| counter("b", 1, FEEDBACK, kind));
    let fleet = overview(&engine_over(&rows, &feedback), all())
        .await
        .unwrap();
    assert_eq!((fleet.lines.len(), fleet.devices), (2, 3));
    let line = &fleet.lines[0];
    assert_eq!(
        (line.device_class.as_str(), line.devices, line.inferences),
        ("kiosk", 2, 3)
    );
    let durations = histogram(&[1.0, 2.0, 1.0]);
    assert_eq!(line.duration.p50, durations.quantile(0.5));
    assert_eq!(line.duration.p95, durations.quantile(0.95));
    assert_eq!(line.time_to_first_token.p50, Some(0.5));
    assert_eq!(
        (line.output_tokens, line.tokens_per_second),
        (Some(40.0), Some(10.0))
    );
    assert_eq!(line.surprisal, Some(0.5));
    assert_eq!((line.judged, line.correct_share), (4, Some(0.75)));
    assert_eq!(line.last_us, LANE_US);
}

#[tokio::test]
async fn what_was_not_measured_is_none() {
    let engine = engine_over(&[measured("a", OPERATION_DURATION, &[1.0])], &[]);
    let line = overview(&engine, all()).await.unwrap().lines.remove(0);
    assert_eq!(line.time_to_first_token, Quantiles::default());
    assert_eq!(
        (line.surprisal, line.tokens_per_second, line.correct_share),
        (None, None, None)
    );
    assert_eq!(line.judged, 0);
}
