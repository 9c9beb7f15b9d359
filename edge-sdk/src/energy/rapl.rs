//! Processor packages of Intel and AMD through powercap. In: `intel-rapl:N` folders (AMD appears
//! under the same name). Out: joules of all packages. Only packages: `core`, `uncore` and `dram`
//! are inside of one or beside it, and `psys` holds everything again. Counters wrap at
//! `max_energy_range_uj`: minutes at full load, so they are polled far more often.

use std::{
    path::{Path, PathBuf},
    sync::Once,
};

use super::{GAP, Source};
use crate::sysfs::{folders, number, text};

const FOLDER: &str = "sys/class/powercap";

/// No package draws so much. A counter that starts again from nothing, as after a suspend, looks
/// like one that wrapped, and would be kilojoules.
const WATTS_MAX: f64 = 2_000.0;

/// Counters move about once a millisecond, so a sample this short may hold more than its own.
const STEP: f64 = 0.1;

/// The packages of a device.
#[derive(Debug)]
pub(super) struct Rapl {
    packages: Vec<Package>,
    read: Option<f64>,
}

#[derive(Debug)]
struct Package {
    counter: PathBuf,
    /// Microjoules at which the counter wraps.
    range: f64,
    last: Option<f64>,
}

/// All packages, or none when one of them cannot be read: a part must not be taken for the whole.
pub(super) fn find(root: &Path) -> Option<Rapl> {
    let mut zones = folders(&root.join(FOLDER));
    zones.retain(|zone| is_package(zone));
    if zones.is_empty() {
        return None;
    }
    let packages: Option<Vec<_>> = zones.iter().map(|zone| package(zone)).collect();
    if packages.is_none() {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            tracing::info!(
                "the processor has energy counters that this user may not read, so another source \
                 is used or none; to measure, let the application's group read \
                 /sys/class/powercap/intel-rapl:*/energy_uj, at every boot"
            );
        });
    }
    packages.map(|packages| Rapl {
        packages,
        read: None,
    })
}

fn is_package(zone: &Path) -> bool {
    let name = zone.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.strip_prefix("intel-rapl:"));
    number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
        && text(&zone.join("name")).is_some_and(|name| name.starts_with("package"))
}

fn package(zone: &Path) -> Option<Package> {
    let counter = zone.join("energy_uj");
    number(&counter)?;
    Some(Package {
        counter,
        range: number(&zone.join("max_energy_range_uj"))?,
        last: None,
    })
}

impl Source for Rapl {
    fn joules(&mut self, at: f64) -> Option<f64> {
        let before = self.read.replace(at);
        let gains = self.packages.iter_mut().map(Package::joules);
        // Every package is read each time, whether or not another failed.
        let gains: Vec<_> = gains.collect();
        let seconds = at - before?;
        let plausible = |joules: &f64| *joules <= WATTS_MAX * seconds.max(STEP);
        if seconds > GAP || !gains.iter().flatten().all(plausible) {
            return None;
        }
        gains.into_iter().sum()
    }
}

impl Package {
    fn joules(&mut self) -> Option<f64> {
        let now = number(&self.counter);
        let last = std::mem::replace(&mut self.last, now);
        Some(gained(last?, now?, self.range) / 1e6)
    }
}

/// From one reading of a counter to the next, if it wrapped once at most.
pub(super) fn gained(before: f64, now: f64, range: f64) -> f64 {
    let gained = now - before;
    if gained < 0.0 { gained + range } else { gained }
}
