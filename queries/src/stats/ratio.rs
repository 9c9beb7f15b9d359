//! Evidence on the ratio of two shares that were seen at the same time (statistics, section e): is
//! an event more frequent in one arm than in the other?
//!
//! In: events and records of two arms, window by window. Out: log e-values. Given that a window saw
//! so many events, how many of them fell to the first arm is binomial, whatever the season or the
//! fleet did to both (Lindon and Malek 2022; Turner, Ly, Gruenwald 2024).

use libm::log;

use super::ln_mean;

/// What one window saw of one kind of event in two arms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pair {
    /// Events of the arm that is tested.
    pub events: f64,
    /// Its records.
    pub records: u64,
    /// Events of the arm that it is held against.
    pub against_events: f64,
    /// Its records.
    pub against_records: u64,
}

impl Pair {
    /// Whether both arms have records: otherwise a window says nothing.
    pub const fn is_whole(&self) -> bool {
        self.records > 0 && self.against_records > 0
    }

    /// The arms in each other's place: a ratio becomes its inverse.
    #[must_use]
    pub const fn swapped(&self) -> Self {
        Self {
            events: self.against_events,
            records: self.against_records,
            against_events: self.events,
            against_records: self.records,
        }
    }

    /// Records without the event, in the place of those with it.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self {
            events: self.records as f64 - self.events,
            against_events: self.against_records as f64 - self.against_events,
            ..*self
        }
    }

    /// Log e-value of "the share is `alternative` times that of the other arm" against "`null`
    /// times"; 0 where an arm has no records.
    pub fn log_e_value(&self, null: f64, alternative: f64) -> f64 {
        if !self.is_whole() {
            return 0.0;
        }
        let (records, against) = (self.records as f64, self.against_records as f64);
        let part = |ratio: f64| records * ratio / (records * ratio + against);
        let (was, is) = (part(null), part(alternative));
        self.events * log(is / was) + self.against_events * log((1.0 - is) / (1.0 - was))
    }

    /// Log e-value of "the share is `alternative`" against "it is `null`", of the first arm alone:
    /// where the other arm knows no events, a ratio means nothing.
    pub fn log_e_value_of_share(&self, null: f64, alternative: f64) -> f64 {
        let without = self.records as f64 - self.events;
        self.events * log(alternative / null) + without * log((1.0 - alternative) / (1.0 - null))
    }

    /// Pearson's X² of the two shares, one degree of freedom; none where both arms saw only events
    /// or none. Its mean over windows in which nothing differs is the design effect.
    pub fn pearson(&self) -> Option<f64> {
        let (records, against) = (self.records as f64, self.against_records as f64);
        if !self.is_whole() {
            return None;
        }
        let share = (self.events + self.against_events) / (records + against);
        let variance = share * (1.0 - share) * (1.0 / records + 1.0 / against);
        let apart = self.events / records - self.against_events / against;
        (variance > 0.0).then(|| apart * apart / variance)
    }
}

/// How much less evidence clustered events are than independent ones: the mean of Pearson's X² over
/// windows of two arms between which nothing differs, 1 at least.
pub fn design_effect(windows: impl IntoIterator<Item = Pair>) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u32);
    for pearson in windows.into_iter().filter_map(|window| window.pearson()) {
        sum += pearson;
        count += 1;
    }
    if count == 0 {
        return 1.0;
    }
    f64::max(1.0, sum / f64::from(count))
}

/// An e-process: the product over windows for each of several alternatives, and their mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    null: f64,
    alternatives: Vec<f64>,
    sums: Vec<f64>,
}

impl Mixture {
    /// Bets on each of `alternatives` against `null`, at 1 before the first window.
    pub fn new(null: f64, alternatives: impl IntoIterator<Item = f64>) -> Self {
        let alternatives: Vec<f64> = alternatives.into_iter().collect();
        Self {
            null,
            sums: vec![0.0; alternatives.len()],
            alternatives,
        }
    }

    /// One window more, of the ratio of two shares.
    pub fn add(&mut self, window: &Pair, design_effect: f64) {
        for (sum, alternative) in self.sums.iter_mut().zip(&self.alternatives) {
            *sum += window.log_e_value(self.null, *alternative) / design_effect;
        }
    }

    /// One window more, of the share of the first arm.
    pub fn add_share(&mut self, window: &Pair, design_effect: f64) {
        for (sum, alternative) in self.sums.iter_mut().zip(&self.alternatives) {
            *sum += window.log_e_value_of_share(self.null, *alternative) / design_effect;
        }
    }

    /// Ln of the evidence. By Ville's inequality it exceeds `ln(1/alpha)` at some time with a
    /// probability of at most `alpha` where the null hypothesis holds.
    pub fn ln_e(&self) -> f64 {
        ln_mean(&self.sums)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(events: f64, records: u64, against_events: f64, against_records: u64) -> Pair {
        Pair {
            events,
            records,
            against_events,
            against_records,
        }
    }

    /// Probability of `k` of `n` at a share.
    fn binomial(n: u64, k: u64, share: f64) -> f64 {
        let choose = (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64);
        choose * share.powi(k as i32) * (1.0 - share).powi((n - k) as i32)
    }

    /// Expected e-value over all that two arms can see.
    fn expected(records: (u64, u64), shares: (f64, f64), e: impl Fn(&Pair) -> f64) -> f64 {
        let mut sum = 0.0;
        for events in 0..=records.0 {
            for against in 0..=records.1 {
                let seen = pair(events as f64, records.0, against as f64, records.1);
                let likely =
                    binomial(records.0, events, shares.0) * binomial(records.1, against, shares.1);
                sum += likely * libm::exp(e(&seen));
            }
        }
        sum
    }

    #[test]
    fn an_even_bet_is_not_won_by_luck() {
        for alternative in [1.1, 1.25, 1.5, 2.0, 4.0, 0.8, 0.5] {
            for share in [0.01, 0.2, 0.6] {
                let e = |seen: &Pair| seen.log_e_value(1.0, alternative);
                let value = expected((6, 20), (share, share), e);
                assert!(value <= 1.0 + 1e-9, "{alternative} at {share}: {value}");
            }
        }
    }

    #[test]
    fn less_harm_than_the_null_wins_less() {
        let e = |seen: &Pair| seen.log_e_value(1.0, 1.5);
        let at = |share: f64| expected((8, 30), (share, 0.05), e);
        assert!(at(0.02) < at(0.05) && at(0.05) < at(0.1) && at(0.1) > 1.0);
    }

    #[test]
    fn a_rare_event_is_held_against_a_fixed_share() {
        let e = |seen: &Pair| seen.log_e_value_of_share(0.012, 0.008);
        let fair = expected((30, 1), (0.012, 0.5), e);
        assert!((fair - 1.0).abs() < 1e-9, "{fair}");
        assert!(expected((30, 1), (0.0, 0.5), e) > 1.0);
        assert!(expected((30, 1), (0.03, 0.5), e) < 1.0);
    }

    #[test]
    fn equal_arms_have_a_design_effect_of_one_and_apart_ones_more() {
        assert_eq!(design_effect([]), 1.0);
        assert_eq!(design_effect([pair(0.0, 10, 0.0, 10)]), 1.0);
        let apart = pair(9.0, 10, 1.0, 10);
        assert!((design_effect([apart, apart]) - 12.8).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn an_arm_without_records_is_no_evidence(
            events in 0_u64..50, more in 0_u64..50, null in 0.5_f64..2.0, bet in 0.5_f64..2.0,
        ) {
            let one_sided = pair(events as f64, events + more, 0.0, 0);
            prop_assert_eq!(one_sided.log_e_value(null, bet), 0.0);
            prop_assert_eq!(one_sided.swapped().log_e_value(null, bet), 0.0);
            prop_assert!(one_sided.pearson().is_none());
        }

        #[test]
        fn swapped_arms_bet_on_the_inverse(
            (events, records) in (0_u64..40, 40_u64..90),
            (against, others) in (0_u64..40, 40_u64..90),
            (null, bet) in (0.5_f64..2.0, 0.5_f64..2.0),
        ) {
            let seen = pair(events as f64, records, against as f64, others);
            let (one, other) = (
                seen.log_e_value(null, bet),
                seen.swapped().log_e_value(1.0 / null, 1.0 / bet),
            );
            prop_assert!((one - other).abs() < 1e-9 * one.abs().max(1.0), "{} {}", one, other);
            prop_assert_eq!(seen.complement().complement(), seen);
        }

        #[test]
        fn more_events_of_the_tested_arm_never_win_less(
            events in 0_u64..40, against in 0_u64..40, bet in 1.01_f64..4.0,
        ) {
            let seen = |events: u64| pair(events as f64, 50, against as f64, 70);
            let (fewer, more) = (seen(events), seen(events + 1));
            prop_assert!(fewer.log_e_value(1.0, bet) <= more.log_e_value(1.0, bet));
            prop_assert!(fewer.log_e_value(1.0, 1.0 / bet) >= more.log_e_value(1.0, 1.0 / bet));
        }
    }
}
