//! How the threads of a line wake each other. Owns the one condition variable. In: "a window is
//! on disk", "shut down by then". Out: sleepers that wake in time. Never touched by inference.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

#[derive(Debug, Default)]
struct State {
    /// Windows appended so far.
    appended: u64,
    /// Set once: the line shuts down, and by when.
    closing: Option<Instant>,
    /// The last window is on disk, or could not be brought there.
    closed: bool,
    /// The sender has stopped.
    drained: bool,
}

/// Wakes the threads of one line.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

impl Bell {
    /// Sleeps until `due`. True when the line shuts down.
    pub(crate) fn sleep(&self, due: Instant) -> bool {
        self.wait(Some(due), |state| state.closing.is_some())
            .closing
            .is_some()
    }

    /// A window is on disk.
    pub(crate) fn appended(&self) {
        self.change(|state| state.appended += 1);
    }

    /// Asks both threads to come to an end.
    pub(crate) fn close(&self, deadline: Instant) {
        self.change(|state| state.closing = Some(deadline));
    }

    /// There will be no further window.
    pub(crate) fn closed(&self) {
        self.change(|state| state.closed = true);
    }

    /// Sleeps while there is nothing to send. False when there never will be.
    pub(crate) fn wait_for_window(&self, seen: &mut u64) -> bool {
        let state = self.wait(None, |state| state.appended != *seen || state.closed);
        let fresh = state.appended != *seen;
        *seen = state.appended;
        fresh
    }

    /// Sleeps until `due`, or until the line shuts down. True when it does.
    pub(crate) fn wait_for_retry(&self, due: Instant) -> bool {
        self.sleep(due)
    }

    /// Whether the line shuts down and its time is up.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.lock().closing.is_some_and(|deadline| now >= deadline)
    }

    /// Whether the line shuts down.
    pub(crate) fn is_closing(&self) -> bool {
        self.lock().closing.is_some()
    }

    /// The sender has stopped.
    pub(crate) fn drained(&self) {
        self.change(|state| state.drained = true);
    }

    /// Waits for the last window. False when it was not done in time.
    pub(crate) fn wait_until_closed(&self, deadline: Instant) -> bool {
        self.wait(Some(deadline), |state| state.closed).closed
    }

    /// Waits for both threads. False when they were not done in time.
    pub(crate) fn wait_until_drained(&self, deadline: Instant) -> bool {
        let done = |state: &State| state.closed && state.drained;
        done(&self.wait(Some(deadline), done))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.rung.notify_all();
    }

    fn wait(&self, due: Option<Instant>, ready: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while !ready(&state) {
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    self.rung
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self
                    .rung
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
