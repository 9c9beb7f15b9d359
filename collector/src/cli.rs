//! The command line. In: arguments. Out: an exit code: 0 yes, 1 no, 2 error, 3 undecided.

mod alert;
mod asking;
mod backtest;
mod device;
mod gate;
mod judging;
mod keeping;
mod power;
mod reference;
mod runtime;
mod serve;
mod sql;
mod stored;
mod token;
mod webhook;

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
    /// Say what would have been paged over stored lanes.
    Backtest(Box<backtest::Backtesting>),
    /// Say how small a change each series could detect at its traffic.
    Power(power::Asking),
    /// Say whether a new version may go on: exit 0 promote, 1 rollback, 3 hold, 2 error.
    Gate(gate::Gate),
    /// Say who may send, read and administer.
    #[command(subcommand)]
    Token(token::Token),
    /// Give devices tokens of their own, and take them away.
    #[command(subcommand)]
    Device(device::Device),
    /// Make, show, pin, compare and retire what series are held against.
    #[command(subcommand)]
    Reference(reference::Reference),
    /// Look at incidents, and say what they were worth.
    #[command(subcommand)]
    Alert(alert::Alert),
    /// Silence alerts for a while.
    #[command(subcommand)]
    Silence(alert::Silence),
    /// Try an endpoint, look at deliveries, send them again.
    #[command(subcommand)]
    Webhook(webhook::Webhook),
}

impl Cli {
    pub(crate) fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Serve(serve) => serve.run(),
            Command::Sql(sql) => sql.run(),
            Command::Backtest(backtest) => backtest.run(),
            Command::Power(power) => power.run(),
            Command::Gate(gate) => gate.run(),
            Command::Token(token) => token.run(),
            Command::Device(device) => device.run(),
            Command::Reference(reference) => reference.run(),
            Command::Alert(alert) => alert.run(),
            Command::Silence(silence) => silence.run(),
            Command::Webhook(webhook) => webhook.run(),
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
