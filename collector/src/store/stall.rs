//! Debug builds only: stop at a named point, so that a test can kill the process exactly there.
//!
//! `FATHOMLINE_STALL_AT` names one of `after-acknowledge`, `between-tables`, `upkeep-written`,
//! `upkeep-built`, `upkeep-committed`, `erase-forgotten`, `erase-between-tables`; the process
//! writes `<data>/stalled` there and waits for ever. `FATHOMLINE_VACUUM_AFTER_SECONDS` keeps files
//! that no table names for as long. Release builds contain none of this.

use std::{path::Path, time::Duration};

/// Stops here if the environment names this point.
#[cfg(debug_assertions)]
pub(crate) fn at(point: &str, data: &Path) {
    if std::env::var("FATHOMLINE_STALL_AT").is_ok_and(|wanted| wanted == point) {
        // The test waits for this file; if it cannot be written, it times out and says so.
        let _ = std::fs::write(data.join("stalled"), point);
        loop {
            std::thread::park();
        }
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn at(_point: &str, _data: &Path) {}

/// How long files are kept that no table names.
#[cfg(debug_assertions)]
pub(crate) fn vacuum_after(configured: Duration) -> Duration {
    let seconds = std::env::var("FATHOMLINE_VACUUM_AFTER_SECONDS").ok();
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    seconds.map_or(configured, Duration::from_secs)
}

#[cfg(not(debug_assertions))]
pub(crate) fn vacuum_after(configured: Duration) -> Duration {
    configured
}
