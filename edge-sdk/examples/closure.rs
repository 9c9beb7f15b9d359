//! A loop around any function from tokens and a position to logits, observed. In: nothing; a
//! closure with random weights stands in for a model. Out: tokens, and how the line is doing.
//!
//! Run: `cargo run -p fathomline-edge --example closure`

use std::{io::Write, time::Duration};

use candle_core::{Device, Result, Tensor};
use candle_transformers::generation::LogitsProcessor;
use fathomline_edge::{Fathomline, FinishReason, Operation};

const VOCABULARY: usize = 64;

fn generate(
    line: &Fathomline,
    mut forward: impl FnMut(&Tensor, usize) -> Result<Tensor>,
) -> Result<Vec<u32>> {
    let mut sampler = LogitsProcessor::new(42, Some(0.8), None);
    let mut op = line.operation(Operation::TextCompletion);
    let mut tokens = vec![1u32, 2, 3];
    op.prompt_tokens(tokens.len() as u64);
    let mut position = 0;
    for _ in 0..16 {
        let input = Tensor::new(&tokens[position..], &Device::Cpu)?.unsqueeze(0)?;
        let logits = forward(&input, position)?;
        position = tokens.len();
        tokens.push(op.sample(&mut sampler, &logits)?);
    }
    op.finish(FinishReason::Length);
    Ok(tokens)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let line = Fathomline::builder("closure", "0.1.0")
        .computes_on(&Device::Cpu, None)
        .vocabulary(VOCABULARY)
        .from_environment()?
        .start()?;
    let head = Tensor::randn(0f32, 1.0, (VOCABULARY, VOCABULARY), &Device::Cpu)?;
    // Logits of every position: `(1, positions, vocabulary)`, of which the last one counts.
    let forward =
        |input: &Tensor, _position: usize| head.index_select(&input.squeeze(0)?, 0)?.unsqueeze(0);
    let tokens = generate(&line, forward)?;
    let health = line.shutdown(Duration::from_secs(1));
    writeln!(std::io::stdout(), "{tokens:?}\n{health:?}")?;
    Ok(())
}
