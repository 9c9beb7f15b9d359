//! Shows training on the terminal. In: the plan. Out: a progress bar or plain lines on standard
//! error, and exit code 0 when the target was reached, 1 when steps or time ran out before.

use std::{io::IsTerminal, ops::ControlFlow, process::ExitCode};

use anyhow::Result;
use fathomline_demo::train::{self, Plan};
use indicatif::{ProgressBar, ProgressStyle};

pub(crate) fn run(plan: &Plan) -> Result<ExitCode> {
    let bar = ProgressBar::new(plan.steps as u64);
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} steps, {elapsed} {msg}",
    )?);
    let shown = std::io::stderr().is_terminal();
    let outcome = train::run(plan, &mut |progress| {
        let mut line = format!("loss {:.4}", progress.loss);
        if let Some(accuracy) = progress.accuracy {
            line = format!("{line}, {:.1} % exact", 100.0 * accuracy);
        }
        if shown {
            bar.set_position(progress.step as u64);
            bar.set_message(line);
        } else {
            eprintln!("step {}: {line}", progress.step);
        }
        ControlFlow::Continue(())
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
    let accuracy = outcome.progress.accuracy;
    let reached = accuracy.is_some_and(|accuracy| accuracy >= plan.target_accuracy);
    Ok(ExitCode::from(u8::from(!reached)))
}
