//! Rollouts of a small fleet in memory: noticed, declared, decided, refused.

use std::sync::Arc;

use datafusion::datasource::MemTable;
use fathomline_queries::{
    engine::EngineLimits,
    gate::Decision,
    lake::Lake,
    published::Publication,
    rows::{self, Clock as ClockState, DeviceColumns, Distribution, DistributionRow},
    schema::Table,
};
use fathomline_wire::{histogram::ExponentialHistogram, names};

use super::*;
use crate::{clock::MovedClock, database::events};

const LANE_US: i64 = 5_000_000;
/// Lanes of the baseline alone, and all.
const BEFORE: i64 = 60;
const LANES: i64 = 360;

fn row(device: i64, lane: i64, times: f64) -> DistributionRow {
    let time = (lane + 1) * LANE_US - device;
    let mut histogram = ExponentialHistogram::new(5);
    for n in 0..8 {
        let place = ((n * 37 + lane * 11 + device * 17) % 101) as f64 / 101.0;
        assert!(histogram.record(times * (1.0 + place)));
    }
    let moved = lane >= BEFORE && device < 6;
    DistributionRow {
        columns: DeviceColumns {
            time,
            start_time: time - LANE_US,
            sender_time: time,
            service: "assistant".into(),
            environment: None,
            device: format!("d{device}"),
            device_class: "kiosk".into(),
            site: None,
            boot: None,
            sequence: None,
            clock: ClockState::Ok,
            late: false,
            model: "tiny".into(),
            version: if moved { "2" } else { "1" }.into(),
            variant: "v".into(),
            quantization: None,
            operation: None,
            provider: None,
            metric: names::OPERATION_DURATION.into(),
            unit: "s".into(),
        },
        category: None,
        distribution: Distribution::Exponential(histogram),
    }
}

fn empty_lake() -> Arc<Lake> {
    let tables = Table::ALL.map(|table| {
        let empty = MemTable::try_new(table.arrow_schema(), vec![vec![]]).unwrap();
        (table, Arc::new(empty) as _)
    });
    Arc::new(Lake::new(tables, -1))
}

/// Rollouts of a collector that nobody has sent anything.
pub(crate) fn empty(database: Database) -> Rollouts {
    over(empty_lake(), database)
}

/// Twelve devices, of which six take version 2, so many times as slow.
fn rollouts(folder: &std::path::Path, times: f64) -> Rollouts {
    let lake = empty_lake();
    let each = (0..LANES).flat_map(|lane| (0..12).map(move |device| (lane, device)));
    let rows: Vec<DistributionRow> = each
        .map(|(lane, device)| {
            let moved = lane >= BEFORE && device < 6;
            row(device, lane, if moved { times } else { 1.0 })
        })
        .collect();
    let rollups = rows::rollup(&rows, &[], LANE_US);
    let batches = [
        (Table::Distributions, rows::distributions(&rows).unwrap()),
        (Table::Rollups, rows::rollups(&rollups).unwrap()),
    ];
    lake.push(0, batches).unwrap();
    over(lake, Database::open(folder).unwrap())
}

fn over(lake: Arc<Lake>, database: Database) -> Rollouts {
    let engine = Engine::new(lake, EngineLimits::default(), Publication::everything()).unwrap();
    let settings = Settings {
        window_us: LANE_US,
        aa_us: BEFORE * LANE_US,
        min_time_us: 0,
        margin: 2.0,
        ..Settings::default()
    };
    let cadence = Cadence {
        lane_us: LANE_US,
        lateness_us: 0,
    };
    Rollouts::new(
        Arc::new(engine),
        database,
        Arc::new(MovedClock::at(LANES * LANE_US)),
        (cadence, settings.checked().unwrap()),
    )
}

fn asked(candidate: &str, against: &str) -> Asked {
    Asked {
        model: "tiny".into(),
        candidate: candidate.into(),
        against: against.into(),
        ..Asked::default()
    }
}

#[tokio::test]
async fn a_second_version_is_a_rollout_that_is_decided() {
    for (times, expected) in [(1.0, Decision::Promote), (1.6, Decision::Rollback)] {
        let folder = tempfile::tempdir().unwrap();
        let rollouts = rollouts(folder.path(), times);
        rollouts.notice().await.unwrap();
        rollouts.notice().await.unwrap();
        let listed = rollouts.list(10).await.unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        let found = &listed[0];
        assert_eq!((&*found.candidate, &*found.against), ("2", "1"));
        assert_eq!(found.started_us, BEFORE * LANE_US);
        assert_eq!(found.source, "reported");
        let answer = rollouts.decide(&asked("2", "1")).await.unwrap();
        assert_eq!(answer.decision, expected, "{}", answer.reason);
        assert_eq!(answer.started_us, BEFORE * LANE_US);
        let again = rollouts.decide(&asked("2", "1")).await.unwrap();
        assert_eq!(answer, again);
        let told = rollouts
            .database
            .transact(|t| events::after(t, 0, 10))
            .await;
        let kinds: Vec<String> = told.unwrap().into_iter().map(|(_, e)| e.kind).collect();
        assert_eq!(kinds, ["fathomline.rollout.started"]);
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let rollouts = rollouts(folder.path(), 1.0);
    rollouts.notice().await.unwrap();
    let refused = async |asked: Asked| match asked.checked() {
        Ok(asked) => rollouts.decide(&asked).await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(refused(asked("2", "2")).await.contains("against itself"));
    assert!(refused(asked("", "1")).await.contains("a candidate"));
    let unknown = refused(asked("2", "0")).await;
    assert!(unknown.contains("versions seen: 1, 2"), "{unknown}");
    let other = Asked {
        model: "large".into(),
        ..asked("2", "1")
    };
    assert!(refused(other).await.contains("models seen: tiny"));
    let class = Asked {
        class: Some("camera".into()),
        ..asked("2", "1")
    };
    assert!(refused(class).await.contains("classes seen: kiosk"));
    let service = Asked {
        service: Some("other".into()),
        ..asked("2", "1")
    };
    assert!(refused(service).await.contains("assistant"));
    let label = Asked {
        improve: Some(names::OUTPUT_LABEL.into()),
        ..asked("2", "1")
    };
    assert!(
        refused(label)
            .await
            .contains("cannot be asked to get better")
    );
    // Whoever asks before the first device has it waits.
    let early = rollouts.decide(&asked("3", "1")).await.unwrap();
    assert_eq!(early.decision, Decision::Hold);
    assert!(
        early.reason.contains("seen so far: 1, 2"),
        "{}",
        early.reason
    );
}

#[tokio::test]
async fn an_operator_declares_and_ends_a_rollout() {
    let folder = tempfile::tempdir().unwrap();
    let rollouts = rollouts(folder.path(), 1.0);
    rollouts.notice().await.unwrap();
    let declared = |started: Option<&str>| Declared {
        model: "tiny".into(),
        candidate: "2".into(),
        against: "1".into(),
        started: started.map(str::to_owned),
        ..Declared::default()
    };
    let started = rollouts
        .start(&declared(Some("1970-01-01T00:10:00Z")), "ann")
        .await
        .unwrap();
    assert_eq!(
        (&*started.source, started.started_us),
        ("declared", 600_000_000)
    );
    let answer = rollouts.decide(&asked("2", "1")).await.unwrap();
    assert_eq!(answer.started_us, 600_000_000);
    for wrong in ["yesterday", "2999-01-01T00:00:00Z"] {
        let refused = rollouts.start(&declared(Some(wrong)), "ann").await;
        assert!(matches!(refused, Err(GateError::Declared(_))), "{wrong}");
    }
    let finished: Finished = serde_json::from_str(r#"{"outcome": "promoted"}"#).unwrap();
    let ended = rollouts.finish(started.id, finished, "ann").await.unwrap();
    assert_eq!(ended.outcome.as_deref(), Some("promoted"));
    let over = rollouts.finish(started.id, finished, "ann").await;
    assert!(matches!(over, Err(GateError::Over(_))));
    let unknown = rollouts.finish(99, finished, "ann").await;
    assert!(matches!(unknown, Err(GateError::Unknown(99))));
    // The one that devices reported was replaced, and nothing begins again by itself.
    rollouts.notice().await.unwrap();
    let outcomes: Vec<_> = rollouts.list(10).await.unwrap();
    let outcomes: Vec<_> = outcomes.iter().map(|row| row.outcome.as_deref()).collect();
    assert_eq!(outcomes, [Some("promoted"), Some("abandoned")]);
}
