//! Debug builds only: stop at a named point, so that a test can kill the process exactly there.
//!
//! `FATHOMLINE_STALL_AT=after-acknowledge|between-tables|upkeep-written|upkeep-committed` makes the
//! process write `<data>/stalled` and wait there for ever. Release builds contain none of this.

use std::path::Path;

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
