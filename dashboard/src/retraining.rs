//! Requests to train models again as the collector tells them to the pages, and what people do to
//! them.

/// A request, with its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrainingRequest {
    /// Names it for good.
    pub id: String,
    /// Service whose devices run the model.
    pub service: String,
    /// The model.
    pub model: String,
    /// The version whose outputs drifted.
    pub version: String,
    /// Where it is: `waiting`, `requested`, `accepted`, `running`, `succeeded`, `proven`, ...
    pub state: String,
    /// Whether it keeps others of its model from being made.
    pub open: bool,
    /// `drift`, or who.
    pub requested_by: String,
    /// The version that was trained.
    pub new_version: Option<String>,
    /// How often that was held against the old one.
    pub looks: u32,
    /// What was found the last time, in words.
    pub proof: Option<String>,
    /// What moved.
    pub signals: Vec<RetrainingSignal>,
    /// What became of it, oldest first.
    pub steps: Vec<RetrainingStep>,
}

/// A signal of a request's brief.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrainingSignal {
    /// Id of the series.
    pub series: String,
    /// Its metric.
    pub metric: String,
    /// Its devices' class.
    pub device_class: String,
    /// `up` or `down`; none where it is not told.
    pub direction: Option<String>,
    /// Devices in the last lane.
    pub devices: u64,
}

/// A step of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrainingStep {
    /// When, microseconds since the Unix epoch.
    pub time_us: i64,
    /// Where it came to.
    pub state: String,
    /// Who moved it.
    pub by: String,
    /// Why, or which version.
    pub detail: Option<String>,
}

/// What a person does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetrainingAct {
    /// Asks for a new version.
    Ask {
        /// Of which service's model.
        service: String,
        /// Which model.
        model: String,
        /// The version that is not good enough.
        version: String,
    },
    /// Says yes to a request.
    Approve(String),
    /// Says no to it.
    Decline(String),
    /// Ends it.
    Cancel(String),
}
