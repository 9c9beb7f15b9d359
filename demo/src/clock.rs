//! The demo's only look at the wall clock. Everything else takes `now`, or waits.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch; zero on a machine whose clock stands before it.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the demo's clock module: nothing else reads the time"
)]
pub fn now_us() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}
