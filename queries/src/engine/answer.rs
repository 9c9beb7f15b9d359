//! Rows for programs in any language. In: Arrow batches. Out: JSON values with column names and
//! types: timestamps as RFC 3339 text, bytes as hexadecimal, lists as arrays, NaN and infinities
//! as null. Stops at the row limit and says so; refuses to grow past the memory limit.

use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::{
        DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema,
        UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
    error::ArrowError,
    record_batch::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EngineLimits, QueryError};

/// Bytes that a value costs beside its text: the least a JSON tree needs for it.
const VALUE_BYTES: usize = size_of::<Value>();

/// What a query answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Names and types, in order.
    pub columns: Vec<AnswerColumn>,
    /// One value a column.
    pub rows: Vec<Vec<Value>>,
    /// Whether there were more rows than the limit allows.
    pub truncated: bool,
}

/// One column of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerColumn {
    /// Name.
    pub name: String,
    /// text, bigint, double, boolean, timestamp, date, bytes, `bigint[]`, ...
    pub r#type: String,
}

/// Collects rows up to the limits.
pub(super) struct AnswerBuilder {
    answer: Answer,
    limits: EngineLimits,
    bytes: usize,
}

impl AnswerBuilder {
    pub(super) fn new(schema: &Schema, limits: EngineLimits) -> Self {
        let columns = schema.fields().iter().map(|field| {
            let r#type = type_name(field.data_type());
            AnswerColumn {
                name: field.name().clone(),
                r#type,
            }
        });
        let answer = Answer {
            columns: columns.collect(),
            rows: vec![],
            truncated: false,
        };
        Self {
            answer,
            limits,
            bytes: 0,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.answer.truncated
    }

    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        let room = self.limits.rows_max - self.answer.rows.len();
        self.answer.truncated = batch.num_rows() > room;
        let batch = batch.slice(0, batch.num_rows().min(room));
        let mut rows = vec![Vec::with_capacity(batch.num_columns()); batch.num_rows()];
        for column in batch.columns() {
            let values = values(column).map_err(|error| QueryError::Failed(error.to_string()))?;
            for (row, value) in rows.iter_mut().zip(values) {
                self.bytes += bytes(&value);
                row.push(value);
            }
            if self.bytes > self.limits.memory_bytes {
                return Err(QueryError::TooLarge(self.limits.memory_bytes));
            }
        }
        self.answer.rows.extend(rows);
        Ok(())
    }

    pub(super) fn finish(self) -> Answer {
        self.answer
    }
}

fn bytes(value: &Value) -> usize {
    VALUE_BYTES
        + match value {
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(bytes).sum(),
            _ => 0,
        }
}

/// Every value of a column, as JSON.
fn values(column: &ArrayRef) -> Result<Vec<Value>, ArrowError> {
    macro_rules! numbers {
        ($of:ty) => {
            or_null(
                column
                    .as_primitive::<$of>()
                    .iter()
                    .map(|value| value.map(Value::from)),
            )
        };
    }
    Ok(match column.data_type() {
        DataType::Null => vec![Value::Null; column.len()],
        DataType::Boolean => or_null(column.as_boolean().iter().map(|v| v.map(Value::from))),
        DataType::Int8 => numbers!(Int8Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::UInt8 => numbers!(UInt8Type),
        DataType::UInt16 => numbers!(UInt16Type),
        DataType::UInt32 => numbers!(UInt32Type),
        DataType::UInt64 => numbers!(UInt64Type),
        DataType::Float32 => numbers!(Float32Type),
        DataType::Float64 => numbers!(Float64Type),
        DataType::Dictionary(_, of) => values(&cast(column, of)?)?,
        DataType::List(_) => lists(column.as_list::<i32>().iter())?,
        DataType::LargeList(_) => lists(column.as_list::<i64>().iter())?,
        DataType::FixedSizeList(..) => lists(column.as_fixed_size_list().iter())?,
        // Text as it is, bytes as hexadecimal, times as RFC 3339; the rest as it is displayed.
        _ => displayed(column)?,
    })
}

/// JSON has no NaN and no infinity: serde_json makes them null already.
fn or_null(values: impl Iterator<Item = Option<Value>>) -> Vec<Value> {
    values.map(Option::unwrap_or_default).collect()
}

fn lists(lists: impl Iterator<Item = Option<ArrayRef>>) -> Result<Vec<Value>, ArrowError> {
    let list = |list: Option<ArrayRef>| list.as_ref().map(values).transpose();
    lists
        .map(|one| Ok(list(one)?.map_or(Value::Null, Value::Array)))
        .collect()
}

fn displayed(column: &ArrayRef) -> Result<Vec<Value>, ArrowError> {
    let formatter = ArrayFormatter::try_new(column.as_ref(), &FormatOptions::default())?;
    let value = |row| {
        if column.is_null(row) {
            return Ok(Value::Null);
        }
        Ok(Value::String(formatter.value(row).try_to_string()?))
    };
    (0..column.len()).map(value).collect()
}

/// SQL's word for a type.
fn type_name(of: &DataType) -> String {
    match of {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Float64 => "double".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Date32 => "date".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes".into(),
        DataType::Dictionary(_, of) => type_name(of),
        DataType::List(of) | DataType::LargeList(of) | DataType::FixedSizeList(of, _) => {
            format!("{}[]", type_name(of.data_type()))
        }
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::{
        array::{
            BinaryArray, Date32Array, DictionaryArray, Float64Array, Int64Array, ListArray,
            StringViewArray, TimestampMicrosecondArray,
        },
        datatypes::{Int32Type, Int64Type},
    };
    use serde_json::json;

    use super::*;

    fn answer(columns: Vec<(&str, ArrayRef)>, limits: EngineLimits) -> Result<Answer, QueryError> {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut builder = AnswerBuilder::new(batch.schema_ref(), limits);
        builder.add(&batch)?;
        Ok(builder.finish())
    }

    #[test]
    fn every_stored_type_has_a_json_form() {
        let time = TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone("UTC");
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None])]);
        let dictionary: DictionaryArray<Int32Type> = [Some("kiosk")].into_iter().collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("time", Arc::new(time)),
            ("date", Arc::new(Date32Array::from(vec![1]))),
            ("count", Arc::new(Int64Array::from(vec![i64::MAX]))),
            ("sum", Arc::new(Float64Array::from(vec![f64::NAN]))),
            (
                "service",
                Arc::new(StringViewArray::from(vec!["assistant"])),
            ),
            ("class", Arc::new(dictionary)),
            ("counts", Arc::new(list)),
            ("packed", Arc::new(BinaryArray::from_vec(vec![&[0, 255]]))),
        ];
        let answer = answer(columns, EngineLimits::default()).unwrap();
        let expected = json!([
            "1970-01-01T00:00:01.500Z",
            "1970-01-02",
            i64::MAX,
            null,
            "assistant",
            "kiosk",
            [1, null],
            "00ff"
        ]);
        assert_eq!(json!(answer.rows[0]), expected);
        let types: Vec<_> = answer
            .columns
            .iter()
            .map(|column| column.r#type.as_str())
            .collect();
        let expected = [
            "timestamp",
            "date",
            "bigint",
            "double",
            "text",
            "text",
            "bigint[]",
            "bytes",
        ];
        assert_eq!(types, expected);
    }

    #[test]
    fn rows_beyond_the_limit_are_cut_and_said_so() {
        let five = || Arc::new(Int64Array::from(vec![1; 5])) as ArrayRef;
        let limits = |rows_max| EngineLimits {
            rows_max,
            ..EngineLimits::default()
        };
        let cut = answer(vec![("n", five())], limits(3)).unwrap();
        assert_eq!((cut.rows.len(), cut.truncated), (3, true));
        let whole = answer(vec![("n", five())], limits(5)).unwrap();
        assert_eq!((whole.rows.len(), whole.truncated), (5, false));
    }

    #[test]
    fn an_answer_larger_than_memory_is_refused() {
        let long = Arc::new(StringViewArray::from(vec!["x".repeat(1000)])) as ArrayRef;
        let limits = EngineLimits {
            memory_bytes: 999,
            ..EngineLimits::default()
        };
        assert_eq!(
            answer(vec![("x", long)], limits).unwrap_err().code(),
            "sql_too_large"
        );
    }
}
