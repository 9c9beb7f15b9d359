//! What was seen of a rollout. In: histograms or category counts, an arm and a window at a time, in
//! any order. Never devices: who reads them counts them.

use std::collections::BTreeMap;

use crate::drift::Summary;

/// Which of two versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arm {
    /// The version that wants to go on; before the start, the part of the baseline's devices that
    /// stands for it.
    Candidate,
    /// The version it is held against.
    Against,
}

/// What one arm did in one window: one metric, and of energy one source, because sources do not
/// mix.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmWindow {
    /// Which arm.
    pub arm: Arm,
    /// End of the window, inclusive, microseconds since the Unix epoch.
    pub end_us: i64,
    /// Metric name.
    pub metric: String,
    /// What a distribution must not be mixed over; empty for most.
    pub source: String,
    /// Its values.
    pub summary: Summary,
    /// Devices behind them.
    pub devices: u64,
}

/// One device class of a rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Class {
    /// Its name.
    pub device_class: String,
    /// Devices that ran the candidate since the start.
    pub candidate_devices: u64,
    /// Devices that ran the baseline since the start.
    pub against_devices: u64,
    /// The baseline alone before the start, split into two like the arms since.
    pub before: Vec<ArmWindow>,
    /// Both versions since the start.
    pub since: Vec<ArmWindow>,
}

/// A question to the gate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollout {
    /// `service.name`.
    pub service: String,
    /// Model name.
    pub model: String,
    /// The version that wants to go on.
    pub candidate: String,
    /// The version it is held against.
    pub against: String,
    /// When the candidate began to run, microseconds since the Unix epoch.
    pub started_us: i64,
    /// The metric that a retraining was asked for: it must get better, not just stay.
    pub improve: Option<String>,
    /// Classes in which the candidate runs.
    pub classes: Vec<Class>,
}

/// What both arms did in one window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Both {
    pub(super) candidate: Option<Seen>,
    pub(super) against: Option<Seen>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) summary: Summary,
    pub(super) devices: u64,
}

/// A metric, and of energy its source.
pub(super) type Place = (String, String);

/// Windows of each metric in the order of time, whatever order they came in. Several of one arm and
/// window are one.
pub(super) fn ordered(windows: &[ArmWindow]) -> BTreeMap<Place, BTreeMap<i64, Both>> {
    let mut places: BTreeMap<Place, BTreeMap<i64, Both>> = BTreeMap::new();
    for window in windows {
        let place = (window.metric.clone(), window.source.clone());
        let both = places.entry(place).or_default();
        let both = both.entry(window.end_us).or_default();
        let seen = match window.arm {
            Arm::Candidate => &mut both.candidate,
            Arm::Against => &mut both.against,
        };
        match seen {
            Some(seen) => {
                seen.summary.merge(&window.summary);
                seen.devices = seen.devices.max(window.devices);
            }
            None => {
                *seen = Some(Seen {
                    summary: window.summary.clone(),
                    devices: window.devices,
                });
            }
        }
    }
    places
}
