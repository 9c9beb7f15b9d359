//! The demo's binary: flags, then the story or the training. Holds no logic of its own.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use fathomline_demo::threads;

mod options;
mod telling;
mod training;

use options::{Options, Task};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("fathomline-demo: {}", sentence(&error));
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
        Some(Task::Train(plan)) => training::run(plan),
        None => telling::run(options.telling),
    }
}

/// The error with its causes, but for those that its own words name already.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let cause = std::io::Error::other("disk full");
        let told = anyhow::Error::from(cause).context("cannot write x: disk full; free space");
        assert_eq!(sentence(&told), "cannot write x: disk full; free space");
        let untold = anyhow::anyhow!("disk full").context("cannot write x");
        assert_eq!(sentence(&untold), "cannot write x: disk full");
    }
}
