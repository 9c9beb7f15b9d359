//! Value to bucket and back. In: a positive finite value and a scale. Out: the exact
//! upper-inclusive index. Never sees zero, negatives or NaN: callers sort those out first.

use std::sync::LazyLock;

/// Index of the bucket that holds `value > 0` at `scale`: `base^i < value <= base^(i+1)`.
///
/// Exact for powers of two at every scale and for all values at `scale <= 0`; elsewhere exact up
/// to the rounding of the boundary itself, which the specification allows (plus or minus one).
pub fn bucket_index(value: f64, scale: i32) -> i32 {
    if (0..=TABLE_SCALE).contains(&scale) && value >= f64::MIN_POSITIVE {
        return index_by_table(value, scale);
    }
    index_by_logarithm(value, scale)
}

/// Scales up to here have their boundaries in a table: those that devices record at.
const TABLE_SCALE: i32 = 5;

/// Lower boundaries of the buckets of one octave at the table's scale, as [`lower_bound`] has them.
static BOUNDS: LazyLock<[f64; 1 << TABLE_SCALE]> =
    LazyLock::new(|| std::array::from_fn(|within| lower_bound(within as i32, TABLE_SCALE)));

/// For normal values: how many boundaries of its octave lie below it. Coarser buckets are unions of
/// finer ones, so a shift gives every smaller scale.
fn index_by_table(value: f64, scale: i32) -> i32 {
    const MANTISSA_BITS: u32 = 52;
    let bits = value.to_bits();
    let octave = (bits >> MANTISSA_BITS) as i32 - 1023;
    let mantissa = f64::from_bits((bits & ((1 << MANTISSA_BITS) - 1)) | (1023 << MANTISSA_BITS));
    let below = BOUNDS.partition_point(|bound| *bound < mantissa) as i32;
    ((octave << TABLE_SCALE) + below - 1) >> (TABLE_SCALE - scale)
}

fn index_by_logarithm(value: f64, scale: i32) -> i32 {
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

    proptest! {
        #[test]
        fn every_value_lies_in_its_bucket(bits in 1u64..0x7fef_ffff_ffff_ffff, scale in -10i32..=20) {
            let value = f64::from_bits(bits);
            let index = bucket_index(value, scale);
            prop_assert!(lower_bound(index, scale) < value * (1.0 + 1e-15) + f64::from_bits(1));
            prop_assert!(value <= lower_bound(index + 1, scale) * (1.0 + 1e-15));
        }

        #[test]
        fn table_and_logarithm_agree(
            octave in -1022i32..1024,
            within in 0u32..32,
            step in -2i64..3,
            mantissa in 0u64..1 << 52,
            scale in 0i32..=5,
        ) {
            // Around every boundary, where they could differ, and anywhere.
            let boundary = lower_bound((octave << 5) + within as i32, 5);
            let near = f64::from_bits(boundary.to_bits().wrapping_add_signed(step));
            let anywhere = f64::from_bits(((octave + 1023) as u64) << 52 | mantissa);
            for value in [boundary, near, anywhere] {
                if value.is_normal() {
                    prop_assert_eq!(bucket_index(value, scale), index_by_logarithm(value, scale));
                }
            }
        }

        #[test]
        fn a_coarser_index_is_a_shift(value in 1e-9f64..1e9, scale in 0i32..=8, by in 0u32..4) {
            let fine = bucket_index(value, scale);
            prop_assert_eq!(bucket_index(value, scale - by as i32), fine >> by);
        }
    }
}
