//! A session for work on stored files: sorting and merging more rows than fit into memory. In: how
//! much memory, and a folder for what does not fit. Out: a session with our functions and without
//! tables. One partition: work goes on beside ingest and questions, and may not take their cores.

use std::path::Path;

use datafusion::{
    execution::{SessionStateBuilder, runtime_env::RuntimeEnvBuilder},
    prelude::{SessionConfig, SessionContext},
};

use super::QueryError;
use crate::functions;

/// Share of the memory that sorting keeps aside for merging what it wrote to disk.
const MERGE_SHARE: usize = 8;

/// A session that sorts and merges in `memory_bytes`, and writes what is more to `spill`.
///
/// # Errors
/// When the folder cannot be used.
pub fn bench(memory_bytes: usize, spill: &Path) -> Result<SessionContext, QueryError> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(memory_bytes, 1.0)
        .with_temp_file_path(spill)
        .build_arc()
        .map_err(|error| QueryError::run(&error))?;
    let mut config = SessionConfig::new().with_target_partitions(1);
    let execution = &mut config.options_mut().execution;
    execution.parquet.pushdown_filters = true;
    execution.sort_spill_reservation_bytes = memory_bytes / MERGE_SHARE;
    let mut state = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_runtime_env(runtime)
        .build();
    functions::register(&mut state).map_err(|error| QueryError::run(&error))?;
    Ok(SessionContext::new_with_state(state))
}
