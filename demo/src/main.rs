//! The demo's binary: flags, then the story or the training. Holds no logic of its own.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use fathomline_collector::sentence;
use fathomline_demo::threads;

mod options;
mod telling;
mod training;

use options::{Options, Task};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("fathomline-demo: {}", sentence(error.as_ref()));
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode> {
    let options = Options::parse();
    if let Some(code) = threads::restart_with_setting()? {
        return Ok(code);
    }
    match options.task {
        Some(Task::Train(plan)) => training::run(&plan.into()),
        Some(Task::Tune(plan)) => training::run(&plan.into()),
        None => telling::run(options.telling),
    }
}
