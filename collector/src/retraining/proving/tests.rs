//! New versions that are better, no better, or not there, looked at as time goes by.

use std::time::Duration;

use fathomline_queries::{
    drift::{Policy, Summary},
    lanes::rollout::VersionSeen,
    rows::{EventRow, VerdictRow},
};
use fathomline_wire::histogram::ExponentialHistogram;
use serde_json::json;

use super::*;
use crate::{
    alert::{
        incident::{Cohort, Turned},
        pager::News,
        state::{Alert, State as AlertState, Turn},
    },
    clock::{Clock as _, SECOND_US},
    control::{Control, CreateRequest},
    database::{alerts, verdicts},
    retraining::{
        RetrainingSettings, Shown,
        tests::{Bench, letters, report, wish},
    },
    watch::{
        WatchSettings,
        script::{LANE_US, ScriptedLanes, key},
    },
};

#[test]
fn looks_share_the_error_and_double() {
    let spent: f64 = (1..=LOOKS_MAX).map(error_of).sum();
    assert!(spent <= ERROR && spent > 0.9 * ERROR, "{spent}");
    let spans = (0..3).map(|looks| next_look(looks, 100, 100).unwrap());
    let ends: Vec<i64> = spans.map(|look| look.span.to_us).collect();
    assert_eq!(ends, [200, 300, 500]);
    assert!(next_look(LOOKS_MAX, 100, 100).is_none());
    assert!(next_look(30, i64::MAX - 10, 100).is_none());
}

/// Six devices of `version` in the lane that ends at `end_us`, at `factor` times the reference.
fn devices(bench: &Bench, version: &str, end_us: i64, factor: f64) {
    let key = SeriesKey {
        version: version.to_owned(),
        variant: format!("of-{version}"),
        ..key("kiosk")
    };
    let part = |number: u64| {
        let mut histogram = ExponentialHistogram::new(4);
        for record in 0..60 {
            let mut hash = number << 32 ^ end_us.unsigned_abs() << 8 ^ record;
            for _ in 0..3 {
                hash = (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            }
            let uniform = (hash >> 11) as f64 / (1_u64 << 53) as f64;
            histogram.record(factor * (0.01 + uniform * uniform));
        }
        Part {
            device: format!("{version}-{number}"),
            site: String::new(),
            end_us,
            summary: Summary::Histogram(histogram),
        }
    };
    let mut all = bench.devices.0.lock().unwrap();
    all.entry(key).or_default().extend((0..6).map(part));
}

/// What the kiosks' series is held against.
async fn reference(bench: &Bench) -> Reference {
    let database = bench.retraining().database;
    let clock = std::sync::Arc::<_>::clone(&bench.clock) as _;
    let settings = WatchSettings::new(
        Duration::from_secs(1),
        Duration::from_secs(2),
        Policy::default(),
    );
    let lanes = std::sync::Arc::new(ScriptedLanes {
        until: 40,
        shift_after: 40,
        factor: 1.0,
    });
    let control = Control::new(database.clone(), lanes, clock, &settings);
    let asked = CreateRequest {
        from_us: Some(0),
        to_us: Some(40 * LANE_US),
        ..CreateRequest::of("tiny")
    };
    let made = control.create(&asked, "ann").await.unwrap().references;
    let kiosk = made
        .iter()
        .find(|made| made.name.contains("kiosk"))
        .unwrap();
    let hash = kiosk.hash.clone();
    let content = database.transact(move |t| content_of(t, &hash));
    content.await.unwrap().unwrap()
}

/// A request whose trainer has succeeded with version 2, of a series that went up.
async fn succeeded(bench: &Bench) -> String {
    let retraining = bench.retraining();
    let reference = reference(bench).await;
    let mut streams = reference
        .streams()
        .iter()
        .map(|(stream, _)| stream.to_string());
    let stream = streams.find(|stream| stream.contains("p95")).unwrap();
    let now_us = bench.clock.now_us();
    let key = key("kiosk");
    let row = VerdictRow {
        time: now_us,
        series: key.id(),
        service: key.service.clone(),
        device_class: key.device_class.clone(),
        model: key.model.clone(),
        version: key.version.clone(),
        variant: key.variant.clone(),
        metric: key.metric.clone(),
        revision: 0,
        state: "drifting".into(),
        method: "QX".into(),
        score: Some(20.0),
        threshold: Some(10.0),
        count: 360,
        effective_count: Some(300.0),
        devices: 6,
        since: Some(now_us - 20 * LANE_US),
        reference: Some(reference.hash()),
        evidence: json!({"leading": {"stream": stream, "expected_share": 0.05,
            "current_share": 0.2, "direction": "more"}})
        .to_string(),
    };
    let alert = Alert {
        state: AlertState::Firing,
        since_us: now_us,
        recent: 1,
    };
    let news = fires(&row);
    let pager = retraining.telling.pager.clone();
    let work = move |t: &Transaction<'_>| {
        verdicts::insert(t, &row)?;
        alerts::store(t, &row.series, alert)?;
        pager.take(t, news, now_us)
    };
    retraining.database.transact(work).await.unwrap();
    let id = retraining.ask(wish(), "ann").await.unwrap().id;
    let done = r#"{"status":"succeeded","version":"2"}"#;
    assert_eq!(report(bench, &id, "m1", done).await, Ok(State::Succeeded));
    id
}

/// Devices report a version in the lane that has just ended.
async fn report_version(bench: &Bench, version: &str) {
    let (key, now_us) = (key("kiosk"), bench.clock.now_us());
    let seen = VersionSeen {
        service: key.service,
        model: key.model,
        version: version.to_owned(),
        device_class: key.device_class,
        first_us: now_us - LANE_US,
        last_us: now_us,
        devices: 6,
    };
    let work = move |t: &Transaction<'_>| rollouts::note(t, &[seen]);
    bench.retraining().database.transact(work).await.unwrap();
}

/// The alert of a series fires with its verdict.
fn fires(row: &VerdictRow) -> News {
    let event = EventRow {
        time: row.time,
        id: "evt_fired".to_owned(),
        kind: "fathomline.verdict.changed".to_owned(),
        subject: row.series.clone(),
        // Which event it is matters to nobody here.
        body: json!({ "timestamp": "", "type": "fathomline.webhook.test", "data": {} }).to_string(),
    };
    let cohort = Cohort {
        subject: row.series.clone(),
        model: row.model.clone(),
        metric: row.metric.clone(),
        ..Cohort::default()
    };
    News {
        turned: vec![Turned {
            cohort,
            turn: Turn::Fires,
            event: event.id.clone(),
            time_us: row.time,
            cooldown_us: 0,
        }],
        events: vec![event],
        until_us: row.time,
    }
}

/// Letters that say that the drift is over, and whether its alert still fires.
async fn ends(bench: &Bench) -> (Vec<serde_json::Value>, bool) {
    let retraining = bench.retraining();
    let told = letters(&retraining, "fathomline.verdict.changed").await;
    let told = told
        .into_iter()
        .filter(|event| event["data"]["state"] == "steady");
    let firing = retraining.database.transact(alerts::firing).await;
    (told.collect(), !firing.unwrap().is_empty())
}

/// Lets lanes go by in which devices of versions say so many times what they said, and looks.
async fn go_by(bench: &Bench, lanes: i64, versions: &[(&str, f64)]) {
    for _ in 0..lanes {
        bench.clock.advance(LANE_US);
        for (version, factor) in versions {
            devices(bench, version, bench.clock.now_us(), *factor);
            report_version(bench, version).await;
        }
    }
    // Lanes close two seconds later.
    bench.later(2);
    bench.retraining().look().await.unwrap();
    bench.clock.advance(-2 * SECOND_US);
}

async fn shown(bench: &Bench, id: &str) -> Shown {
    bench.retraining().show(id).await.unwrap()
}

#[tokio::test]
async fn a_better_version_is_proven_with_its_interval_and_others_are_told() {
    let bench = Bench::open(RetrainingSettings::default());
    let id = succeeded(&bench).await;
    go_by(&bench, 19, &[("1", 1.8), ("2", 1.0)]).await;
    assert_eq!(shown(&bench, &id).await.request.looks, 0, "not yet");
    assert!(ends(&bench).await.1, "the alert goes on");
    go_by(&bench, 1, &[("1", 1.8), ("2", 1.0)]).await;
    let found = shown(&bench, &id).await;
    assert_eq!(found.request.state, State::Proven, "{found:?}");
    let (ended, fires) = ends(&bench).await;
    assert_eq!(
        (ended.len(), fires),
        (1, false),
        "the alert is over: {ended:?}"
    );
    let evidence = ended[0]["data"]["evidence"].as_str().unwrap();
    assert!(
        evidence.starts_with("version 2 proved better:"),
        "{evidence}"
    );
    assert!(ended[0]["data"]["incident_id"].is_string(), "{ended:?}");
    let words = found.steps.last().unwrap().detail.clone().unwrap();
    assert!(
        words.contains("on 6 devices of the old version at the same time"),
        "{words}"
    );
    assert!(words.contains("points back, interval"), "{words}");
    let told = letters(&bench.retraining(), "fathomline.retraining.changed").await;
    assert_eq!(told.last().unwrap()["data"]["state"], "proven");
    assert_eq!(told.last().unwrap()["data"]["reason"], words.as_str());
}

#[tokio::test]
async fn a_version_that_is_no_better_is_looked_at_less_and_less_until_its_time_is_over() {
    let bench = Bench::open(RetrainingSettings::default());
    let id = succeeded(&bench).await;
    for (lanes, looks) in [(20, 1), (19, 1), (1, 2), (40, 3)] {
        go_by(&bench, lanes, &[("1", 1.8), ("2", 1.8)]).await;
        let request = shown(&bench, &id).await.request;
        assert_eq!((request.state, request.looks), (State::Succeeded, looks));
    }
    let proof = shown(&bench, &id).await.request.proof.unwrap();
    assert!(proof.contains("points back"), "{proof}");
    bench.later(14 * 86_400);
    // Looks that are overdue come one after the other, and still find no more.
    for _ in 0..30 {
        bench.retraining().look().await.unwrap();
    }
    assert_eq!(shown(&bench, &id).await.request.state, State::Unproven);
}

#[tokio::test]
async fn where_everyone_moved_on_the_old_version_is_what_it_was_when_it_was_found_out() {
    let bench = Bench::open(RetrainingSettings::default());
    let now_us = bench.clock.now_us();
    for lane in 0..20 {
        devices(&bench, "1", now_us - lane * LANE_US, 1.8);
    }
    let id = succeeded(&bench).await;
    go_by(&bench, 20, &[("2", 1.0)]).await;
    let found = shown(&bench, &id).await;
    assert_eq!(found.request.state, State::Proven, "{found:?}");
    let words = found.steps.last().unwrap().detail.clone().unwrap();
    assert!(words.contains("before it was replaced"), "{words}");
}

#[tokio::test]
async fn a_version_on_too_few_devices_says_nothing() {
    let bench = Bench::open(RetrainingSettings::default());
    let id = succeeded(&bench).await;
    report_version(&bench, "2").await;
    go_by(&bench, 20, &[("1", 1.8)]).await;
    let request = shown(&bench, &id).await.request;
    assert_eq!(
        (request.state, request.looks, request.proof),
        (State::Succeeded, 1, None)
    );
}

#[tokio::test]
async fn a_version_that_comes_late_is_held_against_what_the_old_one_does_by_then() {
    let bench = Bench::open(RetrainingSettings::default());
    let id = succeeded(&bench).await;
    // The old version drifts for long, and the season ends before the new one arrives.
    go_by(&bench, 200, &[("1", 1.8)]).await;
    go_by(&bench, 100, &[("1", 1.0)]).await;
    assert_eq!(shown(&bench, &id).await.request.looks, 0);
    for (lanes, looks) in [(20, 1), (20, 2), (40, 3)] {
        go_by(&bench, lanes, &[("1", 1.0), ("2", 1.0)]).await;
        let request = shown(&bench, &id).await.request;
        assert_eq!((request.state, request.looks), (State::Succeeded, looks));
    }
}
