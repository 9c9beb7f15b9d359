//! Hours and days: what finer rows add up to, ready to be stored.
//!
//! In: a session over the tables as they are, and one hour or day `(from, to]`. Out: its rows,
//! batch by batch, in the schema of their table. Counts are those of the finer rows, bucket by
//! bucket; sums are equal to rounding. Never: writes; which hours are due is for who keeps the
//! tables.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, Date32Array, Int64Array, TimestampMicrosecondArray},
        compute::cast,
        datatypes::{Float64Type, Int64Type},
        record_batch::RecordBatch,
    },
    prelude::SessionContext,
};
use fathomline_wire::histogram::ExplicitHistogram;
use futures::{StreamExt, stream::BoxStream};

use crate::{
    catalog::{
        COHORT_DAY, COHORT_SPAN, DEVICE_HOUR, DEVICE_HOUR_AMOUNTS, DEVICE_HOUR_COUNTS, Question,
        SITE_HOUR, SITE_HOUR_DIFFERS,
    },
    engine::QueryError,
    row::{Row, rows, timestamp},
    rows::{Distribution, histogram_columns},
    schema::{HISTOGRAM_NAMES, Table, column},
};

const DAY_US: i64 = 86_400_000_000;

/// Rows of one table, batch by batch.
pub type Batches = BoxStream<'static, Result<RecordBatch, QueryError>>;

/// One hour or day: after `from_us`, up to and with `to_us`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its start, microseconds since the Unix epoch.
    pub from_us: i64,
    /// Its end.
    pub to_us: i64,
}

/// Rows of `device_hours` for one hour, from `distributions` and `measurements`.
///
/// # Errors
/// When the tables cannot be read.
pub async fn device_hours(session: &SessionContext, hour: Stretch) -> Result<Batches, QueryError> {
    let values = asked(session, &DEVICE_HOUR, Table::DeviceHours, hour).await?;
    let counts = asked(session, &DEVICE_HOUR_COUNTS, Table::DeviceHours, hour).await?;
    let amounts = asked(session, &DEVICE_HOUR_AMOUNTS, Table::DeviceHours, hour).await?;
    Ok(values.chain(counts).chain(amounts).boxed())
}

/// Rows of `rollup_hours` for one hour: by site, from `device_hours`, where these count what the
/// lanes in `rollups` count; without sites, from the lanes, where device rows are gone.
///
/// # Errors
/// When the tables cannot be read.
pub async fn cohort_hours(session: &SessionContext, hour: Stretch) -> Result<Batches, QueryError> {
    let mut differs = stream(session, &SITE_HOUR_DIFFERS, hour).await?;
    let mut differing = 0;
    while let Some(batch) = differs.next().await {
        for row in rows(&[batch?]) {
            differing += row.integer("differing")?;
        }
    }
    let question = if differing == 0 {
        &SITE_HOUR
    } else {
        &COHORT_SPAN
    };
    asked(session, question, Table::RollupHours, hour).await
}

/// Rows of `rollup_days` for one day, from `rollup_hours`.
///
/// # Errors
/// When the table cannot be read.
pub async fn cohort_days(session: &SessionContext, day: Stretch) -> Result<Batches, QueryError> {
    asked(session, &COHORT_DAY, Table::RollupDays, day).await
}

async fn asked(
    session: &SessionContext,
    question: &'static Question,
    table: Table,
    stretch: Stretch,
) -> Result<Batches, QueryError> {
    let batches = stream(session, question, stretch).await?;
    Ok(batches
        .map(move |batch| finished(table, &batch?, stretch))
        .boxed())
}

async fn stream(
    session: &SessionContext,
    question: &'static Question,
    stretch: Stretch,
) -> Result<Batches, QueryError> {
    let parameters = vec![
        ("from", timestamp(stretch.from_us)),
        ("to", timestamp(stretch.to_us)),
    ];
    let planned = session.sql(question.sql).await;
    let frame = planned
        .and_then(|frame| frame.with_param_values(parameters))
        .map_err(|error| QueryError::plan(&error))?;
    let batches = frame
        .execute_stream()
        .await
        .map_err(|error| QueryError::run(&error))?;
    Ok(batches
        .map(|batch| batch.map_err(|error| QueryError::run(&error)))
        .boxed())
}

/// An answer's columns in the table's order, histograms unpacked.
fn finished(
    table: Table,
    batch: &RecordBatch,
    stretch: Stretch,
) -> Result<RecordBatch, QueryError> {
    let failed = |error: &dyn std::fmt::Display| QueryError::Failed(error.to_string());
    let one = [batch.clone()];
    let values = rows(&one).map(|row| distribution(row));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    let values: Vec<_> = values.iter().map(Option::as_ref).collect();
    let histogram = histogram_columns(&values).map_err(|error| failed(&error))?;
    let height = batch.num_rows();
    let time = |time_us: i64| -> ArrayRef {
        let times = TimestampMicrosecondArray::from_value(time_us, height);
        Arc::new(times.with_timezone("UTC"))
    };
    let schema = table.arrow_schema();
    let column = |name: &str| -> Result<ArrayRef, QueryError> {
        let place = HISTOGRAM_NAMES.iter().position(|known| *known == name);
        Ok(match (name, place) {
            (column::TIME, _) => time(stretch.to_us),
            (column::START_TIME, _) => time(stretch.from_us),
            (column::DATE, _) => {
                let day = stretch.to_us.div_euclid(DAY_US) as i32;
                Arc::new(Date32Array::from_value(day, height))
            }
            (column::WIDTH_US, _) => {
                let width_us = stretch.to_us - stretch.from_us;
                Arc::new(Int64Array::from_value(width_us, height))
            }
            (_, Some(place)) => Arc::clone(&histogram[place]),
            (name, None) => batch
                .column_by_name(name)
                .cloned()
                .ok_or_else(|| failed(&format!("the answer has no column {name}")))?,
        })
    };
    let columns = schema.fields().iter().map(|field| {
        cast(&column(field.name())?, field.data_type()).map_err(|error| failed(&error))
    });
    let columns = columns.collect::<Result<_, _>>()?;
    RecordBatch::try_new(schema, columns).map_err(|error| failed(&error))
}

/// What the values of one group looked like; none for counters.
fn distribution(row: Row<'_>) -> Result<Option<Distribution>, QueryError> {
    if !row.has("histogram") {
        return Ok(None);
    }
    if let Some(histogram) = row.histogram("histogram")? {
        return Ok(Some(Distribution::Exponential(histogram)));
    }
    let Some(counts) = row.list("explicit_counts")? else {
        return Ok(None);
    };
    let unsigned = |count: &i64| u64::try_from(*count);
    let counts = counts.as_primitive::<Int64Type>().values().iter();
    let counts = counts.map(unsigned).collect::<Result<_, _>>();
    let bounds = row.list("explicit_bounds")?;
    let bounds = bounds.map(|bounds| bounds.as_primitive::<Float64Type>().values().to_vec());
    Ok(Some(Distribution::Explicit(ExplicitHistogram {
        bounds: bounds.unwrap_or_default(),
        counts: counts.map_err(|_| QueryError::Failed("a bucket counts less than 0".into()))?,
        count: row.count(column::COUNT)?,
        sum: row.float(column::SUM)?,
        min: row.float(column::MIN)?,
        max: row.float(column::MAX)?,
    })))
}

#[cfg(test)]
mod tests;
