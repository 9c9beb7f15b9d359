//! Readers on trees as real devices show them, written file by file.

use std::{fs, path::Path, sync::Arc};

use tempfile::TempDir;

use super::*;
use crate::vectors::{self, numbers};

fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().unwrap();
    files
        .iter()
        .for_each(|(path, text)| write(root.path(), path, text));
    root
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("{text}\n")).unwrap();
}

const PACKAGE: &str = "sys/class/powercap/intel-rapl:0";

fn laptop() -> TempDir {
    tree(&[
        ("sys/class/powercap/intel-rapl:0/name", "package-0"),
        ("sys/class/powercap/intel-rapl:0/energy_uj", "1000000"),
        (
            "sys/class/powercap/intel-rapl:0/max_energy_range_uj",
            "262143328850",
        ),
        ("sys/class/powercap/intel-rapl:0:0/name", "core"),
        ("sys/class/powercap/intel-rapl:0:0/energy_uj", "900000"),
        (
            "sys/class/powercap/intel-rapl:0:0/max_energy_range_uj",
            "262143328850",
        ),
        ("sys/class/powercap/intel-rapl:1/name", "psys"),
        ("sys/class/powercap/intel-rapl:1/energy_uj", "7000000"),
        (
            "sys/class/powercap/intel-rapl:1/max_energy_range_uj",
            "262143328850",
        ),
        ("sys/class/power_supply/BAT0/type", "Battery"),
        ("sys/class/power_supply/BAT0/status", "Discharging"),
        ("sys/class/power_supply/BAT0/power_now", "9500000"),
    ])
}

#[test]
fn a_package_is_counted_once_and_its_parts_not_at_all() {
    let root = laptop();
    let mut found = find(root.path(), None, false).unwrap();
    assert_eq!(
        (found.reading.source, found.reading.scope),
        ("measured.package", "package")
    );
    assert_eq!(found.source.joules(0.0), None);
    write(root.path(), &format!("{PACKAGE}/energy_uj"), "3500000");
    write(
        root.path(),
        "sys/class/powercap/intel-rapl:0:0/energy_uj",
        "2900000",
    );
    assert_eq!(found.source.joules(1.0), Some(2.5));
}

#[test]
fn counters_wrap_as_the_vectors_say() {
    for case in vectors::read("energy.json")["wrap"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let range = number("max_energy_range_uj");
        let counter = numbers(&case["energy_uj"]);
        let gained = counter
            .windows(2)
            .map(|pair| rapl::gained(pair[0], pair[1], range));
        let (joules, wanted) = (gained.sum::<f64>() / 1e6, number("joules"));
        assert!(
            (joules - wanted).abs() <= 1e-9 * wanted,
            "{joules} is not {wanted}"
        );
    }
}

#[test]
fn a_counter_that_wrapped_goes_on_and_one_that_began_anew_says_nothing() {
    let root = laptop();
    let counts = |energy: &str| write(root.path(), &format!("{PACKAGE}/energy_uj"), energy);
    counts("262143000000");
    let mut rapl = rapl::find(root.path()).unwrap();
    assert_eq!(rapl.joules(0.0), None);
    counts("671150");
    assert_eq!(rapl.joules(0.1), Some(1.0));
    counts("90000000000");
    // 90 kJ in a tenth of a second, and a gap in which it may have wrapped more than once.
    assert_eq!(rapl.joules(0.2), None);
    counts("90002000000");
    assert_eq!(rapl.joules(0.3), Some(2.0));
    counts("90003000000");
    assert_eq!(rapl.joules(100.0), None);
    counts("90004000000");
    assert_eq!(rapl.joules(100.1), Some(1.0));
}

#[test]
fn two_packages_add_up_and_one_that_fails_makes_the_reading_absent() {
    let root = laptop();
    for (file, text) in [
        ("name", "package-1"),
        ("energy_uj", "5000000"),
        ("max_energy_range_uj", "262143328850"),
    ] {
        write(
            root.path(),
            &format!("sys/class/powercap/intel-rapl:2/{file}"),
            text,
        );
    }
    let mut rapl = rapl::find(root.path()).unwrap();
    rapl.joules(0.0);
    write(root.path(), &format!("{PACKAGE}/energy_uj"), "2000000");
    write(
        root.path(),
        "sys/class/powercap/intel-rapl:2/energy_uj",
        "7000000",
    );
    assert_eq!(rapl.joules(1.0), Some(3.0));
    fs::remove_file(root.path().join(PACKAGE).join("energy_uj")).unwrap();
    assert_eq!(rapl.joules(2.0), None);
}

#[test]
fn a_boards_input_rail_is_read_and_the_rails_behind_it_are_not_added() {
    let sensor = "sys/class/hwmon/hwmon3";
    let root = tree(&[("sys/class/hwmon/hwmon1/name", "cpu_thermal")]);
    for (file, text) in [
        ("name", "ina3221"),
        ("in1_label", "VDD_CPU_GPU_CV"),
        ("in1_input", "19000"),
        ("curr1_input", "100"),
        ("in2_label", "VDD_IN"),
        ("in2_input", "19000"),
        ("curr2_input", "400"),
    ] {
        write(root.path(), &format!("{sensor}/{file}"), text);
    }
    let mut found = find(root.path(), Some(2.0), false).unwrap();
    assert_eq!(
        (found.reading.source, found.reading.scope),
        ("measured.rail", "module")
    );
    assert_eq!(found.source.joules(10.0), None);
    write(root.path(), &format!("{sensor}/curr2_input"), "800");
    // From 7.6 W to 15.2 W in half a second.
    let joules = found.source.joules(10.5).unwrap();
    assert!((joules - 5.7).abs() < 1e-12, "{joules}");
    write(
        root.path(),
        &format!("{sensor}/in2_label"),
        "sum of something",
    );
    assert!(rail::find(root.path()).is_none());
}

#[test]
fn rails_are_added_on_a_board_known_to_have_no_input_rail_and_on_no_other() {
    let (one, two) = ("sys/class/hwmon/hwmon4", "sys/class/hwmon/hwmon5");
    let root = tree(&[]);
    let set = |sensor: &str, file: &str, text: &str| {
        write(root.path(), &format!("{sensor}/{file}"), text);
    };
    for (channel, label, amperes) in [
        (1, "VDD_GPU_SOC", "300"),
        (2, "VDD_CPU_CV", "200"),
        (3, "VIN_SYS_5V0", "1000"),
    ] {
        set(one, &format!("in{channel}_label"), label);
        let volts = if channel == 3 { "5000" } else { "20000" };
        set(one, &format!("in{channel}_input"), volts);
        set(one, &format!("curr{channel}_input"), amperes);
    }
    set(one, "name", "ina3221");
    // Its second sensor shows a part of the 5 V rail once more.
    set(two, "name", "ina3221");
    set(two, "in2_label", "VDDQ_VDD2_1V8AO");
    set(two, "in2_input", "5000");
    set(two, "curr2_input", "400");
    let mut module = rail::find(root.path()).unwrap();
    module.joules(0.0);
    let joules = module.joules(1.0).unwrap();
    assert!((joules - 15.0).abs() < 1e-12, "{joules}");
    fs::remove_file(root.path().join(one).join("curr2_input")).unwrap();
    assert_eq!(module.joules(2.0), None);
    set(one, "curr2_input", "200");
    set(one, "in2_label", "VDD_ELSE");
    assert!(rail::find(root.path()).is_none());
}

#[test]
fn a_battery_speaks_while_it_discharges() {
    let battery = "sys/class/power_supply/battery";
    let root = tree(&[]);
    for (file, text) in [
        ("type", "Battery"),
        ("status", "Discharging"),
        ("current_now", "-500000"),
        ("voltage_now", "4000000"),
    ] {
        write(root.path(), &format!("{battery}/{file}"), text);
    }
    let mut found = find(root.path(), None, false).unwrap();
    assert_eq!(
        (found.reading.source, found.reading.scope),
        ("measured.battery", "device")
    );
    found.source.joules(0.0);
    assert_eq!(found.source.joules(3.0), Some(6.0));
    // Nobody saw what happened in between.
    assert_eq!(found.source.joules(60.0), None);
    write(root.path(), &format!("{battery}/status"), "Charging");
    assert_eq!(found.source.joules(61.0), None);
    assert!(battery::find(root.path()).is_none());
}

#[test]
fn two_batteries_are_one_device_and_a_mouse_is_none() {
    let root = tree(&[]);
    let set = |battery: &str, file: &str, text: &str| {
        let path = format!("sys/class/power_supply/{battery}/{file}");
        write(root.path(), &path, text);
    };
    for (battery, status, power) in [
        ("BAT0", "Discharging", "6000000"),
        ("BAT1", "Not charging", "0"),
        ("mouse", "Discharging", "50000"),
    ] {
        set(battery, "type", "Battery");
        set(battery, "status", status);
        set(battery, "power_now", power);
    }
    set("mouse", "scope", "Device");
    let mut batteries = battery::find(root.path()).unwrap();
    batteries.joules(0.0);
    assert_eq!(batteries.joules(1.0), Some(6.0));
    // The first is empty, the second takes over.
    set("BAT0", "status", "Not charging");
    set("BAT1", "status", "Discharging");
    set("BAT1", "power_now", "8000000");
    assert_eq!(batteries.joules(2.0), Some(7.0));
    set("BAT0", "status", "Charging");
    assert_eq!(batteries.joules(3.0), None);
}

#[test]
fn without_a_sensor_there_is_a_declared_estimate_or_nothing() {
    let stat = "1 (a (b) c) R 0 1 1 0 -1 4194304 500 0 0 0 150 50 0 0 20 0 1 0 100";
    let root = tree(&[("proc/self/stat", stat)]);
    assert!(find(root.path(), None, false).is_none());
    let mut found = find(root.path(), Some(3.0), false).unwrap();
    assert_eq!(found.reading.source, "estimated");
    assert!(!found.sees_idle);
    found.source.joules(0.0);
    write(
        root.path(),
        "proc/self/stat",
        &stat.replace(" 150 50 ", " 250 150 "),
    );
    assert_eq!(found.source.joules(1.0), Some(6.0));
}

#[test]
fn every_name_is_one_of_the_contract() {
    use fathomline_wire::names::{ENERGY_SCOPES, ENERGY_SOURCES};
    let reading = find(laptop().path(), None, false).unwrap().reading;
    assert!(ENERGY_SOURCES.contains(&reading.source) && ENERGY_SCOPES.contains(&reading.scope));
}

/// Draws 30 mW all the time, and what it is told on top.
#[derive(Debug)]
struct Fake {
    last: Option<f64>,
    above: Arc<Mutex<Option<f64>>>,
}

impl Source for Fake {
    fn joules(&mut self, at: f64) -> Option<f64> {
        let last = self.last.replace(at)?;
        Some(0.03 * (at - last) + self.above.lock().unwrap().take()?)
    }
}

fn idle_of(watts: f64) -> Idle {
    let mut idle = Idle::default();
    (0..10).for_each(|n| idle.saw(watts, 1.0, f64::from(n)));
    idle
}

#[test]
fn idle_is_learnt_first_and_then_taken_off() {
    let above = Arc::new(Mutex::new(Some(0.0)));
    let source = Fake {
        last: None,
        above: Arc::clone(&above),
    };
    let energy = Energy::new(Found {
        sampling: Duration::ZERO,
        ..Found::new(source, "measured.rail", "module")
    });
    let sample = |joules| {
        *above.lock().unwrap() = joules;
        std::thread::sleep(Duration::from_millis(1));
        energy.sample()
    };
    let series = SeriesKey {
        variant: 0,
        operation: None,
    };
    let infer = |joules| {
        let ticket = energy.begin(series, Instant::now());
        energy.end(ticket, Instant::now());
        sample(joules)
    };
    let nothing: Vec<(SeriesKey, f64)> = Vec::new();
    assert_eq!(sample(Some(0.0)), nothing);
    let [None, None, Some(unattributed)] = energy.uses(energy.take_totals()).unwrap() else {
        panic!("nothing is known of idle yet");
    };
    assert!(unattributed > 0.0);
    assert_eq!(energy.lock_sensor().idle.as_ref().unwrap().samples(), 1);
    // The rest of the seconds that it takes.
    energy.lock_sensor().idle = Some(idle_of(0.03));
    let [(_, joules)] = infer(Some(5.0))[..] else {
        panic!("one inference ended");
    };
    assert!((joules - 5.0).abs() < 0.05, "{joules}");
    // A sensor that fails takes this inference's joules with it, and no others.
    assert_eq!(infer(None), nothing);
    assert_eq!(infer(Some(2.0)).len(), 1);
    let [Some(inference), Some(idle), Some(_)] = energy.uses(energy.take_totals()).unwrap() else {
        panic!("all uses are known");
    };
    assert!((inference - 7.0).abs() < 0.1, "{inference}");
    assert!(idle > 0.0);
    assert_eq!(energy.uses(energy.take_totals()), None);
}
