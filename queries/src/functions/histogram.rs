//! Exponential histograms in SQL: merging the histogram columns, and reading quantiles and
//! shares. Rows whose `scale` is null (counters, explicit-bounds histograms) hold none.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BinaryBuilder, Float64Array},
        datatypes::{DataType, Field, FieldRef, Float64Type, Int32Type, Int64Type},
    },
    common::{Result, exec_datafusion_err, exec_err, plan_err, utils::take_function_args},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, GroupsAccumulator,
        ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};
use fathomline_wire::{
    histogram::{Buckets, ExponentialHistogram, Parts},
    limits::INTEGER_MAX,
};

use super::{
    columns::{coerced, integers, list},
    groups::{Groups, Sketch, Whole},
    lent,
    packed::{pack, unpack},
};

pub(super) fn merge() -> AggregateUDF {
    AggregateUDF::from(Merge {
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

pub(super) fn quantile() -> ScalarUDF {
    ScalarUDF::from(Read::new(Reading::Quantile))
}

pub(super) fn cdf() -> ScalarUDF {
    ScalarUDF::from(Read::new(Reading::Cdf))
}

/// Arguments of the short form; the long form has sum, min, max first and the zero threshold
/// after the zero count, as the tables do.
fn short_form() -> [DataType; 6] {
    let (small, long) = (DataType::Int32, DataType::Int64);
    [
        small.clone(),
        long,
        small.clone(),
        integers(),
        small,
        integers(),
    ]
}

fn long_form() -> [DataType; 10] {
    let float = || DataType::Float64;
    let [
        scale,
        zero_count,
        pos_offset,
        pos_counts,
        neg_offset,
        neg_counts,
    ] = short_form();
    let (own, zero) = ([float(), float(), float()], [scale, zero_count, float()]);
    let ([sum, min, max], [scale, zero_count, zero_threshold]) = (own, zero);
    [
        sum,
        min,
        max,
        scale,
        zero_count,
        zero_threshold,
        pos_offset,
        pos_counts,
        neg_offset,
        neg_counts,
    ]
}

impl Sketch for ExponentialHistogram {
    fn from_arguments(arguments: &[ArrayRef], row: usize) -> Result<Option<Self>> {
        let none: &[ArrayRef] = &[];
        let (own, rest, zero_threshold) = match arguments {
            [own @ .., scale, zero_count, threshold, p, ps, n, ns] if own.len() == 3 => (
                own,
                [scale, zero_count, p, ps, n, ns],
                number(threshold, row),
            ),
            [scale, zero_count, p, ps, n, ns] => (none, [scale, zero_count, p, ps, n, ns], None),
            _ => return exec_err!("histogram_merge was given {} columns", arguments.len()),
        };
        let [
            scale,
            zero_count,
            pos_offset,
            pos_counts,
            neg_offset,
            neg_counts,
        ] = rest;
        let Some(scale) = small(scale, row) else {
            return Ok(None);
        };
        let zero_count = zero_count.as_primitive::<Int64Type>();
        let zero_count = if zero_count.is_null(row) {
            0
        } else {
            unsigned(zero_count.value(row))?
        };
        let positive = buckets(pos_offset, pos_counts, row)?;
        let negative = buckets(neg_offset, neg_counts, row)?;
        let counts = positive.counts.iter().chain(&negative.counts);
        let count = counts.fold(zero_count, |sum, count| sum.saturating_add(*count));
        let own = |at: usize| own.get(at).and_then(|column| number(column, row));
        let parts = Parts {
            scale,
            zero_threshold: zero_threshold.unwrap_or(0.0),
            zero_count,
            count,
            sum: own(0).unwrap_or(0.0),
            min: own(1),
            max: own(2),
            positive,
            negative,
        };
        // A row may be an hour of a fleet; single points were looked at when they arrived.
        let checked = Self::from_merged(parts);
        checked
            .map(Some)
            .map_err(|error| exec_datafusion_err!("cannot merge a histogram: {error}"))
    }

    fn from_state(state: &ArrayRef, row: usize) -> Result<Option<Self>> {
        let packed = state.as_binary::<i32>();
        if packed.is_null(row) {
            return Ok(None);
        }
        match unpack(packed.value(row)) {
            Some(histogram) => Ok(Some(histogram)),
            None => exec_err!("these bytes are not a histogram of histogram_merge"),
        }
    }

    fn add_arguments(
        groups: &mut Groups<Self>,
        arguments: &[ArrayRef],
        rows: impl Iterator<Item = (usize, usize)>,
    ) -> Result<()> {
        lent::add_arguments(groups, arguments, rows)
    }

    fn add_states(
        groups: &mut Groups<Self>,
        state: &ArrayRef,
        rows: impl Iterator<Item = (usize, usize)>,
    ) -> Result<()> {
        lent::add_states(groups, state, rows)
    }

    fn to_state(sketches: &[Option<Self>]) -> ArrayRef {
        let mut packed = BinaryBuilder::new();
        for sketch in sketches {
            packed.append_option(sketch.as_ref().map(pack));
        }
        Arc::new(packed.finish())
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        if self.count.saturating_add(other.count) > INTEGER_MAX {
            return exec_err!("cannot merge histograms of more values than 63 bits can count");
        }
        Self::merge(self, other);
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        (self.positive.counts.len() + self.negative.counts.len()) * size_of::<u64>()
    }
}

fn number(column: &ArrayRef, row: usize) -> Option<f64> {
    let column = column.as_primitive::<Float64Type>();
    column.is_valid(row).then(|| column.value(row))
}

fn small(column: &ArrayRef, row: usize) -> Option<i32> {
    let column = column.as_primitive::<Int32Type>();
    column.is_valid(row).then(|| column.value(row))
}

fn buckets(offset: &ArrayRef, counts: &ArrayRef, row: usize) -> Result<Buckets> {
    let counts = list(counts, row)?.unwrap_or_default();
    let counts = counts.into_iter().map(unsigned).collect::<Result<_>>()?;
    Ok(Buckets {
        offset: small(offset, row).unwrap_or(0),
        counts,
    })
}

fn unsigned(count: i64) -> Result<u64> {
    u64::try_from(count).map_err(|_| exec_datafusion_err!("a histogram cannot count {count}"))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Merge {
    signature: Signature,
}

impl AggregateUDFImpl for Merge {
    fn name(&self) -> &str {
        "histogram_merge"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (short, long) = (short_form(), long_form());
        let wanted: &[DataType] = match arg_types.len() {
            6 => &short,
            10 => &long,
            given => {
                return plan_err!(
                    "histogram_merge takes (scale, zero_count, pos_offset, pos_counts, neg_offset, \
                     neg_counts) or all histogram columns in the table's order, not {given} arguments"
                );
            }
        };
        Ok(arg_types
            .iter()
            .zip(wanted)
            .map(|(given, wanted)| coerced(given, wanted))
            .collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format!("{}[histogram]", args.name);
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Whole::<ExponentialHistogram>::default()))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::<ExponentialHistogram>::default()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reading {
    Quantile,
    Cdf,
}

/// One number out of a packed histogram and a number.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Read {
    signature: Signature,
    reading: Reading,
}

impl Read {
    fn new(reading: Reading) -> Self {
        let arguments = vec![DataType::Binary, DataType::Float64];
        Self {
            signature: Signature::exact(arguments, Volatility::Immutable),
            reading,
        }
    }

    fn of(&self, histogram: &ExponentialHistogram, at: f64) -> Option<f64> {
        match self.reading {
            Reading::Quantile => histogram.quantile(at),
            Reading::Cdf => histogram.cdf(at),
        }
    }
}

impl ScalarUDFImpl for Read {
    fn name(&self) -> &str {
        match self.reading {
            Reading::Quantile => "histogram_quantile",
            Reading::Cdf => "histogram_cdf",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [packed, at] = take_function_args(self.name(), args.args)?;
        let packed = packed.to_array(args.number_rows)?;
        let at = at.to_array(args.number_rows)?;
        let read = |row| {
            let histogram = ExponentialHistogram::from_state(&packed, row)?;
            Ok(histogram
                .zip(number(&at, row))
                .and_then(|(histogram, at)| self.of(&histogram, at)))
        };
        let values = (0..packed.len())
            .map(read)
            .collect::<Result<Float64Array>>()?;
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}
