//! Closes windows. In: the meter, the clock. Out: one encoded window at a time, appended to the
//! spool. Runs on a thread of its own, so that windows keep their pace whatever the network does.
//! A window that the disk refuses goes back to the meter and out with the next one.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use crate::{
    budget::Budget,
    line::Shared,
    otlp::{self, DeviceState},
    spool::{Appended, Entry, Spool},
    windows::Windows,
};

/// A detector that is killed forgets so much; flash memory is spared the rest.
const KEEP_EVERY: Duration = Duration::from_secs(600);

/// Closes a window every `length` until the line shuts down, and then a last, shorter one.
/// With a budget, windows grow longer than that as the day's bytes run out.
pub(crate) fn run(shared: &Shared, length: Duration, mut budget: Option<Budget>) {
    if let Some(budget) = &mut budget {
        let kept = with_spool(shared, Spool::budget);
        budget.resume(&kept.unwrap_or_default());
    }
    let mut closer = Closer {
        windows: Windows::begin(shared.clock.unix_nano()),
        refused: false,
        budget,
        kept_at: Instant::now(),
        last: false,
    };
    let mut due = Instant::now() + length;
    loop {
        let closing = shared.bell.sleep(due);
        closer.last = closing;
        closer.close(shared);
        if closing {
            shared.bell.closed();
            return;
        }
        due = next(due, Instant::now(), length);
        if let Some(budget) = &mut closer.budget {
            let longer = budget.next_window(length, shared.clock.unix_nano());
            if longer > length {
                due = due.max(Instant::now() + longer);
            }
        }
    }
}

/// The first multiple of `length` after `due` that is still to come: a late window is not made up
/// for by short ones.
fn next(due: Instant, now: Instant, length: Duration) -> Instant {
    let late = now.saturating_duration_since(due).as_nanos() / length.as_nanos().max(1);
    let periods = u32::try_from(late).unwrap_or(u32::MAX).saturating_add(1);
    due.checked_add(length.saturating_mul(periods))
        .unwrap_or(now)
}

struct Closer {
    windows: Windows,
    /// The last window could not be kept; said once, not every second.
    refused: bool,
    budget: Option<Budget>,
    /// When the detector was last kept.
    kept_at: Instant,
    /// The line shuts down: what is not kept now never is.
    last: bool,
}

impl Closer {
    fn close(&mut self, shared: &Shared) {
        // Alarms go out with the window that raised them.
        shared.fold();
        let mut spool = shared.spool.lock().unwrap_or_else(PoisonError::into_inner);
        if let (None, Some(refuge)) = (spool.as_ref(), &shared.refuge) {
            *spool = refuge.try_again();
            if spool.is_none() {
                shared.tally.held();
            }
        }
        if let Some(spool) = spool.as_mut() {
            self.close_into(shared, spool);
            self.keep(shared, spool);
        }
    }

    /// What the device has learned, for the next start.
    fn keep(&mut self, shared: &Shared, spool: &Spool) {
        if let Some(probes) = shared.probes.take_changed() {
            spool.keep("probes", probes.as_bytes());
        }
        let due = self.last || self.kept_at.elapsed() >= KEEP_EVERY;
        if let Some(lookout) = shared.lookout.as_ref().filter(|_| due) {
            spool.keep("detector", &lookout.kept());
            self.kept_at = Instant::now();
        }
    }

    fn close_into(&mut self, shared: &Shared, spool: &mut Spool) {
        let now = shared.clock.unix_nano();
        let sketches = shared.meter.take();
        // After the sketches: whatever they name is among them.
        let variants = shared.meter.variants();
        let window = self.windows.next(now);
        let mut device = DeviceState {
            spool_bytes: spool.bytes(),
            windows_dropped: spool.unreported(),
            ..DeviceState::default()
        };
        let energy = shared.meter.energy();
        shared.surroundings.report(energy, &mut device);
        let body = otlp::encode(&shared.envelope, &window, &variants, &sketches, device);
        let bytes = body.len() as u64;
        let fits = self
            .budget
            .as_mut()
            .is_none_or(|budget| budget.allows(bytes, now));
        // Better a few bytes over than a window lost.
        if !fits && !self.last {
            shared.meter.restore(sketches);
            return;
        }
        let entry = Entry {
            sequence: window.sequence,
            reports_dropped: device.windows_dropped,
            body: &body,
        };
        match spool.append(entry) {
            Appended::Kept => {
                self.windows.commit(&window);
                self.refused = false;
                if let Some(budget) = &mut self.budget {
                    budget.spend(bytes, now);
                    spool.note_budget(&budget.kept());
                }
                shared.bell.appended();
            }
            Appended::RolledBack(error) => {
                shared.meter.restore(sketches);
                shared.tally.held();
                if !std::mem::replace(&mut self.refused, true) {
                    tracing::warn!(%error, "window not spooled; kept in memory and tried again");
                }
            }
            Appended::Lost(error) => {
                self.windows.commit(&window);
                tracing::warn!(%error, sequence = window.sequence, "window lost");
            }
        }
    }
}

fn with_spool<T>(shared: &Shared, act: impl FnOnce(&mut Spool) -> T) -> Option<T> {
    let mut spool = shared.spool.lock().unwrap_or_else(PoisonError::into_inner);
    spool.as_mut().map(act)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_window_skips_to_the_next_full_period() {
        let length = Duration::from_secs(1);
        let due = Instant::now();
        let after = |millis| next(due, due + Duration::from_millis(millis), length) - due;
        assert_eq!(after(0), length);
        assert_eq!(after(999), length);
        assert_eq!(after(1_000), 2 * length);
        assert_eq!(after(7_500), 8 * length);
    }
}
