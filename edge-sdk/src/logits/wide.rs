//! The same statistics for large vocabularies, written so that compilers turn every loop into
//! vector instructions: fixed lanes, no branch, no call. In: a long row. Out: as `LogitStats::of`,
//! with sums of 32-bit exponentials: relative errors near 1e-6, far below a nat's fourth digit.
//! Portable code without intrinsics, compiled twice on x86-64: for every processor, and for those
//! with AVX2.

use super::LogitStats;

/// Values worked on side by side: two AVX2 registers, four of SSE or NEON.
const LANES: usize = 16;

/// Blocks whose sums are kept in 32 bits before they join the 64-bit total.
const BLOCKS: usize = 32;

/// Below this, `e^x` is less than the smallest normal float and counts as nothing.
const LOWEST: f32 = -87.0;

type Lane = [f32; LANES];

#[cfg(target_arch = "x86_64")]
pub(super) fn stats(logits: &[f32]) -> Option<LogitStats> {
    if !std::arch::is_x86_feature_detected!("avx2") {
        return portable(logits);
    }
    #[expect(
        unsafe_code,
        reason = "twice as fast in `benches/logits.rs`; the processor was asked one line before"
    )]
    // SAFETY: the function needs AVX2 and nothing else, and this processor has it.
    unsafe {
        with_avx2(logits)
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn stats(logits: &[f32]) -> Option<LogitStats> {
    portable(logits)
}

/// The same code, with registers of eight floats.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(logits: &[f32]) -> Option<LogitStats> {
    portable(logits)
}

#[inline(always)]
fn portable(logits: &[f32]) -> Option<LogitStats> {
    let (largest, second) = two_largest(logits)?;
    let likeliest = position(logits, largest)?;
    let first = sums(&logits[..likeliest], largest);
    let last = sums(&logits[likeliest + 1..], largest);
    let (rest, weighted) = (first.0 + last.0, first.1 + last.1);
    let total = 1.0 + rest;
    let log_sum = rest.ln_1p();
    Some(LogitStats {
        likeliest: u32::try_from(likeliest).ok()?,
        entropy: (log_sum - weighted / total).max(0.0),
        uncertainty: rest / total,
        margin: -(f64::from(second) - f64::from(largest)).exp_m1() / total,
        largest: f64::from(largest),
        log_sum,
    })
}

/// The two largest logits, equal ones both; `None` where one is no logit, or all are ruled out.
#[inline(always)]
fn two_largest(logits: &[f32]) -> Option<(f32, f32)> {
    let (blocks, rest) = logits.as_chunks::<LANES>();
    let (mut first, mut second) = ([f32::NEG_INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    let mut odd = [0u32; LANES];
    for block in blocks {
        for lane in 0..LANES {
            let logit = block[lane];
            odd[lane] |= u32::from(is_odd(logit));
            let lower = if logit < first[lane] {
                logit
            } else {
                first[lane]
            };
            second[lane] = if lower > second[lane] {
                lower
            } else {
                second[lane]
            };
            first[lane] = if logit > first[lane] {
                logit
            } else {
                first[lane]
            };
        }
    }
    let odd = odd.iter().any(|odd| *odd != 0) || rest.iter().any(|logit| is_odd(*logit));
    let mut two = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for logit in first.iter().chain(&second).chain(rest) {
        two.1 = two.1.max(two.0.min(*logit));
        two.0 = two.0.max(*logit);
    }
    (!odd && two.0 > f32::NEG_INFINITY).then_some(two)
}

/// Minus infinity is how samplers rule a token out; these two are how models break.
#[inline(always)]
fn is_odd(logit: f32) -> bool {
    logit.is_nan() | (logit == f32::INFINITY)
}

/// Where `wanted` stands first.
#[inline(always)]
fn position(logits: &[f32], wanted: f32) -> Option<usize> {
    let (blocks, _) = logits.as_chunks::<LANES>();
    let holds = |block: &Lane| {
        let found = block.iter().map(|logit| u32::from(*logit == wanted));
        found.fold(0, |all, found| all | found) != 0
    };
    let block = blocks.iter().position(holds).unwrap_or(blocks.len());
    let rest = logits.get(block * LANES..)?;
    Some(block * LANES + rest.iter().position(|logit| *logit == wanted)?)
}

/// Sums of `e^(x-largest)` and of `(x-largest) e^(x-largest)`.
#[inline(always)]
fn sums(logits: &[f32], largest: f32) -> (f64, f64) {
    let (blocks, rest) = logits.as_chunks::<LANES>();
    let mut total = (0.0, 0.0);
    for group in blocks.chunks(BLOCKS) {
        let (mut shares, mut weighted) = ([0f32; LANES], [0f32; LANES]);
        for block in group {
            add(block, largest, &mut shares, &mut weighted);
        }
        join(&mut total, &shares, &weighted);
    }
    let (mut shares, mut weighted) = ([0f32; LANES], [0f32; LANES]);
    let mut last = [f32::NEG_INFINITY; LANES];
    last[..rest.len()].copy_from_slice(rest);
    add(&last, largest, &mut shares, &mut weighted);
    join(&mut total, &shares, &weighted);
    total
}

#[inline(always)]
fn add(block: &Lane, largest: f32, shares: &mut Lane, weighted: &mut Lane) {
    for lane in 0..LANES {
        let below = block[lane] - largest;
        let kept = if below > LOWEST { 1.0 } else { 0.0 };
        let below = if below > LOWEST { below } else { LOWEST };
        let share = kept * exp(below);
        shares[lane] += share;
        weighted[lane] += below * share;
    }
}

#[inline(always)]
fn join(total: &mut (f64, f64), shares: &Lane, weighted: &Lane) {
    total.0 += shares.iter().map(|share| f64::from(*share)).sum::<f64>();
    total.1 += weighted.iter().map(|share| f64::from(*share)).sum::<f64>();
}

/// `e^x` for `x` in -87 to 0: `2^n` times a polynomial on half an octave (the Taylor series to the
/// sixth power, whose error there is below a float's last digit).
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number; unlike `round`, it needs no call.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, so that `x - n ln 2` loses no digits.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let tail = 1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0)));
    let power = 1.0 + r + r * r * (0.5 + r * tail);
    // The low bits of `rounded` are n; they become the exponent.
    let scale = f32::from_bits(rounded.to_bits().wrapping_shl(23).wrapping_add(0x3f80_0000));
    power * scale
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logits::Pass;

    fn narrow(logits: &[f32]) -> Option<LogitStats> {
        Pass::over(logits)
    }

    fn close(ours: f64, theirs: f64) -> bool {
        (ours - theirs).abs() <= 2e-6 * theirs.abs() + 1e-12
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn wide_and_narrow_agree(
            logits in prop::collection::vec(
                prop_oneof![9 => -60f32..60f32, 1 => Just(f32::NEG_INFINITY)], 1..3_000),
        ) {
            let (Some(wide), Some(narrow)) = (stats(&logits), narrow(&logits)) else {
                prop_assert_eq!(stats(&logits), narrow(&logits));
                return Ok(());
            };
            prop_assert_eq!(Some(wide), portable(&logits), "the same bits with and without AVX2");
            prop_assert_eq!(wide.likeliest, narrow.likeliest);
            prop_assert!((wide.entropy - narrow.entropy).abs() < 1e-5, "{wide:?} {narrow:?}");
            prop_assert!(close(wide.uncertainty, narrow.uncertainty), "{wide:?} {narrow:?}");
            prop_assert!(close(wide.margin, narrow.margin), "{wide:?} {narrow:?}");
            prop_assert!(close(wide.log_sum, narrow.log_sum), "{wide:?} {narrow:?}");
        }

        #[test]
        fn no_row_of_bits_panics_or_differs_in_sense(
            bits in prop::collection::vec(any::<u32>(), 0..100),
        ) {
            let logits: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
            prop_assert_eq!(stats(&logits).is_some(), narrow(&logits).is_some());
        }
    }

    #[test]
    fn exponentials_are_right_to_a_floats_last_digits() {
        for step in 0..=87_000 {
            let x = -(step as f32) / 1_000.0;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours / exact - 1.0).abs() < 4e-7, "{x}: {ours} {exact}");
        }
    }

    #[test]
    fn a_large_vocabulary_is_within_a_ten_thousandth_of_a_nat() {
        for vocabulary in [32_000, 152_000] {
            let logit = |n: usize| ((n * 2_654_435_761) % 10_007) as f32 / 500.0;
            let logits: Vec<f32> = (0..vocabulary).map(logit).collect();
            let (wide, narrow) = (stats(&logits).unwrap(), narrow(&logits).unwrap());
            assert!(
                (wide.entropy - narrow.entropy).abs() < 1e-4,
                "{wide:?} {narrow:?}"
            );
            assert!(
                (wide.log_sum - narrow.log_sum).abs() < 1e-4,
                "{wide:?} {narrow:?}"
            );
        }
    }
}
