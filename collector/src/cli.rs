//! The command line. In: arguments. Out: an exit code: 0 yes, 1 no, 2 error, 3 undecided.

mod serve;
mod sql;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fathomline_collector::sentence;

/// Know how fast, how costly and how right small language models are on the devices they run on.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive, store, judge and show.
    Serve(serve::Serve),
    /// Ask in SQL; reads only.
    Sql(sql::Sql),
}

impl Cli {
    pub(crate) fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Serve(serve) => serve.run(),
            Command::Sql(sql) => sql.run(),
        };
        result.unwrap_or_else(|error| {
            complain(&error);
            ExitCode::from(2)
        })
    }
}

#[expect(clippy::print_stderr, reason = "this is what standard error is for")]
fn complain(error: &anyhow::Error) {
    eprintln!("fathomline: {}", sentence(error.as_ref()));
}
