//! The thread that looks at the device. In: sensors. Out: joules for inferences that ended, and
//! what a window says about the device. Looks up to ten times a second while energy is read, as the
//! source needs it, else once; far apart from the inference path.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    device::Device,
    line::Shared,
    meter::{Meter, Signal},
    otlp::DeviceState,
};

const DEVICE_PERIOD: Duration = Duration::from_secs(1);

/// What is known of the device, shared with whoever closes windows.
#[derive(Debug)]
pub(crate) struct Surroundings {
    device: Mutex<Device>,
    /// Collector minus device in seconds, since the last window that said so.
    clock_offset: Mutex<Option<f64>>,
}

impl Surroundings {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            device: Mutex::new(Device::new(root)),
            clock_offset: Mutex::default(),
        }
    }

    /// Levels now, and shares since the last window.
    pub(crate) fn report(&self, state: &mut DeviceState) {
        self.with(|device| device.report(state));
        state.clock_offset = self.offset().take();
    }

    /// A reply showed how many seconds the collector's clock is ahead of ours.
    pub(crate) fn note_clock_offset(&self, seconds: f64) {
        *self.offset() = Some(seconds);
    }

    fn offset(&self) -> MutexGuard<'_, Option<f64>> {
        let offset = self.clock_offset.lock();
        offset.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the battery feeds the device; unknown where nothing says so.
    pub(crate) fn on_battery(&self) -> Option<bool> {
        self.with(|device| device.on_battery())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Device) -> T) -> T {
        act(&mut self.device.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Samples until the line shuts down.
pub(crate) fn run(shared: &Shared) {
    let energy = shared.meter.energy();
    let period = energy.map_or(DEVICE_PERIOD, |energy| energy.sampling());
    let mut device_due = Instant::now();
    loop {
        sample_energy(&shared.meter);
        let now = Instant::now();
        if now >= device_due {
            shared.surroundings.with(Device::sample);
            shared.look(now);
            device_due = now + DEVICE_PERIOD;
        }
        if shared.bell.sleep(now + period) {
            return;
        }
    }
}

/// Reads the energy used since the last time, and records what ended inferences used. Also called
/// when a window closes, so that it holds what ended in it, and the last window the last inference.
pub(crate) fn sample_energy(meter: &Meter) {
    let Some(energy) = meter.energy() else { return };
    for (series, joules) in energy.sample() {
        meter.shard().value(series, Signal::Energy, joules);
    }
}
