//! The assistant: one small byte-level Llama, as candle ships it. Owns the shape of the model, the
//! shipped weights and the key-value cache of one conversation. In: bytes. Out: logits. Never
//! samples (the caller's loop does, through the SDK) and never trains: candle's own forward has no
//! gradient (see `train`).

use std::{collections::HashMap, sync::Arc};

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{
    llama2_c::{Cache, Config, Llama},
    quantized_llama2_c::{QLlama, VarBuilder as QuantizedBuilder},
};

/// Longest request with its action and both line ends. Past it the rotary table ends.
pub const CONTEXT_BYTES_MAX: usize = 160;
/// Ends the request, and ends the action: a byte that speech never holds.
pub const END: u8 = b'\n';

/// Shape of the model. Dimensions are multiples of 32, the block of Q8_0.
pub fn config() -> Config {
    Config {
        dim: 64,
        hidden_dim: 128,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 4,
        vocab_size: 256,
        seq_len: CONTEXT_BYTES_MAX,
        norm_eps: 1e-5,
    }
}

/// How the weights are stored, and so which of candle's kernels run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantization {
    F32,
    Q8,
}

impl Quantization {
    /// Every stored form.
    pub const ALL: [Self; 2] = [Self::F32, Self::Q8];

    /// As it is named on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Q8 => "q8_0",
        }
    }

    /// Name of the weights file.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::F32 => "model.safetensors",
            Self::Q8 => "model.q8.gguf",
        }
    }

    /// The weights that are part of this binary; `fathomline-demo train` made them.
    pub fn shipped(self) -> &'static [u8] {
        match self {
            Self::F32 => include_bytes!("../model/model.safetensors"),
            Self::Q8 => include_bytes!("../model/model.q8.gguf"),
        }
    }
}

enum Weights {
    F32(Llama),
    Q8(QLlama),
}

/// The model with one conversation's cache. Clones share the weights and start afresh.
pub struct Model {
    weights: Arc<Weights>,
    cache: Cache,
    position: usize,
}

impl Clone for Model {
    fn clone(&self) -> Self {
        let mut clone = Self {
            weights: self.weights.clone(),
            cache: self.cache.clone(),
            position: 0,
        };
        clone.forget();
        clone
    }
}

impl Model {
    /// Reads weights from the bytes of a file of that kind.
    pub fn from_bytes(quantization: Quantization, bytes: &[u8]) -> Result<Self> {
        let weights = match quantization {
            Quantization::F32 => read_f32(bytes).map(Weights::F32),
            Quantization::Q8 => read_q8(bytes).map(Weights::Q8),
        };
        let name = quantization.file_name();
        Self::new(weights.with_context(|| format!("cannot read {name} as weights"))?)
    }

    /// Reads weights that are in memory, as training leaves them.
    pub fn from_tensors(tensors: HashMap<String, Tensor>) -> Result<Self> {
        let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        Self::new(Weights::F32(Llama::load(builder, config())?))
    }

    fn new(weights: Weights) -> Result<Self> {
        // An empty builder on purpose: the cache asks its builder for a rotary table, and one
        // backed by variables or zeros would hand it a table of zeros without a word.
        let empty = VarBuilder::from_tensors(HashMap::new(), DType::F32, &Device::Cpu);
        Ok(Self {
            weights: Arc::new(weights),
            cache: Cache::new(true, &config(), empty)?,
            position: 0,
        })
    }

    /// Starts a new conversation.
    pub fn forget(&mut self) {
        self.cache.kvs.fill(None);
        self.position = 0;
    }

    /// Bytes that still fit into this conversation.
    pub fn room(&self) -> usize {
        CONTEXT_BYTES_MAX - self.position
    }

    /// Logits after each of `bytes`, which follow whatever this conversation holds: `(1, n, 256)`,
    /// as candle's own models give them.
    pub fn forward(&mut self, bytes: &[u8]) -> Result<Tensor> {
        let input = Tensor::from_iter(bytes.iter().map(|byte| u32::from(*byte)), &Device::Cpu)?;
        let input = input.unsqueeze(0)?;
        let logits = match &*self.weights {
            Weights::F32(model) => model.forward(&input, self.position, &mut self.cache)?,
            Weights::Q8(model) => model.forward(&input, self.position, &mut self.cache)?,
        };
        self.position += bytes.len();
        Ok(logits)
    }
}

fn read_f32(bytes: &[u8]) -> candle_core::Result<Llama> {
    let builder = VarBuilder::from_slice_safetensors(bytes, DType::F32, &Device::Cpu)?;
    Llama::load(builder, config())
}

fn read_q8(bytes: &[u8]) -> candle_core::Result<QLlama> {
    QLlama::load(
        QuantizedBuilder::from_gguf_buffer(bytes, &Device::Cpu)?,
        config(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped(quantization: Quantization) -> Model {
        Model::from_bytes(quantization, quantization.shipped()).unwrap()
    }

    #[test]
    fn a_cached_step_gives_the_logits_of_the_whole() {
        for quantization in Quantization::ALL {
            let (mut whole, mut steps) = (shipped(quantization), shipped(quantization));
            let text = b"please lower the blinds in the studio on level 4\n";
            let rows = |logits: Tensor| logits.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
            let expected = rows(whole.forward(text).unwrap());
            steps.forward(&text[..40]).unwrap();
            for at in 40..text.len() {
                let step = rows(steps.forward(&text[at..=at]).unwrap());
                let difference = step[0]
                    .iter()
                    .zip(&expected[at])
                    .map(|(a, b)| (a - b).abs());
                assert!(difference.fold(0.0, f32::max) < 1e-3, "byte {at}");
            }
        }
    }

    #[test]
    fn a_forgotten_conversation_leaves_nothing_behind() {
        let mut model = shipped(Quantization::F32);
        let first = model.forward(b"hello\n").unwrap().to_vec3::<f32>().unwrap();
        let room = model.room();
        let mut clone = model.clone();
        model.forget();
        for model in [&mut model, &mut clone] {
            assert_eq!(model.room(), room + 6);
            assert_eq!(
                model.forward(b"hello\n").unwrap().to_vec3::<f32>().unwrap(),
                first
            );
        }
    }

    #[test]
    fn bytes_that_are_no_weights_are_refused() {
        for quantization in Quantization::ALL {
            let error = Model::from_bytes(quantization, b"not weights at all")
                .err()
                .unwrap();
            assert!(
                error.to_string().contains(quantization.file_name()),
                "{error}"
            );
        }
    }
}
