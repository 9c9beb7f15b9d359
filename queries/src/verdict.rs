//! What was judged. In: a series id or a point in time. Out: verdicts as they were stored, of
//! several revisions of one lane the last.

use datafusion::common::ScalarValue;

use crate::{
    catalog::{Question, VERDICT_HISTORY, VERDICTS_LATEST},
    engine::{Engine, QueryError},
    row::{Row, rows, timestamp},
    rows::VerdictRow,
    schema::column,
};

/// The last verdict of every series on lanes that ended in `(from_us, to_us]`.
///
/// # Errors
/// When the engine's limits are reached.
pub async fn latest(
    engine: &Engine,
    from_us: i64,
    to_us: i64,
) -> Result<Vec<VerdictRow>, QueryError> {
    let parameters = vec![("from", timestamp(from_us)), ("to", timestamp(to_us))];
    ask(engine, &VERDICTS_LATEST, parameters).await
}

/// How one series was judged for lanes that ended in `(from_us, to_us]`, in time's order.
///
/// # Errors
/// When the engine's limits are reached.
pub async fn history(
    engine: &Engine,
    series: &str,
    from_us: i64,
    to_us: i64,
) -> Result<Vec<VerdictRow>, QueryError> {
    let parameters = vec![
        (column::SERIES, ScalarValue::from(series)),
        ("from", timestamp(from_us)),
        ("to", timestamp(to_us)),
    ];
    ask(engine, &VERDICT_HISTORY, parameters).await
}

async fn ask(
    engine: &Engine,
    question: &Question,
    parameters: Vec<(&'static str, ScalarValue)>,
) -> Result<Vec<VerdictRow>, QueryError> {
    let batches = engine.ask(question, parameters).await?;
    rows(&batches).map(verdict).collect()
}

fn verdict(row: Row<'_>) -> Result<VerdictRow, QueryError> {
    let revision = row.integer(column::REVISION)?;
    Ok(VerdictRow {
        time: row.time(column::TIME)?,
        series: row.text(column::SERIES)?,
        service: row.text(column::SERVICE)?,
        device_class: row.text(column::DEVICE_CLASS)?,
        model: row.text(column::MODEL)?,
        version: row.text(column::VERSION)?,
        variant: row.text(column::VARIANT)?,
        metric: row.text(column::METRIC)?,
        revision: i32::try_from(revision)
            .map_err(|_| QueryError::Failed(format!("revision is {revision}")))?,
        state: row.text(column::STATE)?,
        method: row.text(column::METHOD)?,
        score: row.float(column::SCORE)?,
        threshold: row.float(column::THRESHOLD)?,
        count: row.integer(column::COUNT)?,
        effective_count: row.float(column::EFFECTIVE_COUNT)?,
        devices: row.integer(column::DEVICES)?,
        since: row.optional_time(column::SINCE)?,
        reference: row.optional_text(column::REFERENCE)?,
        evidence: row.text(column::EVIDENCE)?,
    })
}

#[cfg(test)]
mod tests;
