//! The loop of `gguf_plain.rs`, observed: the lines that differ are all it takes.
//! In: a GGUF file and a prompt. Out: the same tokens, and a window in the spool.
//!
//! Run: `cargo run -p fathomline-edge --example gguf_observed -- model.gguf "turn it up"`

use std::{fs::File, io::Write};

use candle_core::{Device, Tensor, quantized::gguf_file};
use candle_transformers::{generation::LogitsProcessor, models::quantized_llama::ModelWeights};
use fathomline_edge::{Fathomline, Operation};

const TOKENS_MAX: usize = 32;
const END: u32 = 0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("which GGUF file?")?;
    let prompt = arguments.next().ok_or("which prompt?")?;

    let mut file = File::open(&path)?;
    let content = gguf_file::Content::read(&mut file)?;
    let mut model = ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?;
    let mut sampler = LogitsProcessor::new(42, Some(0.8), None);
    let line = Fathomline::builder("tiny", "1").weights(&path)?.start()?;
    let mut op = line.operation(Operation::Chat);
    let mut tokens: Vec<u32> = prompt.bytes().map(u32::from).collect();
    let mut position = 0;

    for _ in 0..TOKENS_MAX {
        let input = Tensor::new(&tokens[position..], &Device::Cpu)?.unsqueeze(0)?;
        let logits = model.forward(&input, position)?.squeeze(0)?;
        let next = op.sample(&mut sampler, &logits)?;
        if next == END {
            break;
        }
        position = tokens.len();
        tokens.push(next);
        write!(std::io::stdout(), "{next} ")?;
    }
    writeln!(std::io::stdout())?;
    Ok(())
}
