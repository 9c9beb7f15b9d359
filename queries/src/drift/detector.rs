//! The fold: one closed lane after another, each with its verdict (statistics, sections d.3, d.4).
//!
//! State is small, serialisable and a function of the reference, the policy and the lanes folded,
//! so that a restart or a back-test comes out the same to the bit.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{
    Direction, Distances, Lane, Leading, Policy, Reference, Summary, Verdict, VerdictState,
};
use crate::stats::{
    Accumulators, Aligned, ODDS_RATIOS, PER_STREAM, bin, hellinger, jensen_shannon_distance, ks,
    log_e_values, psi, psi_expected_without_drift, reference_cuts, wasserstein,
};

/// Consecutive lanes within tolerance after which a drift is over.
const RECOVERY_LANES: u32 = 6;

/// Most bins for distances; fewer where the lane has fewer than five records a bin (Cochran).
const BINS_MAX: u64 = 10;

/// A name for how verdicts are reached; it changes when the mathematics does.
const METHOD: &str = "qx-e-cusum/1 fixed span, no season";

/// Evidence of one series since its reference was frozen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    accumulators: Accumulators,
    ln_threshold: f64,
    cap: f64,
    min_windows: usize,
    min_current_records: u64,
    recent_records: VecDeque<u64>,
    drift: Option<Drift>,
}

/// A drift that was paged and is not over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Drift {
    since_us: i64,
    /// Index of the accumulator that led when it was paged.
    accumulator: usize,
    calm_lanes: u32,
}

impl Detector {
    /// A detector without evidence. The policy in force is kept for as long as it lives.
    pub fn new(reference: &Reference, policy: &Policy) -> Self {
        let accumulators = (reference.streams().len() * PER_STREAM).max(1);
        let threshold = policy.page_threshold();
        let windows = policy.min_windows.max(1);
        Self {
            accumulators: Accumulators::new(accumulators, reference.span_us().1),
            ln_threshold: libm::log(threshold),
            cap: libm::log(threshold * accumulators as f64) / f64::from(windows),
            min_windows: windows as usize,
            min_current_records: policy.min_current_records,
            recent_records: VecDeque::new(),
            drift: None,
        }
    }

    /// Judges the next lane. Lanes without records add no evidence and are undecided.
    pub fn fold(&mut self, reference: &Reference, lane: &Lane) -> Verdict {
        if lane.count == 0 {
            return self.verdict(reference, lane, None, false);
        }
        self.recent_records.push_back(lane.count);
        while self.recent_records.len() > self.min_windows {
            self.recent_records.pop_front();
        }
        let shares = shares(reference, lane);
        let evidence =
            reference
                .streams()
                .iter()
                .zip(&shares)
                .flat_map(|((_, expected), share)| {
                    log_e_values(share * lane.count as f64, lane.count, expected)
                });
        self.accumulators.add(evidence, self.cap, lane.start_us);
        let score = self.accumulators.ln_mean();
        let leading = self.drift.map(|drift| drift.accumulator).or_else(|| {
            self.accumulators
                .leading()
                .map(|(accumulator, _)| accumulator)
        });
        let page = self.drift.is_none() && score >= self.ln_threshold;
        if page {
            self.begin_drift(lane);
        } else if self.drift.is_some() {
            self.observe_recovery(reference, lane, &shares);
        }
        let leading =
            leading.and_then(|accumulator| leading_of(reference, &shares, accumulator, lane.count));
        Verdict {
            score,
            ..self.verdict(reference, lane, leading, page)
        }
    }

    fn begin_drift(&mut self, lane: &Lane) {
        let Some((accumulator, since_us)) = self.accumulators.leading() else {
            return;
        };
        self.drift = Some(Drift {
            since_us,
            accumulator,
            calm_lanes: 0,
        });
        self.accumulators.reset(lane.end_us);
    }

    /// A drift is over once its stream stayed within tolerance for some lanes in a row.
    fn observe_recovery(&mut self, reference: &Reference, lane: &Lane, shares: &[f64]) {
        let Some(drift) = &mut self.drift else { return };
        let stream = drift.accumulator / PER_STREAM;
        let calm = reference
            .streams()
            .get(stream)
            .zip(shares.get(stream))
            .is_some_and(|((_, expected), share)| {
                let effective = expected.effective_count(lane.count);
                let error = libm::sqrt(expected.variance() / effective.max(1.0));
                (share - expected.share).abs() <= expected.tolerance + 2.0 * error
            });
        drift.calm_lanes = if calm { drift.calm_lanes + 1 } else { 0 };
        if drift.calm_lanes >= RECOVERY_LANES {
            self.drift = None;
            self.accumulators.reset(lane.end_us);
        }
    }

    fn verdict(
        &self,
        reference: &Reference,
        lane: &Lane,
        leading: Option<(Leading, f64)>,
        page: bool,
    ) -> Verdict {
        let records: u64 = self.recent_records.iter().sum();
        let shortfall = if lane.count == 0 {
            Some("the lane holds no records".to_owned())
        } else if records < self.min_current_records {
            Some(format!(
                "the last {} lanes hold {records} of {} records",
                self.recent_records.len(),
                self.min_current_records
            ))
        } else {
            None
        };
        let state = match (&self.drift, &shortfall) {
            (Some(_), _) => VerdictState::Drifting,
            (None, Some(_)) => VerdictState::Undecided,
            (None, None) => VerdictState::Steady,
        };
        let effective_count = leading.as_ref().map_or(lane.count as f64, |(_, n)| *n);
        Verdict {
            state,
            score: self.accumulators.ln_mean(),
            threshold: self.ln_threshold,
            count: lane.count,
            effective_count,
            devices: lane.devices,
            start_us: lane.start_us,
            end_us: lane.end_us,
            since_us: self.drift.map(|drift| drift.since_us),
            reference: reference.hash(),
            method: METHOD.to_owned(),
            leading: leading.map(|(leading, _)| leading),
            distances: distances(reference, lane, effective_count),
            shortfall: shortfall.filter(|_| state == VerdictState::Undecided),
            page,
        }
    }
}

fn shares(reference: &Reference, lane: &Lane) -> Vec<f64> {
    let watched: Vec<_> = reference
        .streams()
        .iter()
        .map(|(stream, _)| stream.clone())
        .collect();
    let share = |stream: &super::Stream| {
        (stream.events(&lane.summary, &watched) / lane.count as f64).clamp(0.0, 1.0)
    };
    watched.iter().map(share).collect()
}

/// What an accumulator speaks of, and the effective count of its stream.
fn leading_of(
    reference: &Reference,
    shares: &[f64],
    accumulator: usize,
    count: u64,
) -> Option<(Leading, f64)> {
    let stream = accumulator / PER_STREAM;
    let (which, expected) = reference.streams().get(stream)?;
    let up = accumulator % PER_STREAM < ODDS_RATIOS.len();
    let leading = Leading {
        stream: which.to_string(),
        expected_share: expected.share,
        current_share: *shares.get(stream)?,
        direction: if up { Direction::More } else { Direction::Less },
    };
    Some((leading, expected.effective_count(count)))
}

fn distances(reference: &Reference, lane: &Lane, effective: f64) -> Option<Distances> {
    if lane.count == 0 {
        return None;
    }
    let bins = (lane.count / 5).clamp(2, BINS_MAX) as usize;
    let (fine_reference, fine_current, positions, cuts) = match (reference.summary(), &lane.summary)
    {
        (Summary::Histogram(reference), Summary::Histogram(current)) => {
            let aligned = Aligned::of(reference, current);
            let cuts = reference_cuts(&aligned.reference, bins);
            let positions = aligned.positions();
            (aligned.reference, aligned.current, Some(positions), cuts)
        }
        (Summary::Categories(reference), Summary::Categories(current)) => {
            let names: std::collections::BTreeSet<_> =
                reference.keys().chain(current.keys()).collect();
            let count = |of: &std::collections::BTreeMap<String, u64>| -> Vec<u64> {
                names
                    .iter()
                    .map(|name| of.get(*name).copied().unwrap_or(0))
                    .collect()
            };
            let cuts = (0..names.len().saturating_sub(1)).collect();
            (count(reference), count(current), None, cuts)
        }
        _ => return None,
    };
    let (r, c) = (bin(&fine_reference, &cuts), bin(&fine_current, &cuts));
    let raw = psi(&r, &c);
    let noise = psi_expected_without_drift(r.len(), reference.count() as f64, effective.max(1.0));
    let moved = positions.map(|positions| wasserstein(&fine_reference, &fine_current, &positions));
    Some(Distances {
        bins: r.len() as u32,
        psi: raw,
        psi_debiased: (raw - noise).max(0.0),
        jensen_shannon: jensen_shannon_distance(&r, &c),
        hellinger: hellinger(&r, &c),
        ks: ks(&fine_reference, &fine_current),
        wasserstein: moved.map(|(distance, _)| distance),
        wasserstein_normalized: moved.and_then(|(_, normalized)| normalized),
    })
}
