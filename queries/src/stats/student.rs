//! Student's t for any degrees of freedom: by bisection over its tail, which is an incomplete beta
//! function (Abramowitz and Stegun 1964, 26.5.8 and 26.7.1). Slow beside an approximation, and
//! right where one is not: few devices, small errors.

use libm::{exp, fabs, lgamma, log};

/// Halvings of where the point can lie: beyond what doubles tell apart.
const HALVINGS: u32 = 200;
/// Terms of the fraction; it converges within far fewer.
const TERMS: u32 = 500;
/// Keeps the fraction from dividing by zero.
const TINY: f64 = 1e-300;

/// The point that a variable with `free` degrees of freedom exceeds with probability `error`, below
/// a half.
pub fn student_point(free: f64, error: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while exceeds(high, free) > error && high < 1e150 {
        high *= 2.0;
    }
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        match exceeds(middle, free) > error {
            true => low = middle,
            false => high = middle,
        }
    }
    0.5 * (low + high)
}

/// Probability of more than `point`, which is not negative.
fn exceeds(point: f64, free: f64) -> f64 {
    let share = free / (free + point * point);
    0.5 * incomplete_beta(share, 0.5 * free, 0.5)
}

/// The regularized incomplete beta function.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let ln_beta = lgamma(a) + lgamma(b) - lgamma(a + b);
    let front = exp(a * log(x) + b * libm::log1p(-x) - ln_beta);
    match x < (a + 1.0) / (a + b + 2.0) {
        true => front * fraction(x, a, b) / a,
        false => 1.0 - front * fraction(1.0 - x, b, a) / b,
    }
}

/// Its continued fraction, term by term from the front (Lentz 1976).
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    let guarded = |value: f64| if fabs(value) < TINY { TINY } else { value };
    let (mut c, mut d) = (1.0, 1.0 / guarded(1.0 - (a + b) * x / (a + 1.0)));
    let mut found = d;
    for term in 1..=TERMS {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guarded(1.0 + even * d);
        c = guarded(1.0 + even / c);
        found *= c * d;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guarded(1.0 + odd * d);
        c = guarded(1.0 + odd / c);
        found *= c * d;
        if fabs(c * d - 1.0) < 1e-15 {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By scipy.stats.t.isf.
    const POINTS: [(f64, [f64; 3]); 7] = [
        (
            1.0,
            [
                12.706_204_736_174_705,
                63.656_741_162_871_58,
                2_122.065_750_812_303,
            ],
        ),
        (
            2.5,
            [
                3.574_654_842_003_683_4,
                7.163_728_138_948_786,
                29.638_559_446_502_544,
            ],
        ),
        (
            4.0,
            [
                2.776_445_105_197_794_3,
                4.604_094_871_349_993,
                11.751_339_300_561_163,
            ],
        ),
        (
            7.3,
            [
                2.345_066_736_547_703_4,
                3.451_031_655_622_185_4,
                6.427_949_766_948_071,
            ],
        ),
        (
            10.0,
            [
                2.228_138_851_986_275_3,
                3.169_272_672_616_950_4,
                5.403_333_198_024_153_5,
            ],
        ),
        (
            1e3,
            [
                1.962_339_080_826_408_5,
                2.580_754_698_065_951,
                3.628_057_432_956_082_6,
            ],
        ),
        (
            1e6,
            [
                1.959_966_356_814_107_2,
                2.575_834_220_130_334_4,
                3.615_312_724_138_826_5,
            ],
        ),
    ];

    #[test]
    fn points_are_those_of_scipy() {
        for (free, points) in POINTS {
            for (error, expected) in [0.025, 0.005, 1.5e-4].into_iter().zip(points) {
                let found = student_point(free, error);
                let off = (found - expected).abs() / expected;
                assert!(off < 1e-9, "{free} {error}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn the_rarer_the_error_the_farther_the_point() {
        for free in [1.0, 3.0, 30.0] {
            let points = [0.4, 0.1, 0.025, 1e-3, 1e-6].map(|error| student_point(free, error));
            assert!(points.is_sorted() && points[0] > 0.0, "{points:?}");
        }
    }
}
