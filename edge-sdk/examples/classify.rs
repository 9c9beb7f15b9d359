//! A classifier, observed: one row of logits, one label. In: nothing; random weights stand in for a
//! model. Out: how the line is doing.
//!
//! Run: `cargo run -p fathomline-edge --example classify`

use std::{io::Write, time::Duration};

use candle_core::{Device, Result, Tensor};
use fathomline_edge::{Fathomline, Feedback, FinishReason, Operation};

const CLASSES: [&str; 3] = ["heating", "lighting", "other_request"];

fn forward(features: &Tensor, weights: &Tensor) -> Result<Tensor> {
    features.matmul(weights)?.squeeze(0)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let line = Fathomline::builder("router", "2.0.0")
        .labels(CLASSES)
        .vocabulary(CLASSES.len())
        .start()?;
    let weights = Tensor::randn(0f32, 1.0, (8, CLASSES.len()), &Device::Cpu)?;
    for _ in 0..10 {
        let features = Tensor::randn(0f32, 1.0, (1, 8), &Device::Cpu)?;
        let mut op = line.operation(Operation::GenerateContent);
        let class = op.sample_greedy(&forward(&features, &weights)?)?;
        op.label(CLASSES[class as usize]);
        // Whether it was right is often known only later.
        op.finish(FinishReason::Stop).feedback(Feedback::Accepted);
    }
    writeln!(
        std::io::stdout(),
        "{:?}",
        line.shutdown(Duration::from_secs(1))
    )?;
    Ok(())
}
