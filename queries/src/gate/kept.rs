//! Rollouts as a collector tells of them: which there were, and which versions run where.

/// One rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRollout {
    /// Its number.
    pub id: i64,
    /// `service.name`.
    pub service: String,
    /// Model name.
    pub model: String,
    /// The version that wants to go on.
    pub candidate: String,
    /// The version it is held against.
    pub against: String,
    /// When the candidate began, microseconds since the Unix epoch.
    pub started_us: i64,
    /// Who declared it; `devices` where nobody did.
    pub started_by: String,
    /// When it was over.
    pub finished_us: Option<i64>,
    /// `promoted`, `rolled_back` or `abandoned`.
    pub outcome: Option<String>,
}

/// A version on one device class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningVersion {
    /// `service.name`.
    pub service: String,
    /// Model name.
    pub model: String,
    /// Device class.
    pub device_class: String,
    /// Model version.
    pub version: String,
    /// Devices that reported it in its last hour; none once nobody does any more.
    pub devices: u64,
    /// When it was first seen, microseconds since the Unix epoch.
    pub first_us: i64,
}
