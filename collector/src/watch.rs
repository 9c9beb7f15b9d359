//! Where data is judged: closed lanes of every series, against frozen references.
//!
//! In: lanes that queries read from the rollups. Out: verdicts, alert states and letters, written
//! with the detectors' state in one SQLite transaction a tick; copies of verdicts and events for
//! the Delta tables. What a verdict says is a function of reference and lanes: when a tick ran, how
//! often the collector restarted, and what other series did change nothing. Never: device rows.
//!
//! | module | holds |
//! |---|---|
//! | [`lanes`] | where lanes come from |
//! | [`schedule`] | which lanes are due (pure) |
//! | [`plan`] | who is watched and what is known before a tick |
//! | [`judge`] | lanes folded into detectors, verdicts and changes (pure) |
//! | [`evidence`] | what a verdict rests on, as JSON |
//! | [`apart`] | what a series is made of, for whoever asks |
//! | [`late`] | which lanes hold more than was judged (pure) |
//! | [`incident`] | what drifts together, and what that is made of (pure) |
//! | [`together`] | which series moved together with one that pages (pure) |
//! | [`run`] | the tick, and the loop around it |
//! | [`forward`] | copies of verdicts and events for the Delta tables |
//! | [`tables`] | where lanes come from and copies go in a running collector |
//!
//! Records that arrive after their lane was judged revise its verdict and those after it: the
//! series is folded again from an hourly snapshot, and what differs is written beside what was
//! said. An hour closes with its last lane, which waits for `drift.lateness`: to wait longer would
//! delay pages, and what comes later is revised as that of any lane is.

pub(crate) mod apart;
mod evidence;
pub(crate) mod forward;
mod incident;
mod judge;
pub(crate) mod lanes;
mod late;
mod plan;
mod run;
pub(crate) mod schedule;
#[cfg(test)]
pub(crate) mod script;
pub(crate) mod tables;
mod together;

use std::{sync::Arc, time::Duration};

use fathomline_queries::{drift::Policy, published};
use fathomline_wire::names;

use crate::alert::rules::Rules;
pub(crate) use run::{Parts, Watcher};
pub(crate) use schedule::Cadence;

/// Signals of model and input that are judged unless the operator lists others. Never latency: it
/// follows load and temperature, and would page for both.
pub const JUDGED_METRICS: [&str; 7] = [
    names::OUTPUT_SURPRISAL,
    names::OUTPUT_ENTROPY,
    names::OUTPUT_UNCERTAINTY,
    names::INPUT_SURPRISAL,
    names::OUTPUT_FINISH,
    names::FEEDBACK,
    names::OUTPUT_TOKENS,
];

/// Sections `drift` and `watch` of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct WatchSettings {
    /// Width and closing time of lanes.
    pub(crate) cadence: Cadence,
    /// Which metrics are judged.
    pub(crate) metrics: Vec<String>,
    /// How strict judging is; its `lane_us` equals the cadence's.
    pub(crate) policy: Policy,
    /// Devices that a lane needs for its evidence to be told.
    pub(crate) min_devices: u32,
    /// When alerts fire and are over.
    pub(crate) rules: Arc<Rules>,
    /// Where people reach the dashboard, for links in events.
    pub(crate) dashboard_url: Option<String>,
}

impl WatchSettings {
    /// Settings for lanes of `lane`, which close after `lateness`; judged by `policy` otherwise.
    pub(crate) fn new(lane: Duration, lateness: Duration, policy: Policy) -> Self {
        let cadence = Cadence::new(lane, lateness);
        let lane_us = cadence.lane_us;
        Self {
            cadence,
            metrics: JUDGED_METRICS.map(str::to_owned).to_vec(),
            policy: Policy { lane_us, ..policy },
            min_devices: published::MIN_DEVICES,
            rules: Arc::default(),
            dashboard_url: None,
        }
    }
}
