//! The note that lies beside the weights. In: the plan and what came of it. Out: Markdown. Every
//! figure is what this run measured.

use std::fmt::Write;

use super::{Grade, Outcome, Plan};

pub(super) fn text(plan: &Plan, outcome: &Outcome) -> String {
    let Outcome { progress, took, .. } = outcome;
    let mut note = format!(
        "# The assistant's weights\n\n\
         Written by `fathomline-demo {} --seed {} --steps {} --target-accuracy {}`; do not edit.\n\n\
         A byte-level Llama that turns what people say to a building into an action, in two stored\n\
         forms: `model.safetensors` (f32) and `model.q8.gguf` (matrices as Q8_0).\n\n\
         | training | |\n|---|---|\n\
         | seed | {} |\n| steps | {} of a schedule of {} |\n\
         | loss, mean of the last steps | {:.4} nats a weighted byte |\n\
         | time | {} s, two threads, {} |\n\n\
         Measured on {} requests of each season that training never saw. Surprisal is the\n\
         mean of -ln p over a request's bytes (said) or an action's (chosen), in nats.\n\n\
         | weights | season | exact actions | surprisal, said | surprisal, chosen |\n|---|---|---|---|---|\n",
        plan.course.command(),
        plan.seed,
        plan.steps,
        plan.target_accuracy,
        plan.seed,
        progress.step,
        plan.steps,
        progress.loss,
        took.as_secs(),
        std::env::consts::ARCH,
        plan.exam_requests,
    );
    for grade in &outcome.marks {
        // Writing to a string cannot fail.
        let _ = writeln!(note, "{}", row(grade));
    }
    note
}

fn row(grade: &Grade) -> String {
    let marks = &grade.marks;
    format!(
        "| {} | {} | {:.1} % | {:.3} | {:.4} |",
        grade.quantization.name(),
        grade.season,
        100.0 * marks.exact,
        marks.input_surprisal,
        marks.output_surprisal
    )
}
