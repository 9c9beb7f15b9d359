//! What inferences cost in joules. In: readings of the device's own sensors, or of processor time.
//! Out: joules of each inference above idle, and what was idle or nobody's. One source for a
//! line's whole life, the best that can be read at its start: if it fails later, energy is absent
//! and never comes from another. Sources and their traps: Linux powercap, hwmon and power_supply.

mod attribution;
mod battery;
mod estimate;
mod idle;
#[cfg(any(feature = "nvml", test))]
mod nvml;
mod rail;
mod rapl;

use std::{
    fmt::Debug,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use attribution::{Attribution, Sampled};
pub(crate) use attribution::{Ticket, Totals};
use idle::Idle;

use crate::{meter::SeriesKey, otlp::EnergyReading};

/// How often to look at a sensor that shows the power of a moment.
const SAMPLING: Duration = Duration::from_millis(100);

/// How often to look at one that counts: nothing is missed in between, and each look costs a device
/// a tenth of a millisecond when its caches are cold.
const COUNTER_SAMPLING: Duration = Duration::from_millis(250);

/// After so many seconds without a reading nobody knows what was drawn in between, nor how often a
/// counter wrapped.
const GAP: f64 = 10.0;

/// A sensor, read again and again.
pub(crate) trait Source: Debug + Send {
    /// Joules since the last call, at a time in seconds on any one clock. `None` when it could not
    /// be read, and at the first call.
    fn joules(&mut self, at: f64) -> Option<f64>;
}

/// A source and what its numbers may be called.
#[derive(Debug)]
pub(crate) struct Found {
    source: Box<dyn Source>,
    pub(crate) reading: EnergyReading,
    /// How often to look.
    sampling: Duration,
    /// Whether it also sees what the device draws when nothing runs.
    sees_idle: bool,
}

impl Found {
    fn new(source: impl Source + 'static, name: &'static str, scope: &'static str) -> Self {
        Self {
            source: Box::new(source),
            reading: EnergyReading {
                source: name,
                scope,
            },
            sampling: SAMPLING,
            sees_idle: true,
        }
    }
}

/// The best source under `root` (`/` outside of tests): a module's input, NVIDIA boards if `gpu`,
/// the processor's counters, the battery, or an estimate of so many watts for each busy core if one
/// was declared.
pub(crate) fn find(root: &Path, watts_per_core: Option<f64>, gpu: bool) -> Option<Found> {
    let module = || Some(Found::new(rail::find(root)?, "measured.rail", "module"));
    let boards = || if gpu { boards() } else { None };
    let counted = |found| Found {
        sampling: COUNTER_SAMPLING,
        ..found
    };
    let packages = || {
        let packages = rapl::find(root)?;
        Some(counted(Found::new(packages, "measured.package", "package")))
    };
    let battery = || {
        let battery = battery::find(root)?;
        Some(Found::new(battery, "measured.battery", "device"))
    };
    let estimate = || {
        let estimate = estimate::find(root, watts_per_core?)?;
        Some(Found {
            sees_idle: false,
            ..counted(Found::new(estimate, "estimated", "package"))
        })
    };
    module()
        .or_else(boards)
        .or_else(packages)
        .or_else(battery)
        .or_else(estimate)
}

#[cfg(feature = "nvml")]
fn boards() -> Option<Found> {
    let gpus = nvml::find()?;
    Some(Found {
        sampling: gpus.sampling(),
        ..Found::new(gpus, "measured.gpu", "gpu")
    })
}

#[cfg(not(feature = "nvml"))]
fn boards() -> Option<Found> {
    None
}

/// Who is running, and who used what.
#[derive(Debug)]
pub(crate) struct Energy {
    began: Instant,
    reading: EnergyReading,
    sampling: Duration,
    /// All that inferences wait for.
    attribution: Mutex<Attribution<SeriesKey>>,
    /// Held while a sensor is read, so never by an inference.
    sensor: Mutex<Sensor>,
}

#[derive(Debug)]
struct Sensor {
    source: Box<dyn Source>,
    /// `None` where the source sees nothing but work, so that idling draws nothing of it.
    idle: Option<Idle>,
    /// Power over shorter spans says more about when a counter moves than about the device.
    span_min: f64,
}

impl Energy {
    pub(crate) fn new(found: Found) -> Self {
        let sensor = Sensor {
            source: found.source,
            idle: found.sees_idle.then(Idle::default),
            span_min: found.sampling.as_secs_f64() / 2.0,
        };
        let energy = Self {
            began: Instant::now(),
            reading: found.reading,
            sampling: found.sampling,
            attribution: Mutex::default(),
            sensor: Mutex::new(sensor),
        };
        // So that the first inference has a reading before it.
        energy.sample();
        energy
    }

    /// What is read, and what part of the device that covers.
    pub(crate) fn reading(&self) -> EnergyReading {
        self.reading
    }

    /// How often to sample.
    pub(crate) fn sampling(&self) -> Duration {
        self.sampling
    }

    /// An inference begins.
    pub(crate) fn begin(&self, series: SeriesKey, now: Instant) -> Ticket {
        self.attribution().begin(series, self.seconds(now))
    }

    /// It ends; its joules are known once the sample that covers its end was taken.
    pub(crate) fn end(&self, ticket: Ticket, now: Instant) {
        self.attribution().end(ticket, self.seconds(now));
    }

    /// Reads the sensor. Joules of the inferences that are complete by now.
    pub(crate) fn sample(&self) -> Vec<(SeriesKey, f64)> {
        let mut sensor = self.lock_sensor();
        let now = self.seconds(Instant::now());
        let joules = sensor.source.joules(now);
        let idle_watts = sensor.idle.as_ref().map_or(Some(0.0), Idle::watts);
        let Sampled { finished, quiet } = self.attribution().sample(joules, now, idle_watts);
        let span_min = sensor.span_min;
        let quiet = quiet.filter(|(seconds, _)| *seconds >= span_min);
        if let (Some((seconds, watts)), Some(idle)) = (quiet, &mut sensor.idle) {
            idle.saw(watts, seconds, now);
        }
        finished
    }

    /// Joules since the last call.
    pub(crate) fn take_totals(&self) -> Totals {
        self.attribution().take_totals()
    }

    /// Joules that were taken and did not arrive.
    pub(crate) fn put_back(&self, totals: Totals) {
        self.attribution().put_back(totals);
    }

    /// What a window says of them, by use: inference, idle, unattributed. What is not known is
    /// absent.
    pub(crate) fn uses(&self, totals: Totals) -> Option<[Option<f64>; 3]> {
        let told_apart = |joules| totals.told_apart.then_some(joules);
        let sees_idle = self.lock_sensor().idle.is_some();
        let uses = [
            told_apart(totals.inference),
            told_apart(totals.idle).filter(|_| sees_idle),
            Some(totals.unattributed),
        ];
        totals.measured.then_some(uses)
    }

    /// Seconds on this line's clock.
    fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.began).as_secs_f64()
    }

    fn attribution(&self) -> MutexGuard<'_, Attribution<SeriesKey>> {
        self.attribution
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_sensor(&self) -> MutexGuard<'_, Sensor> {
        self.sensor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Power now and then, integrated by trapezoids.
#[derive(Debug, Default)]
struct Integral {
    last: Option<(f64, f64)>,
}

impl Integral {
    /// Joules since the last reading. A reading that failed, or came late, leaves a gap that nobody
    /// fills.
    fn joules(&mut self, at: f64, watts: Option<f64>) -> Option<f64> {
        let watts = watts.filter(|watts| watts.is_finite() && *watts >= 0.0);
        let last = std::mem::replace(&mut self.last, watts.map(|watts| (at, watts)));
        let ((then, before), now) = (last?, watts?);
        let seconds = (at - then).max(0.0);
        (seconds <= GAP).then(|| (before + now) / 2.0 * seconds)
    }
}

#[cfg(test)]
mod tests;
