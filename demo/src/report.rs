//! What happened, for programs. In: what the story saw. Out: one line of JSON, and whether it went
//! as promised. Every figure was counted or read back during this run; none is assumed.

use std::collections::BTreeMap;

use serde::Serialize;

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
    pub dashboard: String,
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
        let fell = |class: &str| {
            let (before, after) = (&self.accuracy_before, &self.accuracy_after);
            before
                .get(class)
                .zip(after.get(class))
                .is_some_and(|(b, a)| a < b)
        };
        let cites = |finding: &Finding| finding.reference == self.reference.hash;
        let cited = self.verdict.as_ref().is_none_or(cites);
        let promises = [
            (self.devices >= 9, "a fleet of at least nine devices"),
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
            (
                fell(self.shifted_class),
                "feedback falls on the shifted class",
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
            accuracy_after: share(0.4),
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
        let breakages: [(Breakage, &str); 12] = [
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
            (|r| r.accuracy_after = r.accuracy_before.clone(), "feedback"),
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
