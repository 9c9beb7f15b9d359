//! The binary starts. Owns one promise, that `fathomline-demo --help` explains itself; and because
//! cargo builds a package's binaries for its integration tests, this file is also why
//! `cargo test --workspace` has the real program for `tests/demo.rs`.

use std::process::Command;

#[test]
fn the_binary_starts() {
    let output = Command::new(env!("CARGO_BIN_EXE_fathomline-demo"))
        .arg("--help")
        .output();
    assert!(output.is_ok_and(|output| output.status.success()));
}
