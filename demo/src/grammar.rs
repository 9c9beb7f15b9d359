//! What people say to the building, and what it should do. Owns the two seasons of speech. In: a
//! season, or a blend of both, and a seeded generator. Out: a spoken request with the action that
//! answers it. Never reads a clock or a file at run time: the word lists are part of the binary,
//! so one seed gives the same speech everywhere.

mod numerals;
mod season;

use rand::{Rng, rngs::StdRng};

use season::Season;

/// A request as it is said, and the action that is right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utterance {
    pub request: String,
    pub action: String,
}

/// The building's speech: the season the model was trained for, and the one that follows.
pub struct Grammar {
    usual: Season,
    frost: Season,
}

impl Grammar {
    pub fn new() -> Self {
        let parse = |text| Season::parse(text).expect("a test parses both shipped word lists");
        Self {
            usual: parse(include_str!("../grammar/usual.txt")),
            frost: parse(include_str!("../grammar/frost.txt")),
        }
    }

    /// One utterance; `share` of them, from 0 to 1, belong to the new season.
    pub fn speak(&self, share: f64, rng: &mut StdRng) -> Utterance {
        let season = if rng.random_bool(share.clamp(0.0, 1.0)) {
            &self.frost
        } else {
            &self.usual
        };
        season.speak(rng)
    }
}

impl Default for Grammar {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng;

    use super::*;

    fn speech(seed: u64, share: f64, count: usize) -> Vec<Utterance> {
        let (grammar, mut rng) = (Grammar::new(), StdRng::seed_from_u64(seed));
        (0..count).map(|_| grammar.speak(share, &mut rng)).collect()
    }

    #[test]
    fn one_seed_gives_one_speech_and_another_seed_another() {
        assert_eq!(speech(3, 0.5, 200), speech(3, 0.5, 200));
        assert_ne!(speech(3, 0.5, 200), speech(4, 0.5, 200));
    }

    #[test]
    fn a_request_has_one_right_action() {
        for share in [0.0, 1.0] {
            let mut actions = BTreeMap::new();
            for Utterance { request, action } in speech(11, share, 20_000) {
                let known = actions.entry(request.clone()).or_insert(action.clone());
                assert_eq!(*known, action, "{request}");
            }
            // Enough different sentences that a model cannot have learned them by heart.
            assert!(actions.len() > 10_000, "only {} requests", actions.len());
        }
    }

    #[test]
    fn the_seasons_share_no_request_and_the_share_blends_them() {
        let usual = speech(1, 0.0, 5_000);
        let frost = speech(1, 1.0, 5_000);
        assert!(!usual.iter().any(|utterance| frost.contains(utterance)));
        let season_of_frost = |utterance: &Utterance| {
            let verb = utterance.action.split(' ').next().unwrap();
            !["cool", "blinds", "lights", "repair", "visit", "read"].contains(&verb)
        };
        let blend = speech(2, 0.7, 5_000);
        let shifted = blend.iter().filter(|u| season_of_frost(u)).count();
        assert!((3_350..3_650).contains(&shifted), "{shifted} of 5,000");
    }

    #[test]
    fn speech_is_plain_and_fits_the_models_context() {
        for share in [0.0, 1.0] {
            for utterance in speech(5, share, 20_000) {
                let Utterance { request, action } = &utterance;
                let text = format!("{request}{action}");
                let plain = |b| (b' '..=b'~').contains(&b) && !b"{}=".contains(&b);
                assert!(text.bytes().all(plain), "{utterance:?}");
                assert!(!text.contains("  ") && text.trim() == text, "{utterance:?}");
                assert!(
                    text.len() + 2 <= crate::model::CONTEXT_BYTES_MAX,
                    "{utterance:?}"
                );
            }
        }
    }
}
