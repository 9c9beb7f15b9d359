//! Rows to Arrow. In: row structs. Out: one batch in the exact schema of the table, column by
//! column in the schema's order, so that a forgotten column is an error and not a shift.

use std::sync::Arc;

use datafusion::arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, ListArray,
        ListBuilder, PrimitiveBuilder, StringArray, TimestampMicrosecondArray,
    },
    datatypes::{ArrowPrimitiveType, Field, Float64Type, Int64Type},
    error::ArrowError,
    record_batch::RecordBatch,
};
use fathomline_wire::histogram::{Buckets, ExponentialHistogram};

use super::{
    DeviceColumns, Distribution, DistributionRow, EventRow, MeasurementKind, MeasurementRow,
    RollupRow, VerdictRow,
};
use crate::schema::Table;

const DAY_US: i64 = 86_400_000_000;

/// Why rows cannot become a batch.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// A count above 63 bits would corrupt every later scan.
    #[error("cannot store the count {0}: it does not fit 63 bits; intake should have rejected it")]
    Count(u64),
    /// Columns and schema disagree, which is a fault of ours.
    #[error("cannot build a batch: {0}")]
    Arrow(#[from] ArrowError),
}

type Columns = Vec<ArrayRef>;

/// Rows of `distributions`.
///
/// # Errors
/// When a count does not fit 63 bits.
pub fn distributions(rows: &[DistributionRow]) -> Result<RecordBatch, RowError> {
    let mut columns = device_columns(rows.iter().map(|row| &row.columns));
    columns.push(optional_texts(
        rows.iter().map(|row| row.category.as_deref()),
    ));
    let values: Vec<_> = rows.iter().map(|row| Some(&row.distribution)).collect();
    columns.push(counts(rows.iter().map(|row| row.distribution.count()))?);
    columns.extend(histogram_columns(&values)?);
    Ok(RecordBatch::try_new(
        Table::Distributions.arrow_schema(),
        columns,
    )?)
}

/// Rows of `measurements`. NaN is stored as null: it would hide from file statistics.
///
/// # Errors
/// Only if columns and schema disagree.
pub fn measurements(rows: &[MeasurementRow]) -> Result<RecordBatch, RowError> {
    let mut columns = device_columns(rows.iter().map(|row| &row.columns));
    columns.push(optional_texts(
        rows.iter().map(|row| row.category.as_deref()),
    ));
    columns.push(texts(rows.iter().map(|row| match row.kind {
        MeasurementKind::Delta => "delta",
        MeasurementKind::Gauge => "gauge",
    })));
    columns.push(Arc::new(
        rows.iter().map(|row| row.count).collect::<Int64Array>(),
    ));
    columns.push(floats(rows.iter().map(|row| row.value)));
    Ok(RecordBatch::try_new(
        Table::Measurements.arrow_schema(),
        columns,
    )?)
}

/// Rows of `rollups`.
///
/// # Errors
/// When a count does not fit 63 bits.
pub fn rollups(rows: &[RollupRow]) -> Result<RecordBatch, RowError> {
    let text = |of: fn(&RollupRow) -> &str| texts(rows.iter().map(of));
    let mut columns = vec![
        times(rows.iter().map(|row| Some(row.time))),
        times(rows.iter().map(|row| Some(row.time - row.width_us))),
        dates(rows.iter().map(|row| row.time)),
        integers(rows.iter().map(|row| row.width_us)),
        text(|row| &row.cohort.service),
        text(|row| &row.cohort.device_class),
        text(|row| &row.cohort.model),
        text(|row| &row.cohort.version),
        text(|row| &row.cohort.variant),
        optional_texts(rows.iter().map(|row| row.cohort.quantization.as_deref())),
        text(|row| &row.cohort.metric),
        text(|row| &row.cohort.unit),
        text(|row| &row.cohort.category),
        integers(rows.iter().map(|row| row.count)),
    ];
    let values: Vec<_> = rows.iter().map(|row| row.distribution.as_ref()).collect();
    columns.extend(histogram_columns(&values)?);
    columns.push(integers(rows.iter().map(|row| row.device_windows)));
    let hashes = |row: &RollupRow| Some(row.devices.hashes().to_vec());
    columns.push(list::<Int64Type>(rows.iter().map(hashes)));
    Ok(RecordBatch::try_new(
        Table::Rollups.arrow_schema(),
        columns,
    )?)
}

/// Rows of `verdicts`.
///
/// # Errors
/// Only if columns and schema disagree.
pub fn verdicts(rows: &[VerdictRow]) -> Result<RecordBatch, RowError> {
    let text = |of: fn(&VerdictRow) -> &str| texts(rows.iter().map(of));
    let columns = vec![
        times(rows.iter().map(|row| Some(row.time))),
        dates(rows.iter().map(|row| row.time)),
        text(|row| &row.series),
        text(|row| &row.service),
        text(|row| &row.device_class),
        text(|row| &row.model),
        text(|row| &row.version),
        text(|row| &row.variant),
        text(|row| &row.metric),
        Arc::new(Int32Array::from_iter_values(
            rows.iter().map(|row| row.revision),
        )),
        text(|row| &row.state),
        text(|row| &row.method),
        floats(rows.iter().map(|row| row.score)),
        floats(rows.iter().map(|row| row.threshold)),
        integers(rows.iter().map(|row| row.count)),
        floats(rows.iter().map(|row| row.effective_count)),
        integers(rows.iter().map(|row| row.devices)),
        times(rows.iter().map(|row| row.since)),
        optional_texts(rows.iter().map(|row| row.reference.as_deref())),
        text(|row| &row.evidence),
    ];
    Ok(RecordBatch::try_new(
        Table::Verdicts.arrow_schema(),
        columns,
    )?)
}

/// Rows of `events`.
///
/// # Errors
/// Only if columns and schema disagree.
pub fn events(rows: &[EventRow]) -> Result<RecordBatch, RowError> {
    let text = |of: fn(&EventRow) -> &str| texts(rows.iter().map(of));
    let columns = vec![
        times(rows.iter().map(|row| Some(row.time))),
        dates(rows.iter().map(|row| row.time)),
        text(|row| &row.id),
        text(|row| &row.kind),
        text(|row| &row.subject),
        text(|row| &row.body),
    ];
    Ok(RecordBatch::try_new(Table::Events.arrow_schema(), columns)?)
}

fn device_columns<'a>(rows: impl Iterator<Item = &'a DeviceColumns>) -> Columns {
    let rows: Vec<_> = rows.collect();
    let text = |of: fn(&DeviceColumns) -> &str| texts(rows.iter().map(|row| of(row)));
    let optional =
        |of: fn(&DeviceColumns) -> Option<&str>| optional_texts(rows.iter().map(|row| of(row)));
    vec![
        times(rows.iter().map(|row| Some(row.time))),
        times(rows.iter().map(|row| Some(row.start_time))),
        times(rows.iter().map(|row| Some(row.sender_time))),
        dates(rows.iter().map(|row| row.time)),
        text(|row| &row.service),
        optional(|row| row.environment.as_deref()),
        text(|row| &row.device),
        text(|row| &row.device_class),
        optional(|row| row.site.as_deref()),
        optional(|row| row.boot.as_deref()),
        Arc::new(rows.iter().map(|row| row.sequence).collect::<Int64Array>()),
        text(|row| row.clock.name()),
        Arc::new(BooleanArray::from_iter(
            rows.iter().map(|row| Some(row.late)),
        )),
        text(|row| &row.model),
        text(|row| &row.version),
        text(|row| &row.variant),
        optional(|row| row.quantization.as_deref()),
        optional(|row| row.operation.as_deref()),
        optional(|row| row.provider.as_deref()),
        text(|row| &row.metric),
        text(|row| &row.unit),
    ]
}

/// Everything of a histogram but its count, which other columns share.
pub(crate) fn histogram_columns(values: &[Option<&Distribution>]) -> Result<Columns, RowError> {
    let exponential: Vec<_> = values.iter().map(|value| as_exponential(*value)).collect();
    let number = |of: fn(&ExponentialHistogram) -> f64,
                  explicit: fn(&Distribution) -> Option<f64>| {
        floats(values.iter().map(|value| match value {
            Some(Distribution::Exponential(histogram)) => Some(of(histogram)),
            Some(other) => explicit(other),
            None => None,
        }))
    };
    let small = |of: fn(&ExponentialHistogram) -> i32| -> ArrayRef {
        Arc::new(
            exponential
                .iter()
                .map(|histogram| histogram.map(of))
                .collect::<Int32Array>(),
        )
    };
    let zero_counts = exponential
        .iter()
        .map(|h| h.map(|h| signed(h.zero_count)).transpose());
    let zero_counts = zero_counts.collect::<Result<Int64Array, RowError>>()?;
    let positive = |value: &Option<&Distribution>| match value {
        Some(Distribution::Exponential(histogram)) => signed_counts(&histogram.positive).map(Some),
        Some(Distribution::Explicit(histogram)) => all_signed(&histogram.counts).map(Some),
        None => Ok(None),
    };
    let positive = values.iter().map(positive).collect::<Result<Vec<_>, _>>()?;
    let negative = exponential
        .iter()
        .map(|h| h.map(|h| signed_counts(&h.negative)).transpose());
    let negative = negative.collect::<Result<Vec<_>, _>>()?;
    Ok(vec![
        number(|h| h.sum, |d| explicit(d).and_then(|h| h.sum)),
        number(|h| h.min, |d| explicit(d).and_then(|h| h.min)),
        number(|h| h.max, |d| explicit(d).and_then(|h| h.max)),
        small(|h| h.scale),
        Arc::new(zero_counts),
        floats(exponential.iter().map(|h| h.map(|h| h.zero_threshold))),
        small(|h| h.positive.offset),
        list::<Int64Type>(positive.into_iter()),
        small(|h| h.negative.offset),
        list::<Int64Type>(negative.into_iter()),
        list::<Float64Type>(values.iter().map(|value| {
            value
                .and_then(explicit)
                .map(|histogram| histogram.bounds.clone())
        })),
    ])
}

fn as_exponential(value: Option<&Distribution>) -> Option<&ExponentialHistogram> {
    match value {
        Some(Distribution::Exponential(histogram)) => Some(histogram),
        _ => None,
    }
}

fn explicit(value: &Distribution) -> Option<&fathomline_wire::histogram::ExplicitHistogram> {
    match value {
        Distribution::Explicit(histogram) => Some(histogram),
        Distribution::Exponential(_) => None,
    }
}

fn signed(count: u64) -> Result<i64, RowError> {
    i64::try_from(count).map_err(|_| RowError::Count(count))
}

fn all_signed(counts: &[u64]) -> Result<Vec<i64>, RowError> {
    counts.iter().map(|count| signed(*count)).collect()
}

fn signed_counts(buckets: &Buckets) -> Result<Vec<i64>, RowError> {
    all_signed(&buckets.counts)
}

fn counts(values: impl Iterator<Item = u64>) -> Result<ArrayRef, RowError> {
    Ok(Arc::new(Int64Array::from(
        values.map(signed).collect::<Result<Vec<_>, _>>()?,
    )))
}

pub(super) fn integers(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// Infinities (an empty histogram's min and max) and NaN become null.
pub(super) fn floats(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    let finite = values.map(|value| value.filter(|value| value.is_finite()));
    Arc::new(finite.collect::<Float64Array>())
}

pub(super) fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub(super) fn optional_texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

pub(super) fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(
        values
            .collect::<TimestampMicrosecondArray>()
            .with_timezone("UTC"),
    )
}

pub(super) fn dates(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Date32Array::from_iter_values(
        values.map(|time| time.div_euclid(DAY_US) as i32),
    ))
}

fn list<T: ArrowPrimitiveType>(
    values: impl Iterator<Item = Option<Vec<T::Native>>>,
) -> Arc<ListArray> {
    let element = Field::new("element", T::DATA_TYPE, false);
    let mut builder = ListBuilder::new(PrimitiveBuilder::<T>::new()).with_field(element);
    for value in values {
        match value {
            Some(value) => {
                builder.values().append_slice(&value);
                builder.append(true);
            }
            None => builder.append(false),
        }
    }
    Arc::new(builder.finish())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use fathomline_wire::histogram::Parts;

    use super::*;
    use crate::{
        examples::{device_columns, distribution},
        schema::column,
    };

    #[test]
    fn empty_rows_give_an_empty_batch_of_every_table() {
        assert_eq!(distributions(&[]).unwrap().num_rows(), 0);
        assert_eq!(measurements(&[]).unwrap().num_rows(), 0);
        assert_eq!(rollups(&[]).unwrap().num_rows(), 0);
        assert_eq!(verdicts(&[]).unwrap().num_rows(), 0);
        assert_eq!(events(&[]).unwrap().num_rows(), 0);
    }

    #[test]
    fn histogram_columns_hold_what_the_histogram_holds() {
        let batch = distributions(&[distribution("a", DAY_US + 1, &[1.0, 2.0, 0.0])]).unwrap();
        let long = |name: &str| batch[name].as_primitive::<Int64Type>().value(0);
        assert_eq!((long(column::COUNT), long(column::ZERO_COUNT)), (3, 1));
        assert_eq!(
            batch[column::SUM].as_primitive::<Float64Type>().value(0),
            3.0
        );
        let counts = batch[column::POS_COUNTS].as_list::<i32>().value(0);
        let counts = counts
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .sum::<i64>();
        assert_eq!(counts, 2);
        assert!(batch[column::EXPLICIT_BOUNDS].is_null(0));
        let day = batch[column::DATE]
            .as_any()
            .downcast_ref::<Date32Array>()
            .unwrap();
        assert_eq!(day.value(0), 1);
    }

    #[test]
    fn unknown_minimum_and_nan_are_null() {
        let parts = Parts {
            count: 1,
            zero_count: 1,
            ..Parts::default()
        };
        let unknown = ExponentialHistogram::from_parts(parts).unwrap();
        let row = DistributionRow {
            distribution: Distribution::Exponential(unknown),
            ..distribution("a", 1, &[])
        };
        let batch = distributions(&[row]).unwrap();
        assert!(batch[column::MIN].is_null(0) && batch[column::MAX].is_null(0));
        let gauge = MeasurementRow {
            columns: device_columns(),
            category: None,
            kind: MeasurementKind::Gauge,
            count: None,
            value: Some(f64::NAN),
        };
        assert!(measurements(&[gauge]).unwrap()[column::VALUE].is_null(0));
    }

    #[test]
    fn counts_above_63_bits_are_refused() {
        let mut histogram = ExponentialHistogram::new(0);
        histogram.count = 1 << 63;
        let row = DistributionRow {
            distribution: Distribution::Exponential(histogram),
            ..distribution("a", 1, &[])
        };
        let refused = distributions(&[row]).unwrap_err().to_string();
        assert!(refused.contains("9223372036854775808"), "{refused}");
    }
}
