//! Ticks over scripted lanes: what they write, and that restarts change nothing.

use fathomline_queries::{
    drift::{Level, Policy},
    rows::VerdictRow,
};

use super::*;
use crate::{
    clock::MovedClock,
    control::{Control, CreateRequest, References},
    database::{deliveries, verdicts::Wanted},
    watch::script::{KeptRows, LANE_US, ScriptedLanes, key},
};

pub(super) const QUIET: i64 = 40;
pub(super) const UNTIL: i64 = 70;

/// A collector's watching half over lanes that are all in the past.
pub(super) struct Bench {
    pub(super) folder: tempfile::TempDir,
    pub(super) parts: Parts,
    kept: Arc<KeptRows>,
}

impl Bench {
    pub(super) fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policy = Policy {
            series_budget: 32,
            ..Policy::default()
        };
        let settings = WatchSettings::new(Duration::from_secs(1), Duration::from_secs(2), policy);
        let kept = Arc::new(KeptRows::default());
        let parts = Parts {
            settings,
            database: Database::open(folder.path()).unwrap(),
            lanes: Arc::new(ScriptedLanes {
                until: UNTIL,
                shift_after: 50,
                factor: 2.0,
            }),
            rows: kept.clone(),
            earliest: Earliest::default(),
            clock: Arc::new(MovedClock::at((UNTIL + 2) * LANE_US)),
            pager: Pager::for_test(Some("sink")),
            wake: Arc::new(Notify::new()),
            observer: Observer::default(),
        };
        Self {
            folder,
            parts,
            kept,
        }
    }

    pub(super) async fn freeze(&self) {
        self.freeze_at(Level::Variant).await;
    }

    async fn freeze_at(&self, level: Level) {
        self.freeze_series(level, 2).await;
    }

    /// Freezes what every series of the model did in the quiet lanes.
    pub(super) async fn freeze_series(&self, level: Level, series: usize) {
        let Parts {
            database,
            lanes,
            clock,
            settings,
            ..
        } = self.parts.clone();
        let request = CreateRequest {
            from_us: Some(0),
            to_us: Some(QUIET * LANE_US),
            level,
            ..CreateRequest::of("tiny")
        };
        let control = Control::new(database, lanes, clock, &settings);
        let answer = control.create(&request, "admin").await.unwrap();
        assert_eq!(answer.references.len(), series, "{answer:?}");
    }

    pub(super) fn watcher(&self) -> Watcher {
        Watcher::new(self.parts.clone())
    }

    pub(super) async fn verdicts(&self) -> Vec<VerdictRow> {
        let wanted = Wanted {
            after: 0,
            series: None,
            limit: 1_000,
        };
        let rows = self
            .parts
            .database
            .transact(move |t| verdicts::history(t, &wanted));
        rows.await
            .unwrap()
            .into_iter()
            .map(|(_, row)| row)
            .collect()
    }
}

pub(super) async fn tick_until_done(watcher: &mut Watcher) {
    while watcher.tick().await.unwrap() {}
}

#[tokio::test]
async fn the_class_that_shifted_is_told_of_once_and_the_other_stays_steady() {
    let bench = Bench::open();
    bench.freeze().await;
    let mut watcher = bench.watcher();
    tick_until_done(&mut watcher).await;
    let verdicts = bench.verdicts().await;
    let (kiosk, panel) = (key("kiosk").id(), key("panel").id());
    let drifting = |series: &str| {
        let of = verdicts.iter().filter(|row| row.series == series);
        of.filter(|row| row.state == "drifting")
            .map(|row| row.time / LANE_US)
            .min()
    };
    assert!(drifting(&kiosk).is_some_and(|lane| (51..60).contains(&lane)));
    assert_eq!(drifting(&panel), None);
    let database = &bench.parts.database;
    let events = database
        .transact(|t| events::after(t, 0, 10))
        .await
        .unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].1.subject, kiosk);
    let letters = database
        .transact(|t| deliveries::list(t, 10))
        .await
        .unwrap();
    assert_eq!(letters.len(), 1);
    watcher.forward(false).await;
    assert_eq!(bench.kept.count(), verdicts.len() + events.len());
}

#[tokio::test]
async fn a_restart_after_every_tick_writes_the_same_verdicts() {
    let (straight, interrupted) = (Bench::open(), Bench::open());
    straight.freeze().await;
    tick_until_done(&mut straight.watcher()).await;
    interrupted.freeze().await;
    let mut bench = interrupted;
    while bench.watcher().tick().await.unwrap() {
        bench.parts.database = Database::open(bench.folder.path()).unwrap();
    }
    let (a, b) = (straight.verdicts().await, bench.verdicts().await);
    assert!(!a.is_empty());
    assert_eq!(a, b, "equal to the last bit");
}

#[tokio::test]
async fn without_a_reference_a_series_is_undecided_and_says_what_to_do() {
    let bench = Bench::open();
    let mut watcher = bench.watcher();
    tick_until_done(&mut watcher).await;
    assert_eq!(
        bench.verdicts().await,
        [],
        "judging begins with the next lane"
    );
    let verdicts = twenty_lanes_later(bench).await;
    assert_eq!(verdicts.len(), 2, "once a series, not once a lane");
    for verdict in verdicts {
        assert_eq!(verdict.state, "undecided");
        assert!(verdict.evidence.contains("POST /api/v1/references"));
    }
}

/// Judges twenty lanes after `bench` was prepared, whatever was in force then.
async fn twenty_lanes_later(bench: Bench) -> Vec<VerdictRow> {
    tick_until_done(&mut bench.watcher()).await;
    let later = Bench {
        parts: Parts {
            clock: Arc::new(MovedClock::at((UNTIL + 22) * LANE_US)),
            lanes: Arc::new(ScriptedLanes {
                until: UNTIL + 20,
                shift_after: UNTIL,
                factor: 2.0,
            }),
            ..bench.parts.clone()
        },
        ..bench
    };
    tick_until_done(&mut later.watcher()).await;
    later.verdicts().await
}

#[tokio::test]
async fn without_its_own_reference_a_series_is_shown_beside_its_parents_and_never_pages() {
    let bench = Bench::open();
    bench.freeze_at(Level::Model).await;
    bench.freeze_at(Level::Version).await;
    let database = bench.parts.database.clone();
    let verdicts = twenty_lanes_later(bench).await;
    let kiosks: Vec<_> = verdicts
        .iter()
        .filter(|row| row.device_class == "kiosk")
        .collect();
    assert_eq!(kiosks.len(), 2, "once in ten lanes: {kiosks:?}");
    for row in &kiosks {
        assert_eq!((row.state.as_str(), row.score), ("undecided", None));
        assert!(
            row.reference.is_some() && row.method.contains("borrowed"),
            "{row:?}"
        );
        let evidence: serde_json::Value = serde_json::from_str(&row.evidence).unwrap();
        assert_eq!(
            evidence["reference"]["level"], "version",
            "the nearest parent"
        );
        assert!(
            evidence["shortfall"]
                .as_str()
                .unwrap()
                .contains("whole version")
        );
    }
    let psi = |row: &VerdictRow| {
        let evidence: serde_json::Value = serde_json::from_str(&row.evidence).unwrap();
        evidence["distances"]["psi_debiased"].as_f64().unwrap()
    };
    assert!(
        psi(kiosks[1]) > 0.25,
        "twice as large, and shown: {}",
        psi(kiosks[1])
    );
    let events = database
        .transact(|t| events::after(t, 0, 10))
        .await
        .unwrap();
    assert_eq!(events, [], "and nobody was paged");
}

#[tokio::test]
async fn a_reference_of_another_contract_is_undecided_with_the_reason() {
    let bench = Bench::open();
    bench.freeze().await;
    let database = bench.parts.database.clone();
    let sql = "UPDATE kept_references SET contract = 7";
    database
        .transact(|t| Ok(t.execute(sql, [])?))
        .await
        .unwrap();
    let verdicts = twenty_lanes_later(bench).await;
    assert!(!verdicts.is_empty());
    for row in verdicts {
        assert_eq!(
            (row.state.as_str(), row.reference.as_deref()),
            ("undecided", None)
        );
        assert!(
            row.evidence.contains("contract version 7"),
            "{}",
            row.evidence
        );
    }
}

#[tokio::test]
async fn a_retired_reference_judges_no_more_and_comes_back_without_the_past() {
    let bench = Bench::open();
    bench.freeze().await;
    let kept = References::new(bench.parts.database.clone(), Arc::clone(&bench.parts.clock));
    let hashes: Vec<_> = kept
        .list(10)
        .await
        .unwrap()
        .into_iter()
        .map(|kept| kept.row.hash)
        .collect();
    for hash in &hashes {
        kept.retire(hash, "admin").await.unwrap();
    }
    tick_until_done(&mut bench.watcher()).await;
    assert!(
        bench
            .verdicts()
            .await
            .iter()
            .all(|row| row.state == "undecided")
    );
    for hash in &hashes {
        kept.pin(hash, "admin").await.unwrap();
    }
    let verdicts = twenty_lanes_later(bench).await;
    let judged: Vec<_> = verdicts
        .iter()
        .filter(|row| row.reference.is_some())
        .collect();
    assert!(
        judged.iter().all(|row| row.time > UNTIL * LANE_US),
        "{judged:?}"
    );
    assert!(
        judged.iter().any(|row| row.state == "drifting"),
        "{judged:?}"
    );
}
