//! The binary `fathomline`: flags, then one of the commands in `cli/`.

mod cli;

use std::process::ExitCode;

use clap::Parser;

/// Decoding makes and drops many small things on one thread and on another: with the system's
/// allocator ingest takes a third more CPU (`tests/load/README.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
