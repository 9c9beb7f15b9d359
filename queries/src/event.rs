//! What happened: alerts, deliveries, operators' acts. In: a span of time. Out: events in order.

use crate::{
    catalog::EVENTS,
    engine::{Engine, QueryError},
    row::{Row, rows, timestamp},
    rows::EventRow,
    schema::column,
};

/// Everything that happened in `(from_us, to_us]`.
///
/// # Errors
/// When the engine's limits are reached.
pub async fn between(
    engine: &Engine,
    from_us: i64,
    to_us: i64,
) -> Result<Vec<EventRow>, QueryError> {
    let parameters = vec![("from", timestamp(from_us)), ("to", timestamp(to_us))];
    let batches = engine.ask(&EVENTS, parameters).await?;
    let event = |row: Row<'_>| {
        Ok(EventRow {
            time: row.time(column::TIME)?,
            id: row.text(column::ID)?,
            kind: row.text(column::KIND)?,
            subject: row.text(column::SUBJECT)?,
            body: row.text(column::BODY)?,
        })
    };
    rows(&batches).map(event).collect()
}
