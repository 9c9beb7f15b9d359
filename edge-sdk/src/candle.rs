//! candle's tensors and sampler. In: what a candle loop has at hand. Out: the same calls as for
//! slices of `f32`. Owns the only code that knows candle. Never owns generation: the token that
//! the application's sampler chose is the token it gets, whatever becomes of the statistics.

use candle_core::{D, DType, Device, Result, Storage, Tensor, bail};
use candle_transformers::generation::LogitsProcessor;

use crate::{
    builder::Builder,
    inference::{Inference, PROMPT_POSITIONS_MAX},
    model::Model,
};

impl Model {
    /// What computes, from candle's own words: the device, and the type of numbers it computes in
    /// if that is given. Both change rounding, so both are part of the variant. Says the same as
    /// [`backend`](Self::backend) with `cpu`, or with `cuda bf16`.
    #[must_use]
    pub fn computes_on(self, device: &Device, numbers: impl Into<Option<DType>>) -> Self {
        let place = match device {
            Device::Cpu => "cpu",
            Device::Cuda(_) => "cuda",
            Device::Metal(_) => "metal",
        };
        let backend = match numbers.into() {
            Some(numbers) => format!("{place} {}", numbers.as_str()),
            None => place.to_owned(),
        };
        self.backend(backend)
    }
}

impl Builder {
    /// See [`Model::computes_on`].
    pub fn computes_on(mut self, device: &Device, numbers: impl Into<Option<DType>>) -> Self {
        self.model = self.model.computes_on(device, numbers);
        self
    }
}

impl Inference {
    /// Samples with the application's own processor and observes the choice. `logits` may have
    /// the shapes that candle's models return: `(vocab)`, `(1, vocab)` or `(1, positions, vocab)`,
    /// of which the last position counts.
    ///
    /// # Errors
    /// When the processor fails, or a vocabulary was declared and these are no logits of it; never
    /// because of the observation.
    pub fn sample(&mut self, processor: &mut LogitsProcessor, logits: &Tensor) -> Result<u32> {
        let row = self.row(logits);
        let sampled = row.and_then(|row| Ok((processor.sample(&row)?, row)));
        match sampled {
            Ok((token, row)) => {
                self.chosen(token);
                self.observe_tensor(&row, token);
                Ok(token)
            }
            Err(error) => {
                self.sampling_failed();
                Err(error)
            }
        }
    }

    /// Takes the likeliest token and observes it, both in one pass and without a sampler.
    ///
    /// # Errors
    /// When the logits cannot be read or make no sense.
    pub fn sample_greedy(&mut self, logits: &Tensor) -> Result<u32> {
        let chosen = self
            .row(logits)
            .and_then(|row| with_values(&row, |row| self.greedy(row)));
        match chosen {
            Ok(Some(token)) => Ok(token),
            Ok(None) => bail!("cannot choose a token: the logits are empty or not numbers"),
            Err(error) => {
                self.sampling_failed();
                Err(error)
            }
        }
    }

    /// A token was chosen by the application itself, from these logits.
    pub fn observe(&mut self, logits: &Tensor, chosen: u32) {
        self.chosen(chosen);
        if let Ok(row) = last_row(logits) {
            self.observe_tensor(&row, chosen);
        }
    }

    /// The prompt's surprisal: logits of all its positions, `(positions, vocab)` or with a leading
    /// 1, and its tokens. Also says how many there are, unless that was said.
    ///
    /// Costs one pass over the vocabulary a position, for at most 32 positions of one inference in
    /// eight; see [`wants_prompt`](Self::wants_prompt).
    pub fn prompt_logits(&mut self, logits: &Tensor, tokens: &[u32]) {
        self.prompt_tokens_unless_said(tokens.len() as u64);
        let positions = if logits.rank() == 3 {
            logits.squeeze(0)
        } else {
            Ok(logits.clone())
        };
        let Ok(positions) = positions else { return };
        if !self.wants_prompt() {
            return;
        }
        // Spread over the prompt: its beginning is often the same for everybody.
        let stride = tokens.len().div_ceil(PROMPT_POSITIONS_MAX as usize).max(1);
        // The logits at a position are about the token after it.
        for (position, next) in tokens.iter().skip(1).enumerate().step_by(stride) {
            let Ok(row) = positions.get(position) else {
                return;
            };
            // A row that cannot be read is one observation less.
            let _ = with_values(&row, |row| self.observe_prompt(row, *next));
        }
    }

    fn row(&self, logits: &Tensor) -> Result<Tensor> {
        let row = last_row(logits)?;
        let found = row.elem_count();
        match self.vocabulary().filter(|wanted| *wanted != found) {
            Some(vocabulary) => bail!(
                "cannot sample from {found} values where the vocabulary has {vocabulary}: these \
                 look like hidden states; use the model type that ends in a language-model head"
            ),
            None => Ok(row),
        }
    }

    fn observe_tensor(&mut self, row: &Tensor, chosen: u32) {
        // Before anything is copied from an accelerator.
        if !self.samples_token() {
            return;
        }
        // A row that cannot be read is one observation less.
        let _ = with_values(row, |row| self.observe_row(row, chosen));
    }
}

/// The row that the next token is chosen from.
fn last_row(logits: &Tensor) -> Result<Tensor> {
    match logits.dims() {
        [_] => Ok(logits.clone()),
        [1, _] => logits.squeeze(0),
        [1, positions, _] if *positions > 0 => {
            logits.narrow(1, positions - 1, 1)?.flatten_to(D::Minus1)
        }
        shape => bail!("cannot sample from logits of shape {shape:?}: give one sequence"),
    }
}

/// Lends the row's values: where they lie if that is main memory and `f32`, else a copy.
fn with_values<T>(row: &Tensor, act: impl FnOnce(&[f32]) -> T) -> Result<T> {
    if row.dtype() == DType::F32 {
        let (storage, layout) = row.storage_and_layout();
        if let (Storage::Cpu(values), Some((from, to))) = (&*storage, layout.contiguous_offsets())
            && let Some(values) = values.as_slice::<f32>()?.get(from..to)
        {
            return Ok(act(values));
        }
    }
    let copy = row
        .to_dtype(DType::F32)?
        .to_device(&Device::Cpu)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    Ok(act(&copy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_and_its_numbers_are_part_of_the_variant() {
        let model = || Model::new("m", "1");
        let cpu = model().computes_on(&Device::Cpu, None);
        let half = model().computes_on(&Device::Cpu, DType::F16);
        assert_eq!(cpu, model().backend("cpu"));
        assert_eq!(half, model().backend("cpu f16"));
        let variants = [model().variant(), cpu.variant(), half.variant()];
        let distinct: std::collections::BTreeSet<_> = variants.iter().collect();
        assert_eq!(distinct.len(), 3);
    }
}
