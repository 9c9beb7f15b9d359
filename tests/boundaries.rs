//! The fence: which room may know which. Owns the allowed arrows and the crates that may never
//! appear below a room. In: what cargo says about this checkout. Out: for each breach, what was
//! found and what to do instead. Never builds anything, never touches the network.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

use crate::harness::workspace;

/// What one room may lean on.
struct Fence {
    room: &'static str,
    /// Rooms it may depend on.
    rooms: &'static [&'static str],
    /// Crates that may not appear anywhere below it.
    never: &'static [&'static str],
    /// What to do instead of a forbidden arrow or crate.
    instead: &'static str,
}

const FENCES: [Fence; 6] = [
    Fence {
        room: "fathomline-wire",
        rooms: &[],
        never: &[
            "tokio",
            "arrow",
            "prost",
            "opentelemetry-proto",
            "candle-core",
        ],
        instead: "wire is std and serde only, because it runs on every device; put code that needs more into the room that uses it",
    },
    Fence {
        room: "fathomline-edge",
        rooms: &["fathomline-wire"],
        never: &[
            "arrow",
            "arrow-array",
            "datafusion",
            "axum",
            "reqwest",
            "parquet",
        ],
        instead: "an app embeds this crate; what both ends share belongs in wire/, what only a server needs in collector/",
    },
    Fence {
        room: "fathomline-queries",
        rooms: &["fathomline-wire"],
        never: &[
            "axum",
            "tonic",
            "rusqlite",
            "candle-core",
            "opentelemetry-proto",
        ],
        instead: "queries only read: receive and write in collector/, show in dashboard/",
    },
    Fence {
        room: "fathomline-dashboard",
        rooms: &["fathomline-queries", "fathomline-wire"],
        never: &["rusqlite", "tonic", "opentelemetry-proto", "candle-core"],
        instead: "the dashboard reads through queries and asks for changes through the trait it defines; the collector implements it",
    },
    Fence {
        room: "fathomline-collector",
        rooms: &[
            "fathomline-dashboard",
            "fathomline-queries",
            "fathomline-wire",
        ],
        never: &["candle-core"],
        instead: "what devices and the collector share belongs in wire/",
    },
    Fence {
        room: "fathomline-demo",
        rooms: &["fathomline-edge", "fathomline-collector", "fathomline-wire"],
        never: &[],
        instead: "the demo uses the product as an outsider would: through the SDK, the collector's Config and its HTTP API",
    },
];

/// Arrows straight out of `room` that its fence does not allow.
fn forbidden_arrows(fence: &Fence, direct: &BTreeSet<String>) -> Vec<String> {
    let ours = direct.iter().filter(|name| name.starts_with("fathomline-"));
    ours.filter(|name| !fence.rooms.contains(&name.as_str()))
        .map(|name| format!("{} depends on {name}: {}", fence.room, fence.instead))
        .collect()
}

/// Crates below `room` that its fence forbids.
fn forbidden_crates(fence: &Fence, below: &BTreeSet<String>) -> Vec<String> {
    let found = fence.never.iter().filter(|name| below.contains(**name));
    found
        .map(|name| {
            format!(
                "{} pulls in {name} (see `cargo tree -p {} -e normal -i {name}`): {}",
                fence.room, fence.room, fence.instead
            )
        })
        .collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline"])
        .current_dir(workspace::root())
        .output()
        .expect("cargo runs, it started this test");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cargo {arguments:?} failed: {errors}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Dependencies that the manifest of each room lists, development ones left out: tests may look
/// anywhere.
fn direct_dependencies(metadata: &Value, room: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == room);
    let package = package.unwrap_or_else(|| panic!("{room} is no member of the workspace"));
    let dependencies = package["dependencies"].as_array().unwrap();
    dependencies
        .iter()
        .filter(|dependency| dependency["kind"] != "dev")
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Names of every crate that is linked when `room` is built alone. Trees are read deduplicated:
/// the full tree of this workspace has too many lines to finish.
fn crates_below(room: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "-p", room, "-e", "normal", "--prefix", "none"]);
    tree.lines()
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .collect()
}

#[test]
fn every_arrow_between_rooms_is_one_the_map_draws() {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let breaches: Vec<String> = FENCES
        .iter()
        .flat_map(|fence| forbidden_arrows(fence, &direct_dependencies(&metadata, fence.room)))
        .collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn no_room_pulls_in_what_it_must_not_carry() {
    let breaches: Vec<String> = FENCES
        .iter()
        .flat_map(|fence| forbidden_crates(fence, &crates_below(fence.room)))
        .collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_room_of_the_workspace_has_a_fence() {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let fenced = FENCES.iter().any(|fence| fence.room == name);
        assert!(
            fenced || name == "fathomline-tests",
            "{name} has no fence: add one to tests/boundaries.rs that says what it may know"
        );
    }
}

#[test]
fn the_fence_can_fail() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let edge = &FENCES[1];
    let arrows = forbidden_arrows(
        edge,
        &names(&["fathomline-queries", "fathomline-wire", "ureq"]),
    );
    assert_eq!(arrows.len(), 1, "{arrows:?}");
    assert!(arrows[0].contains("fathomline-edge depends on fathomline-queries: an app embeds"));
    let below = forbidden_crates(edge, &names(&["axum", "prost"]));
    assert_eq!(below.len(), 1, "{below:?}");
    assert!(below[0].contains("pulls in axum"));
    // The tree that the rule reads is not empty: it does see what lies below.
    assert!(crates_below("fathomline-edge").contains("prost"));
}

/// Crates of the SDK besides candle and what candle brings; each one is a risk on every device.
const SDK_CRATES_MAX: usize = 75;

/// What a device of the fleet would link, as far as that can be said without its compiler.
#[test]
fn the_sdk_for_64_bit_arm_needs_few_crates_and_no_library_of_the_system() {
    let below = |features: &[&str]| -> BTreeSet<String> {
        let arm = [
            "tree",
            "-p",
            "fathomline-edge",
            "--target",
            "aarch64-unknown-linux-gnu",
        ];
        let kinds = ["-e", "normal,build", "--prefix", "none"];
        let tree = cargo(&[&arm[..], &kinds, features].concat());
        let names = tree
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        names.map(str::to_owned).collect()
    };
    let (all, own) = (below(&[]), below(&["--no-default-features"]));
    assert!(all.contains("candle-core") && !own.contains("candle-core"));
    for name in [
        "openssl",
        "openssl-sys",
        "native-tls",
        "aws-lc-sys",
        "tokio",
        "pkg-config",
    ] {
        assert!(
            !all.contains(name),
            "{name}: the SDK builds from source and brings no runtime"
        );
    }
    assert!(own.len() <= SDK_CRATES_MAX, "{} crates: {own:?}", own.len());
}
