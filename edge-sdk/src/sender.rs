//! Spool to collector. In: the oldest window that waits. Out: an upload with its identity, and a
//! spool that goes on behind it once it is durable elsewhere. Runs on a thread of its own. Never
//! skips a window because the network fails, never changes one, never sends two at a time.

mod backoff;
mod pace;
mod post;
mod reply;

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use backoff::Backoff;
use post::Door;
use reply::Reply;

use crate::{line::Shared, spool::Spool};

/// Longest time one upload may take: a server that accepts and never answers holds up the
/// windows behind it no longer than this.
const UPLOAD_LIMIT: Duration = Duration::from_secs(10);

/// What became of the oldest window.
enum Step {
    /// The spool is empty.
    Empty,
    /// The day's bytes are spent: it stays for so long.
    Held(Duration),
    /// It is out of the way; the collector may have said how fast a backlog may follow.
    Gone(Option<Duration>),
    /// It stays; the collector may have asked for a wait.
    Stays(Option<Duration>),
}

/// Sends windows in order until the line shuts down.
pub(crate) fn run(shared: &Shared, endpoint: &str, token: Option<&str>, window: Duration) {
    let door = Door::new(endpoint, token, UPLOAD_LIMIT);
    let mut backoff = Backoff::default();
    let mut seen = 0;
    while !shared.bell.is_overdue(Instant::now()) {
        match drain_once(shared, &door, backoff.failures()) {
            Step::Gone(asked) => {
                backoff.success();
                let backlog = with_spool(shared, |spool| spool.windows() > 0);
                if backlog == Some(true) && !shared.bell.is_closing() {
                    let wait = pace::wait(window, asked, chance());
                    shared.bell.wait_for_retry(Instant::now() + wait);
                }
            }
            Step::Empty if !shared.bell.wait_for_window(&mut seen) => break,
            Step::Empty => {}
            // Shutting down there is no time for a second try: the next start has it.
            Step::Stays(_) | Step::Held(_) if shared.bell.is_closing() => break,
            Step::Held(wait) => {
                shared.bell.wait_for_retry(Instant::now() + wait);
            }
            Step::Stays(asked) => {
                let wait = backoff.after_failure(asked, chance());
                shared.bell.wait_for_retry(Instant::now() + wait);
            }
        }
    }
    shared.bell.drained();
}

/// Posts the oldest window and acts on the reply.
fn drain_once(shared: &Shared, door: &Door, failures: u32) -> Step {
    let Some(window) = with_spool(shared, Spool::first).flatten() else {
        return Step::Empty;
    };
    let (now, bytes) = (shared.clock.unix_nano(), window.body.len());
    if let Some(wait) = shared.budget.upload_wait(now, bytes) {
        return Step::Held(wait);
    }
    let posted = door.post(&window, now);
    if posted.as_ref().map_or_else(post::may_have_sent, |_| true) {
        shared.budget.sent(now, bytes);
    }
    let answer = match posted {
        Ok(answer) => answer,
        Err(error) => {
            shared.tally.replied(None);
            say_once(
                failures,
                || tracing::warn!(%error, "collector not reached; windows wait"),
            );
            return Step::Stays(None);
        }
    };
    shared.tally.replied(Some(answer.status));
    let (status, identity) = (answer.status, &window.identity);
    match answer.reply {
        Reply::Stored => {
            shared.tally.stored(answer.points_rejected);
            with_spool(shared, |spool| spool.remove(&window));
        }
        Reply::Conflict | Reply::Refused => {
            tracing::warn!(status, %identity, "window refused for good; set aside");
            shared.tally.refused();
            with_spool(shared, |spool| spool.set_aside(&window));
        }
        Reply::Later(asked) => {
            say_once(failures, || {
                tracing::warn!(status, "collector not ready; windows wait")
            });
            return Step::Stays(asked);
        }
    }
    Step::Gone(answer.pace)
}

/// Runs `act` on the spool, unless the line has given it up.
fn with_spool<T>(shared: &Shared, act: impl FnOnce(&mut Spool) -> T) -> Option<T> {
    shared
        .spool
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_mut()
        .map(act)
}

/// A state is logged when it begins, not at every try.
fn say_once(failures: u32, say: impl FnOnce()) {
    if failures == 0 {
        say();
    }
}

/// Random bits; without a random source all waits are the longest.
fn chance() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX)
}
