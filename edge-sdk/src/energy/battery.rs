//! A device's own batteries, and so the whole device. In: `power_supply` folders. Out: watts while
//! they discharge; while one charges nobody knows what the device draws, and nothing is said.

use std::path::{Path, PathBuf};

use super::{Integral, Source};
use crate::sysfs::{folders, number, text};

const FOLDER: &str = "sys/class/power_supply";

/// Readings refresh every 1 to 60 s; between them they repeat themselves, so joules of a shorter
/// inference are right on average only.
#[derive(Debug)]
pub(super) struct Batteries {
    folders: Vec<PathBuf>,
    integral: Integral,
}

/// The device's batteries, if they run it now and say what they give.
pub(super) fn find(root: &Path) -> Option<Batteries> {
    let mut folders = folders(&root.join(FOLDER));
    folders.retain(|folder| {
        let is = |file, wanted: &str| text(&folder.join(file)).is_some_and(|text| text == wanted);
        // A mouse has a battery too.
        is("type", "Battery") && !is("scope", "Device")
    });
    let batteries = Batteries {
        folders,
        integral: Integral::default(),
    };
    batteries.watts().is_some().then_some(batteries)
}

impl Batteries {
    /// Of all that discharge: a laptop with two empties one after the other.
    fn watts(&self) -> Option<f64> {
        let status = |folder: &PathBuf| text(&folder.join("status"));
        let all: Vec<_> = self.folders.iter().map(status).collect::<Option<_>>()?;
        if all.iter().any(|status| status == "Charging") {
            return None;
        }
        let with_status = self.folders.iter().zip(&all);
        let discharging = with_status.filter(|(_, status)| *status == "Discharging");
        let given: Vec<_> = discharging.map(|(folder, _)| given(folder)).collect();
        (!given.is_empty()).then(|| given.into_iter().sum())?
    }
}

/// Watts that a battery gives.
fn given(folder: &Path) -> Option<f64> {
    let micro = |file| number(&folder.join(file));
    let product = || Some(micro("current_now")? * micro("voltage_now")? / 1e6);
    // Some drivers count what leaves as negative.
    Some(micro("power_now").or_else(product)?.abs() / 1e6)
}

impl Source for Batteries {
    fn joules(&mut self, at: f64) -> Option<f64> {
        let watts = self.watts();
        self.integral.joules(at, watts)
    }
}
