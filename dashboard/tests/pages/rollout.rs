//! A golden rollout: version 2 is slower on one class of two and no worse on the other. An older
//! one is over.

use fathomline_queries::{
    drift::Summary,
    gate::{Answer, Arm, ArmWindow, Class, KeptRollout, Rollout, RunningVersion, Settings, decide},
};
use fathomline_wire::{histogram::ExponentialHistogram, names};

const WINDOW_US: i64 = 5_000_000;
const WINDOWS: i64 = 60;

/// One that goes on, and one that is over.
pub(crate) fn kept(end_us: i64) -> Vec<KeptRollout> {
    let of = |id: i64, candidate: &str, against: &str| KeptRollout {
        id,
        service: "assistant".into(),
        model: "assistant".into(),
        candidate: candidate.into(),
        against: against.into(),
        started_us: end_us - WINDOWS * WINDOW_US,
        started_by: "devices".into(),
        finished_us: None,
        outcome: None,
    };
    let over = KeptRollout {
        started_us: end_us - 86_400_000_000,
        started_by: "ann".into(),
        finished_us: Some(end_us - 43_200_000_000),
        outcome: Some("rolled_back".into()),
        ..of(1, "1.9.0", "1.4.0")
    };
    vec![of(2, "2.0.0", "1.4.0"), over]
}

pub(crate) fn versions(end_us: i64) -> Vec<RunningVersion> {
    let of = |class: &str, version: &str, devices: u64| RunningVersion {
        service: "assistant".into(),
        model: "assistant".into(),
        device_class: class.into(),
        version: version.into(),
        devices,
        first_us: end_us - if version == "2.0.0" { WINDOWS } else { 9_000 } * WINDOW_US,
    };
    vec![
        of("kiosk", "2.0.0", 6),
        of("kiosk", "1.4.0", 18),
        of("panel", "2.0.0", 5),
        of("panel", "1.4.0", 15),
        of("panel", "1.9.0", 0),
    ]
}

pub(crate) fn answer(kept: &KeptRollout, end_us: i64) -> Result<Answer, String> {
    if kept.id == 1 {
        return Err("the rollout is so old that it cannot be decided any more".to_owned());
    }
    let settings = Settings {
        window_us: WINDOW_US,
        aa_us: 20 * WINDOW_US,
        min_time_us: 0,
        margin: 2.0,
        ..Settings::default()
    };
    let rollout = Rollout {
        service: kept.service.clone(),
        model: kept.model.clone(),
        candidate: kept.candidate.clone(),
        against: kept.against.clone(),
        started_us: kept.started_us,
        improve: None,
        classes: vec![
            class("kiosk", (6, 18), kept.started_us, 1.4),
            class("panel", (5, 15), kept.started_us, 1.0),
        ],
    };
    Ok(decide(&rollout, &settings, end_us))
}

/// A class whose candidate is so many times as slow.
fn class(name: &str, devices: (u64, u64), started_us: i64, times: f64) -> Class {
    let windows = |from: i64, to: i64, times: f64| {
        let each = (from..to).flat_map(|at| [(Arm::Candidate, at), (Arm::Against, at)]);
        let windows = each.flat_map(|(arm, at)| {
            let times = if arm == Arm::Candidate { times } else { 1.0 };
            [
                (names::OPERATION_DURATION, at, times),
                (names::OUTPUT_SURPRISAL, at + 3, 1.0),
            ]
            .map(|(metric, seed, times)| ArmWindow {
                arm,
                end_us: started_us + (at + 1) * WINDOW_US,
                metric: metric.to_owned(),
                source: String::new(),
                summary: Summary::Histogram(values(seed, times)),
                devices: devices.0,
            })
        });
        windows.collect()
    };
    Class {
        device_class: name.to_owned(),
        candidate_devices: devices.0,
        against_devices: devices.1,
        before: windows(-20, 0, 1.0),
        since: windows(0, WINDOWS, times),
    }
}

fn values(seed: i64, times: f64) -> ExponentialHistogram {
    let mut histogram = ExponentialHistogram::new(5);
    for n in 0..60 {
        let place = ((n * 37 + seed * 11).rem_euclid(101)) as f64 / 101.0;
        assert!(histogram.record(times * skewed(place)));
    }
    histogram
}

/// Between 0.1 and 0.4, denser below.
fn skewed(place: f64) -> f64 {
    0.1 + 0.3 * place * place
}
