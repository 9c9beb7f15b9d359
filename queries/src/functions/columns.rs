//! Types of arguments: what the plan must cast to, and reading lists in place.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray},
        datatypes::{DataType, Field, Int64Type},
    },
    common::{Result, exec_err},
};

/// A list of integers as we make it; those that we read may name their elements otherwise.
pub(super) fn integers() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)))
}

/// The type to cast an argument to: any list of 64-bit integers may stay as it is.
pub(super) fn coerced(given: &DataType, wanted: &DataType) -> DataType {
    match (given, wanted) {
        (DataType::List(given_of), DataType::List(of))
            if given_of.data_type() == of.data_type() =>
        {
            given.clone()
        }
        _ => wanted.clone(),
    }
}

/// The integers of one row's list; none for null.
pub(super) fn list(column: &ArrayRef, row: usize) -> Result<Option<Vec<i64>>> {
    let Some(lists) = column.as_list_opt::<i32>() else {
        return exec_err!("expected a list of integers, found {}", column.data_type());
    };
    if lists.is_null(row) {
        return Ok(None);
    }
    let bounds = lists.value_offsets();
    let values = lists.values().as_primitive::<Int64Type>().values();
    Ok(Some(
        values[bounds[row] as usize..bounds[row + 1] as usize].to_vec(),
    ))
}
