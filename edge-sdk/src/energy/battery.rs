//! A battery's own reading, of the whole device. In: `power_supply` folders. Out: watts while it
//! discharges; while it charges nobody knows what the device draws, and nothing is said.

use std::path::{Path, PathBuf};

use super::{Integral, Source, folders, number, text};

const FOLDER: &str = "sys/class/power_supply";

/// Readings refresh every 1 to 60 s; between them they repeat themselves.
pub(super) struct Battery {
    folder: PathBuf,
    integral: Integral,
}

/// The first battery that says what it gives and runs the device now.
pub(super) fn find(root: &Path) -> Option<Battery> {
    let supplies = folders(&root.join(FOLDER)).into_iter();
    let is_battery = |folder: &PathBuf| {
        let is = |file, wanted: &str| text(&folder.join(file)).is_some_and(|text| text == wanted);
        // A mouse has a battery too.
        is("type", "Battery") && !is("scope", "Device")
    };
    let batteries = supplies.filter(is_battery).map(|folder| Battery {
        folder,
        integral: Integral::default(),
    });
    let mut batteries = batteries.filter(|battery| battery.watts().is_some());
    batteries.next()
}

impl Battery {
    fn watts(&self) -> Option<f64> {
        if text(&self.folder.join("status"))? != "Discharging" {
            return None;
        }
        let micro = |file| number(&self.folder.join(file));
        let product = || Some(micro("current_now")? * micro("voltage_now")? / 1e6);
        // Some drivers count what leaves as negative.
        Some(micro("power_now").or_else(product)?.abs() / 1e6)
    }
}

impl Source for Battery {
    fn joules(&mut self, at: f64) -> Option<f64> {
        let watts = self.watts();
        self.integral.joules(at, watts)
    }
}
