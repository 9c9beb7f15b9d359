//! Webhook bodies: what Fathomline tells others when something changed.
//!
//! In: a change of state. Out: a JSON document in the shape that the Standard Webhooks
//! specification recommends (`type`, `timestamp`, `data`). Never holds text a user wrote or a
//! model produced: there is no field for it.

mod effect;
mod incident;
mod retraining;

use serde::{Deserialize, Serialize};

pub use effect::{Contributor, Effect};
pub use incident::{Incident, IncidentContributor, IncidentSeries};
pub use retraining::{
    Brief, BriefBin, BriefSignal, Budget, Callback, CallbackStatus, RetrainingChanged,
    RetrainingRequested,
};

/// One event: what changed, when, and the evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When the change happened, RFC 3339 in UTC (not when it was sent).
    pub timestamp: String,
    /// What happened, tagged by its published name.
    #[serde(flatten)]
    pub body: EventBody,
}

/// The events there are; the tag is the published `type`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum EventBody {
    /// A series changed between steady and drifting.
    #[serde(rename = "fathomline.verdict.changed")]
    VerdictChanged(Box<VerdictChanged>),
    /// A model is to be trained again.
    #[serde(rename = "fathomline.retraining.requested")]
    RetrainingRequested(Box<RetrainingRequested>),
    /// What became of a request to train a model again.
    #[serde(rename = "fathomline.retraining.changed")]
    RetrainingChanged(Box<RetrainingChanged>),
    /// A person asked whether the receiver is reachable.
    #[serde(rename = "fathomline.webhook.test")]
    Test {},
}

impl EventBody {
    /// The published name of the event.
    pub fn name(&self) -> &'static str {
        match self {
            Self::VerdictChanged(_) => "fathomline.verdict.changed",
            Self::RetrainingRequested(_) => "fathomline.retraining.requested",
            Self::RetrainingChanged(_) => "fathomline.retraining.changed",
            Self::Test {} => "fathomline.webhook.test",
        }
    }
}

/// A verdict that is no longer what it was, with everything needed to judge it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerdictChanged {
    /// `steady`, `drifting` or `undecided`: what it is now.
    pub state: String,
    /// What it was before.
    pub previous: String,
    /// Stable identifier of the series.
    pub series: String,
    /// The incident that it is told as a part of: several alerts of one model are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<String>,
    /// Service whose devices report the series.
    pub service: String,
    /// Model, version and variant that produced the outputs.
    pub model: String,
    /// Version of the model.
    pub version: String,
    /// Short hash of weights, quantization, tokenizer, sampler and backend.
    pub variant: String,
    /// Class of the devices in this cohort.
    pub device_class: String,
    /// The signal, by its metric name.
    pub metric: String,
    /// UCUM unit of the signal.
    pub unit: String,
    /// Start and end of the window judged, RFC 3339 in UTC.
    pub window: Span,
    /// Estimate of when the change began, RFC 3339 in UTC.
    pub since: Option<String>,
    /// Evidence on the scale of the threshold (ln of the e-CUSUM mean); none where the window's
    /// devices are too few to tell of their outputs.
    pub score: Option<f64>,
    /// The limit the score crossed.
    pub threshold: f64,
    /// How the verdict was reached.
    pub method: String,
    /// Inferences in the window.
    pub count: u64,
    /// What they are worth once clustering is taken into account; none as for the score.
    pub effective_count: Option<f64>,
    /// Devices that reported in the window.
    pub devices: u64,
    /// Hash of the frozen reference.
    pub reference: String,
    /// How far it moved, and how sure that is; none where it is not told.
    #[serde(default)]
    pub effect: Option<Effect>,
    /// What adds most to the distance, sites first, the largest first of each kind; empty where it
    /// is not told.
    #[serde(default)]
    pub contributors: Vec<Contributor>,
    /// What drifts together with it, this series included; none where nothing drifts or no distance
    /// is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<Incident>,
    /// The leading stream in words, with expected and current share, or why it is not told.
    pub evidence: String,
    /// Where a person can look.
    pub link: Option<String>,
}

/// A span of event time, RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Start, exclusive.
    pub start: String,
    /// End, inclusive.
    pub end: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_shape_is_type_timestamp_data() {
        let event = Event {
            timestamp: "2026-11-23T00:00:00Z".into(),
            body: EventBody::Test {},
        };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(
            json,
            r#"{"timestamp":"2026-11-23T00:00:00Z","type":"fathomline.webhook.test","data":{}}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }
}
