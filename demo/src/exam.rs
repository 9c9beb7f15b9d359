//! How well a model answers. Owns the held-out requests and greedy decoding without the SDK. In: a
//! model. Out: the share of exactly right actions, and how surprised the model was. Never shares a
//! request with training: `train` leaves out every request of `held_out` and `validation`.

use anyhow::Result;
use candle_core::{IndexOp, Tensor};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    grammar::{Grammar, Utterance},
    model::{END, Model},
};

/// Seeds of the requests that no training ever sees.
const HELD_OUT_SEED: u64 = 0x5EA1_ED00;
const VALIDATION_SEED: u64 = 0x7E57_ED00;
/// No action is this long; a model that rambles on is stopped and is wrong.
const ACTION_BYTES_MAX: usize = 48;

/// Requests that judge the finished model, usual season or (`share` 1) the new one.
pub fn held_out(grammar: &Grammar, share: f64, count: usize) -> Vec<Utterance> {
    speech(grammar, HELD_OUT_SEED, share, count)
}

/// Requests that tell training when to stop, of a season as above.
pub fn validation(grammar: &Grammar, share: f64, count: usize) -> Vec<Utterance> {
    speech(grammar, VALIDATION_SEED, share, count)
}

fn speech(grammar: &Grammar, seed: u64, share: f64, count: usize) -> Vec<Utterance> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| grammar.speak(share, &mut rng)).collect()
}

/// What an exam found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Marks {
    pub requests: usize,
    /// Share of actions that are right to the byte.
    pub exact: f64,
    /// Mean over requests of the mean -ln p of the bytes said to the model.
    pub input_surprisal: f64,
    /// Mean over requests of the mean -ln p of the bytes it chose.
    pub output_surprisal: f64,
}

/// Has `model` answer every request.
pub fn examine(model: &mut Model, utterances: &[Utterance]) -> Result<Marks> {
    let (mut exact, mut input, mut output) = (0, 0.0, 0.0);
    for utterance in utterances {
        let answer = answer(model, &utterance.request)?;
        exact += usize::from(answer.action == utterance.action);
        input += answer.input_surprisal;
        output += answer.output_surprisal;
    }
    let count = utterances.len().max(1) as f64;
    Ok(Marks {
        requests: utterances.len(),
        exact: exact as f64 / count,
        input_surprisal: input / count,
        output_surprisal: output / count,
    })
}

struct Answer {
    action: String,
    input_surprisal: f64,
    output_surprisal: f64,
}

fn answer(model: &mut Model, request: &str) -> Result<Answer> {
    model.forget();
    let mut prompt = request.as_bytes().to_vec();
    prompt.push(END);
    let logits = model.forward(&prompt)?;
    let asked = prompt.len() - 1;
    let mut input_surprisal = 0.0;
    for (at, byte) in prompt.iter().enumerate().skip(1) {
        input_surprisal += surprisal(&row(&logits, at - 1)?, usize::from(*byte));
    }
    let mut last = row(&logits, asked)?;
    let (mut action, mut output_surprisal, mut chosen) = (vec![], 0.0, 0);
    while action.len() < ACTION_BYTES_MAX.min(model.room()) {
        let byte = likeliest(&last);
        output_surprisal += surprisal(&last, usize::from(byte));
        chosen += 1;
        if byte == END {
            break;
        }
        action.push(byte);
        last = row(&model.forward(&[byte])?, 0)?;
    }
    Ok(Answer {
        action: String::from_utf8_lossy(&action).into_owned(),
        input_surprisal: input_surprisal / asked.max(1) as f64,
        output_surprisal: output_surprisal / f64::from(chosen.max(1)),
    })
}

fn row(logits: &Tensor, at: usize) -> Result<Vec<f32>> {
    Ok(logits.i((0, at))?.to_vec1()?)
}

fn likeliest(logits: &[f32]) -> u8 {
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
    best.and_then(|index| u8::try_from(index).ok())
        .unwrap_or(END)
}

fn surprisal(logits: &[f32], chosen: usize) -> f64 {
    let top = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits.iter().map(|x| f64::from(x - top).exp()).sum();
    sum.ln() + f64::from(top - logits[chosen])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Quantization;

    #[test]
    fn surprisal_is_the_logarithm_of_a_softmax() {
        let logits = [1.0, 3.0, 2.0];
        let total: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        let expected = -(f64::from(3.0_f32).exp() / total).ln();
        assert!((surprisal(&logits, 1) - expected).abs() < 1e-12);
        assert_eq!(likeliest(&logits), 1);
    }

    /// Share of exact actions that the note beside the weights states for the usual season.
    fn stated(quantization: Quantization) -> f64 {
        let note = include_str!("../model/README.md");
        let start = format!("| {} | usual | ", quantization.name());
        let row = note.lines().find_map(|line| line.strip_prefix(&start));
        let percent = row.and_then(|row| row.split(" %").next()).unwrap();
        percent.parse::<f64>().unwrap() / 100.0
    }

    /// A small sample, so that a debug build answers it in seconds.
    #[test]
    fn the_shipped_weights_are_as_good_as_their_note_says() {
        let grammar = Grammar::new();
        for quantization in Quantization::ALL {
            let mut model = Model::from_bytes(quantization, quantization.shipped()).unwrap();
            let usual = examine(&mut model, &held_out(&grammar, 0.0, 100)).unwrap();
            let stated = stated(quantization);
            assert!(stated > 0.95, "{quantization:?}: {stated}");
            // Three standard errors of a share near 0.98 over a hundred requests.
            assert!(usual.exact > stated - 0.045, "{quantization:?}: {usual:?}");
            let frost = examine(&mut model, &held_out(&grammar, 1.0, 40)).unwrap();
            assert!(frost.exact < 0.1, "{quantization:?}: {frost:?}");
            assert!(
                frost.output_surprisal > 10.0 * usual.output_surprisal,
                "{frost:?}"
            );
            assert!(
                frost.input_surprisal > 10.0 * usual.input_surprisal,
                "{frost:?}"
            );
        }
    }
}
