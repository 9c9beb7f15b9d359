//! Three lines around a candle loop. In: nothing; a tiny model with random weights stands in for
//! yours. Out: a few generated tokens and how the line is doing. Without a collector on this
//! device the windows wait in the spool.
//!
//! Run: `cargo run -p fathomline-edge --example quickstart`

use std::{io::Write, time::Duration};

use candle_core::{DType, Device, Result, Tensor};
use candle_transformers::generation::LogitsProcessor;
use fathomline_edge::{Fathomline, FinishReason, Operation};

const VOCABULARY: usize = 64;
const WIDTH: usize = 16;

/// Predicts the next token from the last one alone.
struct Bigram {
    embedding: Tensor,
    head: Tensor,
}

impl Bigram {
    fn random() -> Result<Self> {
        let embedding = Tensor::randn(0f32, 1.0, (VOCABULARY, WIDTH), &Device::Cpu)?;
        let head = Tensor::randn(0f32, 1.0, (WIDTH, VOCABULARY), &Device::Cpu)?;
        Ok(Self { embedding, head })
    }

    fn forward(&self, token: u32) -> Result<Tensor> {
        let token = Tensor::new(&[token], &Device::Cpu)?;
        self.embedding
            .index_select(&token, 0)?
            .matmul(&self.head)?
            .to_dtype(DType::F32)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let model = Bigram::random()?;
    let mut logits_processor = LogitsProcessor::new(42, Some(0.8), None);
    let spool = std::env::temp_dir().join("fathomline-quickstart");

    let line = Fathomline::builder("bigram", "0.1.0")
        .spool(spool)
        .start()?;
    let mut op = line.operation(Operation::TextCompletion);
    let mut token = 0;
    for _ in 0..20 {
        let logits = model.forward(token)?;
        token = op.sample(&mut logits_processor, &logits)?;
        write!(std::io::stdout(), "{token} ")?;
    }
    op.finish(FinishReason::Length);

    let health = line.shutdown(Duration::from_secs(2));
    writeln!(std::io::stdout(), "\n{health:?}")?;
    Ok(())
}
