//! What a batch says for and against a share having moved. In: the share that is expected, the
//! tolerance, the share that was seen, and for how many independent values the batch counts. Out:
//! logarithms of likelihood ratios, one a bet. Pure.

/// Bets on one share: up and down, at each of these odds against what is expected.
const ODDS: [f64; 4] = [1.2, 1.5, 2.5, 6.0];
pub(super) const BETS: usize = 2 * ODDS.len();

/// Shares nearer to none or all than this cannot be bet on.
const EDGE: f64 = 1e-4;

/// What a bet loses a batch where there is nothing to bet on.
const IDLE: f64 = -0.05;

/// A share as it was while nothing was wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) share: f64,
    /// Smallest move that is worth an alarm; what the reference may be wrong by is in it.
    pub(super) tolerance: f64,
}

/// What each bet gains or loses, in nat. While the share is on the safe side of its tolerance no
/// bet gains on average.
pub(super) fn steps(expected: Expected, seen: f64, weight: f64) -> [f64; BETS] {
    let mut steps = [IDLE; BETS];
    let (up, down) = steps.split_at_mut(ODDS.len());
    for (step, odds) in up.iter_mut().zip(ODDS) {
        *step = ratio(expected.share + expected.tolerance, odds, seen, weight);
    }
    for (step, odds) in down.iter_mut().zip(ODDS) {
        let share = expected.share - expected.tolerance;
        *step = ratio(share, 1.0 / odds, seen, weight);
    }
    steps
}

/// Logarithm of how much likelier `seen` is when the odds of `share` are multiplied.
fn ratio(share: f64, odds: f64, seen: f64, weight: f64) -> f64 {
    if !(EDGE..=1.0 - EDGE).contains(&share) {
        return IDLE;
    }
    let moved = share * odds / (1.0 - share + share * odds);
    let rest = ((1.0 - moved) / (1.0 - share)).ln();
    weight * (seen * (moved / share).ln() + (1.0 - seen) * rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Chances of 0 to `n` successes.
    fn binomial(n: u32, share: f64) -> Vec<f64> {
        let mut chance = (1.0 - share).powi(n as i32);
        let mut chances = vec![chance];
        for k in 0..n {
            chance *= f64::from(n - k) / f64::from(k + 1) * share / (1.0 - share);
            chances.push(chance);
        }
        chances
    }

    proptest! {
        /// The property everything else rests on, exactly and for every bet.
        #[test]
        fn no_bet_multiplies_its_stake_while_the_share_is_within_tolerance(
            share in 0.01f64..0.99, tolerance in 0.0f64..0.2, within in -1.0f64..1.0,
            design_effect in 1.0f64..8.0,
        ) {
            let truth = (share + within * tolerance).clamp(0.001, 0.999);
            let mut gains = [0.0; BETS];
            for (count, chance) in binomial(16, truth).into_iter().enumerate() {
                let seen = count as f64 / 16.0;
                let expected = Expected { share, tolerance };
                let steps = steps(expected, seen, 16.0 / design_effect);
                for (gain, step) in gains.iter_mut().zip(steps) {
                    *gain += chance * step.exp();
                }
            }
            for gain in gains {
                prop_assert!(gain <= 1.0 + 1e-9, "{gains:?}");
            }
        }
    }

    #[test]
    fn the_right_side_wins() {
        let expected = Expected {
            share: 0.25,
            tolerance: 0.05,
        };
        let (high, low) = (steps(expected, 0.75, 16.0), steps(expected, 0.0, 16.0));
        assert!(high[2] > 1.0 && high[6] < -1.0, "{high:?}");
        assert!(low[6] > 1.0 && low[2] < -1.0, "{low:?}");
    }

    #[test]
    fn there_is_no_bet_on_less_than_nothing() {
        let expected = Expected {
            share: 0.004,
            tolerance: 0.01,
        };
        let steps = steps(expected, 0.0, 16.0);
        assert!(steps[4..].iter().all(|step| *step == IDLE));
    }
}
