//! Processor packages of Intel and AMD through powercap. In: `intel-rapl:N` folders (AMD appears
//! under the same name). Out: joules of all packages. Only packages: `core`, `uncore` and `dram`
//! are inside of one or beside it, and `psys` holds everything again. Counters wrap at
//! `max_energy_range_uj`: minutes at full load, so they are polled far more often.

use std::path::{Path, PathBuf};

use super::{Source, folders, number, text};

const FOLDER: &str = "sys/class/powercap";

/// The packages of a device.
pub(super) struct Rapl {
    packages: Vec<Package>,
}

struct Package {
    counter: PathBuf,
    range: f64,
    last: Option<f64>,
}

/// All packages, or none when one of them cannot be read: a part must not be taken for the whole.
pub(super) fn find(root: &Path) -> Option<Rapl> {
    let zones = folders(&root.join(FOLDER));
    let is_package = |zone: &PathBuf| {
        let top = zone.file_name().and_then(|name| name.to_str());
        let top = top.is_some_and(|name| {
            name.strip_prefix("intel-rapl:")
                .is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
        });
        top && text(&zone.join("name")).is_some_and(|name| name.starts_with("package"))
    };
    let zones: Vec<_> = zones.into_iter().filter(is_package).collect();
    if zones.is_empty() {
        return None;
    }
    let package = |zone: &PathBuf| {
        let counter = zone.join("energy_uj");
        number(&counter)?;
        Some(Package {
            counter,
            range: number(&zone.join("max_energy_range_uj"))?,
            last: None,
        })
    };
    let packages: Option<Vec<_>> = zones.iter().map(package).collect();
    if packages.is_none() {
        tracing::info!(
            "the processor's energy counters are there and cannot be read, so energy is not \
             measured; let the application's group read /sys/class/powercap/*/energy_uj"
        );
    }
    packages.map(|packages| Rapl { packages })
}

impl Source for Rapl {
    fn joules(&mut self, _at: f64) -> Option<f64> {
        let deltas = self.packages.iter_mut().map(Package::joules);
        // Every package is read each time, whether or not another failed.
        let deltas: Vec<_> = deltas.collect();
        deltas.into_iter().sum()
    }
}

impl Package {
    fn joules(&mut self) -> Option<f64> {
        let now = number(&self.counter);
        let last = std::mem::replace(&mut self.last, now);
        let gained = now? - last?;
        let gained = if gained < 0.0 {
            gained + self.range
        } else {
            gained
        };
        Some(gained / 1e6)
    }
}
