//! What each question reads: of three days only the days of its span, of a day's file only the row
//! groups that its filters leave, and no column that it does not name.
//!
//! Every table is a Delta table of three files, one a day, each of two row groups: one of the
//! series that is asked for, one of another. Questions are asked about the middle day.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use chrono::NaiveDate;
use datafusion::{
    arrow::{
        array::{
            ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, ListArray,
            RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
        },
        buffer::OffsetBuffer,
        compute::concat_batches,
        datatypes::{DataType, Field},
    },
    common::ScalarValue,
    parquet::file::properties::WriterProperties,
    physical_plan::{collect, display::DisplayableExecutionPlan},
    prelude::SessionContext,
};
use deltalake_core::writer::{DeltaWriter, RecordBatchWriter};

use super::*;
use crate::{engine::bench, examples::delta_table, lanes::texts, row::timestamp, schema::Table};

/// What a scan reads: table, days after the middle one, row groups of the two a day.
type Read = (&'static str, &'static [i64], usize);

/// A question by the path of its file, and its scans in the order of their tables.
const READS: [(&str, &[Read]); 28] = [
    (
        "queries/sql/built.sql",
        &[("rollup_days", &[0], 2), ("rollup_hours", &[0], 2)],
    ),
    ("queries/sql/cohort_day.sql", &[("rollup_hours", &[0], 2)]),
    ("queries/sql/cohort_span.sql", &[("rollups", &[0], 2)]),
    (
        "queries/sql/cost_usage.sql",
        &[("rollup_hours", &[0], 1), ("rollups", &[1], 1)],
    ),
    (
        "queries/sql/device_hour_amounts.sql",
        // Each of these has a count, which its file says: none of them is read.
        &[],
    ),
    ("queries/sql/device_hour.sql", &[("distributions", &[0], 2)]),
    (
        "queries/sql/device_hour_counts.sql",
        &[("measurements", &[0], 2)],
    ),
    ("queries/sql/events.sql", &[("events", &[0], 2)]),
    ("queries/sql/fleet_overview.sql", &[("rollups", &[0], 2)]),
    ("queries/sql/lane_counts.sql", &[("rollups", &[0], 1)]),
    ("queries/sql/lanes.sql", &[("rollups", &[0], 1)]),
    (
        "queries/sql/parts.sql",
        &[("distributions", &[0], 1), ("measurements", &[0], 1)],
    ),
    ("queries/sql/parts_hours.sql", &[("device_hours", &[0], 1)]),
    (
        "queries/sql/rollout_devices.sql",
        &[("distributions", &[0], 1), ("measurements", &[0], 1)],
    ),
    (
        "queries/sql/rollout_halves.sql",
        &[("distributions", &[0], 1), ("measurements", &[0], 1)],
    ),
    ("queries/sql/rollout_versions.sql", &[("rollups", &[0], 2)]),
    ("queries/sql/rollout_windows.sql", &[("rollups", &[0], 1)]),
    ("queries/sql/series_span.sql", &[("rollups", &[0], 1)]),
    ("queries/sql/series_trend.sql", &[("rollups", &[0], 1)]),
    (
        "queries/sql/series_trend_long.sql",
        &[
            ("rollup_days", &[-1], 1),
            ("rollup_hours", &[0], 1),
            ("rollups", &[1], 1),
        ],
    ),
    ("queries/sql/site_hour.sql", &[("device_hours", &[0], 2)]),
    (
        "queries/sql/site_hour_differs.sql",
        &[("device_hours", &[0], 2), ("rollups", &[0], 2)],
    ),
    ("queries/sql/verdict_history.sql", &[("verdicts", &[0], 1)]),
    ("queries/sql/verdicts_latest.sql", &[("verdicts", &[0], 2)]),
    ("demo/sql/accuracy.sql", &[("rollups", &[0], 1)]),
    ("demo/sql/heard.sql", &[("distributions", &[-1, 0, 1], 6)]),
    ("demo/sql/quiet.sql", &[("rollups", &[0], 1)]),
    (
        "demo/sql/stored.sql",
        &[
            ("distributions", &[-1, 0, 1], 3),
            ("measurements", &[-1, 0, 1], 6),
        ],
    ),
];

#[test]
fn every_file_is_listed_here() {
    let listed: BTreeSet<_> = READS.iter().map(|(path, _)| (*path).to_owned()).collect();
    let files = ["queries/sql", "demo/sql"].into_iter().flat_map(|folder| {
        let files = fs::read_dir(house().join(folder)).unwrap();
        let name = |file: fs::DirEntry| file.file_name().into_string().unwrap();
        files.map(move |file| format!("{folder}/{}", name(file.unwrap())))
    });
    assert_eq!(listed, files.collect());
}

#[tokio::test]
async fn questions_read_the_days_row_groups_and_columns_that_they_name() {
    let folder = tempfile::tempdir().unwrap();
    let session = session(folder.path()).await;
    for (path, expected) in READS {
        let sql = fs::read_to_string(house().join(path)).unwrap();
        let scans = scans(&session, path, &sql).await;
        let read: Vec<_> = scans.iter().map(Scan::read).collect();
        assert_eq!(read, expected, "{path}");
        for scan in scans {
            let words: BTreeSet<_> = sql
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .collect();
            for column in &scan.columns {
                assert!(
                    words.contains(column.as_str()),
                    "{path} reads {column} for nothing"
                );
            }
        }
    }
}

/// The test above can fail: without filters everything is read.
#[tokio::test]
async fn what_is_not_filtered_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let session = session(folder.path()).await;
    let scans = scans(&session, "", "SELECT * FROM events").await;
    assert_eq!(scans[0].read(), ("events", &[-1, 0, 1][..], 6));
    assert!(scans[0].columns.contains("body"));
}

/// The folder of all crates.
fn house() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap()
}

struct Scan {
    table: String,
    days: Vec<i64>,
    row_groups: usize,
    columns: BTreeSet<String>,
}

impl Scan {
    /// From a line of a plan that ran.
    fn of(line: &str) -> Self {
        let between = |from: &str, to: &str| {
            let rest = line
                .split_once(from)
                .unwrap_or_else(|| panic!("no {from} in {line}"))
                .1;
            rest.split_once(to).unwrap().0.to_owned()
        };
        let day = |file: &str| {
            let date = file
                .split_once('/')
                .unwrap()
                .0
                .parse::<NaiveDate>()
                .unwrap();
            date.signed_duration_since(NaiveDate::default()).num_days() - DAY
        };
        let mut days: Vec<_> = line.split("/date=").skip(1).map(day).collect();
        days.sort_unstable();
        let groups = between("row_groups_pruned_statistics=", " matched");
        let columns = between("projection=[", "]");
        let columns = columns
            .split(", ")
            .filter(|column| !column.starts_with("__"));
        Self {
            table: between("/tables/", "/"),
            days,
            row_groups: groups.rsplit(' ').next().unwrap().parse().unwrap(),
            columns: columns.map(str::to_owned).collect(),
        }
    }

    fn read(&self) -> (&str, &[i64], usize) {
        (&self.table, &self.days, self.row_groups)
    }
}

/// Asks, and tells what was read.
async fn scans(session: &SessionContext, path: &str, sql: &str) -> Vec<Scan> {
    let name = Path::new(path).file_stem().unwrap_or_default();
    let question = QUESTIONS.iter().find(|question| question.name == name);
    let (from, to) = SPAN;
    let placeholders = [("{from_us}", from), ("{to_us}", to), ("{lane_us}", LANE_US)];
    let sql = sql.replace("{metric}", "mine");
    let sql = placeholders.iter().fold(sql, |sql, (placeholder, value)| {
        sql.replace(placeholder, &value.to_string())
    });
    let mut frame = session.sql(&sql).await.unwrap();
    if let Some(question) = question {
        frame = frame.with_param_values(parameters(question)).unwrap();
    }
    let plan = frame.create_physical_plan().await.unwrap();
    collect(Arc::clone(&plan), session.task_ctx())
        .await
        .unwrap();
    let text = DisplayableExecutionPlan::with_metrics(plan.as_ref())
        .indent(false)
        .to_string();
    let lines = text.lines().filter(|line| line.contains("DataSourceExec"));
    let mut scans: Vec<_> = lines.map(Scan::of).collect();
    scans.sort_by(|a, b| a.table.cmp(&b.table));
    scans
}

const DAY_US: i64 = 86_400_000_000;
/// The middle day, since 1970.
const DAY: i64 = 20_000;
/// That day, but for its last microsecond.
const SPAN: (i64, i64) = (DAY * DAY_US, (DAY + 1) * DAY_US - 1);
const LANE_US: i64 = 60_000_000;

async fn session(folder: &Path) -> SessionContext {
    let session = bench(64 << 20, folder).unwrap();
    for table in Table::ALL {
        let mut delta = delta_table(folder, table).await;
        for day in [DAY - 1, DAY, DAY + 1] {
            let halves = ["mine", "other"].map(|series| row(table, day, series));
            let rows = concat_batches(&table.arrow_schema(), &halves).unwrap();
            let groups = WriterProperties::builder()
                .set_max_row_group_row_count(Some(1))
                .build();
            let writer = RecordBatchWriter::for_table(&delta).unwrap();
            let mut writer = writer.with_writer_properties(groups);
            writer.write(rows).await.unwrap();
            writer.flush_and_commit(&mut delta).await.unwrap();
        }
        let provider = delta.table_provider().await.unwrap();
        session.register_table(table.name(), provider).unwrap();
    }
    session
}

/// One row of `table` at noon of `day`; what can be null and is not filtered by is null.
fn row(table: Table, day: i64, series: &str) -> RecordBatch {
    let schema = table.arrow_schema();
    let time = day * DAY_US + DAY_US / 2;
    let column = |field: &Arc<Field>| -> ArrayRef {
        match (field.name().as_str(), field.data_type()) {
            ("clock", _) => Arc::new(StringArray::from(vec!["ok"])),
            ("kind", _) => Arc::new(StringArray::from(vec!["delta"])),
            ("count", _) => Arc::new(Int64Array::from(vec![1])),
            ("width_us", _) => Arc::new(Int64Array::from(vec![LANE_US])),
            (_, DataType::Timestamp(..)) => {
                Arc::new(TimestampMicrosecondArray::from(vec![time]).with_timezone("UTC"))
            }
            (_, DataType::Date32) => Arc::new(Date32Array::from(vec![day as i32])),
            ("category" | "site", DataType::Utf8) => Arc::new(StringArray::from(vec![""])),
            (_, DataType::Utf8) => Arc::new(StringArray::from(vec![series])),
            (_, kind) if field.is_nullable() => new_null_array(kind, 1),
            (_, DataType::Int64) => Arc::new(Int64Array::from(vec![1])),
            (_, DataType::Int32) => Arc::new(Int32Array::from(vec![1])),
            (_, DataType::Float64) => Arc::new(Float64Array::from(vec![1.0])),
            (_, DataType::List(of)) => {
                let one = Arc::new(Int64Array::from(vec![1]));
                Arc::new(ListArray::new(
                    of.clone(),
                    OffsetBuffer::from_lengths([1]),
                    one,
                    None,
                ))
            }
            (_, DataType::Boolean) => Arc::new(BooleanArray::from(vec![false])),
            (name, kind) => panic!("a column {name} of {kind} is new: give it a value here"),
        }
    };
    let columns = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

/// Of the middle day and the series `mine`; the long trend is about all three days.
fn parameters(question: &Question) -> Vec<(&'static str, ScalarValue)> {
    let long = question.name == "series_trend_long";
    // Hours end where the span does, and lanes are read after them.
    let beyond = long || question.name == "cost_usage";
    let value = |name: &str| match name {
        "from" if long => timestamp((DAY - 1) * DAY_US),
        "days_to" => timestamp(DAY * DAY_US),
        "hours_to" => timestamp(SPAN.1),
        "to" if beyond => timestamp((DAY + 2) * DAY_US - 1),
        "step" => ScalarValue::new_interval_mdn(0, 0, 3_600_000_000_000),
        "width_us" => ScalarValue::from(LANE_US),
        "metrics" | "models" | "versions" | "group" => texts(&["mine"]),
        "from" => timestamp(SPAN.0),
        "to" => timestamp(SPAN.1),
        _ => ScalarValue::from("mine"),
    };
    question
        .parameters
        .iter()
        .map(|name| (*name, value(name)))
        .collect()
}
