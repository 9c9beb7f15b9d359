//! Noise of whole numbers, drawn exactly: two-sided geometric, `P(k)` proportional to
//! `exp(-epsilon |k|)`, by Canonne, Kamath and Steinke (2020), algorithms 1 and 2. In: epsilon as a
//! fraction, random bits. Out: integers. No floating point anywhere: rounding of logarithms is how
//! noise has leaked before (Mironov 2012).

/// Random bits.
pub(crate) trait Bits {
    /// 64 of them; none when the source fails, and then nothing may be drawn at all.
    fn word(&mut self) -> Option<u64>;
}

/// The system's generator, read in pieces.
pub(crate) struct System {
    words: [u64; 32],
    left: usize,
}

impl System {
    pub(crate) fn new() -> Self {
        Self {
            words: [0; 32],
            left: 0,
        }
    }
}

impl Bits for System {
    fn word(&mut self) -> Option<u64> {
        if self.left == 0 {
            let mut bytes = [0; 32 * 8];
            getrandom::fill(&mut bytes).ok()?;
            let (words, _) = bytes.as_chunks::<8>();
            for (word, bytes) in self.words.iter_mut().zip(words) {
                *word = u64::from_le_bytes(*bytes);
            }
            self.left = self.words.len();
        }
        self.left -= 1;
        // Each bit is used once and not kept.
        Some(std::mem::take(&mut self.words[self.left]))
    }
}

/// Noise of one epsilon, `numerator / denominator`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometric {
    numerator: u32,
    denominator: u32,
}

impl Geometric {
    /// Both are at least 1 afterwards: an epsilon of zero would be noise without end.
    pub(crate) fn new(numerator: u32, denominator: u32) -> Self {
        let (numerator, denominator) = (numerator.max(1), denominator.max(1));
        let divisor = gcd(numerator, denominator);
        Self {
            numerator: numerator / divisor,
            denominator: denominator / divisor,
        }
    }

    /// One draw; none when the random source fails.
    pub(crate) fn draw(&self, bits: &mut impl Bits) -> Option<i64> {
        let (s, t) = (u64::from(self.numerator), u64::from(self.denominator));
        loop {
            let low = below(t, bits)?;
            if !chance_exp(low, t, bits)? {
                continue;
            }
            let mut high = 0u64;
            while chance_exp(1, 1, bits)? {
                high += 1;
            }
            let size = high.saturating_mul(t).saturating_add(low) / s;
            let negative = bits.word()? & 1 == 1;
            // Zero has one sign only, or it would come twice as often.
            if negative && size == 0 {
                continue;
            }
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            return Some(if negative { -size } else { size });
        }
    }
}

/// True with probability `exp(-n/d)`, for `n` of at most `d`.
fn chance_exp(n: u64, d: u64, bits: &mut impl Bits) -> Option<bool> {
    let mut k = 1u64;
    // Each round goes on with probability n / (d k).
    while below(d.saturating_mul(k), bits)? < n {
        k += 1;
    }
    Some(k % 2 == 1)
}

/// Uniform in `0..bound`: words from the incomplete last run are drawn again.
fn below(bound: u64, bits: &mut impl Bits) -> Option<u64> {
    let bound = bound.max(1);
    let incomplete = (u64::MAX % bound + 1) % bound;
    loop {
        let word = bits.word()?;
        if word <= u64::MAX - incomplete {
            return Some(word % bound);
        }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::vectors;

    /// Vigna's splitmix64: the same bits in every run of a test.
    pub(crate) struct Seeded(pub(crate) u64);

    impl Bits for Seeded {
        fn word(&mut self) -> Option<u64> {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            Some(z ^ (z >> 31))
        }
    }

    /// Cases worked out elsewhere: epsilon, probabilities of 0 to 5, variance, mean size.
    pub(crate) fn vectors() -> Value {
        vectors::read("privacy.json")
    }

    fn draws(epsilon: f64, count: usize) -> Vec<i64> {
        let noise = Geometric::new((epsilon * 1e6).round() as u32, 1_000_000);
        let mut bits = Seeded(7);
        (0..count).map(|_| noise.draw(&mut bits).unwrap()).collect()
    }

    #[test]
    fn draws_follow_the_exact_probabilities() {
        const DRAWS: usize = 200_000;
        for case in vectors()["geometric"].as_array().unwrap() {
            let epsilon = case["epsilon"].as_f64().unwrap();
            let found = draws(epsilon, DRAWS);
            let p = vectors::numbers(&case["pmf_0_to_5"]);
            // Eleven cells, -5 to 5, and all others together.
            let exact = (-5i64..=5).map(|k| (k, p[k.unsigned_abs() as usize]));
            let mut rest = (1.0, 0.0);
            let mut chi = 0.0;
            for (k, p) in exact {
                let seen = found.iter().filter(|draw| **draw == k).count() as f64;
                chi += (seen - p * DRAWS as f64).powi(2) / (p * DRAWS as f64);
                rest = (rest.0 - p, rest.1 + seen);
            }
            let beyond = rest.0 * DRAWS as f64;
            if beyond >= 5.0 {
                chi += (DRAWS as f64 - rest.1 - beyond).powi(2) / beyond;
            }
            // The 99.9th percentile of chi-square with 11 degrees of freedom.
            assert!(chi < 31.26, "epsilon {epsilon}: chi-square {chi}");
        }
    }

    #[test]
    fn spread_is_that_of_the_closed_form() {
        const DRAWS: usize = 200_000;
        for case in vectors()["geometric"].as_array().unwrap() {
            let epsilon = case["epsilon"].as_f64().unwrap();
            let found = draws(epsilon, DRAWS);
            let mean_of = |f: &dyn Fn(f64) -> f64| {
                found.iter().map(|k| f(*k as f64)).sum::<f64>() / DRAWS as f64
            };
            let variance = case["variance"].as_f64().unwrap();
            let a = (-epsilon).exp();
            assert!((2.0 * a / (1.0 - a).powi(2) / variance - 1.0).abs() < 1e-9);
            // Four standard errors; the fourth moment is below 6 variances squared plus one.
            let error = 4.0 * ((5.0 * variance.powi(2) + variance) / DRAWS as f64).sqrt();
            assert!((mean_of(&|k| k * k) - variance).abs() < error, "{epsilon}");
            let mean = mean_of(&|k| k);
            assert!(
                mean.abs() < 4.0 * (variance / DRAWS as f64).sqrt(),
                "{mean}"
            );
            let size = case["mean_abs"].as_f64().unwrap();
            assert!((mean_of(&f64::abs) / size - 1.0).abs() < 0.03, "{epsilon}");
        }
    }

    #[test]
    fn a_fraction_may_be_written_in_any_terms() {
        let (mut one, mut two) = (Seeded(3), Seeded(3));
        let (short, long) = (Geometric::new(1, 2), Geometric::new(500_000, 1_000_000));
        for _ in 0..1_000 {
            assert_eq!(short.draw(&mut one), long.draw(&mut two));
        }
    }

    #[test]
    fn uniform_draws_have_no_favourites() {
        let mut bits = Seeded(11);
        let mut seen = [0u32; 6];
        (0..60_000).for_each(|_| seen[below(6, &mut bits).unwrap() as usize] += 1);
        assert!(seen.iter().all(|n| n.abs_diff(10_000) < 400), "{seen:?}");
        // A word from the incomplete run is drawn again.
        struct Words(Vec<u64>);
        impl Bits for Words {
            fn word(&mut self) -> Option<u64> {
                self.0.pop()
            }
        }
        assert_eq!(below(3, &mut Words(vec![7, u64::MAX])), Some(1));
        assert_eq!(below(3, &mut Words(vec![u64::MAX])), None);
    }

    #[test]
    fn without_random_bits_nothing_is_drawn() {
        struct Nothing;
        impl Bits for Nothing {
            fn word(&mut self) -> Option<u64> {
                None
            }
        }
        assert_eq!(Geometric::new(1, 2).draw(&mut Nothing), None);
        assert!(System::new().word().is_some());
    }
}
