//! Counts of equal bounds in SQL: adding what explicit-bounds histograms hold, bucket by bucket.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Builder, ListBuilder},
        datatypes::{DataType, Field, FieldRef},
    },
    common::{Result, exec_datafusion_err, exec_err, plan_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};

use super::{
    columns::{coerced, integers, list},
    groups::{Groups, Sketch, Whole},
};

pub(super) fn merge() -> AggregateUDF {
    AggregateUDF::from(Merge {
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

/// Counts, one a bucket.
#[derive(Clone, Debug)]
struct Counts(Vec<i64>);

impl Sketch for Counts {
    fn from_arguments(arguments: &[ArrayRef], row: usize) -> Result<Option<Self>> {
        Self::from_state(&arguments[0], row)
    }

    fn from_state(state: &ArrayRef, row: usize) -> Result<Option<Self>> {
        Ok(list(state, row)?.map(Self))
    }

    fn to_state(sketches: &[Option<Self>]) -> ArrayRef {
        let mut lists = ListBuilder::new(Int64Builder::new());
        for sketch in sketches {
            if let Some(Self(counts)) = sketch {
                lists.values().append_slice(counts);
            }
            lists.append(sketch.is_some());
        }
        Arc::new(lists.finish())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        if self.0.len() != other.0.len() {
            return exec_err!(
                "cannot add counts of {} buckets to counts of {}; group by their bounds",
                other.0.len(),
                self.0.len()
            );
        }
        for (sum, count) in self.0.iter_mut().zip(&other.0) {
            *sum = sum
                .checked_add(*count)
                .ok_or_else(|| exec_datafusion_err!("a bucket counts more than 63 bits hold"))?;
        }
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        size_of_val(self.0.as_slice())
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Merge {
    signature: Signature,
}

impl AggregateUDFImpl for Merge {
    fn name(&self) -> &str {
        "counts_merge"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [given] => Ok(vec![coerced(given, &integers())]),
            _ => plan_err!("counts_merge takes one argument, a column of counts"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(integers())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format!("{}[counts]", args.name);
        Ok(vec![Arc::new(Field::new(name, integers(), true))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Whole::<Counts>::default()))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::<Counts>::default()))
    }
}
