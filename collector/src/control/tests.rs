//! Freezing over scripted lanes.

use super::*;
use crate::{
    access::Role,
    clock::MovedClock,
    watch::script::{LANE_US, ScriptedLanes},
};

fn control(folder: &std::path::Path) -> Control {
    let policy = Policy::default();
    let second = std::time::Duration::from_secs(1);
    let settings = WatchSettings::new(second, second * 2, policy);
    let lanes = ScriptedLanes {
        until: 60,
        shift_after: 60,
        factor: 1.0,
    };
    let database = Database::open(folder).unwrap();
    let clock = Arc::new(MovedClock::at(62 * LANE_US));
    Control::new(database, Arc::new(lanes), clock, &settings)
}

fn span_us(from_us: i64, to_us: i64) -> FreezeRequest {
    FreezeRequest {
        from_us,
        to_us,
        ..span("tiny", 0, 0)
    }
}

fn span(model: &str, from: i64, to: i64) -> FreezeRequest {
    FreezeRequest {
        service: None,
        model: model.into(),
        version: None,
        from_us: from * LANE_US,
        to_us: to * LANE_US,
    }
}

fn admin() -> Actor {
    Actor {
        name: "admin".into(),
        role: Role::Admin,
    }
}

#[tokio::test]
async fn the_same_span_gives_the_same_hashes_and_another_span_others() {
    let folder = tempfile::tempdir().unwrap();
    let control = control(folder.path());
    let hashes = async |to| {
        let answer = control
            .freeze(&span("tiny", 0, to), &admin())
            .await
            .unwrap();
        let hashes = answer.references.into_iter().map(|frozen| frozen.hash);
        hashes.collect::<Vec<_>>()
    };
    let first = hashes(40).await;
    assert_eq!(first.len(), 2);
    assert_eq!(first, hashes(40).await);
    assert_ne!(first, hashes(50).await);
}

#[tokio::test]
async fn what_cannot_be_frozen_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let control = control(folder.path());
    for (request, needle) in [
        (span("tiny", 9, 9), "ends before it begins"),
        (span("tiny", 90, 95), "no whole lane that has closed"),
        (span("tiny", -90_000, 50), "choose a shorter one"),
        (
            span_us(i64::MIN, i64::MIN + 1),
            "no whole lane that has closed",
        ),
        (span_us(i64::MAX, i64::MIN), "ends before it begins"),
        (span_us(i64::MIN, i64::MAX), "choose a shorter one"),
        (span("other", 0, 40), "no watched series of model \"other\""),
    ] {
        let error = control
            .freeze(&request, &admin())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(needle), "{error} lacks {needle}");
    }
    let short = control.freeze(&span("tiny", 0, 5), &admin()).await.unwrap();
    assert!(short.references.is_empty());
    assert_eq!(short.shortfalls.len(), 2);
    assert!(short.shortfalls[0].shortfall.contains("5 of 20 lanes"));
}
