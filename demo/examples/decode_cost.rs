//! What observing costs beside decoding: the demo's models, and a Llama of 135 million parameters
//! with the shape of SmolLM and weights by formula, quantized to Q8_0. In: nothing. Out: a line a
//! model: time of a token, time the SDK takes for it, and the share. Run it with
//! `cargo run --example decode_cost`; the workspace optimises candle and the SDK
//! in its dev profile too. Last figures are in `edge-sdk/README.md`.

use std::{
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use candle_core::{
    DType, Device, Tensor,
    quantized::{GgmlDType, QTensor, gguf_file},
};
use candle_transformers::models::quantized_llama::ModelWeights;
use fathomline_demo::model::{CONTEXT_BYTES_MAX, Model, Quantization};
use fathomline_edge::{Fathomline, FinishReason, Operation};

/// Shape of SmolLM-135M.
const LAYERS: usize = 30;
const WIDTH: usize = 576;
const KEYS: usize = 192;
const HIDDEN: usize = 1_536;
const VOCABULARY: usize = 49_152;

/// Tokens of one inference, and inferences.
const TOKENS: usize = 48;
const INFERENCES: usize = 5;

/// What was spent on decoding and on observing it.
#[derive(Default)]
struct Spent {
    tokens: u32,
    decoding: Duration,
    observing: Duration,
}

impl Spent {
    #[expect(clippy::print_stdout, reason = "an example prints its figures")]
    fn say(&self, model: &str) {
        let tokens = f64::from(self.tokens);
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / tokens;
        let share = self.observing.as_secs_f64() / self.decoding.as_secs_f64();
        println!(
            "{model:<24} {:>10.1} us a token, observed in {:>6.2} us: {:.3} %",
            micros(self.decoding),
            micros(self.observing),
            share * 100.0
        );
    }

    /// One inference: `forward` gives the logits after a token at a position.
    fn infer(
        &mut self,
        line: &Fathomline,
        mut forward: impl FnMut(u32, usize) -> Result<Tensor>,
    ) -> Result<()> {
        let timed = |total: &mut Duration, began: Instant| *total += began.elapsed();
        let began = Instant::now();
        let mut op = line.operation(Operation::Chat);
        op.prompt_tokens(1);
        timed(&mut self.observing, began);
        for position in 0..TOKENS {
            let token = (position * 37 % 200) as u32;
            let began = Instant::now();
            let logits = forward(token, position)?;
            timed(&mut self.decoding, began);
            let began = Instant::now();
            op.observe(&logits, token);
            timed(&mut self.observing, began);
            self.tokens += 1;
        }
        let began = Instant::now();
        op.finish(FinishReason::Stop);
        timed(&mut self.observing, began);
        Ok(())
    }
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let line = Fathomline::builder("cost", "1").spool(folder.path().join("spool"));
    let line = line.endpoint("http://127.0.0.1:1").start()?;
    const { assert!(TOKENS < CONTEXT_BYTES_MAX) };
    for quantization in [Quantization::F32, Quantization::Q8] {
        let mut model = Model::from_bytes(quantization, quantization.shipped())?;
        let mut spent = Spent::default();
        for _ in 0..INFERENCES * 20 {
            model.forget();
            spent.infer(&line, |token, _| model.forward(&[token as u8]))?;
        }
        spent.say(&format!("demo, {}", quantization.name()));
    }
    let path = folder.path().join("llama.gguf");
    write_llama(&path)?;
    let mut file = File::open(&path)?;
    let content = gguf_file::Content::read(&mut file)?;
    let mut model = ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?;
    let mut spent = Spent::default();
    for _ in 0..INFERENCES {
        spent.infer(&line, |token, position| {
            let input = Tensor::new(&[[token]], &Device::Cpu)?;
            Ok(model.forward(&input, position)?)
        })?;
    }
    spent.say("135M Llama, q8_0");
    Ok(())
}

/// Values between -1/32 and 1/32 that repeat only after longer than a row.
fn matrix(rows: usize, columns: usize) -> Result<QTensor> {
    let value = |n: usize| ((n * 2_654_435_761 % 1_000_003) as f32 / 1_000_003.0 - 0.5) / 16.0;
    let values: Vec<f32> = (0..rows * columns).map(value).collect();
    let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu)?;
    Ok(QTensor::quantize(&tensor, GgmlDType::Q8_0)?)
}

fn write_llama(path: &Path) -> Result<()> {
    let ones = || {
        let ones = Tensor::ones(WIDTH, DType::F32, &Device::Cpu)?;
        QTensor::quantize(&ones, GgmlDType::F32)
    };
    let mut tensors = vec![
        ("token_embd.weight".to_owned(), matrix(VOCABULARY, WIDTH)?),
        ("output_norm.weight".to_owned(), ones()?),
    ];
    for layer in 0..LAYERS {
        let mut add =
            |name: &str, tensor| tensors.push((format!("blk.{layer}.{name}.weight"), tensor));
        add("attn_norm", ones()?);
        add("ffn_norm", ones()?);
        add("attn_q", matrix(WIDTH, WIDTH)?);
        add("attn_k", matrix(KEYS, WIDTH)?);
        add("attn_v", matrix(KEYS, WIDTH)?);
        add("attn_output", matrix(WIDTH, WIDTH)?);
        add("ffn_gate", matrix(HIDDEN, WIDTH)?);
        add("ffn_up", matrix(HIDDEN, WIDTH)?);
        add("ffn_down", matrix(WIDTH, HIDDEN)?);
    }
    let number = |value: usize| gguf_file::Value::U32(value as u32);
    let metadata = [
        ("llama.attention.head_count", number(9)),
        ("llama.attention.head_count_kv", number(3)),
        ("llama.block_count", number(LAYERS)),
        ("llama.embedding_length", number(WIDTH)),
        ("llama.rope.dimension_count", number(WIDTH / 9)),
        (
            "llama.attention.layer_norm_rms_epsilon",
            gguf_file::Value::F32(1e-5),
        ),
    ];
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
    Ok(gguf_file::write(
        &mut File::create(path)?,
        &metadata,
        &tensors,
    )?)
}
