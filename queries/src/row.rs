//! Reads answers to our own questions by column name and type. In: batches that a file of `sql/`
//! gave. Out: plain values. A column that is missing or of another type is an error that names
//! it: the file and its wrapper disagree.

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray},
        datatypes::{Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
        record_batch::RecordBatch,
    },
    common::ScalarValue,
};
use fathomline_wire::histogram::ExponentialHistogram;

use crate::{engine::QueryError, functions, rows::DeviceSketch};

/// One row of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    batch: &'a RecordBatch,
    at: usize,
}

/// Every row of an answer.
pub(crate) fn rows(batches: &[RecordBatch]) -> impl Iterator<Item = Row<'_>> {
    batches
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(move |at| Row { batch, at }))
}

/// A parameter of type timestamp.
pub(crate) fn timestamp(micros: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
}

type Read<T> = Result<T, QueryError>;

impl Row<'_> {
    /// Text; empty for null.
    pub(crate) fn text(self, name: &str) -> Read<String> {
        Ok(self.optional_text(name)?.unwrap_or_default())
    }

    pub(crate) fn optional_text(self, name: &str) -> Read<Option<String>> {
        let column = self.column(name)?;
        let text = if let Some(texts) = column.as_string_view_opt() {
            texts.is_valid(self.at).then(|| texts.value(self.at))
        } else if let Some(texts) = column.as_string_opt::<i32>() {
            texts.is_valid(self.at).then(|| texts.value(self.at))
        } else {
            return Err(mismatch(name, column));
        };
        Ok(text.map(str::to_owned))
    }

    /// An integer; zero for null, which is what sums of no rows are.
    pub(crate) fn integer(self, name: &str) -> Read<i64> {
        let column = self.column(name)?;
        if let Some(small) = column.as_primitive_opt::<Int32Type>() {
            return Ok(if small.is_null(self.at) {
                0
            } else {
                small.value(self.at).into()
            });
        }
        let column = column
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| mismatch(name, column))?;
        Ok(if column.is_null(self.at) {
            0
        } else {
            column.value(self.at)
        })
    }

    /// True or false; false for null.
    pub(crate) fn flag(self, name: &str) -> Read<bool> {
        let column = self.column(name)?;
        let flags = column.as_boolean_opt();
        let flags = flags.ok_or_else(|| mismatch(name, column))?;
        Ok(flags.is_valid(self.at) && flags.value(self.at))
    }

    /// As [`Self::integer`], for what cannot be negative.
    pub(crate) fn count(self, name: &str) -> Read<u64> {
        let count = self.integer(name)?;
        u64::try_from(count).map_err(|_| QueryError::Failed(format!("{name} is {count}")))
    }

    pub(crate) fn float(self, name: &str) -> Read<Option<f64>> {
        let column = self.column(name)?;
        let floats = column.as_primitive_opt::<Float64Type>();
        let floats = floats.ok_or_else(|| mismatch(name, column))?;
        Ok(floats.is_valid(self.at).then(|| floats.value(self.at)))
    }

    /// Microseconds since the epoch.
    pub(crate) fn time(self, name: &str) -> Read<i64> {
        self.optional_time(name)?
            .ok_or_else(|| QueryError::Failed(format!("{name} is null, where a time is expected")))
    }

    pub(crate) fn optional_time(self, name: &str) -> Read<Option<i64>> {
        let column = self.column(name)?;
        let times = column.as_primitive_opt::<TimestampMicrosecondType>();
        let times = times.ok_or_else(|| mismatch(name, column))?;
        Ok(times.is_valid(self.at).then(|| times.value(self.at)))
    }

    /// A date, as UTC days since the epoch.
    pub(crate) fn day(self, name: &str) -> Read<i32> {
        let column = self.column(name)?;
        let days = column.as_primitive_opt::<Date32Type>();
        let days = days.ok_or_else(|| mismatch(name, column))?;
        match days.is_valid(self.at) {
            true => Ok(days.value(self.at)),
            false => Err(QueryError::Failed(format!(
                "{name} is null, where a day is expected"
            ))),
        }
    }

    /// A sketch of `devices_merge`; empty for null.
    pub(crate) fn devices(self, name: &str) -> Read<DeviceSketch> {
        let column = self.column(name)?;
        let lists = column
            .as_list_opt::<i32>()
            .ok_or_else(|| mismatch(name, column))?;
        if lists.is_null(self.at) {
            return Ok(DeviceSketch::default());
        }
        let hashes = lists.value(self.at);
        let hashes = hashes
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| mismatch(name, column))?;
        Ok(DeviceSketch::from_hashes(hashes.values().to_vec()))
    }

    /// A histogram of `histogram_merge`; none for null.
    pub(crate) fn histogram(self, name: &str) -> Read<Option<ExponentialHistogram>> {
        let column = self.column(name)?;
        let packed = column
            .as_binary_opt::<i32>()
            .ok_or_else(|| mismatch(name, column))?;
        if packed.is_null(self.at) {
            return Ok(None);
        }
        let histogram = functions::unpack(packed.value(self.at));
        histogram
            .map(Some)
            .ok_or_else(|| QueryError::Failed(format!("{name} holds bytes that are no histogram")))
    }

    /// The values of a list; none for null.
    pub(crate) fn list(self, name: &str) -> Read<Option<ArrayRef>> {
        let column = self.column(name)?;
        let lists = column
            .as_list_opt::<i32>()
            .ok_or_else(|| mismatch(name, column))?;
        Ok(lists.is_valid(self.at).then(|| lists.value(self.at)))
    }

    /// Whether the answer has the column at all.
    pub(crate) fn has(self, name: &str) -> bool {
        self.batch.column_by_name(name).is_some()
    }

    fn column(&self, name: &str) -> Read<&ArrayRef> {
        let column = self.batch.column_by_name(name);
        column.ok_or_else(|| QueryError::Failed(format!("the answer has no column {name}")))
    }
}

fn mismatch(name: &str, column: &ArrayRef) -> QueryError {
    QueryError::Failed(format!(
        "column {name} is of the unexpected type {}",
        column.data_type()
    ))
}
