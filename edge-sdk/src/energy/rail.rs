//! The input rail of boards with an INA3221 (Jetson). In: hwmon folders, found by their `name`
//! because their numbers change at every boot. Out: watts of the whole module, without its carrier
//! board. Only the input rail: it feeds the others, and adding them would count twice.

use std::path::{Path, PathBuf};

use super::{Integral, Source, folders, number, text};

const FOLDER: &str = "sys/class/hwmon";

/// Labels of rails that feed all others, as boards name them.
const INPUT_RAILS: [&str; 3] = ["VDD_IN", "POM_5V_IN", "VIN_SYS_5V0"];

/// Voltage in millivolt and current in milliampere.
pub(super) struct Rail {
    volts: PathBuf,
    amperes: PathBuf,
    integral: Integral,
}

/// The input rail, if the board names one of those known.
pub(super) fn find(root: &Path) -> Option<Rail> {
    let sensors = folders(&root.join(FOLDER)).into_iter();
    let mut sensors =
        sensors.filter(|sensor| text(&sensor.join("name")).is_some_and(|name| name == "ina3221"));
    sensors.find_map(|sensor| {
        let input = (1..=3).find(|channel| {
            let label = text(&sensor.join(format!("in{channel}_label")));
            label.is_some_and(|label| INPUT_RAILS.contains(&label.as_str()))
        })?;
        let rail = Rail {
            volts: sensor.join(format!("in{input}_input")),
            amperes: sensor.join(format!("curr{input}_input")),
            integral: Integral::default(),
        };
        rail.watts().is_some().then_some(rail)
    })
}

impl Rail {
    fn watts(&self) -> Option<f64> {
        Some(number(&self.volts)? * number(&self.amperes)? / 1e6)
    }
}

impl Source for Rail {
    fn joules(&mut self, at: f64) -> Option<f64> {
        let watts = self.watts();
        self.integral.joules(at, watts)
    }
}
