//! Which series moved together with one that pages: an incident is often one cause in many places.
//! Pure.
//!
//! In: verdicts of a tick. Out: for every page, the series whose evidence at that moment would be
//! too much for luck among so many (e-BH; statistics, section d.5): forty that move together need a
//! fortieth each. It names neighbours and pages none: no score and no page depends on it.

use std::collections::BTreeMap;

use fathomline_queries::{
    drift::{Policy, Verdict, VerdictState},
    stats::{e_bh, ln_mean},
};

/// Share of the named that may be luck.
const LUCK: f64 = 0.1;
/// Names that evidence has room for.
const NAMED_MAX: usize = 50;

/// Evidence of one tick, lane by lane.
#[derive(Default)]
pub(super) struct Together {
    lanes: BTreeMap<i64, Vec<Current>>,
}

/// One series at the end of one lane.
struct Current {
    series: String,
    /// Ln of the evidence over what a page needs.
    ln_margin: f64,
    pages: bool,
}

impl Together {
    /// Takes a verdict. A drift that goes on holds no bets, and so has no current evidence.
    pub(super) fn hear(&mut self, series: &str, verdict: &Verdict) {
        if verdict.state == VerdictState::Drifting && !verdict.page {
            return;
        }
        let short = verdict.score - verdict.threshold;
        let ln_margin = match verdict.wide {
            // Both widths have half of the series' budget each.
            Some(wide) => ln_mean(&[short, wide.score - wide.threshold]) + libm::log(2.0),
            None => short,
        };
        let current = Current {
            series: series.to_owned(),
            ln_margin,
            pages: verdict.page,
        };
        self.lanes.entry(verdict.end_us).or_default().push(current);
    }

    /// Names of those who moved together, by lane end; only of lanes with a page in them and with
    /// more than one name.
    pub(super) fn named(self, policy: &Policy) -> BTreeMap<i64, Vec<String>> {
        let paged = self.lanes.into_iter();
        let paged = paged.filter(|(_, of)| of.iter().any(|current| current.pages));
        let named = paged.map(|(end_us, of)| (end_us, names(of, policy)));
        named.filter(|(_, names)| names.len() > 1).collect()
    }
}

fn names(mut lane: Vec<Current>, policy: &Policy) -> Vec<String> {
    // Whatever order they were judged in.
    lane.sort_by(|a, b| a.series.cmp(&b.series));
    let series = policy.series_budget as usize;
    // A page needs `S T / B`, e-BH is over evidence as a multiple of `T`.
    let page = libm::log(f64::from(policy.series_budget) / policy.false_pages_per_30_days);
    let values: Vec<f64> = lane.iter().map(|c| c.ln_margin + page).collect();
    let rejected = e_bh(&values, series, LUCK);
    let named = lane.into_iter().enumerate();
    let named = named.filter(|(at, current)| current.pages || rejected.contains(at));
    let names = named.map(|(_, current)| current.series);
    names.take(NAMED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            series_budget: 100,
            ..Policy::default()
        }
    }

    /// Evidence of `count` series at `ln_margin`, beside one that pages.
    fn heard(count: usize, ln_margin: f64) -> Together {
        let current = |number: usize| Current {
            series: format!("series-{number:03}"),
            ln_margin: if number == 0 { 0.5 } else { ln_margin },
            pages: number == 0,
        };
        Together {
            lanes: [(60, (0..=count).map(current).collect())].into(),
        }
    }

    #[test]
    fn the_more_move_together_the_less_each_needs() {
        // A third of what a page needs: enough for forty, too little for three.
        let ln_margin = libm::log(1.0 / 3.0);
        assert_eq!(heard(40, ln_margin).named(&policy())[&60].len(), 41);
        assert!(heard(3, ln_margin).named(&policy()).is_empty());
    }

    #[test]
    fn those_without_evidence_are_not_named_and_quiet_lanes_name_nobody() {
        assert!(heard(40, -15.0).named(&policy()).is_empty());
        let mut quiet = heard(40, 3.0);
        quiet
            .lanes
            .values_mut()
            .flatten()
            .for_each(|c| c.pages = false);
        assert!(quiet.named(&policy()).is_empty());
    }

    #[test]
    fn names_come_in_order_whatever_was_judged_first() {
        let mut backwards = heard(40, 0.0);
        backwards.lanes.values_mut().for_each(|of| of.reverse());
        assert_eq!(backwards.named(&policy()), heard(40, 0.0).named(&policy()));
    }
}
