//! Spool to collector. In: the oldest window that waits. Out: an upload with its identity, and a
//! spool that goes on behind it once it is durable elsewhere. Runs on a thread of its own. Never
//! skips a window because the network fails, never changes one, never sends two at a time.

mod backoff;
mod pace;
mod post;
mod reply;

use std::time::{Duration, Instant};

use backoff::Backoff;
use post::{Answer, Door};
use reply::Reply;

use crate::{
    destination::Destination,
    line::Shared,
    spool::{Part, Parts, Pending},
};

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
    /// It is on its way in parts, and the next one may follow.
    GoesOn,
    /// It stays; the collector may have asked for a wait.
    Stays(Option<Duration>),
}

/// Sends windows in order until the line shuts down.
pub(crate) fn run(shared: &Shared, destination: &Destination, window: Duration) {
    let door = Door::new(destination, UPLOAD_LIMIT);
    let mut backoff = Backoff::default();
    let mut seen = 0;
    while !shared.bell.is_overdue(Instant::now()) {
        match drain_once(shared, &door, backoff.failures()) {
            Step::Gone(asked) => {
                backoff.success();
                let backlog = shared.with_spool(|spool| spool.windows() > 0);
                if backlog == Some(true) && !shared.bell.is_closing() {
                    let wait = pace::wait(window, asked, chance());
                    shared.bell.wait_for_retry(Instant::now() + wait);
                }
            }
            Step::GoesOn => backoff.success(),
            Step::Empty if !shared.bell.wait_for_window(&mut seen) => break,
            Step::Empty => {}
            // Shutting down there is no time for a second try: the next start has it.
            Step::Stays(_) | Step::Held(_) if shared.bell.is_closing() => break,
            Step::Held(wait) => {
                shared.bell.wait_for_retry(Instant::now() + wait);
            }
            Step::Stays(asked) => {
                let wait = backoff.after_failure(asked, chance());
                let spared = shared.budget.repeat_wait(shared.clock.unix_nano());
                let wait = spared.map_or(wait, |spared| wait.max(spared));
                shared.bell.wait_for_retry(Instant::now() + wait);
            }
        }
    }
    shared.bell.drained();
}

/// Posts the oldest window, or the next of its parts, and acts on the reply.
fn drain_once(shared: &Shared, door: &Door, failures: u32) -> Step {
    let oldest = shared.with_spool(|spool| {
        let window = spool.first()?;
        let parts = spool.parts(&window);
        Some((window, parts))
    });
    let Some((window, parts)) = oldest.flatten() else {
        return Step::Empty;
    };
    let Some(part) = parts.next(&window.body) else {
        // Everything of it was stored before the line last ended.
        shared.with_spool(|spool| spool.remove(&window));
        return Step::Gone(None);
    };
    let (now, bytes) = (shared.clock.unix_nano(), part.body.len());
    if let Some(wait) = shared.budget.upload_wait(now, bytes) {
        return Step::Held(wait);
    }
    let posted = door.post(&window.identity, &part, shared.clock);
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
    if let Some(offset) = answer.clock_offset {
        shared.surroundings.note_clock_offset(offset);
    }
    let under_way = UnderWay {
        window,
        parts,
        part,
    };
    act_on(shared, &answer, under_way, failures)
}

/// What was posted.
struct UnderWay {
    window: Pending,
    parts: Parts,
    part: Part,
}

fn act_on(shared: &Shared, answer: &Answer, under_way: UnderWay, failures: u32) -> Step {
    let UnderWay {
        window,
        parts,
        part,
    } = under_way;
    let (status, identity) = (answer.status, &window.identity);
    match answer.reply {
        Reply::Stored => {
            shared.tally.rejected(answer.points_rejected);
            let parts = parts.stored(&part);
            if !parts.are_stored() {
                shared.with_spool(|spool| spool.part_stored(&window, parts));
                return Step::GoesOn;
            }
            shared.tally.stored();
            shared.with_spool(|spool| spool.remove(&window));
            Step::Gone(answer.pace)
        }
        Reply::Conflict | Reply::Refused => {
            tracing::warn!(status, %identity, "window refused for good; set aside");
            shared.tally.refused();
            shared.with_spool(|spool| spool.set_aside(&window));
            Step::Gone(answer.pace)
        }
        Reply::TooLarge => {
            let split = parts.split(&part);
            let noted = split.and_then(|parts| shared.with_spool(|s| s.split(&window, parts)));
            if let Some(Ok(())) = noted {
                return Step::GoesOn;
            }
            say_once(failures, || {
                let bytes = part.body.len();
                tracing::warn!(bytes, %identity, "too large for the collector and cannot be split")
            });
            Step::Stays(None)
        }
        Reply::Later(asked) => {
            say_once(failures, || {
                tracing::warn!(status, "collector not ready; windows wait")
            });
            Step::Stays(asked)
        }
    }
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
