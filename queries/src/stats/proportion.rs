//! How far apart two shares are, with certainty: Wilson's interval of each, and of their difference
//! Newcombe's (Newcombe 1998, Statistics in Medicine 17, 873, method 10).

use libm::sqrt;

/// The 97.5 % point of the normal distribution.
const NORMAL: f64 = 1.959_963_984_540_054;

/// A share of so many independent observations, which need be no whole number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proportion {
    /// 0 to 1.
    pub share: f64,
    /// What the observations are worth; above 0.
    pub of: f64,
}

/// A difference of shares, with where it lies with 95 % certainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The second less the first.
    pub difference: f64,
    /// From and to.
    pub interval: (f64, f64),
}

/// What `after` is more than `before`.
pub fn difference(before: Proportion, after: Proportion) -> Difference {
    let (was, is) = (wilson(before), wilson(after));
    let difference = after.share - before.share;
    let (p, q) = (after.share, before.share);
    let low = sqrt((p - is.0) * (p - is.0) + (was.1 - q) * (was.1 - q));
    let high = sqrt((is.1 - p) * (is.1 - p) + (q - was.0) * (q - was.0));
    Difference {
        difference,
        interval: (difference - low, difference + high),
    }
}

fn wilson(of: Proportion) -> (f64, f64) {
    let square = NORMAL * NORMAL;
    let Proportion { share, of } = of;
    let middle = share + square / (2.0 * of);
    let wide = NORMAL * sqrt(share * (1.0 - share) / of + square / (4.0 * of * of));
    let scale = 1.0 + square / of;
    ((middle - wide) / scale, (middle + wide) / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(events: f64, of: f64) -> Proportion {
        Proportion {
            share: events / of,
            of,
        }
    }

    /// The examples of table II of the paper.
    #[test]
    fn intervals_are_those_of_the_paper() {
        for (before, after, expected) in [
            (of(48.0, 80.0), of(56.0, 70.0), (0.0524, 0.3339)),
            (of(3.0, 10.0), of(9.0, 10.0), (0.1705, 0.8090)),
            (of(2.0, 7.0), of(6.0, 7.0), (0.0582, 0.8062)),
            (of(0.0, 29.0), of(5.0, 56.0), (-0.0381, 0.1926)),
        ] {
            let found = difference(before, after).interval;
            let off = (found.0 - expected.0)
                .abs()
                .max((found.1 - expected.1).abs());
            assert!(off < 6e-5, "{found:?}, not {expected:?}");
        }
    }

    #[test]
    fn nothing_is_surer_than_what_it_is_worth() {
        let wide = difference(of(4.0, 40.0), of(8.0, 40.0)).interval;
        let narrow = difference(of(40.0, 400.0), of(80.0, 400.0)).interval;
        assert!(wide.0 < 0.0 && narrow.0 > 0.0, "{wide:?} {narrow:?}");
    }
}
