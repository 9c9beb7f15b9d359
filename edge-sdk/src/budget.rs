//! Bytes that a device may send in a day. In: what windows weigh. Out: when the next one closes,
//! and whether an upload may go. Windows get longer as the day's bytes get fewer, and past the
//! last of them counts stay in the meter until the day turns: what is saved is resolution in time,
//! never a count. A device's day begins at a time of its own, so that no fleet wakes at midnight.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::ledger::{self, Ledger};

/// Bodies that the next one is judged by.
const RECENT: usize = 8;

/// Below this no day could carry a handful of windows.
pub(crate) const DAILY_BYTES_MIN: u64 = 16 * 1024;

/// What the last bodies weighed, in bytes.
#[derive(Clone, Copy, Debug)]
struct Weights {
    mean: u64,
    largest: u64,
}

/// When the next window closes, while `left` bytes and so much of the day remain. So many bodies of
/// the usual size, of which one may be as large as the largest: hourly releases of noised counts
/// are many times the others.
/// `None`: not before the day turns.
fn next_window(
    shortest: Duration,
    left: u64,
    day_left: Duration,
    weights: Weights,
) -> Option<Duration> {
    let reserve = weights.largest - weights.mean.min(weights.largest);
    let bodies = left.saturating_sub(reserve) / weights.mean.max(1);
    if bodies == 0 {
        return None;
    }
    let share = Duration::from_secs_f64(day_left.as_secs_f64() / bodies as f64);
    Some(share.max(shortest))
}

/// The bytes of one line. Without a limit it answers without counting.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Option<Limits>,
}

#[derive(Debug)]
struct Limits {
    daily: u64,
    shortest: Duration,
    /// How long before midnight UTC the day begins, in nanoseconds.
    offset: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    closed: Ledger,
    sent: Ledger,
    /// Sizes of the last bodies, the newest last.
    recent: Vec<u64>,
}

impl Budget {
    /// Windows of `shortest` and longer, and at most `daily` bytes of body a day, kept in
    /// `folder`.
    pub(crate) fn open(
        folder: &Path,
        installation: &str,
        daily: Option<u64>,
        shortest: Duration,
        now_unix_nano: u64,
    ) -> Self {
        let limits = daily.map(|daily| {
            let offset = offset(installation);
            let today = ledger::day(now_unix_nano, offset);
            let ledger = |name: &str| {
                let terms = json!({ "unit": "By", "day_begins_before_midnight_ns": offset });
                Ledger::open(folder.join(name), daily, terms, today).trusting(now_unix_nano)
            };
            let state = State {
                closed: ledger("bytes-closed.json"),
                sent: ledger("bytes-sent.json"),
                recent: Vec::new(),
            };
            Limits {
                daily,
                shortest,
                offset,
                state: Mutex::new(state),
            }
        });
        Self { limits }
    }

    /// How long the next window is, or how long nothing closes. `backlog` bytes wait already: up
    /// to half of the day's bytes are left to them, or they would never come to an end.
    pub(crate) fn next_window(&self, now_unix_nano: u64, backlog: u64) -> Option<Duration> {
        let limits = self.limits.as_ref()?;
        let state = limits.state();
        let day_left = limits.day_left(now_unix_nano);
        let kept_free = backlog.min(limits.daily / 2);
        let left = state.closed.left(limits.day(now_unix_nano));
        let left = left.saturating_sub(kept_free);
        let next = state.weights().map_or(Some(limits.shortest), |weights| {
            next_window(limits.shortest, left, day_left, weights)
        });
        Some(next.unwrap_or(day_left))
    }

    /// Whether a window of so many bytes may close now. The first of a day always may, as it may be
    /// sent: what many models say together can be more than a day's bytes, and waiting makes it no
    /// smaller.
    pub(crate) fn may_close(&self, now_unix_nano: u64, bytes: usize) -> bool {
        self.limits.as_ref().is_none_or(|limits| {
            let (state, today) = (limits.state(), limits.day(now_unix_nano));
            bytes as u64 <= state.closed.left(today) || state.closed.spent(today) == 0
        })
    }

    /// A window of so many bytes closed, or would have.
    pub(crate) fn closed(&self, now_unix_nano: u64, bytes: usize, kept: bool) {
        if let Some(limits) = &self.limits {
            let mut state = limits.state();
            if state.recent.len() == RECENT {
                state.recent.remove(0);
            }
            state.recent.push(bytes as u64);
            if kept {
                let today = limits.day(now_unix_nano);
                state.closed.note(now_unix_nano, today, bytes as u64);
            }
        }
    }

    /// How long an upload of so many bytes must wait; none when it may go now. The first of a day
    /// always may: a body larger than a whole day's bytes must not hold up the others for ever.
    pub(crate) fn upload_wait(&self, now_unix_nano: u64, bytes: usize) -> Option<Duration> {
        let limits = self.limits.as_ref()?;
        let (state, today) = (limits.state(), limits.day(now_unix_nano));
        let fits = bytes as u64 <= state.sent.left(today);
        let first = state.sent.spent(today) == 0;
        (!fits && !first).then(|| limits.day_left(now_unix_nano))
    }

    /// How long a repeat waits at least, so that an outage in which the collector answers and
    /// stores nothing does not cost the day's bytes: as many as the time of day has earned, and an
    /// eighth of a day's beside.
    pub(crate) fn repeat_wait(&self, now_unix_nano: u64) -> Option<Duration> {
        let limits = self.limits.as_ref()?;
        let day = Duration::from_nanos(ledger::DAY_NANOS).as_secs_f64();
        let left = limits.day_left(now_unix_nano).as_secs_f64();
        let spent = limits.state().sent.spent(limits.day(now_unix_nano)) as f64;
        let daily = limits.daily as f64;
        let earned = daily * (1.0 - left / day) + daily / 8.0;
        (spent > earned)
            .then(|| Duration::from_secs_f64((day * (spent - earned) / daily).min(left)))
    }

    /// So many bytes went out, stored or not.
    pub(crate) fn sent(&self, now_unix_nano: u64, bytes: usize) {
        if let Some(limits) = &self.limits {
            let today = limits.day(now_unix_nano);
            limits.state().sent.note(now_unix_nano, today, bytes as u64);
        }
    }
}

impl Limits {
    fn day(&self, now_unix_nano: u64) -> u64 {
        ledger::day(now_unix_nano, self.offset)
    }

    fn day_left(&self, now_unix_nano: u64) -> Duration {
        Duration::from_nanos(ledger::until_next_day(now_unix_nano, self.offset))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// None before the first body.
    fn weights(&self) -> Option<Weights> {
        let largest = self.recent.iter().copied().max()?;
        let mean = self.recent.iter().sum::<u64>() / self.recent.len() as u64;
        Some(Weights { mean, largest })
    }
}

/// A time of day for each installation, in nanoseconds.
fn offset(installation: &str) -> u64 {
    let digest = Sha256::digest(installation);
    let word = digest
        .first_chunk::<4>()
        .map_or(0, |b| u32::from_le_bytes(*b));
    u64::from(word) % 86_400 * 1_000_000_000
}

#[cfg(test)]
mod tests;
