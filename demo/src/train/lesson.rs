//! Texts to learn from. Owns batching: which requests, how long, which bytes count. In: the
//! grammar and the requests to leave out. Out: pairs of half-batches, endlessly, the same for the
//! same seed. Never repeats a held-out request.

use std::collections::{HashSet, VecDeque};

use candle_core::{Device, Result, Tensor};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::fused::CrossEntropy;
use crate::{
    grammar::{Grammar, Utterance},
    model::END,
};

/// Texts in one step of the optimizer.
const BATCH_TEXTS: usize = 16;
/// Batches drawn together and sorted by length, so that little of a batch is padding.
const POOL_BATCHES: usize = 8;
/// What a request's byte counts beside an action's: enough that its surprisal means something.
const REQUEST_WEIGHT: f32 = 0.2;

/// Bytes with the bytes that follow them, padded to one length.
pub(super) struct Lesson {
    rows: usize,
    length: usize,
    input: Vec<u32>,
    targets: Vec<u8>,
    weights: Vec<f32>,
}

impl Lesson {
    pub(super) fn new(utterances: &[Utterance]) -> Self {
        let texts: Vec<String> = utterances.iter().map(text).collect();
        let length = texts.iter().map(String::len).max().unwrap_or(1) - 1;
        let mut lesson = Self {
            rows: texts.len(),
            length,
            input: vec![],
            targets: vec![],
            weights: vec![],
        };
        for (text, utterance) in texts.iter().zip(utterances) {
            let bytes = text.as_bytes();
            for at in 0..length {
                let next = bytes.get(at + 1);
                lesson.input.push(u32::from(*bytes.get(at).unwrap_or(&END)));
                lesson.targets.push(*next.unwrap_or(&END));
                lesson.weights.push(match next {
                    None => 0.0,
                    Some(_) if at < utterance.request.len() => REQUEST_WEIGHT,
                    Some(_) => 1.0,
                });
            }
        }
        lesson
    }

    /// `(texts, bytes)`.
    pub(super) fn input(&self) -> Result<Tensor> {
        Tensor::from_slice(&self.input, (self.rows, self.length), &Device::Cpu)
    }

    pub(super) fn total_weight(&self) -> f32 {
        self.weights.iter().sum()
    }

    /// What the logits are judged by, as a part of a batch of `total_weight`.
    pub(super) fn loss(&self, total_weight: f32) -> CrossEntropy {
        CrossEntropy {
            targets: self.targets.clone(),
            weights: self.weights.clone(),
            total_weight,
        }
    }
}

fn text(utterance: &Utterance) -> String {
    let end = char::from(END);
    format!("{}{end}{}{end}", utterance.request, utterance.action)
}

/// An endless supply of lessons.
pub(super) struct Lessons<'a> {
    grammar: &'a Grammar,
    unseen: HashSet<&'a str>,
    /// Share of the texts that are of the new season.
    share: f64,
    rng: StdRng,
    pool: VecDeque<Vec<Utterance>>,
}

impl<'a> Lessons<'a> {
    pub(super) fn new(
        grammar: &'a Grammar,
        unseen: &'a [Utterance],
        (share, seed): (f64, u64),
    ) -> Self {
        Self {
            grammar,
            unseen: unseen.iter().map(|u| u.request.as_str()).collect(),
            share,
            rng: StdRng::seed_from_u64(seed),
            pool: VecDeque::new(),
        }
    }

    /// One batch in two halves, one for each of two threads.
    pub(super) fn next_pair(&mut self) -> [Lesson; 2] {
        if self.pool.is_empty() {
            self.refill();
        }
        let batch = self.pool.pop_front().unwrap_or_default();
        let (first, second) = batch.split_at(batch.len() / 2);
        [Lesson::new(first), Lesson::new(second)]
    }

    fn refill(&mut self) {
        let mut drawn = vec![];
        while drawn.len() < BATCH_TEXTS * POOL_BATCHES {
            let utterance = self.grammar.speak(self.share, &mut self.rng);
            if !self.unseen.contains(utterance.request.as_str()) {
                drawn.push(utterance);
            }
        }
        drawn.sort_by_key(|utterance| text(utterance).len());
        let mut batches: Vec<_> = drawn.chunks(BATCH_TEXTS).map(<[_]>::to_vec).collect();
        batches.shuffle(&mut self.rng);
        self.pool.extend(batches);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_weigh_one_requests_less_and_padding_nothing() {
        let say = |request: &str, action: &str| Utterance {
            request: request.into(),
            action: action.into(),
        };
        let lesson = Lesson::new(&[say("ab", "xy"), say("a", "x")]);
        assert_eq!(lesson.targets, b"b\nxy\n\nx\n\n\n");
        let (r, a) = (REQUEST_WEIGHT, 1.0);
        assert_eq!(lesson.weights, [r, r, a, a, a, r, a, a, 0.0, 0.0]);
        assert_eq!(lesson.input[..5], [97, 98, 10, 120, 121]);
        assert!((lesson.total_weight() - (5.0 + 3.0 * r)).abs() < 1e-6);
    }

    #[test]
    fn lessons_leave_out_what_the_exam_asks() {
        let grammar = Grammar::new();
        // The very requests that these lessons would have started with.
        let mut plain = Lessons::new(&grammar, &[], (0.5, 5));
        plain.refill();
        let unseen: Vec<Utterance> = plain.pool.into_iter().flatten().collect();
        let mut lessons = Lessons::new(&grammar, &unseen, (0.5, 5));
        lessons.refill();
        let drawn: Vec<_> = lessons.pool.iter().flatten().collect();
        assert_eq!(drawn.len(), unseen.len());
        assert!(drawn.iter().all(|utterance| !unseen.contains(utterance)));
    }
}
