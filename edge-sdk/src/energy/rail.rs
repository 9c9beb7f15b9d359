//! The input of boards with an INA3221 (Jetson). In: hwmon folders, found by their `name` because
//! their numbers change at every boot. Out: watts of the whole module, without its carrier board.
//! Where one rail feeds all others it is read alone, because adding them would count twice. Rails
//! are added only on a board known to have no such rail; on an unknown one nothing is read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Integral, Source};
use crate::sysfs::{folders, number, text};

const FOLDER: &str = "sys/class/hwmon";

/// Labels of rails that together are the whole module, each part once. Orin NX, Orin Nano, Xavier
/// NX and TX2; Nano; AGX Orin, whose 5 V rail feeds neither of the other two.
const WHOLE_MODULES: [&[&str]; 3] = [
    &["VDD_IN"],
    &["POM_5V_IN"],
    &["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"],
];

#[derive(Debug)]
pub(super) struct Module {
    rails: Vec<Rail>,
    integral: Integral,
}

/// Voltage in millivolt and current in milliampere.
#[derive(Clone, Debug)]
struct Rail {
    volts: PathBuf,
    amperes: PathBuf,
}

/// The module, if its rails are those of a board known here and all can be read.
pub(super) fn find(root: &Path) -> Option<Module> {
    let sensors = folders(&root.join(FOLDER)).into_iter();
    let sensors =
        sensors.filter(|sensor| text(&sensor.join("name")).is_some_and(|name| name == "ina3221"));
    let labelled: BTreeMap<String, Rail> = sensors.flat_map(|sensor| rails(&sensor)).collect();
    let mut modules = WHOLE_MODULES.iter().filter_map(|labels| {
        let rails = labels.iter().map(|label| labelled.get(*label).cloned());
        let module = Module {
            rails: rails.collect::<Option<_>>()?,
            integral: Integral::default(),
        };
        module.watts().is_some().then_some(module)
    });
    modules.next()
}

/// The channels of a sensor that have a label.
fn rails(sensor: &Path) -> Vec<(String, Rail)> {
    let channels = (1..=3).filter_map(|channel| {
        let label = text(&sensor.join(format!("in{channel}_label")))?;
        let rail = Rail {
            volts: sensor.join(format!("in{channel}_input")),
            amperes: sensor.join(format!("curr{channel}_input")),
        };
        Some((label, rail))
    });
    channels.collect()
}

impl Module {
    fn watts(&self) -> Option<f64> {
        self.rails.iter().map(Rail::watts).sum()
    }
}

impl Rail {
    fn watts(&self) -> Option<f64> {
        Some(number(&self.volts)? * number(&self.amperes)? / 1e6)
    }
}

impl Source for Module {
    fn joules(&mut self, at: f64) -> Option<f64> {
        let watts = self.watts();
        self.integral.joules(at, watts)
    }
}
