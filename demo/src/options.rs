//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use fathomline_demo::{
    fleet,
    house::Wishes,
    story,
    train::{self, Course},
};

/// A collector, its pages, and a fleet whose language model drifts and is made well again.
///
/// Devices of three classes answer people with a small language model, on this machine and for
/// real. A reference is frozen; then the way people ask changes for one class; the verdict turns
/// to drifting, and a signed webhook asks a trainer for a new version. It fine-tunes one, a quarter
/// of the class takes it, the gate promotes it, and the collector proves that it is better. The
/// pages stay open until Ctrl-C.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) telling: Telling,
    #[command(subcommand)]
    pub(crate) task: Option<Task>,
}

const AFTER_HELP: &str = "\
Exit codes: 0 everything went as promised, 1 something did not, 2 error.
The whole story for a program: fathomline-demo --once --json";

/// Enough that a figure of a note is right within half a percent.
const EXAM_REQUESTS: usize = 1_000;

/// How the story is told.
#[derive(Debug, Args)]
pub(crate) struct Telling {
    /// Devices over all three classes: a multiple of 3, from 18 on.
    #[arg(long, value_name = "COUNT", default_value_t = 36, value_parser = devices)]
    devices: usize,
    /// What people say: the same seed, the same requests.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Dashboard and API, on this machine only
    /// [default: 127.0.0.1:8330, or a free port if it is in use].
    #[arg(long, value_name = "ADDRESS", value_parser = loopback)]
    http: Option<SocketAddr>,
    /// Empty or new folder that keeps the data [default: a temporary one, removed at the end].
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// End with the story instead of keeping the pages open.
    #[arg(long)]
    once: bool,
    /// At the end, print the story in figures on standard output: one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn devices(text: &str) -> Result<usize, String> {
    let count = text.parse::<usize>().map_err(|error| error.to_string())?;
    fleet::check_size(count).map_err(|error| error.to_string())?;
    Ok(count)
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "write an address and a port, such as 127.0.0.1:8331".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("the demo shows its pages on this machine only; name a loopback address".to_owned())
    }
}

impl From<Telling> for story::Plan {
    fn from(telling: Telling) -> Self {
        Self {
            devices: telling.devices,
            seed: telling.seed,
            wishes: Wishes {
                http: telling.http,
                data: telling.data,
            },
            once: telling.once,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Make the assistant's weights again, from a seed.
    Train(Training),
    /// Make version 2: teach the shipped weights the new season, and keep the usual one.
    Tune(Tuning),
}

#[derive(Debug, Args)]
pub(crate) struct Training {
    /// Same seed, same weights (on one kind of machine).
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Length of the learning-rate schedule.
    #[arg(long, default_value_t = 5_000)]
    steps: usize,
    /// Stop once this share of unseen requests is answered exactly.
    #[arg(long, default_value_t = 0.995)]
    target_accuracy: f64,
    /// Stop after so many seconds, whatever has been reached.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    time_limit: u64,
    /// Folder for the weights and their note.
    #[arg(long, value_name = "FOLDER", default_value = "demo/model")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Tuning {
    /// Same seed, same weights (on one kind of machine).
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Length of the learning-rate schedule.
    #[arg(long, default_value_t = 2_000)]
    steps: usize,
    /// Stop once this share of unseen requests of either season is answered exactly.
    #[arg(long, default_value_t = 0.985)]
    target_accuracy: f64,
    /// Stop after so many seconds, whatever has been reached.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    time_limit: u64,
    /// Folder for the weights and their note.
    #[arg(long, value_name = "FOLDER", default_value = "assistant-2")]
    out: PathBuf,
}

impl From<Training> for train::Plan {
    fn from(training: Training) -> Self {
        Self {
            course: Course::Usual,
            seed: training.seed,
            steps: training.steps,
            target_accuracy: training.target_accuracy,
            time_limit: Duration::from_secs(training.time_limit),
            exam_requests: EXAM_REQUESTS,
            out: training.out,
        }
    }
}

impl From<Tuning> for train::Plan {
    fn from(tuning: Tuning) -> Self {
        Self {
            course: Course::NewSeason,
            seed: tuning.seed,
            steps: tuning.steps,
            target_accuracy: tuning.target_accuracy,
            time_limit: Duration::from_secs(tuning.time_limit),
            exam_requests: EXAM_REQUESTS,
            out: tuning.out,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn plan(arguments: &[&str]) -> Result<story::Plan, String> {
        let arguments = [&["fathomline-demo"], arguments].concat();
        let options = Options::try_parse_from(arguments).map_err(|error| error.to_string())?;
        Ok(options.telling.into())
    }

    #[test]
    fn no_flag_is_needed() {
        Options::command().debug_assert();
        let plan = plan(&[]).unwrap();
        assert_eq!((plan.devices, plan.seed, plan.once), (36, 7, false));
        assert_eq!((plan.wishes.http, plan.wishes.data), (None, None));
    }

    #[test]
    fn every_flag_arrives() {
        let plan = plan(&[
            "--once",
            "--json",
            "--devices",
            "9",
            "--seed",
            "3",
            "--http",
            "[::1]:0",
            "--data",
            "x",
        ]);
        let plan = plan.unwrap();
        assert_eq!((plan.devices, plan.seed, plan.once), (9, 3, true));
        assert_eq!(plan.wishes.http.unwrap().port(), 0);
        assert_eq!(plan.wishes.data.unwrap(), PathBuf::from("x"));
    }

    #[test]
    fn a_flag_that_cannot_work_says_what_would() {
        for (arguments, advice) in [
            (["--devices", "10"], "a multiple of 3 from 18 on"),
            (["--devices", "many"], "invalid digit"),
            (["--http", "0.0.0.0:8330"], "name a loopback address"),
            (["--http", "8330"], "such as 127.0.0.1:8331"),
        ] {
            let error = plan(&arguments).unwrap_err();
            assert!(error.contains(advice), "{error}");
        }
    }
}
