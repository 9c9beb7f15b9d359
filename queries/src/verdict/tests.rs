//! The last revision counts.

use super::*;
use crate::{
    engine::EngineLimits,
    event,
    examples::empty_lake,
    published::Publication,
    rows::{self, EventRow},
    schema::Table,
};

fn verdict(series: &str, time: i64, revision: i32, state: &str) -> VerdictRow {
    let text = String::from;
    VerdictRow {
        time,
        series: text(series),
        service: text("assistant"),
        device_class: text("kiosk"),
        model: text("assistant"),
        version: text("1.4.0"),
        variant: text("0123abcd"),
        metric: text("fathomline.output.surprisal"),
        revision,
        state: text(state),
        method: text("qx-e-cusum"),
        score: Some(1.5),
        threshold: None,
        count: 10,
        effective_count: Some(8.5),
        devices: 3,
        since: Some(4),
        reference: None,
        evidence: text("{}"),
    }
}

fn engine() -> Engine {
    let verdicts = [
        verdict("one", 10, 0, "steady"),
        verdict("one", 20, 1, "drifting"),
        verdict("one", 20, 0, "steady"),
        verdict("two", 15, 0, "undecided"),
    ];
    let event = EventRow {
        time: 20,
        id: "msg-1".into(),
        kind: "alert.fired".into(),
        subject: "one".into(),
        body: "{}".into(),
    };
    let lake = empty_lake();
    let batches = [
        (Table::Verdicts, rows::verdicts(&verdicts).unwrap()),
        (Table::Events, rows::events(&[event]).unwrap()),
    ];
    lake.push_control(4, batches).unwrap();
    Engine::new(lake, EngineLimits::default(), Publication::everything()).unwrap()
}

#[tokio::test]
async fn each_series_has_one_last_verdict() {
    let found = latest(&engine(), 0, 20).await.unwrap();
    let mut found: Vec<_> = found
        .iter()
        .map(|v| (v.series.as_str(), v.state.as_str()))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [("one", "drifting"), ("two", "undecided")]);
    assert_eq!(latest(&engine(), 15, 20).await.unwrap().len(), 1);
    let earlier = latest(&engine(), 0, 10).await.unwrap();
    assert!(
        earlier.iter().all(|verdict| verdict.time <= 10),
        "{earlier:?}"
    );
}

#[tokio::test]
async fn history_has_one_verdict_a_lane() {
    let found = history(&engine(), "one", 0, 20).await.unwrap();
    let found: Vec<_> = found.iter().map(|v| (v.time, v.revision)).collect();
    assert_eq!(found, [(10, 0), (20, 1)]);
}

#[tokio::test]
async fn a_verdict_reads_back_as_it_was_stored() {
    let found = history(&engine(), "one", 10, 20).await.unwrap();
    assert_eq!(found, [verdict("one", 20, 1, "drifting")]);
}

#[tokio::test]
async fn events_are_found_by_their_time() {
    let engine = engine();
    let events = event::between(&engine, 0, 20).await.unwrap();
    assert_eq!((events.len(), events[0].kind.as_str()), (1, "alert.fired"));
    assert_eq!(event::between(&engine, 20, 30).await.unwrap(), []);
}
