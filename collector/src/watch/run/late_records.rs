//! Late records: after they were judged again, everything is as if they had been on time.

use std::sync::Arc;

use fathomline_queries::rows::VerdictRow;
use proptest::{prelude::*, test_runner::Config};

use super::{
    tests::{Bench, QUIET, UNTIL, tick_until_done},
    *,
};
use crate::{
    clock::MovedClock,
    database::{deliveries, detectors::Checkpoint},
    watch::script::{LANE_US, LateLanes, ScriptedLanes, key},
};

/// Shift of the kiosks, from lane 51 on.
const SHIFTED: f64 = 2.0;

fn scripted(until: i64, factor: f64) -> ScriptedLanes {
    ScriptedLanes {
        until,
        shift_after: 50,
        factor,
    }
}

/// A bench with a reference, over lanes of which `missing` are late.
async fn bench(all: ScriptedLanes, missing: &[i64]) -> (Bench, Arc<LateLanes>) {
    let until = all.until;
    let lanes = Arc::new(LateLanes::new(all, missing.iter().copied()));
    let mut bench = Bench::open();
    bench.parts.lanes = lanes.clone();
    bench.parts.clock = Arc::new(MovedClock::at((until + 2) * LANE_US));
    bench.freeze().await;
    (bench, lanes)
}

async fn review(watcher: &mut Watcher) {
    while watcher.review().await.unwrap() {}
}

/// The last revision of each verdict, its number aside.
async fn last_verdicts(bench: &Bench) -> Vec<VerdictRow> {
    let mut last = BTreeMap::new();
    for row in bench.verdicts().await {
        last.insert(
            (row.time, row.series.clone()),
            VerdictRow { revision: 0, ..row },
        );
    }
    last.into_values().collect()
}

async fn detectors(bench: &Bench) -> Vec<Checkpoint> {
    let read = bench.parts.database.transact(detectors::all);
    read.await.unwrap()
}

async fn events(bench: &Bench) -> Vec<fathomline_queries::rows::EventRow> {
    let read = bench.parts.database.transact(|t| events::after(t, 0, 100));
    read.await
        .unwrap()
        .into_iter()
        .map(|(_, row)| row)
        .collect()
}

async fn letters(bench: &Bench) -> usize {
    let read = bench.parts.database.transact(|t| deliveries::list(t, 100));
    read.await.unwrap().len()
}

/// Everything that is known of lanes that were all on time.
async fn on_time(factor: f64) -> (Vec<VerdictRow>, Vec<Checkpoint>) {
    let (bench, _) = bench(scripted(UNTIL, factor), &[]).await;
    tick_until_done(&mut bench.watcher()).await;
    (last_verdicts(&bench).await, detectors(&bench).await)
}

#[tokio::test]
async fn a_late_lane_makes_a_revision_beside_what_was_said_and_touches_no_other_series() {
    let (bench, lanes) = bench(scripted(UNTIL, 1.0), &[43, 44]).await;
    let mut watcher = bench.watcher();
    tick_until_done(&mut watcher).await;
    review(&mut watcher).await;
    let before = bench.verdicts().await;
    assert!(before.iter().all(|row| row.revision == 0));
    lanes.arrive([43, 44]);
    bench.parts.earliest.note(43 * LANE_US - 7);
    let clock = Arc::new(MovedClock::at((UNTIL + 2) * LANE_US));
    watcher.parts.clock = clock.clone();
    watcher.advance().await;
    assert_eq!(bench.verdicts().await, before, "more may come with it");
    clock.advance(2 * LANE_US);
    while watcher.advance().await {}
    let after = bench.verdicts().await;
    assert_eq!(after[..before.len()], before, "what was said stays");
    let revised = &after[before.len()..];
    assert!(revised.iter().all(|row| row.series == key("kiosk").id()));
    let of = |lane: i64| revised.iter().find(|row| row.time == lane * LANE_US);
    let of = |lane| of(lane).map(|row| (row.revision, row.count));
    assert_eq!(of(43), Some((0, 240)), "its first: nothing had come");
    assert_eq!(of(44), Some((1, 240)));
    assert_eq!(of(42), None, "nothing came for it, or before");
    assert_eq!(last_verdicts(&bench).await, on_time(1.0).await.0);
    assert_eq!(detectors(&bench).await.len(), 2);
    let current = bench.parts.database.transact(verdicts::current);
    for (_, row) in current.await.unwrap() {
        assert_eq!(row.time, UNTIL * LANE_US, "no lane of the past is current");
    }
}

#[tokio::test]
async fn what_arrived_before_a_kill_is_judged_again_after_it() {
    let (mut bench, lanes) = bench(scripted(UNTIL, SHIFTED), &[53, 54, 60]).await;
    tick_until_done(&mut bench.watcher()).await;
    review(&mut bench.watcher()).await;
    lanes.arrive([53, 54, 60]);
    // Whoever knew of it is gone, and nobody took note of anything.
    bench.parts.database = Database::open(bench.folder.path()).unwrap();
    let mut watcher = bench.watcher();
    while watcher.advance().await {}
    let (verdicts, states) = on_time(SHIFTED).await;
    assert_eq!(last_verdicts(&bench).await, verdicts);
    assert_eq!(detectors(&bench).await, states, "equal to the bit");
    let revised = bench.verdicts().await.len();
    while bench.watcher().advance().await {}
    assert_eq!(bench.verdicts().await.len(), revised, "once");
}

#[tokio::test]
async fn a_revision_pages_nobody_and_is_noted_beside_the_incident() {
    let (bench, lanes) = bench(scripted(UNTIL, SHIFTED), &[54, 61, 62]).await;
    let mut watcher = bench.watcher();
    tick_until_done(&mut watcher).await;
    let told = (letters(&bench).await, events(&bench).await);
    assert_eq!((told.0, told.1.len()), (1, 1));
    lanes.arrive([54, 61, 62]);
    review(&mut watcher).await;
    assert_eq!(letters(&bench).await, 1, "nothing is sent or taken back");
    let after = events(&bench).await;
    assert_eq!(after[..1], told.1[..], "what was told stays");
    assert_eq!((after.len(), after[1].kind.as_str()), (2, events::REVISED));
    assert_eq!(after[1].subject, key("kiosk").id());
    let body: serde_json::Value = serde_json::from_str(&after[1].body).unwrap();
    assert_eq!(body["records"], 160 + 240 + 160, "{body}");
    assert_eq!(body["revision"], 1, "{body}");
}

/// A shift that was over before anybody heard of it is the past: the verdicts say so, and nobody is
/// paged. One that goes on is told with the next lane.
#[tokio::test]
async fn a_drift_that_only_late_records_show_is_told_by_the_next_lane_if_it_goes_on() {
    let late: Vec<i64> = (51..=UNTIL).collect();
    let (mut bench, lanes) = bench(scripted(UNTIL, SHIFTED), &late).await;
    lanes.missing.lock().unwrap().extend(51..=UNTIL);
    tick_until_done(&mut bench.watcher()).await;
    let told = letters(&bench).await;
    lanes.arrive(51..=UNTIL);
    let mut watcher = bench.watcher();
    review(&mut watcher).await;
    assert_eq!(letters(&bench).await, told);
    let is_drifting = |row: &VerdictRow| row.state == "drifting" && row.device_class == "kiosk";
    assert!(last_verdicts(&bench).await.iter().any(is_drifting));
    bench.parts.lanes = Arc::new(scripted(UNTIL + 1, SHIFTED));
    bench.parts.clock = Arc::new(MovedClock::at((UNTIL + 3) * LANE_US));
    tick_until_done(&mut bench.watcher()).await;
    assert_eq!(letters(&bench).await, 1, "told once, of now");
}

#[tokio::test]
async fn an_hour_later_lanes_are_folded_again_from_the_snapshot_and_not_from_the_beginning() {
    const HOUR: i64 = 3_600;
    let late = [HOUR + 21, HOUR + 22];
    let (bench, lanes) = bench(scripted(HOUR + 60, 1.0), &late).await;
    let mut watcher = bench.watcher();
    tick_until_done(&mut watcher).await;
    review(&mut watcher).await;
    lanes.arrive(late);
    watcher.review = Review::default();
    watcher.review.judged((HOUR + 60) * LANE_US);
    let (first_us, now_us) = (late[0] * LANE_US, (HOUR + 62) * LANE_US);
    let cadence = watcher.parts.settings.cadence;
    watcher
        .review
        .arrived(first_us, now_us - 2 * LANE_US, cadence);
    *lanes.first_asked.lock().unwrap() = None;
    review(&mut watcher).await;
    let first = lanes.first_asked.lock().unwrap().unwrap();
    assert!((HOUR - 60..=HOUR + 21).contains(&first), "{first}");
    let punctual = self::bench(scripted(HOUR + 60, 1.0), &[]).await.0;
    tick_until_done(&mut punctual.watcher()).await;
    assert_eq!(detectors(&bench).await, detectors(&punctual).await);
    assert_eq!(last_verdicts(&bench).await, last_verdicts(&punctual).await);
}

#[test]
fn in_whatever_order_it_arrives_it_comes_out_as_if_it_had_been_on_time() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let punctual = runtime.block_on(on_time(SHIFTED));
    let missing = proptest::collection::btree_set(QUIET + 1..=UNTIL, 1..8);
    let cases = Config::with_cases(12);
    proptest!(cases, |(missing in missing.prop_map(Vec::from_iter).prop_shuffle())| {
        let late = async {
            let (bench, lanes) = bench(scripted(UNTIL, SHIFTED), &missing).await;
            let mut watcher = bench.watcher();
            tick_until_done(&mut watcher).await;
            for some in missing.chunks(3) {
                lanes.arrive(some.iter().copied());
                watcher.review = Review::default();
                review(&mut watcher).await;
            }
            (last_verdicts(&bench).await, detectors(&bench).await)
        };
        let (verdicts, states) = runtime.block_on(late);
        prop_assert_eq!(&verdicts, &punctual.0);
        prop_assert_eq!(&states, &punctual.1);
    });
}
