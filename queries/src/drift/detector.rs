//! The fold: one closed lane after another, each with its verdict (statistics, sections d.3, d.4).
//!
//! Bets run at two widths side by side: at every lane, which sees a large shift within minutes,
//! and at sixty lanes taken together, which sees a small one. Both share the series' part of the
//! budget.
//! State is small, serialisable and a function of the reference, the policy and the lanes folded,
//! so that a restart or a back-test comes out the same to the bit.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{
    Breakdown, Direction, Explained, Lane, Leading, Policy, Reference, Verdict, VerdictState, Wide,
    Window,
    bets::{self, Bets},
    observed::Observed,
    recovery::Drift,
    reporting,
};
use crate::stats::{ODDS_RATIOS, PER_STREAM};

/// A name for how verdicts are reached; it changes when the mathematics does.
const METHOD: &str = "qx-e-cusum/4";

/// Lanes that are taken apart at most.
const APART_LANES_MAX: i64 = 1440;

/// Lanes after which what was taken back may page again.
const APART_AGAIN_LANES: i64 = 10;

const OTHER_SITES_REPORT: &str = "the sites that report held less than half of the reference; make a new one once they are all there";

/// Evidence of one series since its reference was frozen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    /// Hash of the reference.
    reference: String,
    short: Bets,
    long: Option<Long>,
    min_windows: usize,
    min_current_records: u64,
    mute_us: i64,
    /// Nobody is paged again before.
    muted_until_us: i64,
    recent_records: VecDeque<u64>,
    drift: Option<Drift>,
    /// What the last page, or what would have been one, was made of.
    breakdown: Option<Breakdown>,
}

/// Bets on lanes taken together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Long {
    bets: Bets,
    width_us: i64,
    /// The window that lanes are being added to.
    open: Option<Observed>,
}

impl Detector {
    /// A detector without evidence. The policy in force is kept for as long as it lives.
    pub fn new(reference: &Reference, policy: &Policy) -> Self {
        Self {
            reference: reference.hash(),
            short: Bets::new(reference, policy, 1),
            long: Long::new(reference, policy),
            min_windows: policy.min_windows.max(1) as usize,
            min_current_records: policy.min_current_records,
            mute_us: policy.mute_us,
            muted_until_us: i64::MIN,
            recent_records: VecDeque::new(),
            drift: None,
            breakdown: None,
        }
    }

    /// Of a verdict that pages: the lanes to be taken apart, and the stream that gave it away.
    pub fn window(&self, verdict: &Verdict, min_devices: u32) -> Option<Window> {
        let drift = self.drift.filter(|_| verdict.page)?;
        let lane_us = (verdict.end_us - verdict.start_us).max(1);
        let lanes = (verdict.end_us - drift.since_us) / lane_us;
        let lanes = lanes.clamp(self.min_windows as i64, APART_LANES_MAX);
        Some(Window {
            start_us: verdict.end_us - lanes * lane_us,
            end_us: verdict.end_us,
            stream: Some(drift.bet / PER_STREAM),
            min_devices: u64::from(min_devices),
        })
    }

    /// Takes a page apart. What is no more than another mix of sites is taken back: the series is
    /// steady and says so. Where its sites are others than the reference's, it is undecided.
    pub fn take_apart(&mut self, verdict: &mut Verdict, breakdown: Breakdown) {
        let explained = breakdown.explained();
        self.breakdown = Some(breakdown);
        if explained == Explained::No {
            return;
        }
        self.drift = None;
        let lane_us = (verdict.end_us - verdict.start_us).max(1);
        self.muted_until_us = verdict.end_us + APART_AGAIN_LANES * lane_us;
        verdict.page = false;
        verdict.since_us = None;
        verdict.shortfall = self.shortfall(verdict.end_us);
        verdict.state = match verdict.shortfall {
            Some(_) => VerdictState::Undecided,
            None => VerdictState::Steady,
        };
    }

    /// What the drift that goes on was made of when it was paged, or what would have been one not
    /// long ago.
    pub fn breakdown(&self, end_us: i64) -> Option<&Breakdown> {
        let is_current = |breakdown: &&Breakdown| {
            self.drift.is_some() || end_us <= breakdown.end_us.saturating_add(self.mute_us)
        };
        self.breakdown.as_ref().filter(is_current)
    }

    /// Judges the next lane. Lanes without records add no evidence and are undecided.
    pub fn fold(&mut self, reference: &Reference, lane: &Lane) -> Verdict {
        let lane = &*reporting::against(reference, lane);
        if lane.count == 0 {
            return self.verdict(lane, Some("the lane holds no records".to_owned()));
        }
        let observed = match Observed::of(reference, lane) {
            Ok(observed) => observed,
            Err(why) => return self.verdict(lane, Some(why)),
        };
        self.recent_records.push_back(lane.count);
        while self.recent_records.len() > self.min_windows {
            self.recent_records.pop_front();
        }
        let was_drifting = self.drift.is_some();
        if was_drifting {
            self.go_on(reference, &observed);
        } else {
            self.settle(reference, &observed);
        }
        let wide = self.wide();
        let (score, threshold) = self.score(reference, &observed, was_drifting);
        let leading = self.leading(reference, &observed);
        let page = !was_drifting && self.begin_drift(&observed);
        let effective_count = leading.as_ref().map_or(lane.count as f64, |(_, n)| *n);
        Verdict {
            score,
            threshold,
            wide,
            effective_count,
            leading: leading.map(|(leading, _)| leading),
            page,
            ..self.verdict(lane, self.shortfall(lane.end_us))
        }
    }

    /// Settles the bets of both widths.
    fn settle(&mut self, reference: &Reference, observed: &Observed) {
        self.short.add(reference, observed);
        if let Some(long) = &mut self.long {
            long.add(reference, observed);
        }
    }

    /// A drift that was paged: no bets are held until it is over.
    fn go_on(&mut self, reference: &Reference, observed: &Observed) {
        let over = self.drift.as_mut();
        if over.is_some_and(|drift| drift.is_over(reference, observed)) {
            self.drift = None;
            self.reset(observed.end_us);
        }
    }

    /// Pages when the bets of one width have won more than luck gives. Whoever was paged a moment
    /// ago is not paged again.
    fn begin_drift(&mut self, observed: &Observed) -> bool {
        if observed.end_us <= self.muted_until_us {
            return false;
        }
        let long = self.long.as_ref().filter(|long| long.bets.enough());
        let (bets, is_long) = match long {
            _ if self.short.enough() => (&self.short, false),
            Some(long) => (&long.bets, true),
            None => return false,
        };
        let Some(leading) = bets.leading() else {
            return false;
        };
        let lane = (observed.end_us - observed.start_us, observed.end_us);
        self.drift = Some(Drift::begin(leading, is_long, lane));
        self.muted_until_us = observed.end_us.saturating_add(self.mute_us);
        self.reset(observed.end_us);
        true
    }

    fn reset(&mut self, now_us: i64) {
        self.short.reset(now_us);
        if let Some(long) = &mut self.long {
            long.bets.reset(now_us);
            long.open = None;
        }
    }

    /// What the verdict's score and threshold say: of long windows when those page, and of this
    /// lane alone while a drift goes on.
    fn score(&self, reference: &Reference, observed: &Observed, drifting: bool) -> (f64, f64) {
        let short = self.short.ln_threshold();
        if drifting {
            return (self.short.ln_alone(reference, observed), short);
        }
        match &self.long {
            Some(long) if long.bets.enough() && !self.short.enough() => {
                (long.bets.ln_winnings(), long.bets.ln_threshold())
            }
            _ => (self.short.ln_winnings(), short),
        }
    }

    fn wide(&self) -> Option<Wide> {
        self.long.as_ref().map(|long| Wide {
            score: long.bets.ln_winnings(),
            threshold: long.bets.ln_threshold(),
            width_us: long.width_us,
        })
    }

    /// The stream with the most evidence, and what this lane's records are worth to it.
    fn leading(&self, reference: &Reference, observed: &Observed) -> Option<(Leading, f64)> {
        let long = self.long.as_ref().filter(|long| long.bets.enough());
        let bet = match (&self.drift, long) {
            (Some(drift), _) => drift.bet,
            (None, Some(long)) if !self.short.enough() => long.bets.leading()?.0,
            (None, _) => self.short.leading()?.0,
        };
        let stream = bet / PER_STREAM;
        let (which, _) = reference.streams().get(stream)?;
        let expected = *bets::expected(reference, observed, 1).get(stream)?;
        let up = bet % PER_STREAM < ODDS_RATIOS.len();
        let leading = Leading {
            stream: which.to_string(),
            expected_share: expected.share,
            current_share: observed.share(stream)?,
            direction: if up { Direction::More } else { Direction::Less },
        };
        Some((leading, expected.effective_count(observed.count)))
    }

    fn shortfall(&self, end_us: i64) -> Option<String> {
        let explained = self.breakdown(end_us).map(Breakdown::explained);
        if explained == Some(Explained::OtherSites) {
            return Some(OTHER_SITES_REPORT.to_owned());
        }
        let records: u64 = self.recent_records.iter().sum();
        let (lanes, needed) = (self.recent_records.len(), self.min_current_records);
        (records < needed)
            .then(|| format!("the last {lanes} lanes hold {records} of {needed} records"))
    }

    fn verdict(&self, lane: &Lane, shortfall: Option<String>) -> Verdict {
        let state = match (&self.drift, &shortfall) {
            (Some(_), _) => VerdictState::Drifting,
            (None, Some(_)) => VerdictState::Undecided,
            (None, None) => VerdictState::Steady,
        };
        Verdict {
            state,
            score: self.short.ln_winnings(),
            threshold: self.short.ln_threshold(),
            wide: self.wide(),
            count: lane.count,
            effective_count: lane.count as f64,
            devices: lane.devices,
            start_us: lane.start_us,
            end_us: lane.end_us,
            since_us: self.drift.map(|drift| drift.since_us),
            reference: self.reference.clone(),
            method: METHOD.to_owned(),
            leading: None,
            shortfall: shortfall.filter(|_| state == VerdictState::Undecided),
            page: false,
        }
    }
}

impl Long {
    /// None where the reference spans too few windows of this width to know their noise.
    fn new(reference: &Reference, policy: &Policy) -> Option<Self> {
        let lanes = policy.long_lanes;
        let known = reference.lanes() / lanes.max(1) >= policy.min_blocks;
        (lanes > 1 && known).then(|| Self {
            bets: Bets::new(reference, policy, lanes),
            width_us: policy.lane_us.saturating_mul(i64::from(lanes)),
            open: None,
        })
    }

    /// Adds a lane to the open window; a window is settled with its last lane, or with the first
    /// one after it.
    fn add(&mut self, reference: &Reference, lane: &Observed) {
        let window = |end_us: i64| (end_us - 1).div_euclid(self.width_us);
        let earlier = |open: &mut Observed| window(open.end_us) != window(lane.end_us);
        if let Some(closed) = self.open.take_if(earlier) {
            self.bets.add(reference, &closed);
        }
        match &mut self.open {
            Some(open) => open.absorb(lane),
            none => *none = Some(lane.clone()),
        }
        let ends = lane.end_us.rem_euclid(self.width_us) == 0;
        if let Some(closed) = self.open.take_if(|_| ends) {
            self.bets.add(reference, &closed);
        }
    }
}
