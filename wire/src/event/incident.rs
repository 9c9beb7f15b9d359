//! What drifts together with a series, and what all of that is made of. In: the evidence of a tick.
//! Out: a score that contributors of each kind add up to. Series of few devices are counted only.

use serde::{Deserialize, Serialize};

/// Series of one service and model that drift at the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Debiased population stability index of its series, added up, nats.
    pub score: f64,
    /// Them, those that moved most first.
    pub series: Vec<IncidentSeries>,
    /// Series that drift with them and of which no distance is known, or told.
    pub untold: u32,
    /// What the score is made of: those of one kind add up to it, the largest first.
    pub contributors: Vec<IncidentContributor>,
}

/// One series of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentSeries {
    /// Its stable identifier.
    pub series: String,
    /// Class of its devices.
    pub device_class: String,
    /// Version of the model.
    pub version: String,
    /// The signal, by its metric name.
    pub metric: String,
    /// What it adds to the score.
    pub psi_debiased: f64,
}

/// What adds to the score of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentContributor {
    /// `class`, `version`, `signal`, `site` or `bin`.
    pub kind: String,
    /// Which one; of a signal its metric name.
    pub name: String,
    /// Whose values a bin holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Series that it adds up from.
    pub series: u32,
    /// What it adds, nats.
    pub part: f64,
}
