//! Two models in one process, and a closure instead of a sampler. In: nothing. Out: how both lines
//! are doing. Each line has its own spool folder, named after its service.
//!
//! Run: `cargo run -p fathomline-edge --example two_models`

use std::{io::Write, thread, time::Duration};

use fathomline_edge::{Fathomline, FinishReason, Model, Operation};

/// Any function from tokens to logits is a model.
fn generate(line: &Fathomline, mut forward: impl FnMut(u32) -> Vec<f32>) {
    let mut op = line.operation(Operation::TextCompletion);
    let mut token = 0;
    for _ in 0..16 {
        match op.greedy(&forward(token)) {
            Some(next) => token = next,
            None => break,
        }
    }
    op.finish(FinishReason::Length);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let assistant = Fathomline::builder("assistant", "1.4.0").start()?;
    let summariser = Fathomline::builder("summariser", "0.3.0").start()?;
    let logits = |token: u32| (0..32).map(|n| ((n * 7 + token) % 13) as f32).collect();
    thread::scope(|scope| {
        scope.spawn(|| generate(&assistant, logits));
        scope.spawn(|| generate(&summariser, logits));
    });
    // A new version of one of them, from the next inference on.
    assistant.switch_model(Model::new("assistant", "1.5.0"))?;
    generate(&assistant, logits);
    for line in [assistant, summariser] {
        writeln!(
            std::io::stdout(),
            "{:?}",
            line.shutdown(Duration::from_secs(1))
        )?;
    }
    Ok(())
}
