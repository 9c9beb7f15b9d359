//! How much is stored. In: nothing. Out: rows of each table and the end of its last interval.

use crate::{
    catalog::INGEST_HEALTH,
    engine::{Engine, QueryError},
    row::{Row, rows},
};

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableHealth {
    /// Its name.
    pub name: String,
    /// How many rows, hot ones included.
    pub rows: u64,
    /// The largest `time`, by the senders' corrected clocks; none while empty.
    pub last_us: Option<i64>,
}

/// Every table, by name.
///
/// # Errors
/// When the engine's limits are reached.
pub async fn health(engine: &Engine) -> Result<Vec<TableHealth>, QueryError> {
    let batches = engine.ask(&INGEST_HEALTH, vec![]).await?;
    let table = |row: Row<'_>| {
        Ok(TableHealth {
            name: row.text("name")?,
            rows: row.count("row_count")?,
            last_us: row.optional_time("last_time")?,
        })
    };
    rows(&batches).map(table).collect()
}
