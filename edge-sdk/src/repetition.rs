//! How much an output repeats itself: one of the first signs of a broken quantisation or a loop.
//! In: tokens as they are chosen. Out: the share of four-token sequences that occurred before (one
//! minus distinct-4). Memory is bounded; tokens are hashed on arrival and none is kept but the last
//! three.

use std::collections::HashSet;

/// Tokens of one sequence.
const LENGTH: usize = 4;

/// Sequences remembered; an output that goes on longer is judged by what it began with.
const SEQUENCES_MAX: usize = 4_096;

/// What was generated so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repetition {
    last: [u32; LENGTH - 1],
    tokens: usize,
    /// Hashes of the distinct sequences.
    seen: HashSet<u64>,
    sequences: usize,
    /// A token came by that nobody named; the sequences around it are unknown.
    unknown: bool,
}

impl Repetition {
    pub(crate) fn add(&mut self, token: u32) {
        if self.tokens >= LENGTH - 1 && self.sequences < SEQUENCES_MAX {
            self.sequences += 1;
            self.seen.insert(hash(self.last, token));
        }
        self.last.rotate_left(1);
        self.last[LENGTH - 2] = token;
        self.tokens += 1;
    }

    /// A token was generated, and nobody says which.
    pub(crate) fn miss(&mut self) {
        self.unknown = true;
    }

    /// 0 (no sequence twice) to nearly 1; none for outputs too short to repeat themselves, and for
    /// those of which not every token is known.
    pub(crate) fn share(&self) -> Option<f64> {
        let known = self.sequences > 0 && !self.unknown;
        known.then(|| 1.0 - self.seen.len() as f64 / self.sequences as f64)
    }
}

/// A mix of four tokens; two sequences that collide count as one, once in 2^64.
fn hash(before: [u32; LENGTH - 1], token: u32) -> u64 {
    let tokens = before.into_iter().chain([token]);
    tokens.fold(0x9e37_79b9_7f4a_7c15, |hash, token| {
        let mixed = (hash ^ u64::from(token)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(tokens: &[u32]) -> Option<f64> {
        let mut repetition = Repetition::default();
        tokens.iter().for_each(|token| repetition.add(*token));
        repetition.share()
    }

    #[test]
    fn a_loop_repeats_and_a_count_does_not() {
        assert_eq!(share(&[1, 2, 3]), None, "too short for one sequence");
        assert_eq!(share(&[1, 2, 3, 4, 5, 6]), Some(0.0));
        // Nine tokens of a loop of two: six sequences, two distinct.
        let share = share(&[1, 2, 1, 2, 1, 2, 1, 2, 1]).unwrap();
        assert!((share - (1.0 - 2.0 / 6.0)).abs() < 1e-12, "{share}");
    }

    #[test]
    fn an_unnamed_token_leaves_the_share_unknown() {
        let mut repetition = Repetition::default();
        (0..9).for_each(|token| repetition.add(token));
        repetition.miss();
        assert_eq!(repetition.share(), None);
    }

    #[test]
    fn endless_output_takes_no_endless_memory() {
        let mut repetition = Repetition::default();
        (0..100_000).for_each(|token| repetition.add(token));
        assert_eq!(repetition.seen.len(), SEQUENCES_MAX);
        assert_eq!(repetition.share(), Some(0.0));
    }

    proptest! {
        #[test]
        fn it_is_one_minus_distinct_over_all(tokens in prop::collection::vec(0u32..5, 0..200)) {
            let sequences: Vec<&[u32]> = tokens.windows(LENGTH).collect();
            let distinct: std::collections::BTreeSet<_> = sequences.iter().collect();
            let expected = (!sequences.is_empty())
                .then(|| 1.0 - distinct.len() as f64 / sequences.len() as f64);
            prop_assert_eq!(share(&tokens), expected);
        }
    }
}
