//! One tick's judging. Pure: a plan and lanes in, everything to write out.
//!
//! Every lane of a watched series is folded into its detector, oldest first, and gives a verdict. A
//! series without a detector is `undecided` and says why; that is written when it changes and once
//! an hour, not with every lane, or fleets without references would fill the disk with it.

use std::collections::BTreeMap;

use fathomline_queries::{
    drift::{
        Breakdown, DEVICES_REPORTING, Detector, Distances, Lane, Part, Policy, SeriesKey, Verdict,
        VerdictState, Window, nobody_reporting,
    },
    published,
    rows::{EventRow, VerdictRow},
};
use fathomline_wire::CONTRACT_VERSION;

use super::{
    evidence::{Evidence, ReferenceSpan, borrowed},
    incident::Incidents,
    lanes::SeriesLanes,
    plan::{Parent, Plan, Unwatched, Watched},
    together::Together,
};
use crate::{
    alert::{
        incident::{Cohort, Turned},
        rules::Rules,
        state::{self, Alert, Turn},
        story::Story,
    },
    database::detectors::Checkpoint,
};

/// An unchanged `undecided` is written again after so long, so that recent history shows it.
const UNDECIDED_REPEAT_US: i64 = 3_600 * 1_000_000;
/// So are distances from a parent's reference, once in so many lanes.
const BORROWED_REPEAT_LANES: i64 = 10;
/// How a series without a reference of its own is shown.
const BORROWED: &str = "distances from a borrowed reference";
const UNDECIDED: &str = VerdictState::Undecided.name();

/// What a tick writes.
#[derive(Default)]
pub(super) struct Judged {
    /// In the order of time, then series: the order of their row numbers.
    pub(super) verdicts: Vec<VerdictRow>,
    pub(super) checkpoints: Vec<Checkpoint>,
    pub(super) alerts: BTreeMap<String, Alert>,
    /// What happened, in the order of time.
    pub(super) events: Vec<EventRow>,
    /// Alerts that fire or are over with these events.
    pub(super) turned: Vec<Turned>,
    /// Pages that are to be taken apart before anything is written.
    pub(super) apart: Vec<Apart>,
    /// Which verdicts page, with the ends of their lanes.
    paged: Vec<(usize, i64)>,
}

/// A series that is about to page, and the lanes that gave it away.
pub(super) struct Apart {
    pub(super) key: SeriesKey,
    pub(super) window: Window,
}

/// What each device did in such windows, by series and the end of the window.
pub(super) type Known = BTreeMap<(String, i64), Vec<Part>>;

/// Why a verdict could not be put into words.
#[derive(Debug, thiserror::Error)]
pub(super) enum JudgeError {
    #[error("cannot write evidence as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("cannot keep a detector's state: {0}")]
    State(#[from] postcard::Error),
}

/// Judges every lane of the plan's span.
pub(super) fn judge(
    plan: Plan,
    lanes: &SeriesLanes,
    (policy, telling): (&str, Telling<'_>),
    known: &Known,
) -> Result<Judged, JudgeError> {
    let mut judging = Judging {
        plan,
        telling,
        known,
        together: Together::default(),
        incidents: Incidents::default(),
        judged: Judged::default(),
    };
    let filled = with_silence(&judging.plan.watched, lanes);
    let others = lanes.iter().filter(|(key, _)| !filled.contains_key(key));
    for (key, lanes) in others.chain(&filled) {
        judging.series(key, lanes)?;
    }
    judging.end(policy)
}

/// Watched series of reporting devices, with the lanes in which others were heard and of them
/// nobody: that is what they are for. Where nobody at all was heard, the silence may be ours.
pub(super) fn with_silence(
    watched: &BTreeMap<String, Watched>,
    lanes: &SeriesLanes,
) -> SeriesLanes {
    let heard = lanes.values().flatten().filter(|lane| lane.count > 0);
    let heard: BTreeMap<i64, i64> = heard.map(|lane| (lane.end_us, lane.start_us)).collect();
    let keys = watched.values().map(|watched| watched.reference.key());
    let keys = keys.filter(|key| key.metric == DEVICES_REPORTING);
    let filled = keys.map(|key| {
        let own = lanes.get(key).into_iter().flatten();
        let own: BTreeMap<i64, &Lane> = own.map(|lane| (lane.end_us, lane)).collect();
        let each = heard
            .iter()
            .map(|(end_us, start_us)| match own.get(end_us) {
                Some(lane) => (*lane).clone(),
                None => nobody_reporting(*start_us, *end_us),
            });
        (key.clone(), each.collect())
    });
    filled.collect()
}

/// How what was judged is told.
#[derive(Clone, Copy)]
pub(super) struct Telling<'a> {
    /// Where people reach the dashboard.
    pub(super) dashboard_url: Option<&'a str>,
    /// How many series share how many false pages.
    pub(super) policy: &'a Policy,
    /// When alerts fire and are over.
    pub(super) rules: &'a Rules,
    /// Devices that a lane needs for the evidence to be told.
    pub(super) min_devices: u32,
    /// What late records revise is the past: it opens and closes no alert.
    pub(super) past: bool,
}

impl Telling<'_> {
    /// Devices that a group needs for what it did to be told.
    fn min_devices_of(self, metric: &str) -> u32 {
        published::devices_needed(self.min_devices, metric)
    }

    fn tells(self, metric: &str, devices: u64) -> bool {
        published::shows(self.min_devices, metric, devices)
    }

    /// Why the evidence of a lane is not told, if it is not.
    fn withheld(self, metric: &str, devices: u64) -> Option<String> {
        let min_devices = self.min_devices;
        (!self.tells(metric, devices)).then(|| {
            format!(
                "not told of {devices} devices; outputs are told of {min_devices} or more (privacy.min_devices)"
            )
        })
    }
}

struct Judging<'a> {
    plan: Plan,
    telling: Telling<'a>,
    known: &'a Known,
    together: Together,
    incidents: Incidents,
    judged: Judged,
}

impl Judging<'_> {
    fn series(&mut self, key: &SeriesKey, lanes: &[Lane]) -> Result<(), JudgeError> {
        let series = key.id();
        let Some(mut watched) = self.plan.watched.remove(&series) else {
            return self.without_detector(key, &series, lanes);
        };
        let due = (watched.folded_until_us + 1)..=self.plan.span.to_us;
        for lane in lanes.iter().filter(|lane| due.contains(&lane.end_us)) {
            self.fold(key, &series, &mut watched, lane)?;
        }
        self.plan.watched.insert(series, watched);
        Ok(())
    }

    fn fold(
        &mut self,
        key: &SeriesKey,
        series: &str,
        watched: &mut Watched,
        lane: &Lane,
    ) -> Result<(), JudgeError> {
        let mut verdict = watched.detector.fold(&watched.reference, lane);
        self.take_apart(key, watched, &mut verdict);
        watched.folded_until_us = lane.end_us;
        let revision = self.next_revision(series, lane.end_us);
        let breakdown = watched.detector.breakdown(lane.end_us);
        let breakdown = breakdown.filter(|of| self.telling.tells(&key.metric, of.devices));
        self.alert(key, series, &verdict, (revision, breakdown))?;
        let withheld = self.telling.withheld(&key.metric, lane.devices);
        let told = withheld.is_none();
        if verdict.state == VerdictState::Drifting && !self.telling.past {
            let breakdown = breakdown.filter(|_| told);
            self.incidents.hear(key, verdict.end_us, breakdown);
        }
        let distances = || Distances::of(&watched.reference, lane, verdict.effective_count);
        let evidence = Evidence {
            leading: verdict.leading.as_ref().filter(|_| told),
            wide: verdict.wide.filter(|_| told),
            distances: told.then(distances).flatten(),
            breakdown: breakdown.filter(|_| told),
            withheld: withheld.as_deref(),
            shortfall: verdict.shortfall.as_deref(),
            reference: Some(ReferenceSpan::of(&watched.reference)),
        };
        let row = VerdictRow {
            revision,
            evidence: serde_json::to_string(&evidence)?,
            ..row(key, series, &verdict, told)
        };
        self.judged.verdicts.push(row);
        self.together.hear(series, &verdict);
        if verdict.page {
            let paged = (self.judged.verdicts.len() - 1, verdict.end_us);
            self.judged.paged.push(paged);
        }
        Ok(())
    }

    /// A page is taken apart before it is one: another mix of sites is no drift. What is needed for
    /// that is read before the lanes are judged again.
    fn take_apart(&mut self, key: &SeriesKey, watched: &mut Watched, verdict: &mut Verdict) {
        let window = watched
            .detector
            .window(verdict, self.telling.min_devices_of(&key.metric));
        let Some(window) = window.filter(|_| key.metric != DEVICES_REPORTING) else {
            return;
        };
        match self.known.get(&(key.id(), window.end_us)) {
            Some(parts) => {
                let found = Breakdown::of(&watched.reference, parts, window);
                if let Some(breakdown) = found {
                    watched.detector.take_apart(verdict, breakdown);
                }
            }
            None => self.judged.apart.push(Apart {
                key: key.clone(),
                window,
            }),
        }
    }

    fn alert(
        &mut self,
        key: &SeriesKey,
        series: &str,
        verdict: &Verdict,
        (revision, breakdown): (i32, Option<&Breakdown>),
    ) -> Result<(), JudgeError> {
        if self.telling.past {
            return Ok(());
        }
        let drifts = match verdict.state {
            VerdictState::Steady => Some(false),
            VerdictState::Drifting => Some(true),
            VerdictState::Undecided => None,
        };
        let rule = self.telling.rules.of(&key.metric);
        let before = self.plan.alerts.get(series).copied();
        let (after, turn) = state::step(before, drifts, rule, verdict.end_us);
        if let Some(after) = after.filter(|after| before != Some(*after)) {
            self.plan.alerts.insert(series.to_owned(), after);
            self.judged.alerts.insert(series.to_owned(), after);
        }
        let Some(turn) = turn else {
            return Ok(());
        };
        let withheld = self.telling.withheld(&key.metric, verdict.devices);
        let story = Story {
            key,
            verdict,
            revision,
            turn,
            previous: match (before, turn) {
                (None, _) => UNDECIDED,
                (Some(_), Turn::Fires) => Turn::Resolves.verdict(),
                (Some(_), Turn::Resolves) => Turn::Fires.verdict(),
            },
            withheld: withheld.as_deref(),
            breakdown,
            dashboard_url: self.telling.dashboard_url,
        };
        let event = story.event()?;
        self.judged.turned.push(Turned {
            cohort: cohort(key, series),
            turn,
            event: event.id.clone(),
            time_us: event.time,
            cooldown_us: rule.cooldown_us(),
        });
        self.judged.events.push(event);
        Ok(())
    }

    fn without_detector(
        &mut self,
        key: &SeriesKey,
        series: &str,
        lanes: &[Lane],
    ) -> Result<(), JudgeError> {
        let why = self.plan.unwatched.get(series).copied();
        let parent = self.plan.parent_of(key).filter(|_| why.is_none());
        if let Some(parent) = parent {
            return self.borrow(key, lanes, &parent);
        }
        let shortfall = shortfall(why);
        let evidence = Evidence {
            leading: None,
            wide: None,
            distances: None,
            breakdown: None,
            shortfall: Some(&shortfall),
            withheld: None,
            reference: None,
        };
        let evidence = serde_json::to_string(&evidence)?;
        let due = (self.plan.judged_until_us + 1)..=self.plan.span.to_us;
        for lane in lanes.iter().filter(|lane| due.contains(&lane.end_us)) {
            let said = self.plan.current.get(series).is_some_and(|current| {
                current.state == UNDECIDED
                    && current.evidence == evidence
                    && lane.end_us - current.time < UNDECIDED_REPEAT_US
            });
            if !said {
                let revision = self.next_revision(series, lane.end_us);
                let row = undecided(key, series, lane, revision, evidence.clone());
                self.plan.current.insert(series.to_owned(), row.clone());
                self.judged.verdicts.push(row);
            }
        }
        Ok(())
    }

    /// Shows a series beside its parent's reference. That never pages: what differs may be no more
    /// than that it is another variant.
    fn borrow(
        &mut self,
        key: &SeriesKey,
        lanes: &[Lane],
        parent: &Parent,
    ) -> Result<(), JudgeError> {
        let series = key.id();
        let due = (self.plan.judged_until_us + 1)..=self.plan.span.to_us;
        for lane in lanes.iter().filter(|lane| due.contains(&lane.end_us)) {
            let said = self.plan.current.get(&series).is_some_and(|current| {
                let pause_us = BORROWED_REPEAT_LANES * (lane.end_us - lane.start_us);
                current.reference.as_deref() == Some(&parent.hash)
                    && lane.end_us - current.time < pause_us
            });
            if said {
                continue;
            }
            let withheld = self.telling.withheld(&key.metric, lane.devices);
            let evidence = borrowed(&parent.reference, lane, withheld.as_deref());
            let revision = self.next_revision(&series, lane.end_us);
            let row = VerdictRow {
                method: BORROWED.to_owned(),
                reference: Some(parent.hash.clone()),
                ..undecided(
                    key,
                    &series,
                    lane,
                    revision,
                    serde_json::to_string(&evidence)?,
                )
            };
            self.plan.current.insert(series.clone(), row.clone());
            self.judged.verdicts.push(row);
        }
        Ok(())
    }

    fn next_revision(&self, series: &str, time_us: i64) -> i32 {
        let last = self.plan.revisions.get(&(time_us, series.to_owned()));
        last.map_or(0, |last| last + 1)
    }

    /// Says with each page which series moved together with it.
    fn name_neighbours(&mut self) -> Result<(), JudgeError> {
        let together = std::mem::take(&mut self.together);
        let named = together.named(self.telling.policy);
        for (row, end_us) in &self.judged.paged {
            let Some(names) = named.get(end_us) else {
                continue;
            };
            let evidence = &mut self.judged.verdicts[*row].evidence;
            let mut told: serde_json::Value = serde_json::from_str(evidence)?;
            told["together"] = serde_json::json!(names);
            *evidence = told.to_string();
        }
        Ok(())
    }

    /// Lanes without records are judged too: there is nothing in them to fold.
    fn end(mut self, policy: &str) -> Result<Judged, JudgeError> {
        if !self.telling.past {
            self.name_neighbours()?;
            self.incidents.tell(&mut self.judged.events)?;
        }
        for (series, watched) in self.plan.watched {
            self.judged.checkpoints.push(Checkpoint {
                series,
                reference: watched.hash,
                policy: policy.to_owned(),
                state: postcard::to_allocvec::<Detector>(&watched.detector)?,
                began_us: watched.began_us,
                folded_until_us: watched.folded_until_us.max(self.plan.span.to_us),
            });
        }
        let order = |row: &VerdictRow| (row.time, row.series.clone());
        self.judged.verdicts.sort_by_cached_key(order);
        self.judged
            .events
            .sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        Ok(self.judged)
    }
}

/// A series, as silences name it.
fn cohort(key: &SeriesKey, series: &str) -> Cohort {
    Cohort {
        subject: series.to_owned(),
        service: key.service.clone(),
        model: key.model.clone(),
        version: key.version.clone(),
        device_class: key.device_class.clone(),
        site: None,
        metric: key.metric.clone(),
    }
}

fn shortfall(unwatched: Option<Unwatched>) -> String {
    match unwatched {
        None => "no reference: freeze one with POST /api/v1/references".to_owned(),
        Some(Unwatched::Contract(contract)) => format!(
            "its reference is of contract version {contract} and this collector judges by {CONTRACT_VERSION}; make a new one"
        ),
        Some(Unwatched::Budget(budget)) => format!(
            "not watched: the series budget of {budget} is used up by busier series; raise drift.series_budget"
        ),
        Some(Unwatched::Unreadable) => "its reference cannot be read; freeze a new one".to_owned(),
    }
}

fn row(key: &SeriesKey, series: &str, verdict: &Verdict, told: bool) -> VerdictRow {
    let decided = verdict.state != VerdictState::Undecided;
    let told = told && decided;
    VerdictRow {
        time: verdict.end_us,
        series: series.to_owned(),
        service: key.service.clone(),
        device_class: key.device_class.clone(),
        model: key.model.clone(),
        version: key.version.clone(),
        variant: key.variant.clone(),
        metric: key.metric.clone(),
        revision: 0,
        state: verdict.state.name().to_owned(),
        method: verdict.method.clone(),
        score: told.then_some(verdict.score),
        threshold: decided.then_some(verdict.threshold),
        count: signed(verdict.count),
        effective_count: told.then_some(verdict.effective_count),
        devices: signed(verdict.devices),
        since: verdict.since_us,
        reference: Some(verdict.reference.clone()),
        evidence: String::new(),
    }
}

fn undecided(
    key: &SeriesKey,
    series: &str,
    lane: &Lane,
    revision: i32,
    evidence: String,
) -> VerdictRow {
    VerdictRow {
        time: lane.end_us,
        series: series.to_owned(),
        service: key.service.clone(),
        device_class: key.device_class.clone(),
        model: key.model.clone(),
        version: key.version.clone(),
        variant: key.variant.clone(),
        metric: key.metric.clone(),
        revision,
        state: UNDECIDED.to_owned(),
        method: "none".to_owned(),
        score: None,
        threshold: None,
        count: signed(lane.count),
        effective_count: None,
        devices: signed(lane.devices),
        since: None,
        reference: None,
        evidence,
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
