//! What was judged so far. Owns the books the report is made from: per series the last verdict,
//! lanes decided and the first drift. In: verdicts in the order they were reached, deliveries as
//! they arrived. Out: what is news, and counts. Pure: never asks and never waits.

use std::collections::BTreeMap;

use crate::{
    operator::Verdict,
    receiver::Delivery,
    report::{Finding, Webhook},
};

/// Class, version and metric: the demo has one model, and one variant of a version in each class.
type Series = (String, String, String);

#[derive(Default)]
struct Entry {
    state: String,
    lanes_decided: u64,
    drift: Option<Finding>,
}

/// The verdicts of one story.
#[derive(Default)]
pub(crate) struct Ledger {
    series: BTreeMap<Series, Entry>,
    /// Row of the last verdict read.
    pub(crate) last_id: i64,
    pub(crate) read: u64,
    /// Lane ends of verdicts `drifting`, by class.
    drifting: BTreeMap<String, Vec<i64>>,
}

/// A series that is no longer what it was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) verdict: Finding,
    pub(crate) state: String,
    pub(crate) count: i64,
    pub(crate) devices: i64,
    pub(crate) since: Option<String>,
}

impl Ledger {
    /// Enters a verdict; a change between steady and drifting is news.
    pub(crate) fn enter(&mut self, verdict: Verdict) -> Option<Change> {
        self.last_id = verdict.id;
        self.read += 1;
        let finding = found(&verdict);
        let drifts = verdict.state == "drifting";
        if drifts {
            let lanes = self.drifting.entry(verdict.device_class.clone());
            lanes.or_default().push(verdict.time_us);
        }
        let entry = self
            .series
            .entry((verdict.device_class, verdict.version, verdict.metric))
            .or_default();
        if verdict.state == "undecided" {
            return None;
        }
        entry.lanes_decided += 1;
        let known = !entry.state.is_empty() || drifts;
        let news = known && entry.state != verdict.state;
        entry.state.clone_from(&verdict.state);
        if drifts && entry.drift.is_none() {
            entry.drift = Some(finding.clone());
        }
        news.then_some(Change {
            verdict: finding,
            state: verdict.state,
            count: verdict.count,
            devices: verdict.devices,
            since: verdict.since,
        })
    }

    /// Series with a verdict on at least `lanes` lanes.
    pub(crate) fn decided(&self, lanes: u64) -> usize {
        let entries = self.series.values();
        entries.filter(|entry| entry.lanes_decided >= lanes).count()
    }

    /// Series whose last verdict was steady.
    pub(crate) fn steady(&self) -> usize {
        let entries = self.series.values();
        entries.filter(|entry| entry.state == "steady").count()
    }

    /// End of the last lane judged for any drifting series of `class` after `from_us`.
    pub(crate) fn drifting_until(&self, class: &str, from_us: i64) -> Option<i64> {
        let lanes = self.drifting.get(class)?.iter();
        lanes.copied().filter(|end_us| *end_us > from_us).max()
    }

    /// The first drift of `class` after `from_us`.
    pub(crate) fn found(&self, class: &str, from_us: i64) -> Option<Finding> {
        let drifts = self.series.values().filter_map(|entry| entry.drift.clone());
        drifts
            .filter(|finding| finding.device_class == class && finding.time_us > from_us)
            .min_by(|a, b| a.time_us.cmp(&b.time_us).then(b.score.total_cmp(&a.score)))
    }

    /// Verdicts `drifting` that are not `class` after `from_us`; with no time, all are false.
    pub(crate) fn false_verdicts(&self, class: &str, from_us: Option<i64>) -> u64 {
        let wrong = |of: &str, end_us: i64| of != class || from_us.is_none_or(|us| end_us <= us);
        let lanes = self.drifting.iter();
        lanes
            .map(|(of, ends)| ends.iter().filter(|end_us| wrong(of, **end_us)).count() as u64)
            .sum()
    }

    pub(crate) fn drifting_classes(&self) -> Vec<String> {
        self.drifting.keys().cloned().collect()
    }

    /// Metrics that drifted on any class.
    pub(crate) fn drifting_metrics(&self) -> Vec<String> {
        let drifted = self
            .series
            .iter()
            .filter(|(_, entry)| entry.drift.is_some());
        let mut metrics: Vec<String> = drifted.map(|((_, _, metric), _)| metric.clone()).collect();
        metrics.sort();
        metrics.dedup();
        metrics
    }
}

fn found(verdict: &Verdict) -> Finding {
    Finding {
        device_class: verdict.device_class.clone(),
        metric: verdict.metric.clone(),
        score: verdict.score.unwrap_or_default(),
        threshold: verdict.threshold.unwrap_or_default(),
        reference: verdict.reference.clone().unwrap_or_default(),
        time_us: verdict.time_us,
        since: verdict.since.clone(),
    }
}

/// The webhooks of one story.
#[derive(Default)]
pub(crate) struct Mailbox {
    first: Option<Webhook>,
    /// States of the request to train, as they were told.
    pub(crate) moves: Vec<String>,
    taken: usize,
    refused: usize,
}

impl Mailbox {
    /// Enters what arrived; whether it is the first that tells of a drift.
    pub(crate) fn enter(&mut self, delivery: &Delivery) -> bool {
        match delivery {
            Delivery::Refused { .. } => self.refused += 1,
            Delivery::Other { .. } | Delivery::Request { .. } => {}
            Delivery::Moved { change, .. } => self.moves.push(change.state.clone()),
            Delivery::Verdict { id, change } => {
                self.taken += 1;
                if change.state == "drifting" && self.first.is_none() {
                    self.first = Some(Webhook {
                        id: id.clone(),
                        signature_verified: true,
                        device_class: change.device_class.clone(),
                        metric: change.metric.clone(),
                        deliveries: 0,
                        refused: 0,
                    });
                    return true;
                }
            }
        }
        false
    }

    pub(crate) fn has_told(&self) -> bool {
        self.first.is_some()
    }

    /// The first webhook that told of a drift, with counts of all.
    pub(crate) fn told(&self) -> Option<Webhook> {
        let first = self.first.clone();
        first.map(|webhook| Webhook {
            deliveries: self.taken,
            refused: self.refused,
            ..webhook
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::receiver::Refusal;

    fn verdict(id: i64, class: &str, metric: &str, state: &str) -> Verdict {
        Verdict {
            id,
            time_us: id * 5,
            device_class: class.into(),
            version: "1.4.0".into(),
            metric: metric.into(),
            state: state.into(),
            score: Some(20.0),
            threshold: Some(16.0),
            count: 180,
            devices: 12,
            since: None,
            reference: Some("abc".into()),
        }
    }

    #[test]
    fn only_a_change_is_news_and_a_first_steady_verdict_is_none() {
        let mut ledger = Ledger::default();
        let states = [
            "undecided",
            "steady",
            "steady",
            "drifting",
            "drifting",
            "undecided",
            "steady",
        ];
        let news: Vec<Option<String>> = (1..)
            .zip(states)
            .map(|(id, state)| Some(ledger.enter(verdict(id, "kiosk", "a", state))?.state))
            .collect();
        let drifting = Some("drifting".to_owned());
        let steady = Some("steady".to_owned());
        assert_eq!(news, [None, None, None, drifting, None, None, steady]);
        assert_eq!((ledger.last_id, ledger.read), (7, 7));
        assert_eq!(
            (ledger.decided(5), ledger.decided(6), ledger.steady()),
            (1, 0, 1)
        );
    }

    #[test]
    fn a_drift_counts_as_true_on_one_class_after_the_shift_only() {
        let mut ledger = Ledger::default();
        for (id, class) in [(1, "kiosk"), (2, "panel"), (3, "kiosk"), (4, "kiosk")] {
            ledger.enter(verdict(id, class, &format!("m{id}"), "drifting"));
        }
        assert_eq!(ledger.false_verdicts("kiosk", Some(5)), 2);
        assert_eq!(ledger.false_verdicts("kiosk", None), 4);
        let found = ledger.found("kiosk", 5).unwrap();
        assert_eq!((found.metric.as_str(), found.time_us), ("m3", 15));
        assert_eq!(ledger.found("kiosk", 20), None);
        assert_eq!(ledger.drifting_until("kiosk", 5), Some(20));
        assert_eq!(ledger.drifting_until("gateway", 0), None);
        assert_eq!(ledger.drifting_classes(), ["kiosk", "panel"]);
        assert_eq!(ledger.drifting_metrics(), ["m1", "m2", "m3", "m4"]);
    }

    fn delivery(id: &str, class: &str, state: &str) -> Delivery {
        let change = json!({
            "state": state, "previous": "steady", "series": "s", "service": "maintenance",
            "model": "assistant", "version": "1.4.0", "variant": "v", "device_class": class,
            "metric": "fathomline.feedback", "unit": "1", "window": { "start": "a", "end": "b" },
            "since": null, "score": 20.0, "threshold": 16.0, "method": "m", "count": 180,
            "effective_count": 90.0, "devices": 12, "reference": "abc", "evidence": "e",
            "link": null
        });
        Delivery::Verdict {
            id: id.into(),
            change: serde_json::from_value(change).unwrap(),
        }
    }

    #[test]
    fn the_first_webhook_of_a_drift_is_told_with_counts_of_all() {
        let mut mailbox = Mailbox::default();
        let refused = Delivery::Refused {
            reason: Refusal::Signature,
        };
        let told = [
            Delivery::Other { id: "evt_0".into() },
            refused,
            delivery("evt_1", "panel", "steady"),
            delivery("evt_2", "kiosk", "drifting"),
            delivery("evt_3", "gateway", "drifting"),
        ]
        .map(|delivery| (mailbox.enter(&delivery), mailbox.has_told()));
        let (no, first) = ((false, false), (true, true));
        assert_eq!(told, [no, no, no, first, (false, true)]);
        let webhook = mailbox.told().unwrap();
        assert_eq!(
            (webhook.id.as_str(), webhook.device_class.as_str()),
            ("evt_2", "kiosk")
        );
        assert_eq!((webhook.deliveries, webhook.refused), (3, 1));
    }
}
