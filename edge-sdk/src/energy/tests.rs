//! Readers on trees as real devices show them, written file by file.

use std::path::Path;

use tempfile::TempDir;

use super::*;

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
    let mut found = find(root.path(), None).unwrap();
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
    let folder = std::env::var("FATHOMLINE_VECTORS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors").to_owned());
    let text = fs::read_to_string(format!("{folder}/energy.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
    for case in vectors["wrap"].as_array().unwrap() {
        let root = laptop();
        let range = case["max_energy_range_uj"].to_string();
        write(
            root.path(),
            &format!("{PACKAGE}/max_energy_range_uj"),
            &range,
        );
        let mut rapl = rapl::find(root.path()).unwrap();
        let mut joules = 0.0;
        for energy in case["energy_uj"].as_array().unwrap() {
            write(
                root.path(),
                &format!("{PACKAGE}/energy_uj"),
                &energy.to_string(),
            );
            joules += rapl.joules(0.0).unwrap_or(0.0);
        }
        let wanted = case["joules"].as_f64().unwrap();
        assert!(
            (joules - wanted).abs() <= 1e-9 * wanted,
            "{joules} is not {wanted}"
        );
    }
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
    let mut found = find(root.path(), Some(2.0)).unwrap();
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
    let mut found = find(root.path(), None).unwrap();
    assert_eq!(
        (found.reading.source, found.reading.scope),
        ("measured.battery", "device")
    );
    found.source.joules(0.0);
    assert_eq!(found.source.joules(3.0), Some(6.0));
    write(root.path(), &format!("{battery}/status"), "Charging");
    assert_eq!(found.source.joules(4.0), None);
    assert!(battery::find(root.path()).is_none());
}

#[test]
fn without_a_sensor_there_is_a_declared_estimate_or_nothing() {
    let stat = "1 (a (b) c) R 0 1 1 0 -1 4194304 500 0 0 0 150 50 0 0 20 0 1 0 100";
    let root = tree(&[("proc/self/stat", stat)]);
    assert!(find(root.path(), None).is_none());
    let mut found = find(root.path(), Some(3.0)).unwrap();
    assert_eq!(found.reading.source, "estimated");
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
    let reading = find(laptop().path(), None).unwrap().reading;
    assert!(ENERGY_SOURCES.contains(&reading.source) && ENERGY_SCOPES.contains(&reading.scope));
}
