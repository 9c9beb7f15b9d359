//! The thread that looks at the device. In: sensors. Out: joules for inferences that ended, and
//! what a window says about the device. Looks ten times a second while energy is read, because
//! sensors show power of a moment, else once; far apart from the inference path.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    device::Device,
    energy::{Energy, Found},
    line::Shared,
    meter::Signal,
    otlp::DeviceState,
};

const ENERGY_PERIOD: Duration = Duration::from_millis(100);
const DEVICE_PERIOD: Duration = Duration::from_secs(1);

/// What is known of the device, shared with whoever closes windows.
#[derive(Debug)]
pub(crate) struct Surroundings {
    device: Mutex<Device>,
}

impl Surroundings {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            device: Mutex::new(Device::new(root)),
        }
    }

    /// Levels now, and shares and joules since the last window.
    pub(crate) fn report(&self, energy: Option<&Energy>, state: &mut DeviceState) {
        self.with(|device| device.report(state));
        let totals = energy.map(Energy::take_totals);
        let totals = totals.filter(|totals| totals.measured);
        state.energy = totals.map(|t| [t.inference, t.idle, t.unattributed]);
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
pub(crate) fn run(shared: &Shared, mut found: Option<Found>) {
    let period = if found.is_some() {
        ENERGY_PERIOD
    } else {
        DEVICE_PERIOD
    };
    let mut device_due = Instant::now();
    loop {
        let now = Instant::now();
        if now >= device_due {
            shared.surroundings.with(Device::sample);
            shared.look(now);
            device_due = now + DEVICE_PERIOD;
        }
        if let (Some(found), Some(energy)) = (&mut found, shared.meter.energy()) {
            let joules = found.source.joules(energy.seconds(now));
            for (series, joules) in energy.sample(joules, now) {
                shared.meter.shard().value(series, Signal::Energy, joules);
            }
        }
        if shared.bell.sleep(now + period) {
            return;
        }
    }
}
