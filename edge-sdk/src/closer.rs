//! Closes windows. In: the meter, the clock. Out: one encoded window at a time, appended to the
//! spool. Runs on a thread of its own, so that windows keep their pace whatever the network does.
//! A window that the day's budget has no room for goes back to the meter and out with a later one.

use std::time::{Duration, Instant};

use crate::{
    line::Shared,
    noise::{Release, Releases},
    otlp::{self, DeviceState, Observed},
    queue::Queue,
    sampler,
    spool::Entry,
    windows::{Window, Windows},
};

/// A detector that is killed forgets so much; flash memory is spared the rest.
const KEEP_EVERY: Duration = Duration::from_secs(600);

/// Closes a window every `length`, or as often as the day's bytes allow, until the line shuts down,
/// and then a last, shorter one.
pub(crate) fn run(shared: &Shared, length: Duration, releases: Option<Releases>) {
    let mut closer = Closer {
        releases,
        unsent: None,
        windows: Windows::begin(shared.clock.unix_nano()),
        kept_at: Instant::now(),
        closing: false,
    };
    let mut due = Instant::now() + length;
    loop {
        closer.closing = shared.bell.sleep(due);
        let backlog = closer.close(shared);
        if closer.closing {
            shared.bell.closed();
            return;
        }
        let affordable = shared.budget.next_window(shared.clock.unix_nano(), backlog);
        due = next(due, Instant::now(), affordable.unwrap_or(length));
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
    releases: Option<Releases>,
    /// Noised counts of a window that was not kept.
    unsent: Option<Release>,
    /// When the detector was last kept.
    kept_at: Instant,
    /// The window that closes is the last: it is kept whatever the day's bytes say, and waits in
    /// the spool for those of another day.
    closing: bool,
}

impl Closer {
    /// Bytes that wait in the spool afterwards.
    fn close(&mut self, shared: &Shared) -> u64 {
        // Alarms go out with the window that raised them.
        shared.fold();
        let mut spool = shared.spool();
        let Some(spool) = spool.as_mut() else {
            return 0;
        };
        self.close_into(shared, spool);
        self.keep(shared, spool);
        spool.bytes()
    }

    /// What the device has learned, for the next start.
    fn keep(&mut self, shared: &Shared, spool: &Queue) {
        if let Some(probes) = shared.probes.take_changed() {
            spool.keep("probes", probes.as_bytes());
        }
        let due = self.closing || self.kept_at.elapsed() >= KEEP_EVERY;
        if let Some(lookout) = shared.lookout.as_ref().filter(|_| due) {
            spool.keep("detector", &lookout.kept());
            self.kept_at = Instant::now();
        }
    }

    fn close_into(&mut self, shared: &Shared, spool: &mut Queue) {
        sampler::sample_energy(&shared.meter);
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
        shared.surroundings.report(&mut device);
        let energy = shared.meter.energy();
        let joules = energy.map(|energy| (energy, energy.take_totals()));
        // With noise, joules of inferences would tell when they ran.
        let said = joules.filter(|_| shared.meter.register().is_none());
        device.energy = said.and_then(|(energy, totals)| energy.uses(totals));
        let release = self.release(shared, &window, variants.len());
        let observed = Observed {
            variants,
            sketches,
            release,
        };
        let body = otlp::encode(&shared.envelope, &window, &observed, device);
        if !self.closing && !shared.budget.may_close(now, body.len()) {
            shared.budget.closed(now, body.len(), false);
            shared.meter.restore(observed.sketches);
            self.unsent = observed.release;
            if let Some((energy, totals)) = joules {
                energy.put_back(totals);
            }
            return;
        }
        let entry = Entry {
            sequence: window.sequence,
            reports_dropped: device.windows_dropped,
            body: &body,
        };
        let kept = spool.append(entry);
        self.windows.commit(&window);
        match kept {
            Ok(()) => {
                shared.budget.closed(now, body.len(), true);
                shared.bell.appended();
            }
            Err(error) => {
                tracing::warn!(%error, sequence = window.sequence, "window lost");
            }
        }
    }

    /// Noised counts for `window`, if it is time, or those that are still to be sent.
    fn release(&mut self, shared: &Shared, window: &Window, variants: usize) -> Option<Release> {
        let unsent = self.unsent.take();
        let (releases, register) = self.releases.as_mut().zip(shared.meter.register())?;
        unsent.or_else(|| releases.with_window(window, self.closing, register, variants))
    }
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
