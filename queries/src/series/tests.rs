//! A series over a span and step by step.

use fathomline_wire::names::{FEEDBACK, OUTPUT_SURPRISAL};

use datafusion::arrow::array::new_null_array;

use super::*;
use crate::examples::{LANE_US, counter, device_columns, distribution, engine_over, histogram};
use crate::{engine::EngineLimits, published::Publication, schema::Table};

fn surprisal() -> Series {
    let of = device_columns();
    Series {
        service: of.service,
        model: of.model,
        version: of.version,
        variant: of.variant,
        device_class: of.device_class,
        metric: OUTPUT_SURPRISAL.into(),
    }
}

fn all() -> Span {
    Span {
        width_us: LANE_US,
        from_us: 0,
        to_us: 10 * LANE_US,
    }
}

#[tokio::test]
async fn a_span_is_all_its_lanes_together() {
    let rows = [
        distribution("a", 1, &[1.0, 2.0]),
        distribution("b", 2 * LANE_US, &[3.0]),
        distribution("b", 11 * LANE_US, &[9.0]),
    ];
    let engine = engine_over(&rows, &[]);
    let found = span(&engine, &surprisal(), all()).await.unwrap().unwrap();
    assert_eq!(
        (found.unit.as_str(), found.count, found.devices),
        ("{nat}", 3, 2)
    );
    let Values::Histogram(values) = found.values else {
        panic!("{:?}", found.values)
    };
    assert!(values.agrees_with(&histogram(&[1.0, 2.0, 3.0])));
}

#[tokio::test]
async fn nothing_counted_is_none() {
    let engine = engine_over(&[distribution("a", 1, &[1.0])], &[]);
    let other = Series {
        version: "9".into(),
        ..surprisal()
    };
    assert_eq!(span(&engine, &other, all()).await.unwrap(), None);
    assert_eq!(trend(&engine, &other, all(), LANE_US).await.unwrap(), []);
}

#[tokio::test]
async fn categories_have_counts_and_no_mean() {
    let counts = ["correct", "correct", "wrong"].map(|kind| counter("a", 1, FEEDBACK, kind));
    let engine = engine_over(&[], &counts);
    let feedback = Series {
        metric: FEEDBACK.into(),
        ..surprisal()
    };
    let found = span(&engine, &feedback, all()).await.unwrap().unwrap();
    let expected = BTreeMap::from([("correct".into(), 2), ("wrong".into(), 1)]);
    assert_eq!(found.values, Values::Categories(expected));
    let points = trend(&engine, &feedback, all(), LANE_US).await.unwrap();
    assert_eq!(
        (points[0].count, points[0].mean, points[0].p50),
        (3, None, None)
    );
}

#[tokio::test]
async fn a_trend_has_a_point_a_step() {
    let times = [1, 2, 3, 4].map(|lane| lane * LANE_US);
    let rows: Vec<_> = times
        .iter()
        .map(|time| distribution("a", *time, &[*time as f64]))
        .collect();
    let engine = engine_over(&rows, &[]);
    let points = trend(&engine, &surprisal(), all(), 2 * LANE_US)
        .await
        .unwrap();
    let found: Vec<_> = points
        .iter()
        .map(|point| (point.start_us, point.count, point.mean))
        .collect();
    let mean = |lanes: f64| Some(lanes * LANE_US as f64);
    assert_eq!(found, [(0, 2, mean(1.5)), (2 * LANE_US, 2, mean(3.5))]);
    assert!(points[0].p50 <= points[0].p95 && points[0].devices == 1);
}

/// What was built of hours and days is read instead of their lanes, and lanes after it.
#[tokio::test]
async fn long_steps_read_hours_and_days_and_the_lanes_after_them() {
    let at = |hour: i64| distribution("a", (hour - 1) * HOUR_US + 1, &[1.0, 3.0]);
    let all: Vec<_> = (1..=50).map(at).collect();
    let built = |width_us: i64, up_to: usize| {
        let rows = crate::rows::rollup(&all[..up_to], &[], width_us);
        crate::rows::rollups(&rows).unwrap()
    };
    let lake = crate::examples::empty_lake();
    // Lanes of the first day are kept no longer; the last hours are not built yet.
    let lanes = crate::rows::rollups(&crate::rows::rollup(&all[24..], &[], LANE_US)).unwrap();
    let hours = with_site(&built(HOUR_US, 48));
    let batches = [
        (Table::Rollups, lanes),
        (Table::RollupHours, hours),
        (Table::RollupDays, built(DAY_US, 48)),
    ];
    lake.push(0, batches).unwrap();
    let shown = Publication::everything();
    let engine = Engine::new(lake, EngineLimits::default(), shown).unwrap();
    let span = Span {
        width_us: LANE_US,
        from_us: 5,
        to_us: 50 * HOUR_US,
    };
    for (step_us, steps) in [
        (HOUR_US - 1, 26),
        (HOUR_US, 50),
        (7 * HOUR_US, 8),
        (DAY_US, 3),
    ] {
        let points = trend(&engine, &surprisal(), span, step_us).await.unwrap();
        assert_eq!(points.len(), steps, "steps of {step_us}");
        let counted: u64 = points.iter().map(|point| point.count).sum();
        let expected = if step_us < HOUR_US { 52 } else { 100 };
        assert_eq!(counted, expected, "steps of {step_us}");
        assert!(points.iter().all(|point| point.mean == Some(2.0)));
    }
}

/// The columns of hours: those of lanes, and where.
fn with_site(lanes: &RecordBatch) -> RecordBatch {
    let schema = Table::RollupHours.arrow_schema();
    let columns = schema.fields().iter().map(|field| {
        let nowhere = || new_null_array(field.data_type(), lanes.num_rows());
        lanes
            .column_by_name(field.name())
            .cloned()
            .unwrap_or_else(nowhere)
    });
    let columns = columns.collect();
    RecordBatch::try_new(schema, columns).unwrap()
}
