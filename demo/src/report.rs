//! What happened, for programs. In: what the story saw. Out: one line of JSON, and whether it went
//! as promised. Every figure was counted or read back during this run; none is assumed.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::operator::Gate;

/// How close the shifted class's accuracy has to come to what it was.
const RECOVERED_WITHIN: f64 = 0.03;

/// The story in figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub as_promised: bool,
    /// What did not go as promised, in words.
    pub broken: Vec<String>,
    pub seed: u64,
    pub devices: usize,
    pub classes: Vec<&'static str>,
    pub shifted_class: &'static str,
    /// Share of the shifted class's requests that came from the new season, at the end.
    pub shifted_share: f64,
    /// Inferences made by the devices, and those the collector stored: each exactly once.
    pub inferences: u64,
    pub inferences_stored: u64,
    /// Windows of one second that were acknowledged, and those the collector stored.
    pub windows: u64,
    pub windows_stored: u64,
    pub windows_lost: u64,
    /// Share of answers that feedback called correct, by class.
    pub accuracy_before: BTreeMap<String, f64>,
    /// While the season had changed and the model had not.
    pub accuracy_during: BTreeMap<String, f64>,
    /// Once every device ran the new version.
    pub accuracy_after: BTreeMap<String, f64>,
    pub reference: Reference,
    /// Series whose verdict was steady when the season changed.
    pub steady_series: usize,
    /// Verdicts read back, of every state.
    pub verdicts: u64,
    /// Verdicts `drifting` before the shift, or on another class at any time.
    pub false_verdicts: u64,
    /// Seconds since the story began.
    pub reference_frozen_at_s: Option<f64>,
    pub shift_at_s: Option<f64>,
    pub verdict_at_s: Option<f64>,
    /// From the shift until the verdict could be read.
    pub delay_s: Option<f64>,
    pub drifting_classes: Vec<String>,
    /// Classes of which the dashboard's pages show a drifting series.
    pub pages_drifting: Vec<String>,
    pub drifting_metrics: Vec<String>,
    /// The first verdict.
    pub verdict: Option<Finding>,
    pub webhook: Option<Webhook>,
    pub recovery: Recovery,
    pub acts: Vec<Act>,
    pub dashboard: String,
    pub took_s: f64,
}

/// How a better version came about.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Recovery {
    /// The request to train again, as the signed webhook named it.
    pub request: Option<String>,
    /// Who asked: `drift`, or an operator.
    pub requested_by: String,
    /// The metric that led to it, which the new version has to be better on.
    pub metric: String,
    pub training: Option<Training>,
    /// Devices that tried the new version first.
    pub trying_first: usize,
    /// The gate's last answer, and how often it was asked.
    pub gate: Option<Gate>,
    pub gate_asked: usize,
    /// Where the request ended, and what the comparison of both versions found.
    pub state: String,
    pub proof: Option<String>,
    /// States of the request that webhooks told of, in order.
    pub told: Vec<String>,
    /// Whether the dashboard's page shows the request as proven.
    pub page_proven: bool,
}

/// The new version.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Training {
    pub version: &'static str,
    pub steps: usize,
    pub took_s: f64,
    pub exams: Vec<Exam>,
}

/// Share of unseen requests that one stored form answers right.
#[derive(Clone, Debug, Serialize)]
pub struct Exam {
    pub weights: &'static str,
    pub season: &'static str,
    pub exact: f64,
}

/// How long a part of the story took.
#[derive(Clone, Debug, Serialize)]
pub struct Act {
    pub name: &'static str,
    pub took_s: f64,
}

/// What was frozen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Reference {
    /// Series that have one.
    pub series: usize,
    /// Inferences behind the smallest.
    pub records_min: u64,
    /// The one that the first verdict cites; empty unless it was frozen in this run.
    pub hash: String,
}

/// A verdict `drifting`, as it was read back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub device_class: String,
    pub metric: String,
    pub score: f64,
    pub threshold: f64,
    pub reference: String,
    /// End of the lane it was reached on, microseconds since the Unix epoch.
    pub time_us: i64,
    /// When the change is thought to have begun, RFC 3339.
    pub since: Option<String>,
}

/// The webhook that told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Webhook {
    pub id: String,
    pub signature_verified: bool,
    pub device_class: String,
    pub metric: String,
    pub deliveries: usize,
    pub refused: usize,
}

impl Report {
    /// Holds what happened against what was promised.
    #[must_use]
    pub fn judged(mut self) -> Self {
        let on_shifted_only = self.drifting_classes == [self.shifted_class];
        let told = self.webhook.as_ref().is_some_and(|webhook| {
            webhook.signature_verified
                && webhook.refused == 0
                && webhook.device_class == self.shifted_class
        });
        let fell = self
            .change(&self.accuracy_during)
            .is_some_and(|by| by < 0.0);
        let came_back = self.change(&self.accuracy_after);
        let recovery = &self.recovery;
        let decision = recovery.gate.as_ref().map(|gate| gate.decision.as_str());
        let cites = |finding: &Finding| finding.reference == self.reference.hash;
        let cited = self.verdict.as_ref().is_none_or(cites);
        let promises = [
            (self.devices >= 18, "a fleet of at least eighteen devices"),
            (self.reference.series > 0, "a reference is frozen"),
            (
                self.steady_series == self.reference.series,
                "every series is steady until the season changes",
            ),
            (
                self.false_verdicts == 0,
                "no verdict `drifting` but the true one",
            ),
            (self.verdict.is_some(), "the shift is found"),
            (cited, "the verdict cites a reference of this run"),
            (on_shifted_only, "only the shifted class drifts"),
            (
                self.pages_drifting == [self.shifted_class],
                "the pages show the shifted class as drifting, and no other",
            ),
            (told, "a webhook tells of it and its signature verifies"),
            (fell, "feedback falls on the shifted class"),
            (
                recovery.requested_by == "drift",
                "drift asks a trainer for a new version",
            ),
            (recovery.training.is_some(), "the trainer makes one"),
            (decision == Some("promote"), "the gate promotes it"),
            (
                recovery.state == "proven" && recovery.proof.is_some(),
                "the new version is proven to be better on the signal that led to it",
            ),
            (
                recovery.told.last().is_some_and(|state| state == "proven"),
                "a signed webhook tells of the proof",
            ),
            (recovery.page_proven, "the pages show the proof"),
            (
                came_back.is_some_and(|by| by >= -RECOVERED_WITHIN),
                "accuracy comes back to within 3 points of what it was",
            ),
            (
                self.windows_lost == 0 && self.windows == self.windows_stored,
                "no window is lost",
            ),
            (
                self.inferences == self.inferences_stored && self.inferences > 0,
                "every inference is counted once",
            ),
        ];
        let broken = promises.iter().filter(|(kept, _)| !kept);
        self.broken = broken.map(|(_, promise)| (*promise).to_owned()).collect();
        self.as_promised = self.broken.is_empty();
        self
    }

    /// How far the shifted class's accuracy is from what it was.
    fn change(&self, now: &BTreeMap<String, f64>) -> Option<f64> {
        let class = self.shifted_class;
        Some(now.get(class)? - self.accuracy_before.get(class)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        let share = |value| BTreeMap::from([("kiosk".to_owned(), value)]);
        let finding = Finding {
            device_class: "kiosk".into(),
            metric: "fathomline.output.surprisal".into(),
            score: 20.0,
            threshold: 15.0,
            reference: "abc".into(),
            time_us: 2,
            since: None,
        };
        Report {
            devices: 36,
            shifted_class: "kiosk",
            inferences: 10,
            inferences_stored: 10,
            accuracy_before: share(0.98),
            accuracy_during: share(0.4),
            accuracy_after: share(0.96),
            recovery: Recovery {
                requested_by: "drift".into(),
                training: Some(Training::default()),
                gate: Some(Gate {
                    decision: "promote".into(),
                    ..Gate::default()
                }),
                state: "proven".into(),
                proof: Some("20 points back".into()),
                told: vec!["running".into(), "proven".into()],
                page_proven: true,
                ..Recovery::default()
            },
            reference: Reference {
                series: 21,
                records_min: 3_000,
                hash: "abc".into(),
            },
            steady_series: 21,
            drifting_classes: vec!["kiosk".into()],
            pages_drifting: vec!["kiosk".into()],
            webhook: Some(Webhook {
                id: "evt_1".into(),
                signature_verified: true,
                device_class: "kiosk".into(),
                metric: finding.metric.clone(),
                deliveries: 1,
                refused: 0,
            }),
            verdict: Some(finding),
            ..Report::default()
        }
    }

    #[test]
    fn a_story_as_promised_passes() {
        let report = good().judged();
        assert!(report.as_promised, "{:?}", report.broken);
    }

    type Breakage = fn(&mut Report);

    #[test]
    fn every_broken_promise_is_named() {
        let breakages: [(Breakage, &str); 19] = [
            (|r| (r.reference.series, r.steady_series) = (0, 0), "frozen"),
            (|r| r.steady_series = 20, "steady until"),
            (|r| r.reference.hash = String::new(), "cites"),
            (|r| r.false_verdicts = 1, "but the true one"),
            (|r| r.verdict = None, "found"),
            (
                |r| r.drifting_classes.push("panel".into()),
                "only the shifted",
            ),
            (|r| r.pages_drifting.clear(), "the pages show"),
            (|r| r.webhook = None, "webhook"),
            (
                |r| r.accuracy_during = r.accuracy_before.clone(),
                "feedback",
            ),
            (|r| r.recovery.requested_by = "ann".into(), "drift asks"),
            (|r| r.recovery.training = None, "trainer makes"),
            (|r| r.recovery.gate = None, "gate promotes"),
            (|r| r.recovery.state = "unproven".into(), "proven to be"),
            (|r| drop(r.recovery.told.pop()), "tells of the proof"),
            (|r| r.recovery.page_proven = false, "show the proof"),
            (
                |r| r.accuracy_after.values_mut().for_each(|now| *now = 0.94),
                "comes back",
            ),
            (|r| r.windows_lost = 1, "no window"),
            (|r| r.windows = 1, "no window"),
            (|r| r.inferences_stored = 9, "counted once"),
        ];
        for (break_it, word) in breakages {
            let mut report = good();
            break_it(&mut report);
            let report = report.judged();
            assert!(!report.as_promised);
            assert_eq!(report.broken.len(), 1, "{:?}", report.broken);
            assert!(report.broken[0].contains(word), "{:?}", report.broken);
        }
        let mut forged = good();
        if let Some(webhook) = &mut forged.webhook {
            webhook.refused = 1;
        }
        assert!(!forged.judged().as_promised);
    }
}
