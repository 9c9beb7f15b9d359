//! Deliveries as the collector tells them to the pages: what was told to whom, and what became of
//! it. Times are microseconds since the Unix epoch.

/// Everything that the page shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// The configured endpoints, in the order of the configuration.
    pub endpoints: Vec<Endpoint>,
    /// The newest deliveries, newest first.
    pub newest: Vec<Delivery>,
}

/// An endpoint and how it fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name in the configuration.
    pub name: String,
    /// `webhook`, `alertmanager`, `github`, `slack` or `http`.
    pub kind: String,
    /// Which events it asks for.
    pub events: Vec<String>,
    /// Since when it is stopped, because it answered 410.
    pub stopped_since_us: Option<i64>,
    /// Letters on their way to it.
    pub pending: i64,
    /// Letters that wait for it to be enabled.
    pub stopped: i64,
    /// Letters that were given up.
    pub failed: i64,
}

/// One event told to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Names it when it is sent again.
    pub id: i64,
    /// The id under which every attempt goes.
    pub event_id: String,
    /// The event's published name.
    pub kind: String,
    /// Name of the endpoint.
    pub endpoint: String,
    /// `pending`, `delivered`, `failed`, `stopped` or `overtaken`.
    pub state: String,
    /// When it was put into the outbox.
    pub created_us: i64,
    /// Attempts in all.
    pub attempts: u32,
    /// What came of the last one, if there was one.
    pub last: Option<Answer>,
    /// Only while pending.
    pub next_attempt_us: Option<i64>,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When.
    pub time_us: i64,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// `delivered`, or what went wrong.
    pub outcome: String,
}
