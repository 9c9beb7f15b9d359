//! Rollup batches back to rows, for what must add them up outside of SQL. In: a batch in the exact
//! schema of `rollups`. Out: its rows. A value that cannot be ours is an error that names the
//! column.

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, ListArray},
        datatypes::{ArrowPrimitiveType, Float64Type, Int64Type, TimestampMicrosecondType},
        record_batch::RecordBatch,
    },
    common::{Result, exec_datafusion_err},
};
use fathomline_wire::histogram::ExplicitHistogram;

use super::{Cohort, DeviceSketch, Distribution, RollupRow};
use crate::{functions, schema::column};

/// The histogram columns in the order that `histogram_merge` takes them.
const HISTOGRAM: [&str; 10] = [
    column::SUM,
    column::MIN,
    column::MAX,
    column::SCALE,
    column::ZERO_COUNT,
    column::ZERO_THRESHOLD,
    column::POS_OFFSET,
    column::POS_COUNTS,
    column::NEG_OFFSET,
    column::NEG_COUNTS,
];

/// Every row of a batch of `rollups`.
pub(crate) fn rollups(batch: &RecordBatch) -> Result<Vec<RollupRow>> {
    let columns = Columns::of(batch)?;
    (0..batch.num_rows()).map(|row| columns.row(row)).collect()
}

/// Looked up once a batch.
struct Columns<'a> {
    batch: &'a RecordBatch,
    histogram: Vec<ArrayRef>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        let column = |name: &&str| {
            let column = batch.column_by_name(name).cloned();
            column.ok_or_else(|| exec_datafusion_err!("rollups have no column {name}"))
        };
        Ok(Self {
            batch,
            histogram: HISTOGRAM.iter().map(column).collect::<Result<_>>()?,
        })
    }

    fn row(&self, row: usize) -> Result<RollupRow> {
        let text =
            |name| -> Result<String> { Ok(self.optional_text(name, row)?.unwrap_or_default()) };
        let count = self.required::<Int64Type>(column::COUNT, row)?;
        let cohort = Cohort {
            service: text(column::SERVICE)?,
            device_class: text(column::DEVICE_CLASS)?,
            model: text(column::MODEL)?,
            version: text(column::VERSION)?,
            variant: text(column::VARIANT)?,
            quantization: self.optional_text(column::QUANTIZATION, row)?,
            metric: text(column::METRIC)?,
            unit: text(column::UNIT)?,
            category: text(column::CATEGORY)?,
        };
        let distribution = match functions::histogram(&self.histogram, row)? {
            Some(histogram) => Some(Distribution::Exponential(histogram)),
            None => self.explicit(count, row)?.map(Distribution::Explicit),
        };
        let devices = self.list::<Int64Type>(column::DEVICES, row)?;
        Ok(RollupRow {
            time: self.required::<TimestampMicrosecondType>(column::TIME, row)?,
            width_us: self.required::<Int64Type>(column::WIDTH_US, row)?,
            cohort,
            count,
            distribution,
            device_windows: self.required::<Int64Type>(column::DEVICE_WINDOWS, row)?,
            devices: DeviceSketch::from_hashes(devices.unwrap_or_default()),
        })
    }

    fn explicit(&self, count: i64, row: usize) -> Result<Option<ExplicitHistogram>> {
        let Some(bounds) = self.list::<Float64Type>(column::EXPLICIT_BOUNDS, row)? else {
            return Ok(None);
        };
        let counts = self.list::<Int64Type>(column::POS_COUNTS, row)?;
        let unsigned = |count: i64| {
            u64::try_from(count).map_err(|_| exec_datafusion_err!("a histogram counts {count}"))
        };
        let counts = counts.unwrap_or_default().into_iter().map(unsigned);
        Ok(Some(ExplicitHistogram {
            bounds,
            counts: counts.collect::<Result<_>>()?,
            count: unsigned(count)?,
            sum: self.optional::<Float64Type>(column::SUM, row)?,
            min: self.optional::<Float64Type>(column::MIN, row)?,
            max: self.optional::<Float64Type>(column::MAX, row)?,
        }))
    }

    fn optional_text(&self, name: &str, row: usize) -> Result<Option<String>> {
        let texts = self.column(name, |column| column.as_string_opt::<i32>())?;
        Ok(texts.is_valid(row).then(|| texts.value(row).to_owned()))
    }

    fn optional<T: ArrowPrimitiveType>(&self, name: &str, row: usize) -> Result<Option<T::Native>> {
        let values = self.column(name, |column| column.as_primitive_opt::<T>())?;
        Ok(values.is_valid(row).then(|| values.value(row)))
    }

    fn required<T: ArrowPrimitiveType>(&self, name: &str, row: usize) -> Result<T::Native> {
        let value = self.optional::<T>(name, row)?;
        value.ok_or_else(|| exec_datafusion_err!("column {name} of rollups is null"))
    }

    fn list<T: ArrowPrimitiveType>(
        &self,
        name: &str,
        row: usize,
    ) -> Result<Option<Vec<T::Native>>> {
        let lists: &ListArray = self.column(name, |column| column.as_list_opt::<i32>())?;
        if lists.is_null(row) {
            return Ok(None);
        }
        let values = lists.value(row);
        let values = values
            .as_primitive_opt::<T>()
            .ok_or_else(|| exec_datafusion_err!("column {name} of rollups has another type"))?;
        Ok(Some(values.values().to_vec()))
    }

    fn column<T>(&self, name: &str, of: impl FnOnce(&'a ArrayRef) -> Option<T>) -> Result<T> {
        let column = self.batch.column_by_name(name);
        column
            .and_then(of)
            .ok_or_else(|| exec_datafusion_err!("column {name} of rollups has another type"))
    }
}
