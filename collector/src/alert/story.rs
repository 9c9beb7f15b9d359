//! The event that tells others about a change of state, with the evidence in it. Pure: the same
//! verdict gives the same bytes and the same id, on every retry and after every restart.
//!
//! In: series, verdict, change. Out: an event row; its body is what is sent. Never: anything that a
//! device, a user or a model wrote; there is no such field to read from.

use std::fmt::Write as _;

use fathomline_queries::{
    drift::{Breakdown, Direction, SeriesKey, Verdict},
    rows::EventRow,
};
use fathomline_wire::{
    event::{Contributor, Effect, Event, EventBody, Span, VerdictChanged},
    names,
};
use sha2::{Digest as _, Sha256};

use super::state::Turn;
use crate::clock::rfc3339;

/// Hexadecimal digits of an event's id: 128 bits of a hash.
const ID_DIGITS: usize = 32;
/// Contributors of each kind that are told; the page has them all.
const CONTRIBUTORS_MAX: usize = 5;

/// Everything an event is made of.
pub(crate) struct Story<'a> {
    pub(crate) key: &'a SeriesKey,
    pub(crate) verdict: &'a Verdict,
    pub(crate) revision: i32,
    pub(crate) turn: Turn,
    /// What was said of the series before.
    pub(crate) previous: &'static str,
    /// Why the evidence is not told, if it is not.
    pub(crate) withheld: Option<&'a str>,
    /// What a page is made of, as far as it is told.
    pub(crate) breakdown: Option<&'a Breakdown>,
    /// Where people reach the dashboard.
    pub(crate) dashboard_url: Option<&'a str>,
}

impl Story<'_> {
    /// The event to store and to send.
    ///
    /// # Errors
    /// When the evidence cannot be written as JSON.
    pub(crate) fn event(&self) -> serde_json::Result<EventRow> {
        let event = Event {
            timestamp: rfc3339(self.verdict.end_us),
            body: EventBody::VerdictChanged(Box::new(self.changed())),
        };
        Ok(EventRow {
            time: self.verdict.end_us,
            id: self.id(),
            kind: event.body.name().to_owned(),
            subject: self.key.id(),
            body: serde_json::to_string(&event)?,
        })
    }

    /// Derived from what is told, so that telling it twice is telling it once. No dots: the
    /// signature separates its parts with them.
    fn id(&self) -> String {
        let verdict = self.verdict;
        let subject = format!(
            "{}\n{}\n{}\n{}",
            self.key.id(),
            verdict.end_us,
            verdict.reference,
            self.revision
        );
        format!("evt_{}", digest(&subject))
    }

    fn changed(&self) -> VerdictChanged {
        let (key, verdict) = (self.key, self.verdict);
        let series = key.id();
        VerdictChanged {
            state: self.turn.verdict().to_owned(),
            previous: self.previous.to_owned(),
            link: self.dashboard_url.map(|url| link(url, &series)),
            series,
            // Known once all turns of the tick are.
            incident_id: None,
            service: key.service.clone(),
            model: key.model.clone(),
            version: key.version.clone(),
            variant: key.variant.clone(),
            device_class: key.device_class.clone(),
            metric: key.metric.clone(),
            unit: names::metric(&key.metric)
                .map_or("1", |metric| metric.unit)
                .to_owned(),
            window: Span {
                start: rfc3339(verdict.start_us),
                end: rfc3339(verdict.end_us),
            },
            since: verdict.since_us.map(rfc3339),
            score: self.told(verdict.score),
            threshold: verdict.threshold,
            method: verdict.method.clone(),
            count: verdict.count,
            effective_count: self.told(verdict.effective_count),
            devices: verdict.devices,
            reference: verdict.reference.clone(),
            effect: self.effect(),
            contributors: self.contributors(),
            // Known once all series of the tick are judged.
            incident: None,
            evidence: self.withheld.map_or_else(|| self.evidence(), str::to_owned),
        }
    }

    fn effect(&self) -> Option<Effect> {
        let leading = self.verdict.leading.as_ref()?;
        let breakdown = self.breakdown;
        self.withheld.is_none().then(|| Effect {
            stream: leading.stream.clone(),
            direction: match leading.direction {
                Direction::More => "more".to_owned(),
                Direction::Less => "less".to_owned(),
            },
            expected_share: leading.expected_share,
            share: leading.current_share,
            psi_debiased: breakdown.and_then(|breakdown| breakdown.psi_debiased),
            interval: breakdown.and_then(|breakdown| breakdown.interval),
        })
    }

    /// What adds most; what takes away explains nothing.
    fn contributors(&self) -> Vec<Contributor> {
        let breakdown = self.breakdown.filter(|_| self.withheld.is_none());
        let Some(Breakdown { sites, bins, .. }) = breakdown else {
            return vec![];
        };
        let sites = sites.iter().map(|site| Contributor {
            kind: "site".to_owned(),
            name: site.named(),
            reference_share: site.reference_share,
            share: site.share,
            part: site.part,
        });
        let bins = bins.iter().map(|bin| Contributor {
            kind: "bin".to_owned(),
            name: bin.bin.clone(),
            reference_share: bin.reference_share,
            share: bin.share,
            part: bin.part,
        });
        let adds = |contributor: &Contributor| contributor.part > 0.0;
        let sites = sites.filter(adds).take(CONTRIBUTORS_MAX);
        sites
            .chain(bins.filter(adds).take(CONTRIBUTORS_MAX))
            .collect()
    }

    /// The leading stream in words and what it is made of, or that the signal is back where the
    /// reference has it.
    fn evidence(&self) -> String {
        let Some(leading) = &self.verdict.leading else {
            return "every share is within its tolerance again".to_owned();
        };
        let moved = format!(
            "{}: {:.1} % now, {:.1} % in the reference",
            leading.stream,
            leading.current_share * 100.0,
            leading.expected_share * 100.0
        );
        let drifting = self.turn == Turn::Fires;
        let parts = self
            .breakdown
            .filter(|_| drifting)
            .and_then(Breakdown::words);
        match parts {
            Some(parts) => format!("{moved}; {parts}"),
            None => moved,
        }
    }

    fn told(&self, number: f64) -> Option<f64> {
        self.withheld.is_none().then_some(number)
    }
}

/// The part of an event's id that is derived from what it is about.
pub(crate) fn digest(subject: &str) -> String {
    let digest = Sha256::digest(subject.as_bytes());
    let mut digits = String::with_capacity(ID_DIGITS);
    for byte in &digest[..ID_DIGITS / 2] {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

fn link(dashboard_url: &str, series: &str) -> String {
    format!("{}/drift/{series}", dashboard_url.trim_end_matches('/'))
}
