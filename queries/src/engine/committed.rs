//! Asks a data folder without its collector. In: the folder. Out: an engine over what is
//! committed; rows that wait in the collector's log are not seen. Never: locks, writes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use datafusion::datasource::empty::EmptyTable;
use deltalake_core::{DeltaTableBuilder, DeltaTableError, ensure_table_uri};

use crate::{
    engine::{Engine, EngineLimits, QueryError},
    lake::{Lake, Snapshot},
    published::Publication,
    schema::Table,
};

/// Why a folder cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nothing of ours.
    #[error("cannot find tables in {}; name the folder that `fathomline serve --data` was given", .0.display())]
    NoTables(PathBuf),
    /// A table is missing or damaged.
    #[error("cannot open table {table} in {}: {source}", folder.display())]
    Table {
        /// Which table.
        table: &'static str,
        /// In which folder.
        folder: PathBuf,
        /// What went wrong.
        source: Box<DeltaTableError>,
    },
    /// The engine cannot be made.
    #[error(transparent)]
    Engine(#[from] QueryError),
}

/// An engine over the committed rows of a data folder, as they are now, that shows what
/// `publication` lets through.
///
/// # Errors
/// When the folder holds no tables of ours, or one cannot be read.
pub async fn open(
    folder: &Path,
    limits: EngineLimits,
    publication: Publication,
) -> Result<Engine, OpenError> {
    let tables = folder.join("tables");
    if !tables.is_dir() {
        return Err(OpenError::NoTables(folder.to_owned()));
    }
    let mut snapshots: Vec<Snapshot> = vec![];
    for table in Table::ALL {
        if !tables.join(table.name()).is_dir() && table.is_coarse() {
            // Written by a version that did not know it yet.
            snapshots.push((table, Arc::new(EmptyTable::new(table.arrow_schema()))));
            continue;
        }
        let snapshot = snapshot(&tables, table).await;
        snapshots.push(snapshot.map_err(|error| OpenError::Table {
            table: table.name(),
            folder: folder.to_owned(),
            source: Box::new(error),
        })?);
    }
    let lake = Arc::new(Lake::new(snapshots, -1));
    Ok(Engine::new(lake, limits, publication)?)
}

async fn snapshot(tables: &Path, table: Table) -> Result<Snapshot, DeltaTableError> {
    let path = tables.join(table.name());
    let url = ensure_table_uri(path.to_string_lossy())?;
    let delta = DeltaTableBuilder::from_url(url)?.load().await?;
    Ok((table, delta.table_provider().await?))
}

#[cfg(test)]
mod tests;
