//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use fathomline_demo::train::Plan;

/// A collector, its pages, and a fleet whose language model starts to drift.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) task: Option<Task>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Make the assistant's weights again, from a seed.
    Train(Training),
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

impl From<Training> for Plan {
    fn from(training: Training) -> Self {
        Self {
            seed: training.seed,
            steps: training.steps,
            target_accuracy: training.target_accuracy,
            time_limit: Duration::from_secs(training.time_limit),
            out: training.out,
        }
    }
}
