//! The same statistics for large vocabularies, written so that compilers turn every loop into
//! vector instructions: fixed lanes, no branch, no call. In: a long row. Out: as `LogitStats::of`,
//! with sums of 32-bit exponentials: relative errors near 1e-6, far below a nat's fourth digit.
//! Portable code without intrinsics, compiled twice on x86-64: for every processor, and for those
//! with AVX2 and FMA.

use super::LogitStats;

/// Values worked on side by side: two AVX2 registers, four of SSE or NEON.
const LANES: usize = 16;

/// Blocks whose sums are kept in 32 bits before they join the 64-bit total.
const BLOCKS: usize = 32;

/// Lower powers of two are less than the smallest normal float; this one stands for them, and for
/// what a sampler ruled out: 1e-37 of the likeliest token.
const LOWEST: f32 = -124.0;

type Lane = [f32; LANES];

#[cfg(target_arch = "x86_64")]
pub(super) fn stats(logits: &[f32]) -> Option<LogitStats> {
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        return over::<false>(logits);
    }
    #[expect(
        unsafe_code,
        reason = "twice as fast in `benches/logits.rs`; the processor was asked one line before"
    )]
    // SAFETY: the function needs AVX2 and FMA and nothing else, and this processor has both.
    unsafe {
        with_avx2(logits)
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn stats(logits: &[f32]) -> Option<LogitStats> {
    // Every 64-bit ARM processor fuses.
    over::<{ cfg!(target_arch = "aarch64") }>(logits)
}

/// The same code, with registers of eight floats and fused multiplication.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2(logits: &[f32]) -> Option<LogitStats> {
    over::<true>(logits)
}

#[inline(always)]
fn over<const FUSED: bool>(logits: &[f32]) -> Option<LogitStats> {
    let (largest, second) = two_largest(logits)?;
    let likeliest = position(logits, largest)?;
    let first = sums::<FUSED>(&logits[..likeliest], largest);
    let last = sums::<FUSED>(&logits[likeliest + 1..], largest);
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
            odd[lane] |= u32::from(logit.is_nan());
            second[lane] = larger(smaller(logit, first[lane]), second[lane]);
            first[lane] = larger(logit, first[lane]);
        }
    }
    let odd = odd.iter().any(|odd| *odd != 0) || rest.iter().any(|logit| logit.is_nan());
    let mut two = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for logit in first.iter().chain(&second).chain(rest) {
        two.1 = two.1.max(two.0.min(*logit));
        two.0 = two.0.max(*logit);
    }
    // Minus infinity is how samplers rule a token out; the others are how models break.
    (!odd && two.0.is_finite()).then_some(two)
}

/// One instruction, which `f32::max` is not: its rules for NaN cost two more.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
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
fn sums<const FUSED: bool>(logits: &[f32], largest: f32) -> (f64, f64) {
    let (blocks, rest) = logits.as_chunks::<LANES>();
    let mut total = (0.0, 0.0);
    for group in blocks.chunks(BLOCKS) {
        let (mut shares, mut weighted) = ([0f32; LANES], [0f32; LANES]);
        for block in group {
            add::<FUSED>(block, largest, &mut shares, &mut weighted);
        }
        join(&mut total, &shares, &weighted);
    }
    for logit in rest {
        let octaves = octaves(*logit, largest);
        let share = f64::from(exp2::<FUSED>(octaves));
        total.0 += share;
        total.1 += f64::from(octaves) * share;
    }
    (total.0, total.1 * std::f64::consts::LN_2)
}

#[inline(always)]
fn add<const FUSED: bool>(block: &Lane, largest: f32, shares: &mut Lane, weighted: &mut Lane) {
    for lane in 0..LANES {
        let octaves = octaves(block[lane], largest);
        let share = exp2::<FUSED>(octaves);
        shares[lane] += share;
        weighted[lane] = multiply_add::<FUSED>(octaves, share, weighted[lane]);
    }
}

#[inline(always)]
fn join(total: &mut (f64, f64), shares: &Lane, weighted: &Lane) {
    total.0 += shares.iter().map(|share| f64::from(*share)).sum::<f64>();
    total.1 += weighted.iter().map(|share| f64::from(*share)).sum::<f64>();
}

/// How many powers of two a logit lies below the largest, from 0 to [`LOWEST`].
#[inline(always)]
fn octaves(logit: f32, largest: f32) -> f32 {
    larger((logit - largest) * std::f32::consts::LOG2_E, LOWEST)
}

/// `2^x` for `x` in [`LOWEST`] to 0: a power of two, times a polynomial on the half octave around
/// it (minimax for the relative error but for its second term, which is ln 2; exactly 1 at 0).
#[inline(always)]
fn exp2<const FUSED: bool>(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number; unlike `round`, it needs no call.
    const ROUND: f32 = 12_582_912.0;
    let rounded = x + ROUND;
    let r = x - (rounded - ROUND);
    const TERMS: [f32; 5] = [
        0.009_671_513,
        0.055_507_34,
        0.240_222_42,
        std::f32::consts::LN_2,
        1.0,
    ];
    let power = TERMS.iter().fold(0.001_326_472_2, |sum, term| {
        multiply_add::<FUSED>(sum, r, *term)
    });
    // The low bits of `rounded` are the whole number; they join the exponent.
    f32::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 23))
}

/// `a * b + c`, rounded once where that is one instruction; elsewhere it would be a call.
#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
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
            // What this processor runs, and what every other does.
            for wide in [wide, over::<false>(&logits).unwrap()] {
                prop_assert_eq!(wide.likeliest, narrow.likeliest);
                prop_assert!((wide.entropy - narrow.entropy).abs() < 1e-5, "{wide:?} {narrow:?}");
                prop_assert!(close(wide.uncertainty, narrow.uncertainty), "{wide:?} {narrow:?}");
                prop_assert!(close(wide.margin, narrow.margin), "{wide:?} {narrow:?}");
                prop_assert!(close(wide.log_sum, narrow.log_sum), "{wide:?} {narrow:?}");
            }
        }

        #[test]
        fn no_row_of_bits_panics_or_differs_in_sense(
            bits in prop::collection::vec(any::<u32>(), 0..100),
        ) {
            let logits: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
            prop_assert_eq!(stats(&logits).is_some(), narrow(&logits).is_some());
            prop_assert_eq!(over::<false>(&logits).is_some(), narrow(&logits).is_some());
        }
    }

    #[test]
    fn powers_are_right_to_a_floats_last_digits() {
        for step in 0..=124_000 {
            let x = -(step as f32) / 1_000.0;
            let exact = f64::from(x).exp2();
            for ours in [exp2::<false>(x), exp2::<true>(x)] {
                assert!(
                    (f64::from(ours) / exact - 1.0).abs() < 3e-7,
                    "{x}: {ours} {exact}"
                );
            }
        }
        assert_eq!((exp2::<false>(0.0), exp2::<true>(0.0)), (1.0, 1.0));
        assert!(exp2::<false>(octaves(f32::NEG_INFINITY, 3.0)) < 1e-37);
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
