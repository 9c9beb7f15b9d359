//! Shows training on the terminal. In: the plan. Out: a progress bar or plain lines on standard
//! error, and exit code 0 when the target was reached, 1 when steps or time ran out before.

use std::{io::IsTerminal, process::ExitCode};

use anyhow::Result;
use fathomline_demo::train::{self, Plan};
use indicatif::{ProgressBar, ProgressStyle};

use crate::options::Training;

pub(crate) fn run(training: Training) -> Result<ExitCode> {
    let plan = Plan::from(training);
    let bar = ProgressBar::new(plan.steps as u64);
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} steps, {elapsed} {msg}",
    )?);
    let shown = std::io::stderr().is_terminal();
    let outcome = train::run(&plan, &mut |progress| {
        let accuracy = 100.0 * progress.accuracy;
        let line = format!("loss {:.4}, {accuracy:.1} % exact", progress.loss);
        if shown {
            bar.set_position(progress.step as u64);
            bar.set_message(line);
        } else {
            eprintln!("step {}: {line}", progress.step);
        }
    })?;
    bar.finish_and_clear();
    eprintln!(
        "trained {} steps in {} s; weights and note are in {}",
        outcome.progress.step,
        outcome.took.as_secs(),
        plan.out.display()
    );
    for grade in &outcome.marks {
        eprintln!(
            "{:>5}, {}: {:.1} % exact, surprisal {:.3} said, {:.4} chosen",
            grade.quantization.name(),
            grade.season,
            100.0 * grade.marks.exact,
            grade.marks.input_surprisal,
            grade.marks.output_surprisal
        );
    }
    let reached = outcome.progress.accuracy >= plan.target_accuracy;
    Ok(ExitCode::from(u8::from(!reached)))
}
