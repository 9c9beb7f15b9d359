//! The model with gradients. Owns a forward pass over the same tensors, under the same names, as
//! candle's `llama2_c`, which cannot be trained: its norm has no backward step, and `backward()`
//! silently leaves every tensor but the last without a gradient. In: a batch of bytes. Out: logits
//! that are equal to the stock model's. Never caches keys and values: training sees whole texts.

use candle_core::{D, Result, Tensor};
use candle_nn::{
    Embedding, Linear, Module, RmsNorm, VarBuilder, embedding, linear_no_bias, rms_norm,
};
use candle_transformers::models::llama2_c::Config;

use super::fused::{CausalSoftmax, Rope};

pub(super) struct Network {
    embedding: Embedding,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Linear,
}

impl Network {
    pub(super) fn load(builder: &VarBuilder, config: &Config) -> Result<Self> {
        let (vocabulary, dim) = (config.vocab_size, config.dim);
        let model = builder.pp("model");
        let layers = model.pp("layers");
        Ok(Self {
            embedding: embedding(vocabulary, dim, model.pp("embed_tokens"))?,
            blocks: (0..config.n_layers)
                .map(|layer| Block::load(&layers.pp(layer), config))
                .collect::<Result<_>>()?,
            norm: rms_norm(dim, config.norm_eps, model.pp("norm"))?,
            head: linear_no_bias(dim, vocabulary, builder.pp("lm_head"))?,
        })
    }

    /// Logits `(batch, length, vocabulary)` for inputs `(batch, length)`.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let mut x = self.embedding.forward(input)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        self.head.forward(&self.norm.forward_diff(&x)?)
    }
}

struct Block {
    attention_norm: RmsNorm,
    attention: Attention,
    feed_norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Block {
    fn load(builder: &VarBuilder, config: &Config) -> Result<Self> {
        let (dim, hidden, eps) = (config.dim, config.hidden_dim, config.norm_eps);
        let feed = builder.pp("mlp");
        Ok(Self {
            attention_norm: rms_norm(dim, eps, builder.pp("input_layernorm"))?,
            attention: Attention::load(&builder.pp("self_attn"), config)?,
            feed_norm: rms_norm(dim, eps, builder.pp("post_attention_layernorm"))?,
            gate: linear_no_bias(dim, hidden, feed.pp("gate_proj"))?,
            up: linear_no_bias(dim, hidden, feed.pp("up_proj"))?,
            down: linear_no_bias(hidden, dim, feed.pp("down_proj"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let attended = self
            .attention
            .forward(&self.attention_norm.forward_diff(x)?)?;
        let x = (x + attended)?;
        let normed = self.feed_norm.forward_diff(&x)?;
        let gated = (self.gate.forward(&normed)?.silu()? * self.up.forward(&normed)?)?;
        x + self.down.forward(&gated)?
    }
}

struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: usize,
}

impl Attention {
    fn load(builder: &VarBuilder, config: &Config) -> Result<Self> {
        let square = |name| linear_no_bias(config.dim, config.dim, builder.pp(name));
        Ok(Self {
            query: square("q_proj")?,
            key: square("k_proj")?,
            value: square("v_proj")?,
            output: square("o_proj")?,
            heads: config.n_heads,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, length, dim) = x.dims3()?;
        let width = dim / self.heads;
        let rope = Rope {
            length,
            heads: self.heads,
            width,
        };
        let by_head = |x: Tensor| {
            x.reshape((batch, length, self.heads, width))?
                .transpose(1, 2)?
                .contiguous()
        };
        let query = by_head(self.query.forward(x)?.apply_op1(rope)?)?;
        let key = by_head(self.key.forward(x)?.apply_op1(rope)?)?;
        let value = by_head(self.value.forward(x)?)?;
        let scale = 1.0 / (width as f32).sqrt();
        let share = query
            .matmul(&key.transpose(D::Minus2, D::Minus1)?)?
            .apply_op1(CausalSoftmax { length, scale })?;
        let mixed = share.matmul(&value)?.transpose(1, 2)?;
        self.output.forward(&mixed.reshape((batch, length, dim))?)
    }
}
