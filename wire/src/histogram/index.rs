//! Value to bucket and back. In: a positive finite value and a scale. Out: the exact
//! upper-inclusive index. Never sees zero, negatives or NaN: callers sort those out first.
//!
//! Scales that devices record at read a table made once from [`lower_bound`] itself, so both ways
//! give the same index for every value; a property test holds them together.

use std::sync::LazyLock;

/// Finest scale that has a table; coarser indexes are shifts of its own.
const TABLE_SCALE: i32 = 5;

/// Pieces of an octave of equal width. Boundaries at [`TABLE_SCALE`] lie further apart than that
/// (2^(1/32) - 1 > 1/64), so a piece holds at most one.
const PIECES: usize = 64;

/// Explicit bits of a float's fraction.
const FRACTION_BITS: u32 = 52;
const FRACTION_MASK: u64 = (1 << FRACTION_BITS) - 1;

/// Below this, boundaries themselves may round; the formula takes over.
const SMALLEST_IN_TABLE: f64 = 1e-290;

/// One piece of an octave.
#[derive(Clone, Copy)]
struct Piece {
    /// Fraction bits of the boundary in this piece; none is larger when there is no boundary.
    boundary: u64,
    /// Bucket of the octave up to and including the boundary; the next one lies above it.
    bucket: i32,
}

static PIECES_OF_AN_OCTAVE: LazyLock<[Piece; PIECES]> = LazyLock::new(|| {
    let mut pieces = [Piece {
        boundary: u64::MAX,
        bucket: 0,
    }; PIECES];
    let mut bucket = -1;
    for (n, piece) in pieces.iter_mut().enumerate() {
        piece.bucket = bucket;
        let boundary = lower_bound(bucket + 1, TABLE_SCALE).to_bits() & FRACTION_MASK;
        let last = bucket + 1 == 1 << TABLE_SCALE;
        if !last && piece_of(boundary) == n {
            piece.boundary = boundary;
            bucket += 1;
        }
    }
    pieces
});

fn piece_of(fraction: u64) -> usize {
    (fraction >> (FRACTION_BITS - PIECES.ilog2())) as usize
}

/// Index of the bucket that holds `value > 0` at `scale`: `base^i < value <= base^(i+1)`.
///
/// Exact for powers of two at every scale and for all values at `scale <= 0`; elsewhere exact up
/// to the rounding of the boundary itself, which the specification allows (plus or minus one).
#[inline]
pub fn bucket_index(value: f64, scale: i32) -> i32 {
    if (1..=TABLE_SCALE).contains(&scale) && value >= SMALLEST_IN_TABLE {
        look_up(value) >> (TABLE_SCALE - scale)
    } else {
        calculate(value, scale)
    }
}

/// Index at [`TABLE_SCALE`] of a normal value.
#[inline]
fn look_up(value: f64) -> i32 {
    let bits = value.to_bits();
    let exponent = (bits >> FRACTION_BITS) as i32 - 1023;
    let fraction = bits & FRACTION_MASK;
    let piece = &PIECES_OF_AN_OCTAVE[piece_of(fraction)];
    (exponent << TABLE_SCALE) + piece.bucket + i32::from(fraction > piece.boundary)
}

/// Index at any scale.
fn calculate(value: f64, scale: i32) -> i32 {
    let (fraction, exponent) = split(value);
    if fraction == 0.5 {
        // A power of two is the upper bound of its bucket.
        return if scale >= 0 {
            ((exponent - 1) << scale) - 1
        } else {
            (exponent - 2) >> -scale
        };
    }
    if scale <= 0 {
        return (exponent - 1) >> -scale;
    }
    // The octave's part is an exact shift; only the fraction needs a logarithm.
    let within = (fraction.log2() * f64::from(1u32 << scale)).ceil() as i32 - 1;
    let index = (exponent << scale) + within;
    if value <= lower_bound(index, scale) {
        index - 1
    } else if value > lower_bound(index + 1, scale) {
        index + 1
    } else {
        index
    }
}

/// Lower boundary of bucket `index` at `scale`, which is the upper boundary of the one below.
pub fn lower_bound(index: i32, scale: i32) -> f64 {
    if scale <= 0 {
        let exponent = i64::from(index) << -scale;
        return (exponent as f64).exp2();
    }
    let octave = index >> scale;
    let within = index - (octave << scale);
    let fraction = (f64::from(within) / f64::from(1u32 << scale)).exp2();
    // Two factors, so that the smallest normal numbers do not lose their fraction.
    if octave < -1000 {
        fraction * f64::from(octave + 100).exp2() * (-100f64).exp2()
    } else {
        fraction * f64::from(octave).exp2()
    }
}

/// `value = fraction * 2^exponent` with the fraction in `[0.5, 1)`.
fn split(value: f64) -> (f64, i32) {
    const EXPONENT_BITS: u64 = 0x7ff << 52;
    let (value, shift) = if value < f64::MIN_POSITIVE {
        (value * (1u64 << 54) as f64, -54) // subnormal: scale into the normal range first
    } else {
        (value, 0)
    };
    let bits = value.to_bits();
    let exponent = ((bits & EXPONENT_BITS) >> 52) as i32 - 1022;
    (
        f64::from_bits((bits & !EXPONENT_BITS) | (1022 << 52)),
        exponent + shift,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn powers_of_two_are_the_upper_bound_of_their_bucket() {
        for scale in -4..=20 {
            assert_eq!(bucket_index(1.0, scale), -1);
            assert!(lower_bound(bucket_index(8.0, scale), scale) < 8.0);
        }
        assert_eq!(bucket_index(f64::from_bits(1), 0), -1075);
    }

    #[test]
    fn the_table_agrees_at_and_beside_every_boundary() {
        for scale in 1..=TABLE_SCALE {
            for index in (-960 << scale)..(1023 << scale) {
                let boundary = lower_bound(index, scale);
                for value in [boundary.next_down(), boundary, boundary.next_up()] {
                    assert_eq!(
                        bucket_index(value, scale),
                        calculate(value, scale),
                        "{value:e} at scale {scale}"
                    );
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn the_table_agrees_with_the_formula(
            bits in 1u64..0x7fef_ffff_ffff_ffff,
            near_one in 1e-9f64..1e9,
            scale in -10i32..=20,
        ) {
            for value in [f64::from_bits(bits), near_one] {
                prop_assert_eq!(bucket_index(value, scale), calculate(value, scale));
                prop_assert_eq!(bucket_index(value, 5), calculate(value, 5));
                prop_assert_eq!(bucket_index(value, 4), calculate(value, 4));
            }
        }
    }

    proptest! {
        #[test]
        fn every_value_lies_in_its_bucket(bits in 1u64..0x7fef_ffff_ffff_ffff, scale in -10i32..=20) {
            let value = f64::from_bits(bits);
            let index = bucket_index(value, scale);
            prop_assert!(lower_bound(index, scale) < value * (1.0 + 1e-15) + f64::from_bits(1));
            prop_assert!(value <= lower_bound(index + 1, scale) * (1.0 + 1e-15));
        }

        #[test]
        fn a_coarser_index_is_a_shift(value in 1e-9f64..1e9, scale in 0i32..=8, by in 0u32..4) {
            let fine = bucket_index(value, scale);
            prop_assert_eq!(bucket_index(value, scale - by as i32), fine >> by);
        }
    }
}
