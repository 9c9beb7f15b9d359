//! SQL gives what `wire::histogram` gives, however the plan cuts the work.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, BooleanArray},
        datatypes::{Float64Type, Int64Type},
        record_batch::RecordBatch,
    },
    datasource::MemTable,
    logical_expr::{EmitTo, GroupsAccumulator},
    prelude::{SessionConfig, SessionContext},
};
use fathomline_wire::histogram::ExponentialHistogram;
use proptest::prelude::*;

use super::{
    groups::{Groups, add},
    *,
};
use crate::{
    examples::{LANE_US, distribution, histogram},
    rows::{self, DistributionRow},
    schema::column,
};

const MERGE: &str = "histogram_merge(sum, min, max, scale, zero_count, zero_threshold, \
                     pos_offset, pos_counts, neg_offset, neg_counts)";

/// Two partitions of device rows and their rollups, one row a batch so that states are merged.
fn session(device_rows: &[DistributionRow]) -> SessionContext {
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    register(&mut *session.state_ref().write()).unwrap();
    let rollups: Vec<_> = device_rows
        .iter()
        .flat_map(|row| rows::rollup(std::slice::from_ref(row), &[], LANE_US))
        .collect();
    let tables = [
        ("distributions", rows::distributions(device_rows).unwrap()),
        ("rollups", rows::rollups(&rollups).unwrap()),
    ];
    for (name, batch) in tables {
        let mut partitions = vec![vec![], vec![]];
        for row in 0..batch.num_rows() {
            partitions[row % 2].push(batch.slice(row, 1));
        }
        let table = MemTable::try_new(batch.schema(), partitions).unwrap();
        session.register_table(name, Arc::new(table)).unwrap();
    }
    session
}

async fn ask(session: &SessionContext, sql: &str) -> RecordBatch {
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    let schema = batches[0].schema();
    datafusion::arrow::compute::concat_batches(&schema, &batches).unwrap()
}

fn merged(rows: &[DistributionRow]) -> ExponentialHistogram {
    let mut parts = rows.iter().map(|row| match &row.distribution {
        rows::Distribution::Exponential(histogram) => histogram,
        rows::Distribution::Explicit(_) => panic!("not exponential"),
    });
    let mut sum = parts.next().unwrap().clone();
    parts.for_each(|part| sum.merge(part));
    sum
}

fn some_rows() -> Vec<DistributionRow> {
    let values = |n: i32| -> Vec<f64> { (0..n).map(|i| 0.1 + f64::from(i * n) * 0.37).collect() };
    let row = |n: i32| distribution(&format!("device-{}", n % 3), i64::from(n), &values(n));
    (1..40).map(row).collect()
}

#[tokio::test]
async fn merging_and_reading_give_what_wire_gives() {
    let rows = some_rows();
    let sql = format!(
        "SELECT h, histogram_quantile(h, 0.5), histogram_quantile(h, 0.99), histogram_cdf(h, 7.5) \
         FROM (SELECT {MERGE} AS h FROM distributions)"
    );
    let answer = ask(&session(&rows), &sql).await;
    let wanted = merged(&rows);
    let packed = unpack(answer.column(0).as_binary::<i32>().value(0)).unwrap();
    assert!(packed.agrees_with(&wanted));
    let number = |at: usize| answer.column(at).as_primitive::<Float64Type>().value(0);
    assert_eq!(Some(number(1)), wanted.quantile(0.5));
    assert_eq!(Some(number(2)), wanted.quantile(0.99));
    assert_eq!(Some(number(3)), wanted.cdf(7.5));
}

#[tokio::test]
async fn groups_of_one_row_are_the_rows_themselves() {
    let rows = some_rows();
    let sql = format!("SELECT time, {MERGE} FROM distributions GROUP BY time ORDER BY time");
    let answer = ask(&session(&rows), &sql).await;
    assert_eq!(answer.num_rows(), rows.len());
    for (row, packed) in rows.iter().zip(answer.column(1).as_binary::<i32>().iter()) {
        let histogram = unpack(packed.unwrap()).unwrap();
        assert!(histogram.agrees_with(&merged(std::slice::from_ref(row))));
    }
}

#[tokio::test]
async fn grouped_and_filtered_merges_give_what_wire_gives() {
    let rows = some_rows();
    let sql = format!(
        "SELECT device, {MERGE} FILTER (WHERE count > 9) FROM distributions GROUP BY device \
         ORDER BY device"
    );
    let answer = ask(&session(&rows), &sql).await;
    for (at, device) in ["device-0", "device-1", "device-2"].into_iter().enumerate() {
        let kept =
            |row: &&DistributionRow| row.columns.device == device && row.distribution.count() > 9;
        let wanted = merged(&rows.iter().filter(kept).cloned().collect::<Vec<_>>());
        let found = unpack(answer.column(1).as_binary::<i32>().value(at)).unwrap();
        assert!(found.agrees_with(&wanted), "{device}");
    }
}

#[tokio::test]
async fn the_short_form_gives_the_same_buckets() {
    let rows = some_rows();
    let sql = "SELECT histogram_merge(scale, zero_count, pos_offset, pos_counts, neg_offset, \
               neg_counts) FROM distributions";
    let answer = ask(&session(&rows), sql).await;
    let found = unpack(answer.column(0).as_binary::<i32>().value(0)).unwrap();
    let wanted = merged(&rows);
    assert_eq!(
        (found.count, &found.positive),
        (wanted.count, &wanted.positive)
    );
}

#[tokio::test]
async fn no_histogram_is_null_and_not_zero() {
    let session = session(&some_rows());
    let sql = format!(
        "SELECT histogram_quantile(h, 0.5), histogram_cdf(h, 1.0) FROM \
         (SELECT {MERGE} AS h FROM distributions WHERE device = 'nobody')"
    );
    let answer = ask(&session, &sql).await;
    assert!(answer.column(0).is_null(0) && answer.column(1).is_null(0));
    let sql = "SELECT histogram_merge(NULL, 1, NULL, NULL, NULL, NULL), \
               devices_count(devices_merge(NULL)), histogram_quantile(NULL, 0.5)";
    let answer = ask(&session, sql).await;
    assert!(answer.columns().iter().all(|column| column.is_null(0)));
}

#[tokio::test]
async fn bytes_and_counts_that_were_made_up_are_errors() {
    let session = session(&some_rows());
    let made_up = [
        "SELECT histogram_quantile(X'00ff', 0.5)",
        "SELECT histogram_merge(4, -1, 0, make_array(1), 0, make_array(1))",
        "SELECT histogram_merge(4, 0, 0, make_array(9223372036854775807, 1), 0, make_array(1))",
        "SELECT histogram_merge(99, 0, 0, make_array(1), 0, make_array(1))",
        "SELECT histogram_merge(1, 2, 3)",
    ];
    for sql in made_up {
        let answer = match session.sql(sql).await {
            Ok(frame) => frame.collect().await,
            Err(error) => Err(error),
        };
        let error = answer.expect_err(sql).to_string();
        assert!(error.contains("histogram"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn devices_are_counted_once() {
    let sql = "SELECT devices_count(devices_merge(devices)), count(DISTINCT time) FROM rollups";
    let answer = ask(&session(&some_rows()), sql).await;
    assert_eq!(answer.column(0).as_primitive::<Int64Type>().value(0), 3);
}

/// The histogram columns of rows, as `histogram_merge` gets them.
fn arguments(rows: &[DistributionRow]) -> Vec<ArrayRef> {
    let batch = rows::distributions(rows).unwrap();
    let names = [
        column::SUM,
        column::MIN,
        column::MAX,
        column::SCALE,
        column::ZERO_COUNT,
        column::ZERO_THRESHOLD,
        column::POS_OFFSET,
        column::POS_COUNTS,
        column::NEG_OFFSET,
        column::NEG_COUNTS,
    ];
    names.map(|name| batch[name].clone()).to_vec()
}

#[test]
fn rows_turned_into_states_merge_to_the_same() {
    let rows = some_rows();
    let arguments = arguments(&rows);
    let every_other: BooleanArray = (0..rows.len()).map(|row| Some(row % 2 == 0)).collect();
    let states = Groups::<ExponentialHistogram>::default()
        .convert_to_state(&arguments, Some(&every_other))
        .unwrap();
    let mut groups = Groups::<ExponentialHistogram>::default();
    groups
        .merge_batch(&states, &vec![0; rows.len()], 1)
        .unwrap();
    let found = groups.evaluate(EmitTo::All).unwrap();
    let kept: Vec<_> = rows.into_iter().step_by(2).collect();
    let found = unpack(found.as_binary::<i32>().value(0)).unwrap();
    assert!(found.agrees_with(&merged(&kept)));
}

#[test]
fn emitting_some_groups_keeps_the_others_and_their_size() {
    let rows = some_rows();
    let mut groups = Groups::<ExponentialHistogram>::default();
    let group_of: Vec<_> = (0..rows.len()).map(|row| row % 5).collect();
    groups
        .update_batch(&arguments(&rows), &group_of, None, 5)
        .unwrap();
    let full = groups.size();
    let first = groups.evaluate(EmitTo::First(2)).unwrap();
    assert_eq!(first.len(), 2);
    assert!(groups.size() < full);
    let rest = groups.evaluate(EmitTo::All).unwrap();
    let wanted = merged(&rows.into_iter().skip(2).step_by(5).collect::<Vec<_>>());
    assert!(
        unpack(rest.as_binary::<i32>().value(0))
            .unwrap()
            .agrees_with(&wanted)
    );
}

/// Rows of any resolution, sign and size, each with its group and whether a filter keeps it.
fn any_rows() -> impl Strategy<Value = Vec<(DistributionRow, usize, bool)>> {
    let value =
        prop_oneof![4 => -50f64..50.0, 1 => 1e-12f64..1e-6, 1 => 1e6f64..1e12, 1 => Just(0.0)];
    let row = (
        0i32..9,
        prop_oneof![9 => Just(0.0), 1 => Just(1e-3)],
        prop::collection::vec(value, 0..12),
    );
    let row = row.prop_map(|(scale, zero_threshold, values)| {
        let mut row = distribution("a", 1, &[]);
        let mut histogram = ExponentialHistogram::new(scale);
        histogram.zero_threshold = zero_threshold;
        for value in values {
            assert!(histogram.record(value));
        }
        row.distribution = rows::Distribution::Exponential(histogram);
        row
    });
    prop::collection::vec((row, 0usize..3, prop::bool::weighted(0.9)), 1..16)
}

/// What merging checked copies of the rows one by one gives each of three groups.
fn one_by_one(rows: &[(DistributionRow, usize, bool)]) -> Vec<Option<ExponentialHistogram>> {
    let (columns, groups, kept) = split(rows);
    let mut sums = vec![None; 3];
    for row in (0..rows.len()).filter(|row| kept.value(*row)) {
        let copy = ExponentialHistogram::from_arguments(&columns, row).unwrap();
        add(&mut sums[groups[row]], copy.unwrap()).unwrap();
    }
    sums
}

type Accumulator = Groups<ExponentialHistogram>;

fn accumulated(rows: &[(DistributionRow, usize, bool)]) -> Accumulator {
    let (columns, groups, kept) = split(rows);
    let mut accumulator = Accumulator::default();
    accumulator
        .update_batch(&columns, &groups, Some(&kept), 3)
        .unwrap();
    accumulator
}

fn split(rows: &[(DistributionRow, usize, bool)]) -> (Vec<ArrayRef>, Vec<usize>, BooleanArray) {
    let device_rows: Vec<_> = rows.iter().map(|(row, ..)| row.clone()).collect();
    let groups = rows.iter().map(|(_, group, _)| *group).collect();
    let kept = rows.iter().map(|(_, _, kept)| Some(*kept)).collect();
    (arguments(&device_rows), groups, kept)
}

fn read(packed: &ArrayRef) -> Vec<Option<ExponentialHistogram>> {
    let packed = packed.as_binary::<i32>().iter();
    packed
        .map(|bytes| bytes.map(|bytes| unpack(bytes).unwrap()))
        .collect()
}

/// Buckets, counts, ends and scale: what no order of merging may change.
fn counted(histograms: &[Option<ExponentialHistogram>]) -> Vec<Option<ExponentialHistogram>> {
    let without = |histogram: &Option<ExponentialHistogram>| {
        histogram.as_ref().map(ExponentialHistogram::without_sum)
    };
    histograms.iter().map(without).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn merging_in_place_gives_the_bits_of_merging_one_by_one(rows in any_rows()) {
        let found = accumulated(&rows).evaluate(EmitTo::All).unwrap();
        let wanted = ExponentialHistogram::to_state(&one_by_one(&rows));
        prop_assert_eq!(found.as_binary::<i32>(), wanted.as_binary::<i32>());
    }

    #[test]
    fn states_of_parts_in_any_order_merge_to_the_same(rows in any_rows(), cut in 0usize..16) {
        // Thresholds that differ do not merge alike in every order, in `wire` neither.
        let rows: Vec<_> = rows.into_iter().filter(|(row, ..)| {
            let rows::Distribution::Exponential(histogram) = &row.distribution else { return false };
            histogram.zero_threshold == 0.0
        }).collect();
        let (first, last) = rows.split_at(cut.min(rows.len()));
        let mut backwards = Accumulator::default();
        let (columns, groups, kept) = split(last);
        let each = Accumulator::default().convert_to_state(&columns, Some(&kept)).unwrap();
        backwards.merge_batch(&each, &groups, 3).unwrap();
        let parts = accumulated(first).state(EmitTo::All).unwrap();
        backwards.merge_batch(&parts, &[0, 1, 2], 3).unwrap();
        let found = read(&backwards.evaluate(EmitTo::All).unwrap());
        prop_assert_eq!(counted(&found), counted(&one_by_one(&rows)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_cut_into_partitions_gives_the_same(
        values in prop::collection::vec(prop::collection::vec(-50f64..50.0, 1..8), 1..12),
    ) {
        let rows: Vec<_> = values.iter().map(|values| distribution("a", 1, values)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sql = format!("SELECT {MERGE} FROM distributions");
        let answer = runtime.block_on(async { ask(&session(&rows), &sql).await });
        let found = unpack(answer.column(0).as_binary::<i32>().value(0)).unwrap();
        let wanted = merged(&rows);
        prop_assert_eq!(&found.positive, &wanted.positive);
        prop_assert_eq!(&found.negative, &wanted.negative);
        prop_assert_eq!((found.count, found.min, found.max), (wanted.count, wanted.min, wanted.max));
        let all: Vec<f64> = values.into_iter().flatten().collect();
        prop_assert_eq!(found.count, histogram(&all).count);
    }
}
