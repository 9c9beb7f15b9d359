//! The live files of a table, as its log describes them. In: a snapshot. Out: path, size, day, and
//! between which times the rows of a file lie. Never: the files themselves.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate};
use deltalake_core::{
    DeltaTable, DeltaTableError,
    kernel::{Add, LogicalFileView},
};
use fathomline_queries::schema::{PARTITION, column};
use serde::Deserialize;

/// Statistics are cut to milliseconds.
const ROUNDING_US: i64 = 1000;

/// Days since the Unix epoch.
pub(super) type Day = i32;

/// One live file.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) day: Option<Day>,
    /// The earliest and the latest `time` of its rows; unknown for a file without statistics.
    pub(super) times_us: Option<(i64, i64)>,
    pub(super) view: LogicalFileView,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Statistics {
    min_values: BTreeMap<String, serde_json::Value>,
    max_values: BTreeMap<String, serde_json::Value>,
}

impl Live {
    fn of(view: LogicalFileView) -> Self {
        let statistics = Statistics::parse(view.stats().as_deref());
        let date = view.partition_values_map().remove(PARTITION).flatten();
        Self {
            path: view.path().into_owned(),
            bytes: u64::try_from(view.size()).unwrap_or(0),
            day: date.as_deref().and_then(day),
            times_us: statistics.times_us(),
            view,
        }
    }
}

impl Live {
    /// Whether a row with this `time` can be in it.
    pub(super) fn can_hold(&self, time_us: i64) -> bool {
        self.times_us
            .is_none_or(|(first, last)| (first..=last).contains(&time_us))
    }
}

/// Between which times the rows of a new file lie.
pub(super) fn times_us(add: &Add) -> Option<(i64, i64)> {
    Statistics::parse(add.stats.as_deref()).times_us()
}

/// How many rows a new file holds, if it says so.
pub(super) fn rows(add: &Add) -> Option<u64> {
    let statistics: serde_json::Value = serde_json::from_str(add.stats.as_deref()?).ok()?;
    statistics.get("numRecords")?.as_u64()
}

/// Every live file of a table.
pub(super) fn files(delta: &DeltaTable) -> Result<Vec<Live>, DeltaTableError> {
    let files = delta.snapshot()?.log_data();
    Ok(files.iter().map(Live::of).collect())
}

impl Statistics {
    fn parse(text: Option<&str>) -> Self {
        let parsed = text.and_then(|text| serde_json::from_str(text).ok());
        parsed.unwrap_or_default()
    }

    fn times_us(&self) -> Option<(i64, i64)> {
        let first = micros(self.min_values.get(column::TIME)?)?;
        let last = micros(self.max_values.get(column::TIME)?)?;
        Some((first - ROUNDING_US, last + ROUNDING_US))
    }
}

fn micros(value: &serde_json::Value) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    Some(time.timestamp_micros())
}

fn day(date: &str) -> Option<Day> {
    let date: NaiveDate = date.parse().ok()?;
    let since = date.signed_duration_since(NaiveDate::default());
    Day::try_from(since.num_days()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_say_between_which_times_rows_lie() {
        let text = r#"{"numRecords":3,"minValues":{"time":"1970-01-01T00:00:01.500Z","count":1},
                       "maxValues":{"time":"1970-01-01T00:00:02Z"},"nullCount":{}}"#;
        let statistics = Statistics::parse(Some(text));
        assert_eq!(statistics.times_us(), Some((1_499_000, 2_001_000)));
        assert_eq!(Statistics::parse(None).times_us(), None);
        assert_eq!(day("1970-01-03"), Some(2));
        assert_eq!(day("no date"), None);
    }
}
