//! The only reader of system time in these tests, and the only place that waits. Deadlines are
//! generous: they end a test that hangs, they never decide one.

use std::{
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Longest wait for anything. A busy two-core machine answers within a few seconds.
const DEADLINE: Duration = Duration::from_secs(90);

const PAUSE: Duration = Duration::from_millis(50);

/// Microseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "this is the tests' clock")]
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970");
    i64::try_from(since.as_micros()).expect("the year is before 290000")
}

/// Asks until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            began.elapsed() < DEADLINE,
            "waited {DEADLINE:?} in vain: {what}"
        );
        sleep(PAUSE);
    }
}

/// Waits until `holds`.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, || holds().then_some(()));
}
