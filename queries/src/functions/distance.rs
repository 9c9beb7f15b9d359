//! Distances in SQL: how far what is lies from what was. In: two histograms of `histogram_merge`,
//! or two lists of counts of the same bins (`counts_merge`, categories). Out: one number; null
//! where there is nothing to compare: a side is null or counts nothing, or there are fewer than two
//! bins.
//!
//! Histograms are compared as verdicts do: on bins that each hold about a tenth of the reference,
//! and for `drift_ks` and `drift_wasserstein` on the finest buckets that both have. Bins of lists
//! are compared as they are. Numbers are those of `stats`.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Float64Array},
        datatypes::{DataType, Field, Float64Type, Int64Type},
    },
    common::{Result, exec_datafusion_err, exec_err, plan_err},
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};
use fathomline_wire::{
    histogram::{Buckets, ExponentialHistogram},
    limits::COUNTER_MAX,
};

use super::{
    columns::{coerced, integers},
    groups::Sketch,
};
use crate::stats::{
    Aligned, bin, bins_for, chi_square, explicit_positions, hellinger, jensen_shannon_distance, ks,
    psi, psi_debiased, reference_cuts, wasserstein,
};

/// Every one of them.
pub(super) fn all() -> impl Iterator<Item = ScalarUDF> {
    Distance::ALL.into_iter().map(|distance| {
        ScalarUDF::from(Compare {
            signature: Signature::user_defined(Volatility::Immutable),
            distance,
        })
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Distance {
    Psi,
    PsiDebiased,
    JensenShannon,
    Hellinger,
    Ks,
    Wasserstein,
    ChiSquare,
    ChiSquareP,
    CramersV,
}

/// Counts of both sides in the same bins.
struct Pair {
    reference: Vec<u64>,
    current: Vec<u64>,
    /// Where each bin's mass lies, if that can be said.
    positions: Option<Vec<f64>>,
    /// Whether the bins are buckets of histograms, which are many.
    fine: bool,
}

impl Distance {
    const ALL: [Self; 9] = [
        Self::Psi,
        Self::PsiDebiased,
        Self::JensenShannon,
        Self::Hellinger,
        Self::Ks,
        Self::Wasserstein,
        Self::ChiSquare,
        Self::ChiSquareP,
        Self::CramersV,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Psi => "drift_psi",
            Self::PsiDebiased => "drift_psi_debiased",
            Self::JensenShannon => "drift_jensen_shannon",
            Self::Hellinger => "drift_hellinger",
            Self::Ks => "drift_ks",
            Self::Wasserstein => "drift_wasserstein",
            Self::ChiSquare => "drift_chi_square",
            Self::ChiSquareP => "drift_chi_square_p",
            Self::CramersV => "drift_cramers_v",
        }
    }

    /// `effective` is what the current records are worth, where somebody says so.
    fn of(self, pair: Pair, effective: Option<f64>) -> Result<Option<f64>> {
        let total = |counts: &[u64]| counts.iter().sum::<u64>();
        let (was, is) = (total(&pair.reference), total(&pair.current));
        if was == 0 || is == 0 {
            return Ok(None);
        }
        let pair = match self {
            Self::Ks | Self::Wasserstein => pair,
            _ => pair.binned(is),
        };
        let (r, c) = (&pair.reference, &pair.current);
        if r.len() < 2 {
            return Ok(None);
        }
        let found = match self {
            Self::Psi => psi(r, c),
            Self::PsiDebiased => {
                let worth = effective.unwrap_or(is as f64).clamp(1.0, is as f64);
                psi_debiased(r, c, (was as f64, worth))
            }
            Self::JensenShannon => jensen_shannon_distance(r, c),
            Self::Hellinger => hellinger(r, c),
            Self::Ks => ks(r, c),
            Self::Wasserstein => match &pair.positions {
                Some(positions) => wasserstein(r, c, positions).0,
                None => return Ok(None),
            },
            Self::ChiSquare | Self::ChiSquareP | Self::CramersV => {
                let Some(test) = chi_square(r, c) else {
                    return Ok(None);
                };
                match self {
                    Self::ChiSquare => test.statistic,
                    Self::ChiSquareP => test.p_value(),
                    _ => test.cramers_v,
                }
            }
        };
        match found.is_finite() {
            true => Ok(Some(found)),
            false => exec_err!("{}: a bucket lies where no number can be", self.name()),
        }
    }
}

impl Pair {
    fn of_histograms(reference: &ExponentialHistogram, current: &ExponentialHistogram) -> Self {
        let positive = Aligned::of(&above(reference), &above(current));
        let negative = Aligned::of(&below(reference), &below(current));
        // From the most negative to the most positive; the first cell of each side is zero's.
        let chained = |negative: &[u64], positive: &[u64]| -> Vec<u64> {
            let below_zero = negative.iter().skip(1).rev().copied();
            let zero = negative.iter().take(1).chain(positive.iter().take(1)).sum();
            let above_zero = positive.iter().skip(1).copied();
            let up_to_zero = below_zero.chain(std::iter::once(zero));
            up_to_zero.chain(above_zero).collect()
        };
        let below_zero = negative.positions();
        let below_zero = below_zero.iter().skip(1).rev().map(|position| -position);
        let positions = below_zero.chain(positive.positions()).collect();
        Self {
            reference: chained(&negative.reference, &positive.reference),
            current: chained(&negative.current, &positive.current),
            positions: Some(positions),
            fine: true,
        }
    }

    /// Bins of about equal reference counts, where there are too many buckets to compare.
    fn binned(self, records: u64) -> Self {
        if !self.fine {
            return self;
        }
        let cuts = reference_cuts(&self.reference, bins_for(records));
        Self {
            reference: bin(&self.reference, &cuts),
            current: bin(&self.current, &cuts),
            positions: None,
            fine: false,
        }
    }
}

/// The histogram without its values below zero.
fn above(of: &ExponentialHistogram) -> ExponentialHistogram {
    let mut above = of.clone();
    above.count -= of.negative.counts.iter().sum::<u64>();
    above.negative = Buckets::default();
    above
}

/// Its values below zero, as sizes.
fn below(of: &ExponentialHistogram) -> ExponentialHistogram {
    let mut below = of.clone();
    below.positive = std::mem::take(&mut below.negative);
    below.zero_count = 0;
    below.count = below.positive.counts.iter().sum();
    below
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Compare {
    signature: Signature,
    distance: Distance,
}

impl Compare {
    /// Null fits whatever the other is.
    fn sides(&self, reference: &DataType, current: &DataType) -> Result<DataType> {
        let bytes = |of: &DataType| {
            use DataType::{Binary, BinaryView, LargeBinary, Null};
            matches!(of, Null | Binary | BinaryView | LargeBinary)
        };
        let list = |of: &DataType| {
            use DataType::{FixedSizeList, LargeList, List, Null};
            match of {
                List(of) | LargeList(of) | FixedSizeList(of, _) => {
                    of.data_type().is_integer() || of.data_type().is_null()
                }
                of => matches!(of, Null),
            }
        };
        if bytes(reference) && bytes(current) {
            Ok(DataType::Binary)
        } else if list(reference) && list(current) {
            Ok(integers())
        } else {
            plan_err!(
                "{} compares two histograms of histogram_merge or two lists of counts, not \
                 {reference} and {current}",
                self.name()
            )
        }
    }

    /// The type of what may follow the two sides.
    fn third(&self, sides: &DataType) -> Option<DataType> {
        match self.distance {
            Distance::PsiDebiased => Some(DataType::Float64),
            Distance::Wasserstein if *sides != DataType::Binary => Some(floats()),
            _ => None,
        }
    }

    fn pair(&self, arguments: &[ArrayRef], row: usize) -> Result<Option<Pair>> {
        let [reference, current, rest @ ..] = arguments else {
            return exec_err!("{} was given {} columns", self.name(), arguments.len());
        };
        if *reference.data_type() == DataType::Binary {
            let reference = ExponentialHistogram::from_state(reference, row)?;
            let current = ExponentialHistogram::from_state(current, row)?;
            let both = reference.as_ref().zip(current.as_ref());
            return Ok(both.map(|(reference, current)| Pair::of_histograms(reference, current)));
        }
        let both = self.counts(reference, row)?.zip(self.counts(current, row)?);
        let Some((reference, current)) = both else {
            return Ok(None);
        };
        if reference.len() != current.len() {
            return exec_err!(
                "{} compares counts of the same bins, not of {} and {}; group and join by \
                 explicit_bounds, or count every category on both sides",
                self.name(),
                reference.len(),
                current.len()
            );
        }
        let mut positions = None;
        if self.distance == Distance::Wasserstein {
            let Some(bounds) = rest.first().map(|bounds| self.bounds(bounds, row)) else {
                return exec_err!("{} was given no bounds", self.name());
            };
            let Some(found) = bounds? else {
                return Ok(None);
            };
            if found.len() != reference.len() {
                return exec_err!(
                    "{} has {} counts for {} bounds; there is one count more than bounds",
                    self.name(),
                    reference.len(),
                    found.len() - 1
                );
            }
            positions = Some(found);
        }
        Ok(Some(Pair {
            reference,
            current,
            positions,
            fine: false,
        }))
    }

    /// Counts of one row; what is null in them was not counted.
    fn counts(&self, column: &ArrayRef, row: usize) -> Result<Option<Vec<u64>>> {
        let lists = column.as_list::<i32>();
        if lists.is_null(row) {
            return Ok(None);
        }
        let counts = lists.value(row);
        let count = |count: Option<i64>| {
            let count = count.unwrap_or(0);
            u64::try_from(count)
                .map_err(|_| exec_datafusion_err!("{} cannot count {count}", self.name()))
        };
        let counts = counts.as_primitive::<Int64Type>().iter().map(count);
        let counts = counts.collect::<Result<Vec<_>>>()?;
        let total = counts.iter().try_fold(0u64, |sum, n| sum.checked_add(*n));
        match total.filter(|total| *total <= COUNTER_MAX) {
            Some(_) => Ok(Some(counts)),
            None => exec_err!("{} counts up to {COUNTER_MAX} on each side", self.name()),
        }
    }

    /// Where the buckets of one row's bounds lie.
    fn bounds(&self, column: &ArrayRef, row: usize) -> Result<Option<Vec<f64>>> {
        let lists = column.as_list::<i32>();
        if lists.is_null(row) {
            return Ok(None);
        }
        let bounds = lists.value(row);
        let bounds = bounds.as_primitive::<Float64Type>();
        let ascend = bounds.null_count() == 0
            && bounds.values().iter().all(|bound| bound.is_finite())
            && bounds.values().is_sorted_by(|a, b| a < b);
        match explicit_positions(bounds.values()).filter(|_| ascend) {
            Some(positions) => Ok(Some(positions)),
            None => exec_err!("{} needs two bounds or more that ascend", self.name()),
        }
    }
}

fn floats() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)))
}

impl ScalarUDFImpl for Compare {
    fn name(&self) -> &str {
        self.distance.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [reference, current, rest @ ..] = arg_types else {
            return plan_err!(
                "{} takes a reference and what is compared with it",
                self.name()
            );
        };
        let sides = self.sides(reference, current)?;
        let of = |given: &DataType| coerced(given, &sides);
        let mut types = vec![of(reference), of(current)];
        let needed = self.distance == Distance::Wasserstein && sides != DataType::Binary;
        match (rest, self.third(&sides)) {
            ([], _) if needed => {
                return plan_err!(
                    "{} of counts takes a third argument, their explicit_bounds",
                    self.name()
                );
            }
            ([], _) => {}
            ([given], Some(wanted)) => types.push(coerced(given, &wanted)),
            _ => {
                return plan_err!(
                    "{} was given {} arguments, which are too many",
                    self.name(),
                    arg_types.len()
                );
            }
        }
        Ok(types)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arguments = ColumnarValue::values_to_arrays(&args.args)?;
        let effective = (self.distance == Distance::PsiDebiased)
            .then(|| arguments.get(2))
            .flatten()
            .map(|effective| effective.as_primitive::<Float64Type>());
        let found = |row: usize| {
            let effective = match effective {
                Some(column) if column.is_null(row) => return Ok(None),
                Some(column) if column.value(row).is_nan() => {
                    return exec_err!("{}: what records are worth is no number", self.name());
                }
                Some(column) => Some(column.value(row)),
                None => None,
            };
            match self.pair(&arguments, row)? {
                Some(pair) => self.distance.of(pair, effective),
                None => Ok(None),
            }
        };
        let rows = arguments.first().map_or(rows, |column| column.len());
        let values = (0..rows).map(found).collect::<Result<Float64Array>>()?;
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

#[cfg(test)]
mod tests;
