//! An embedding model, observed: seeded random projections show when meaning moves, and no
//! embedding leaves. In: nothing; random weights stand in for a model. Out: how the line is doing.
//!
//! Run: `cargo run -p fathomline-edge --example embed`

use std::{io::Write, time::Duration};

use candle_core::{Device, Tensor};
use fathomline_edge::{Fathomline, FinishReason, Operation};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Every device of the fleet takes the same seed, or their series cannot be compared.
    let line = Fathomline::builder("embedder", "1.1.0")
        .projections(7, 8)
        .start()?;
    let weights = Tensor::randn(0f32, 1.0, (16, 64), &Device::Cpu)?;
    for _ in 0..10 {
        let mut op = line.operation(Operation::Embeddings);
        op.prompt_tokens(5);
        let words = Tensor::randn(0f32, 1.0, (5, 16), &Device::Cpu)?;
        let pooled = words.matmul(&weights)?.mean(0)?;
        op.embedding(&pooled.to_vec1::<f32>()?);
        op.finish(FinishReason::Stop);
    }
    writeln!(
        std::io::stdout(),
        "{:?}",
        line.shutdown(Duration::from_secs(1))
    )?;
    Ok(())
}
