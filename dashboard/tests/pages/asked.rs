//! Requests to train again: one that waits for a person, one that was proven.

use fathomline_dashboard::retraining::{RetrainingRequest, RetrainingSignal, RetrainingStep};
use fathomline_wire::names;

use crate::golden;

/// One that waits for a person, and one that was proven.
pub(crate) fn requests() -> Vec<RetrainingRequest> {
    let step = |second: i64, state: &str, by: &str, detail: Option<&str>| RetrainingStep {
        time_us: golden::END_US - (1_000 - second) * 1_000_000,
        state: state.to_owned(),
        by: by.to_owned(),
        detail: detail.map(str::to_owned),
    };
    let waiting = RetrainingRequest {
        id: format!("rtr_{}", "0".repeat(32)),
        service: "assistant".to_owned(),
        model: "building-assistant".to_owned(),
        version: "1".to_owned(),
        state: "waiting".to_owned(),
        open: true,
        requested_by: "drift".to_owned(),
        new_version: None,
        looks: 0,
        proof: None,
        signals: vec![RetrainingSignal {
            series: golden::SURPRISAL.to_owned(),
            metric: names::OUTPUT_SURPRISAL.to_owned(),
            device_class: "kiosk".to_owned(),
            direction: Some("up".to_owned()),
            devices: 3,
        }],
        steps: vec![step(900, "waiting", "drift", Some("evt_0"))],
    };
    let proof = "above the reference p95 (0.9): 5.1 % of 900 inferences on 3 devices, 21.0 % of \
                 2,700 on 9 devices of the old version at the same time; 15.9 points back, \
                 interval 9.2 to 22.6";
    let proven = RetrainingRequest {
        id: format!("rtr_{}", "1".repeat(32)),
        version: "0.9 <b>&".to_owned(),
        state: "proven".to_owned(),
        open: false,
        requested_by: "ann".to_owned(),
        new_version: Some("1".to_owned()),
        looks: 2,
        proof: Some(proof.to_owned()),
        signals: vec![],
        steps: vec![
            step(100, "requested", "ann", None),
            step(110, "accepted", "trainer", None),
            step(300, "succeeded", "trainer", Some("1")),
            step(500, "proven", "collector", Some(proof)),
        ],
        ..waiting.clone()
    };
    vec![waiting, proven]
}
