//! Finds the programs that tests run. In: the environment. Out: paths, or the sentence that says
//! what to install. Never builds or installs anything.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use super::workspace;

/// Set where a missing tool must fail the test instead of skipping it.
const REQUIRE_TOOLS: &str = "FATHOMLINE_REQUIRE_TOOLS";

/// The `fathomline` binary that cargo built beside this test.
pub(crate) fn path() -> PathBuf {
    built("fathomline", "FATHOMLINE_BIN")
}

/// The `fathomline-demo` binary that cargo built beside this test.
pub(crate) fn demo() -> PathBuf {
    built("fathomline-demo", "FATHOMLINE_DEMO_BIN")
}

/// The `fathomline-load` binary that cargo built beside this test.
pub(crate) fn load() -> PathBuf {
    built("fathomline-load", "FATHOMLINE_LOAD_BIN")
}

fn built(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = env::var_os(variable) {
        return path.into();
    }
    let test = env::current_exe().expect("a running program has a path");
    let folder = test
        .ancestors()
        .nth(2)
        .expect("tests lie in <target>/<profile>/deps");
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not built; run `cargo test --workspace`, which builds it, or set {variable}",
        path.display()
    );
    path
}

/// A Python that can import `modules`, or none after saying so: tests that need foreign software
/// are skipped on machines without it, unless continuous integration asks for all of them.
pub(crate) fn python_with(modules: &[&str]) -> Option<PathBuf> {
    let python = python();
    let imports = format!("import {}", modules.join(", "));
    let output = Command::new(&python).args(["-c", &imports]).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skipped(&format!(
        "Python with {}: pip install -r tests/foreign/requirements.txt, in .venv or in the Python that FATHOMLINE_PYTHON names",
        modules.join(", ")
    ));
    None
}

fn python() -> PathBuf {
    if let Some(path) = env::var_os("FATHOMLINE_PYTHON") {
        return path.into();
    }
    let local = workspace::root().join(".venv/bin/python");
    if local.exists() {
        local
    } else {
        Path::new("python3").to_owned()
    }
}

/// Node.js and the folder of the modules that `tests/foreign/package.json` names, or none after
/// saying so.
pub(crate) fn node_with_modules() -> Option<(PathBuf, PathBuf)> {
    let folder = env::var_os("FATHOMLINE_NODE")
        .map_or_else(|| workspace::root().join("tests/foreign"), PathBuf::from);
    let version = Command::new("node").arg("--version").output();
    let runs = version.is_ok_and(|output| output.status.success());
    if runs && folder.join("node_modules").is_dir() {
        return Some(("node".into(), folder));
    }
    skipped(
        "node, and its modules: npm ci in tests/foreign, or in the folder that FATHOMLINE_NODE names",
    );
    None
}

/// Chromium, or none after saying so.
pub(crate) fn chromium() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.into_iter().find(|name| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        skipped("Chromium: the program `chromium` on the path");
    }
    found.map(PathBuf::from)
}

/// Prometheus's own checker, or none after saying so.
pub(crate) fn promtool() -> Option<PathBuf> {
    let version = Command::new("promtool").arg("--version").output();
    let found = version.is_ok_and(|output| output.status.success());
    if !found {
        skipped("promtool: the program on the path; Debian has it in the package prometheus");
    }
    found.then(|| "promtool".into())
}

/// Prometheus's Alertmanager, or none after saying so.
pub(crate) fn alertmanager() -> Option<PathBuf> {
    let names = ["prometheus-alertmanager", "alertmanager"];
    let found = names.into_iter().find(|name| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        skipped("Alertmanager: the program on the path; Debian has it as prometheus-alertmanager");
    }
    found.map(PathBuf::from)
}

/// Says what is missing past the test runner's capture, so that a skip is seen.
fn skipped(needs: &str) {
    assert!(
        env::var_os(REQUIRE_TOOLS).is_none(),
        "{REQUIRE_TOOLS} is set, and this needs {needs}"
    );
    say(needs);
}

/// Says what this user may not do here: that no installation can give.
pub(crate) fn not_allowed(needs: &str) {
    say(&format!("the right {needs}"));
}

fn say(needs: &str) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let _ = writeln!(std::io::stderr(), "{test} skipped: needs {needs}");
}
