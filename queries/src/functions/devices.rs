//! Distinct devices in SQL: merging the sketches of `rollups.devices`, and counting.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Int64Array, Int64Builder, ListBuilder},
        datatypes::{DataType, Field, FieldRef},
    },
    common::{Result, plan_err, utils::take_function_args},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, GroupsAccumulator,
        ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};

use super::{
    columns::{coerced, integers, list},
    groups::{Groups, Sketch, Whole},
};
use crate::rows::DeviceSketch;

pub(super) fn merge() -> AggregateUDF {
    AggregateUDF::from(Merge {
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

pub(super) fn count() -> ScalarUDF {
    ScalarUDF::from(Count {
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

pub(super) fn of() -> ScalarUDF {
    ScalarUDF::from(Of {
        signature: Signature::exact(vec![DataType::Utf8], Volatility::Immutable),
    })
}

fn one_list(name: &str, given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [given] => Ok(vec![coerced(given, &integers())]),
        _ => plan_err!("{name} takes one argument, a column of devices"),
    }
}

impl Sketch for DeviceSketch {
    fn from_arguments(arguments: &[ArrayRef], row: usize) -> Result<Option<Self>> {
        Self::from_state(&arguments[0], row)
    }

    fn from_state(state: &ArrayRef, row: usize) -> Result<Option<Self>> {
        Ok(list(state, row)?.map(Self::from_hashes))
    }

    fn to_state(sketches: &[Option<Self>]) -> ArrayRef {
        let mut lists = ListBuilder::new(Int64Builder::new());
        for sketch in sketches {
            if let Some(sketch) = sketch {
                lists.values().append_slice(sketch.hashes());
            }
            lists.append(sketch.is_some());
        }
        Arc::new(lists.finish())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        Self::merge(self, other);
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        size_of_val(self.hashes())
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Merge {
    signature: Signature,
}

impl AggregateUDFImpl for Merge {
    fn name(&self) -> &str {
        "devices_merge"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        one_list(self.name(), arg_types)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(integers())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(
            format!("{}[devices]", args.name),
            integers(),
            true,
        ))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Whole::<DeviceSketch>::default()))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::<DeviceSketch>::default()))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Of {
    signature: Signature,
}

impl ScalarUDFImpl for Of {
    fn name(&self) -> &str {
        "devices_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(integers())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [devices] = take_function_args(self.name(), args.args)?;
        let devices = devices.to_array(args.number_rows)?;
        let sketches: Vec<_> = devices
            .as_string::<i32>()
            .iter()
            .map(|device| device.map(DeviceSketch::of))
            .collect();
        Ok(ColumnarValue::Array(DeviceSketch::to_state(&sketches)))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Count {
    signature: Signature,
}

impl ScalarUDFImpl for Count {
    fn name(&self) -> &str {
        "devices_count"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        one_list(self.name(), arg_types)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [devices] = take_function_args(self.name(), args.args)?;
        let devices = devices.to_array(args.number_rows)?;
        let count = |row| {
            let sketch = DeviceSketch::from_state(&devices, row)?;
            Ok(sketch.map(|sketch| i64::try_from(sketch.count()).unwrap_or(i64::MAX)))
        };
        let counts = (0..devices.len())
            .map(count)
            .collect::<Result<Int64Array>>()?;
        Ok(ColumnarValue::Array(Arc::new(counts)))
    }
}
