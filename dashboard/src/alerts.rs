//! Alerts as the collector tells them to the pages, and what people do about them. Times are
//! microseconds since the Unix epoch.

use serde::Deserialize;

/// Everything that the page shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alerts {
    /// Open ones first, then the newest.
    pub incidents: Vec<Incident>,
    /// Series that drift, and not often enough yet.
    pub pending: Vec<Pending>,
    /// Newest first.
    pub silences: Vec<Silence>,
    /// What the configuration plans.
    pub maintenance: Vec<Maintenance>,
    /// How rules fared.
    pub precision: Vec<Precision>,
}

/// Alerts that are one.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Names it for good.
    pub id: String,
    /// Service whose devices run the model.
    pub service: String,
    /// The model.
    pub model: String,
    /// When its first alert fired.
    pub opened_us: i64,
    /// When its last alert was over; none while one fires.
    pub resolved_us: Option<i64>,
    /// How often everybody was paged for it.
    pub pages: u32,
    /// The oldest first.
    pub members: Vec<Member>,
    /// What people made of it.
    pub acknowledged: Option<Acknowledged>,
}

/// An alert of an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Id of the series.
    pub series: String,
    /// Version of the model.
    pub version: String,
    /// Class of the devices.
    pub device_class: String,
    /// The signal, by its metric name.
    pub metric: String,
    /// When it fired last.
    pub fired_us: i64,
    /// When it was over; none while it fires.
    pub resolved_us: Option<i64>,
    /// What keeps it from being told, in words.
    pub muted: Option<String>,
    /// What it fired on.
    pub evidence: Option<Evidence>,
}

/// What an alert fired on, as far as it is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// In words.
    pub words: String,
    /// On the scale of the threshold.
    pub score: Option<f64>,
    /// What the score crossed.
    pub threshold: Option<f64>,
    /// Distance from the reference, less what chance gives, with its interval.
    pub distance: Option<(f64, Option<[f64; 2]>)>,
    /// Inferences in the lane.
    pub count: Option<u64>,
    /// Devices in the lane.
    pub devices: Option<u64>,
    /// What adds most to the distance: a name, and nats.
    pub contributors: Vec<(String, f64)>,
}

/// What people made of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// `useful` or `noise`.
    pub answer: String,
    /// Why.
    pub note: Option<String>,
    /// Who.
    pub by: String,
    /// When.
    pub time_us: i64,
}

/// A series that drifts, and not often enough yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its id.
    pub series: String,
    /// Since when.
    pub since_us: i64,
}

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Its number.
    pub id: i64,
    /// What it silences, in words.
    pub matches: String,
    /// `planned`, `active` or `over`.
    pub state: String,
    /// From when on.
    pub from_us: i64,
    /// Until when.
    pub until_us: i64,
    /// What whoever finds it is to know.
    pub why: String,
    /// Who made it.
    pub by: String,
    /// Who ended it before its time.
    pub ended_by: Option<String>,
}

/// A window that the configuration plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// Its name.
    pub name: String,
    /// What it mutes, in words; none: everything.
    pub matches: Option<String>,
    /// It holds now.
    pub holds: bool,
}

/// How a rule fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precision {
    /// The signal, by its metric name.
    pub rule: String,
    /// Of the newest pages that were acknowledged.
    pub useful: usize,
    /// The others of them.
    pub noise: usize,
    /// Lines for the configuration, and why.
    pub proposal: Option<(String, String)>,
}

/// What a person does, as a form says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, tag = "act", rename_all = "lowercase")]
pub enum AlertAct {
    /// Says what an incident was worth.
    Acknowledge {
        /// Which one.
        incident: String,
        /// `useful` or `noise`.
        answer: String,
        /// Why.
        note: Option<String>,
    },
    /// Silences what agrees with everything that is named.
    Silence {
        /// Model name.
        model: String,
        /// Version of the model.
        version: String,
        /// Class of the devices.
        class: String,
        /// Site of the devices.
        site: String,
        /// The signal, by its metric name.
        metric: String,
        /// For how long, such as `2h`.
        lasts: String,
        /// What whoever finds it is to know.
        why: String,
    },
    /// Ends a silence before its time.
    End {
        /// Its number.
        silence: String,
    },
}
