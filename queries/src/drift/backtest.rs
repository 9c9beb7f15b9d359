//! What would have been paged: a detector or a rule over lanes of the past, oldest first. The same
//! fold as live, so the pages are those that would have been sent.

use super::{Detector, Distances, Lane, Policy, Reference, Rule, Verdict, VerdictState};

/// How to judge.
#[derive(Clone, Debug, PartialEq)]
pub enum Judge {
    /// The detector, under a policy.
    Detector(Policy),
    /// A rule.
    Rule {
        /// Which.
        rule: Rule,
        /// Beyond what it pages.
        limit: f64,
        /// Lanes taken together.
        lanes: u32,
        /// Silence after a page, microseconds.
        mute_us: i64,
    },
}

/// A page that would have been sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Start of the window, exclusive.
    pub start_us: i64,
    /// When it would have been sent, at the earliest: the end of the window.
    pub end_us: i64,
    /// Estimate of when the change began; rules have none.
    pub since_us: Option<i64>,
    /// What the window had.
    pub score: f64,
    /// What a page needs.
    pub threshold: f64,
    /// Records in the window.
    pub count: u64,
    /// Devices in it.
    pub devices: u64,
    /// What moved, in words.
    pub evidence: String,
}

/// What became of one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// Lanes that were judged.
    pub lanes: u64,
    /// Of which there was too little to say anything.
    pub undecided: u64,
    /// Of which a drift was going on; 0 for rules, which know of none.
    pub drifting: u64,
    /// The pages.
    pub pages: Vec<Page>,
}

/// One series, lane by lane.
pub struct Backtest {
    reference: Reference,
    judging: Judging,
    judged: Judged,
}

enum Judging {
    Detector(Box<Detector>),
    Rule(Ruled),
}

/// A rule, and the window that lanes are being added to.
struct Ruled {
    rule: Rule,
    limit: f64,
    width_us: i64,
    mute_us: i64,
    muted_until_us: i64,
    open: Option<Lane>,
}

impl Backtest {
    /// Nothing judged yet.
    pub fn new(reference: Reference, judge: &Judge, lane_us: i64) -> Self {
        let judging = match judge {
            Judge::Detector(policy) => {
                Judging::Detector(Box::new(Detector::new(&reference, policy)))
            }
            Judge::Rule {
                rule,
                limit,
                lanes,
                mute_us,
            } => Judging::Rule(Ruled {
                rule: *rule,
                limit: *limit,
                width_us: lane_us.saturating_mul(i64::from(*lanes)).max(1),
                mute_us: *mute_us,
                muted_until_us: i64::MIN,
                open: None,
            }),
        };
        Self {
            reference,
            judging,
            judged: Judged::default(),
        }
    }

    /// Judges the next lane.
    pub fn fold(&mut self, lane: &Lane) {
        self.judged.lanes += 1;
        match &mut self.judging {
            Judging::Detector(detector) => {
                let verdict = detector.fold(&self.reference, lane);
                self.judged.hear(&verdict);
            }
            Judging::Rule(ruled) => {
                let page = ruled.fold(&self.reference, lane);
                self.judged.pages.extend(page);
            }
        }
    }

    /// What came of it.
    pub fn end(self) -> Judged {
        self.judged
    }
}

impl Judged {
    fn hear(&mut self, verdict: &Verdict) {
        match verdict.state {
            VerdictState::Undecided => self.undecided += 1,
            VerdictState::Drifting => self.drifting += 1,
            VerdictState::Steady => {}
        }
        if verdict.page {
            self.pages.push(Page {
                start_us: verdict.start_us,
                end_us: verdict.end_us,
                since_us: verdict.since_us,
                score: verdict.score,
                threshold: verdict.threshold,
                count: verdict.count,
                devices: verdict.devices,
                evidence: verdict.leading.as_ref().map_or_else(String::new, words),
            });
        }
    }
}

fn words(leading: &super::Leading) -> String {
    let (now, then) = (
        leading.current_share * 100.0,
        leading.expected_share * 100.0,
    );
    format!("{}: {now:.1} % and not {then:.1} %", leading.stream)
}

impl Ruled {
    /// A window is looked at with its last lane, or with the first one after it.
    fn fold(&mut self, reference: &Reference, lane: &Lane) -> Option<Page> {
        let window = |end_us: i64| (end_us - 1).div_euclid(self.width_us);
        let earlier = |open: &mut Lane| window(open.end_us) != window(lane.end_us);
        let closed = self.open.take_if(earlier);
        let before = closed.and_then(|window| self.look(reference, &window));
        match &mut self.open {
            Some(open) => {
                open.summary.merge(&lane.summary);
                open.count += lane.count;
                open.devices = open.devices.max(lane.devices);
                open.end_us = lane.end_us;
            }
            none => *none = Some(lane.clone()),
        }
        let ends = lane.end_us.rem_euclid(self.width_us) == 0;
        let closed = self.open.take_if(|_| ends);
        let now = closed.and_then(|window| self.look(reference, &window));
        before.or(now)
    }

    fn look(&mut self, reference: &Reference, window: &Lane) -> Option<Page> {
        let distances = Distances::of(reference, window, window.count as f64)?;
        let value = self
            .rule
            .value(&distances, window.count, reference.count())?;
        if window.end_us <= self.muted_until_us || !self.rule.alarms(value, self.limit) {
            return None;
        }
        self.muted_until_us = window.end_us.saturating_add(self.mute_us);
        Some(Page {
            start_us: window.start_us,
            end_us: window.end_us,
            since_us: None,
            score: value,
            threshold: self.limit,
            count: window.count,
            devices: window.devices,
            evidence: format!("{} is {value:.4}", self.rule.words()),
        })
    }
}
