//! Histograms read where they lie, so that merging rows into groups copies none of them.
//!
//! In: the argument columns of `histogram_merge`, or the bytes of its state. Out: the same as
//! from `Sketch::from_arguments` and `from_state`, which take over for the first row of a group
//! and for rows that are not plain.

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, ListArray},
        datatypes::{Float64Type, Int32Type, Int64Type},
    },
    common::Result,
};
use fathomline_wire::histogram::{ExponentialHistogram, LentBuckets, LentHistogram};

use super::{
    groups::{Groups, Sketch, add},
    packed::Reader,
};

/// Adds rows of argument columns to their groups.
pub(super) fn add_arguments(
    groups: &mut Groups<ExponentialHistogram>,
    arguments: &[ArrayRef],
    mut rows: impl Iterator<Item = (usize, usize)>,
) -> Result<()> {
    let columns = Columns::of(arguments);
    rows.try_for_each(|(row, group)| {
        let lent = columns.as_ref().and_then(|columns| columns.row(row));
        let part = || ExponentialHistogram::from_arguments(arguments, row);
        add_row(groups, group, lent, part)
    })
}

/// Adds rows of packed histograms to their groups.
pub(super) fn add_states(
    groups: &mut Groups<ExponentialHistogram>,
    state: &ArrayRef,
    mut rows: impl Iterator<Item = (usize, usize)>,
) -> Result<()> {
    let packed = state.as_binary::<i32>();
    let mut reader = Reader::default();
    rows.try_for_each(|(row, group)| {
        let lent = match packed.is_valid(row) {
            true => reader.read(packed.value(row)),
            false => None,
        };
        let part = || ExponentialHistogram::from_state(state, row);
        add_row(groups, group, lent, part)
    })
}

/// Adds a row as it lies, or its checked copy.
fn add_row(
    groups: &mut Groups<ExponentialHistogram>,
    group: usize,
    lent: Option<LentHistogram<'_>>,
    copy: impl FnOnce() -> Result<Option<ExponentialHistogram>>,
) -> Result<()> {
    groups.change(group, |kept| {
        let merged = kept.as_mut().zip(lent);
        if merged.is_some_and(|(kept, lent)| kept.merge_plain(&lent)) {
            return Ok(());
        }
        copy()?.map_or(Ok(()), |part| add(kept, part))
    })
}

/// The argument columns in their types.
struct Columns<'a> {
    /// Sum, minimum, maximum, zero threshold: the long form has them.
    own: Option<[&'a Float64Array; 4]>,
    scale: &'a Int32Array,
    zero_count: &'a Int64Array,
    positive: Side<'a>,
    negative: Side<'a>,
}

struct Side<'a> {
    offset: &'a Int32Array,
    lists: &'a ListArray,
    counts: &'a [i64],
}

impl<'a> Columns<'a> {
    /// None where a column has another type.
    fn of(arguments: &'a [ArrayRef]) -> Option<Self> {
        let number = |column: &'a ArrayRef| column.as_primitive_opt::<Float64Type>();
        let (own, [scale, zero_count, p, ps, n, ns]) = match arguments {
            [sum, min, max, scale, zero, threshold, p, ps, n, ns] => {
                let own = [number(sum)?, number(min)?, number(max)?, number(threshold)?];
                (Some(own), [scale, zero, p, ps, n, ns])
            }
            [scale, zero, p, ps, n, ns] => (None, [scale, zero, p, ps, n, ns]),
            _ => return None,
        };
        Some(Self {
            own,
            scale: scale.as_primitive_opt()?,
            zero_count: zero_count.as_primitive_opt()?,
            positive: Side::of(p, ps)?,
            negative: Side::of(n, ns)?,
        })
    }

    /// None where the row holds no histogram.
    fn row(&self, row: usize) -> Option<LentHistogram<'a>> {
        if self.scale.is_null(row) {
            return None;
        }
        let own = |at: usize| {
            let column = self.own.as_ref()?[at];
            column.is_valid(row).then(|| column.value(row))
        };
        let zero_count = self.zero_count;
        Some(LentHistogram {
            scale: self.scale.value(row),
            zero_threshold: own(3).unwrap_or(0.0),
            zero_count: if zero_count.is_valid(row) {
                zero_count.value(row)
            } else {
                0
            },
            sum: own(0).unwrap_or(0.0),
            min: own(1),
            max: own(2),
            positive: self.positive.row(row),
            negative: self.negative.row(row),
        })
    }
}

impl<'a> Side<'a> {
    fn of(offset: &'a ArrayRef, counts: &'a ArrayRef) -> Option<Self> {
        let lists = counts.as_list_opt::<i32>()?;
        Some(Self {
            offset: offset.as_primitive_opt::<Int32Type>()?,
            lists,
            counts: lists.values().as_primitive_opt::<Int64Type>()?.values(),
        })
    }

    fn row(&self, row: usize) -> LentBuckets<'a> {
        if self.lists.is_null(row) {
            return LentBuckets::default();
        }
        let bounds = self.lists.value_offsets();
        let offset = self.offset;
        LentBuckets {
            offset: if offset.is_valid(row) {
                offset.value(row)
            } else {
                0
            },
            counts: &self.counts[bounds[row] as usize..bounds[row + 1] as usize],
        }
    }
}
