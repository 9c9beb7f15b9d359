//! What drifts together: series of one service and model that drift at the same time are one
//! incident. Pure.
//!
//! In: verdicts of a tick, lane by lane, with what each drift is made of. Out: the same events, of
//! which those that tell of a drift also say what drifts with it. No alert depends on it.

use std::collections::BTreeMap;

use fathomline_queries::{
    drift::{Breakdown, ContributorKind, Incident, SeriesKey},
    rows::EventRow,
};
use fathomline_wire::event::{self, Event, EventBody, IncidentContributor, IncidentSeries};

/// Contributors of each kind that are told; the others are told as one.
const CONTRIBUTORS_MAX: usize = 5;
/// Series that are told by name.
const SERIES_MAX: usize = 20;

/// Series that drift, by the end of the lane and the name of service and model.
#[derive(Default)]
pub(super) struct Incidents(BTreeMap<(i64, String, String), Vec<Member>>);

/// One of them, with what it is made of as far as that is told.
struct Member {
    key: SeriesKey,
    breakdown: Option<Breakdown>,
}

impl Incidents {
    /// Takes a series that drifts.
    pub(super) fn hear(&mut self, key: &SeriesKey, end_us: i64, breakdown: Option<&Breakdown>) {
        let place = (end_us, key.service.clone(), key.model.clone());
        self.0.entry(place).or_default().push(Member {
            key: key.clone(),
            breakdown: breakdown.cloned(),
        });
    }

    /// Adds to what is told of a drift what drifts with it.
    ///
    /// # Errors
    /// When an event cannot be written as JSON.
    pub(super) fn tell(self, events: &mut [EventRow]) -> serde_json::Result<()> {
        for row in events {
            let mut event: Event = serde_json::from_str(&row.body)?;
            let EventBody::VerdictChanged(changed) = &mut event.body else {
                continue;
            };
            let place = (row.time, changed.service.clone(), changed.model.clone());
            let members = self.0.get(&place).map_or(&[][..], Vec::as_slice);
            let drifts = |member: &Member| member.key.id() == changed.series;
            if members.iter().any(drifts) {
                changed.incident = told(members);
                row.body = serde_json::to_string(&event)?;
            }
        }
        Ok(())
    }
}

fn told(members: &[Member]) -> Option<event::Incident> {
    let each = members.iter().map(|of| (&of.key, of.breakdown.as_ref()));
    let incident = Incident::of(each);
    let contributors = ContributorKind::ALL.into_iter().flat_map(|kind| {
        let ranked = incident.ranked(kind, CONTRIBUTORS_MAX).into_iter();
        ranked.map(move |part| IncidentContributor {
            kind: kind.name().to_owned(),
            name: part.name,
            metric: part.metric,
            series: part.series,
            part: part.part,
        })
    });
    (incident.series > 0).then(|| event::Incident {
        score: incident.score,
        series: series(members),
        untold: incident.untold,
        contributors: contributors.collect(),
    })
}

fn series(members: &[Member]) -> Vec<IncidentSeries> {
    let known = members.iter().filter_map(|member| {
        let psi_debiased = member.breakdown.as_ref()?.psi_debiased?;
        Some(IncidentSeries {
            series: member.key.id(),
            device_class: member.key.device_class.clone(),
            version: member.key.version.clone(),
            metric: member.key.metric.clone(),
            psi_debiased,
        })
    });
    let mut known: Vec<IncidentSeries> = known.collect();
    known.sort_by(|a, b| {
        let by_distance = b.psi_debiased.total_cmp(&a.psi_debiased);
        by_distance.then_with(|| a.series.cmp(&b.series))
    });
    known.truncate(SERIES_MAX);
    known
}

#[cfg(test)]
mod tests {
    use fathomline_queries::drift::{BinPart, SitePart};
    use fathomline_wire::names;
    use serde_json::json;

    use super::*;
    use crate::watch::script::key;

    const END_US: i64 = 60;

    fn breakdown(psi: f64) -> Breakdown {
        Breakdown {
            start_us: 0,
            end_us: END_US,
            count: 100,
            devices: 6,
            mix: None,
            psi_debiased: Some(psi),
            interval: None,
            resamples: 0,
            sites: vec![SitePart {
                site: "bern".into(),
                devices: 6,
                reference_share: 1.0,
                share: 1.0,
                part: psi,
            }],
            bins: vec![BinPart {
                bin: "above 1".into(),
                reference_share: 0.1,
                share: 0.4,
                part: psi,
            }],
        }
    }

    /// What is told of a series that drifts, before anything is known of others.
    fn event(key: &SeriesKey) -> EventRow {
        let data = json!({
            "state": "drifting", "previous": "steady", "series": key.id(),
            "service": key.service, "model": key.model, "version": key.version,
            "variant": key.variant, "device_class": key.device_class, "metric": key.metric,
            "unit": "{nat}", "window": { "start": "a", "end": "b" }, "since": null, "score": 20.0,
            "threshold": 18.0, "method": "m", "count": 100, "effective_count": 90.0, "devices": 6,
            "reference": "r", "evidence": "e", "link": null,
        });
        let kind = "fathomline.verdict.changed";
        EventRow {
            time: END_US,
            id: "evt".into(),
            kind: kind.into(),
            subject: key.id(),
            body: json!({ "timestamp": "t", "type": kind, "data": data }).to_string(),
        }
    }

    #[test]
    fn a_drift_is_told_with_what_drifts_beside_it_and_others_are_not() {
        let kiosk = key("kiosk");
        let entropy = SeriesKey {
            metric: names::OUTPUT_ENTROPY.into(),
            ..kiosk.clone()
        };
        let elsewhere = SeriesKey {
            model: "other".into(),
            ..kiosk.clone()
        };
        let mut incidents = Incidents::default();
        incidents.hear(&kiosk, END_US, Some(&breakdown(0.3)));
        incidents.hear(&entropy, END_US, Some(&breakdown(0.5)));
        incidents.hear(&key("panel"), END_US, None);
        incidents.hear(&elsewhere, END_US, Some(&breakdown(0.9)));
        incidents.hear(&kiosk, 2 * END_US, Some(&breakdown(0.7)));
        let mut events = [event(&kiosk), event(&key("gateway"))];
        incidents.tell(&mut events).unwrap();
        let bodies = events.map(|row| serde_json::from_str::<serde_json::Value>(&row.body));
        let [told, steady] = bodies.map(|body| body.unwrap()["data"]["incident"].clone());
        assert_eq!(steady, json!(null));
        assert_eq!((&told["score"], &told["untold"]), (&json!(0.8), &json!(1)));
        assert_eq!(told["series"][0]["metric"], names::OUTPUT_ENTROPY);
        let kinds = told["contributors"].as_array().unwrap().iter();
        let kinds: Vec<_> = kinds.map(|part| part["kind"].as_str().unwrap()).collect();
        assert_eq!(
            kinds,
            ["class", "version", "signal", "signal", "site", "bin", "bin"]
        );
    }
}
