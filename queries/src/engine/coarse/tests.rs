//! An hour is the sum of its minutes, whichever way it was made.

use std::collections::BTreeMap;

use datafusion::datasource::MemTable;
use fathomline_wire::histogram::ExponentialHistogram;
use futures::TryStreamExt;
use tempfile::TempDir;

use super::*;
use crate::{
    engine::bench,
    examples::{counter, distribution},
    rows::{self as stored, DeviceSketch, DistributionRow, MeasurementRow},
};

const HOUR_US: i64 = 3_600_000_000;
const LANE_US: i64 = 60_000_000;
const HOUR: Stretch = Stretch {
    from_us: 480_000 * HOUR_US,
    to_us: 480_001 * HOUR_US,
};

struct Yard {
    session: SessionContext,
    _spill: TempDir,
}

impl Yard {
    fn with(distributions: &[DistributionRow], measurements: &[MeasurementRow]) -> Self {
        let spill = tempfile::tempdir().unwrap();
        let session = bench(64 << 20, spill.path()).unwrap();
        let yard = Self {
            session,
            _spill: spill,
        };
        let lanes = stored::rollup(distributions, measurements, LANE_US);
        let rows = stored::distributions(distributions).unwrap();
        yard.put(Table::Distributions, vec![rows]);
        let rows = stored::measurements(measurements).unwrap();
        yard.put(Table::Measurements, vec![rows]);
        yard.put(Table::Rollups, vec![stored::rollups(&lanes).unwrap()]);
        yard
    }

    fn put(&self, table: Table, batches: Vec<RecordBatch>) {
        let _ = self.session.deregister_table(table.name()).unwrap();
        let provider = MemTable::try_new(table.arrow_schema(), vec![batches]).unwrap();
        let provider = Arc::new(provider);
        self.session.register_table(table.name(), provider).unwrap();
    }

    async fn build(&self, table: Table, stretch: Stretch) -> Vec<RecordBatch> {
        let batches = match table {
            Table::DeviceHours => device_hours(&self.session, stretch).await,
            Table::RollupHours => cohort_hours(&self.session, stretch).await,
            _ => cohort_days(&self.session, stretch).await,
        };
        let batches: Vec<RecordBatch> = batches.unwrap().try_collect().await.unwrap();
        self.put(table, batches.clone());
        batches
    }

    /// What each metric and category adds up to in a table, and at how many sites.
    async fn sums(&self, table: &str) -> BTreeMap<String, Sum> {
        let devices = match table {
            "device_hours" | "distributions" => "devices_merge(devices_of(device))",
            _ => "devices_merge(devices)",
        };
        let sql = format!(
            "SELECT metric, category, sum(count) AS count, sum(device_windows) AS windows, \
             histogram_merge(sum, min, max, scale, zero_count, zero_threshold, pos_offset, \
             pos_counts, neg_offset, neg_counts) AS histogram, {devices} AS devices, \
             explicit_bounds, counts_merge(pos_counts) FILTER (WHERE explicit_bounds IS NOT NULL) \
             AS explicit_counts, sum(sum) AS sum, min(min) AS min, max(max) AS max FROM {table} \
             GROUP BY metric, category, explicit_bounds"
        );
        let found = self
            .session
            .sql(&sql)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        let sum = |row: Row<'_>| {
            let key = row.text("metric").unwrap() + " " + &row.text("category").unwrap();
            let sum = Sum {
                count: row.count("count").unwrap(),
                windows: row.count("windows").unwrap(),
                values: distribution_of(row).unwrap(),
                devices: row.devices("devices").unwrap(),
            };
            (key, sum)
        };
        rows(&found).map(sum).collect()
    }

    async fn sites(&self) -> i64 {
        let sql = "SELECT count(DISTINCT site) AS sites FROM rollup_hours";
        let found = self
            .session
            .sql(sql)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        rows(&found).next().unwrap().integer("sites").unwrap()
    }
}

use super::distribution as distribution_of;

#[derive(Clone, Debug)]
struct Sum {
    count: u64,
    windows: u64,
    values: Option<Distribution>,
    devices: DeviceSketch,
}

/// Bit for bit in counts, minimum and maximum; sums to rounding.
fn same(a: &BTreeMap<String, Sum>, b: &BTreeMap<String, Sum>) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (key, a) in a {
        let b = &b[key];
        assert_eq!(
            (a.count, a.windows, &a.devices),
            (b.count, b.windows, &b.devices),
            "{key}"
        );
        match (&a.values, &b.values) {
            (Some(Distribution::Exponential(a)), Some(Distribution::Exponential(b))) => {
                assert!(
                    (a.sum - b.sum).abs() <= 1e-12 * a.sum.abs(),
                    "{} {}",
                    a.sum,
                    b.sum
                );
                let counted = |h: &ExponentialHistogram| {
                    let buckets = (h.positive.clone(), h.negative.clone());
                    (h.scale, h.count, h.zero_count, h.min, h.max, buckets)
                };
                assert_eq!(counted(a), counted(b), "{key}");
            }
            (a, b) => assert_eq!(a, b, "{key}"),
        }
    }
}

/// Four devices at two sites, a window a minute; one device's clock is unknown for a while.
fn devices() -> (Vec<DistributionRow>, Vec<MeasurementRow>) {
    let (mut values, mut counts) = (vec![], vec![]);
    for minute in 0..60 {
        for device in 0..4_i64 {
            let name = format!("device-{device}");
            let time = HOUR.from_us + minute * LANE_US + 1 + device;
            let seed = (minute * 4 + device) as f64;
            let mut row = distribution(&name, time, &[seed * 0.013, 0.1 + seed, 0.0]);
            row.columns.site = Some(format!("site-{}", device % 2));
            if device == 3 && minute < 5 {
                row.columns.clock = stored::Clock::Unknown;
            }
            values.push(row.clone());
            if device < 2 {
                row.columns.metric = "app.latency".into();
                row.distribution = Distribution::Explicit(ExplicitHistogram {
                    bounds: vec![1.0, 2.0],
                    counts: vec![1, 0, minute as u64],
                    count: 1 + minute as u64,
                    sum: Some(0.5),
                    min: Some(0.25),
                    max: Some(seed),
                });
                values.push(row);
            }
            let mut count = counter(&name, time, "fathomline.feedback", "correct");
            count.columns.site = Some(format!("site-{}", device % 2));
            counts.push(count.clone());
            // Joules have no whole number; a quarter adds up exactly in any order.
            count.columns.metric = "fathomline.device.energy".into();
            count.category = Some("idle".into());
            (count.count, count.value) = (None, Some(0.25 * seed));
            counts.push(count);
        }
    }
    // Of another hour.
    values.push(distribution("device-0", HOUR.from_us, &[1.0]));
    values.push(distribution("device-0", HOUR.to_us + 1, &[1.0]));
    (values, counts)
}

/// The lanes of the hour alone.
fn of_the_hour(values: &[DistributionRow]) -> Vec<DistributionRow> {
    let inside =
        |row: &&DistributionRow| row.columns.time > HOUR.from_us && row.columns.time <= HOUR.to_us;
    values.iter().filter(inside).cloned().collect()
}

#[tokio::test]
async fn an_hour_is_the_merge_of_its_lanes_and_a_day_of_its_hours() {
    let (values, counts) = devices();
    let lanes = Yard::with(&of_the_hour(&values), &counts);
    let lanes = lanes.sums("rollups").await;
    assert_eq!(lanes.len(), 4);
    let yard = Yard::with(&values, &counts);
    let built = yard.build(Table::DeviceHours, HOUR).await;
    let rows: usize = built.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 4 + 2 + 4 + 4, "one a device and metric");
    same(&yard.sums("device_hours").await, &lanes);
    yard.build(Table::RollupHours, HOUR).await;
    assert_eq!(yard.sites().await, 2);
    same(&yard.sums("rollup_hours").await, &lanes);
    let day = Stretch {
        from_us: HOUR.from_us,
        to_us: HOUR.from_us + 24 * HOUR_US,
    };
    let days = yard.build(Table::RollupDays, day).await;
    let rows: usize = days.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 4, "one a cohort, metric and category");
    same(&yard.sums("rollup_days").await, &lanes);
}

#[tokio::test]
async fn cohorts_keep_what_a_device_that_was_erased_had_counted() {
    let (values, counts) = devices();
    let values = of_the_hour(&values);
    let yard = Yard::with(&values, &counts);
    let lanes = yard.sums("rollups").await;
    let left: Vec<_> = values
        .into_iter()
        .filter(|row| row.columns.device != "device-1")
        .collect();
    yard.put(
        Table::Distributions,
        vec![stored::distributions(&left).unwrap()],
    );
    yard.build(Table::DeviceHours, HOUR).await;
    yard.build(Table::RollupHours, HOUR).await;
    assert_eq!(yard.sites().await, 0, "sites cannot be told any more");
    same(&yard.sums("rollup_hours").await, &lanes);
}

#[tokio::test]
async fn an_hour_without_rows_is_none() {
    let yard = Yard::with(&[], &[]);
    assert!(yard.build(Table::DeviceHours, HOUR).await.is_empty());
    assert!(yard.build(Table::RollupHours, HOUR).await.is_empty());
}
