//! What inferences cost in joules. In: readings of the device's own sensors, or of processor time.
//! Out: joules of each inference above idle, and what was idle or nobody's. One source for a
//! line's whole life, the best that can be read at its start: if it fails later, energy is absent
//! and never comes from another. Sources and their traps: Linux powercap, hwmon and power_supply.

mod attribution;
mod battery;
mod estimate;
mod idle;
mod rail;
mod rapl;

use std::{
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

pub(crate) use attribution::Ticket;
use attribution::{Attribution, Totals};

use crate::{meter::SeriesKey, otlp::EnergyReading};

/// A sensor, read again and again.
pub(crate) trait Source: Send {
    /// Joules since the last call, at a time in seconds on any one clock. `None` when it could not
    /// be read, and at the first call.
    fn joules(&mut self, at: f64) -> Option<f64>;
}

/// A source and what its numbers may be called.
pub(crate) struct Found {
    pub(crate) source: Box<dyn Source>,
    pub(crate) reading: EnergyReading,
}

/// The best source under `root` (`/` outside of tests): a rail, the processor's counters, the
/// battery, or an estimate of so many watts for each busy core if one was declared.
pub(crate) fn find(root: &Path, watts_per_core: Option<f64>) -> Option<Found> {
    let found = |source: Box<dyn Source>, name, scope| {
        let reading = EnergyReading {
            source: name,
            scope,
        };
        Some(Found { source, reading })
    };
    if let Some(rail) = rail::find(root) {
        return found(Box::new(rail), "measured.rail", "module");
    }
    if let Some(rapl) = rapl::find(root) {
        return found(Box::new(rapl), "measured.package", "package");
    }
    if let Some(battery) = battery::find(root) {
        return found(Box::new(battery), "measured.battery", "device");
    }
    let estimate = estimate::find(root, watts_per_core?)?;
    found(Box::new(estimate), "estimated", "package")
}

/// Who is running, and who used what.
#[derive(Debug)]
pub(crate) struct Energy {
    began: Instant,
    reading: EnergyReading,
    attribution: Mutex<Attribution<SeriesKey>>,
}

impl Energy {
    pub(crate) fn new(reading: EnergyReading) -> Self {
        Self {
            began: Instant::now(),
            reading,
            attribution: Mutex::default(),
        }
    }

    /// What is read, and what part of the device that covers.
    pub(crate) fn reading(&self) -> EnergyReading {
        self.reading
    }

    /// An inference begins. `None` when more run than are told apart.
    pub(crate) fn begin(&self, series: SeriesKey, now: Instant) -> Option<Ticket> {
        self.lock().begin(series, self.seconds(now))
    }

    /// It ends; its joules are known once the sample that covers its end was taken.
    pub(crate) fn end(&self, ticket: Ticket, now: Instant) {
        self.lock().end(ticket, self.seconds(now));
    }

    /// One reading: joules up to `now`, and the inferences that are complete by then.
    pub(crate) fn sample(&self, joules: Option<f64>, now: Instant) -> Vec<(SeriesKey, f64)> {
        self.lock().sample(joules, self.seconds(now))
    }

    /// Joules since the last call.
    pub(crate) fn take_totals(&self) -> Totals {
        self.lock().take_totals()
    }

    /// Seconds on this line's clock.
    pub(crate) fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.began).as_secs_f64()
    }

    fn lock(&self) -> MutexGuard<'_, Attribution<SeriesKey>> {
        self.attribution
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Power now and then, integrated by trapezoids.
#[derive(Debug, Default)]
struct Integral {
    last: Option<(f64, f64)>,
}

impl Integral {
    /// Joules since the last reading. A reading that failed leaves a gap that nobody fills.
    fn joules(&mut self, at: f64, watts: Option<f64>) -> Option<f64> {
        let watts = watts.filter(|watts| watts.is_finite() && *watts >= 0.0);
        let last = std::mem::replace(&mut self.last, watts.map(|watts| (at, watts)));
        let ((then, before), now) = (last?, watts?);
        Some((before + now) / 2.0 * (at - then).max(0.0))
    }
}

/// A file's text without its line end; `None` when it cannot be read.
fn text(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim_end().to_owned())
}

fn number(path: &Path) -> Option<f64> {
    text(path)?
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

/// Folders in `folder`, sorted by name.
fn folders(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.path()).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests;
