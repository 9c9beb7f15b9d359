//! Ticks over scripted lanes: what they write, and that restarts change nothing.

use fathomline_queries::{drift::Policy, rows::VerdictRow};

use super::*;
use crate::{
    access::{Actor, Role},
    clock::MovedClock,
    control::{Control, FreezeRequest},
    database::verdicts::Wanted,
    watch::script::{KeptRows, LANE_US, ScriptedLanes, key},
};

const QUIET: i64 = 40;
const UNTIL: i64 = 70;

/// A collector's watching half over lanes that are all in the past.
struct Bench {
    folder: tempfile::TempDir,
    parts: Parts,
    kept: Arc<KeptRows>,
}

impl Bench {
    fn open() -> Self {
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
            clock: Arc::new(MovedClock::at((UNTIL + 2) * LANE_US)),
            endpoints: vec!["sink".to_owned()],
            wake: Arc::new(Notify::new()),
            observer: Observer::default(),
        };
        Self {
            folder,
            parts,
            kept,
        }
    }

    async fn freeze(&self) {
        let Parts {
            database,
            lanes,
            clock,
            settings,
            ..
        } = self.parts.clone();
        let request = FreezeRequest {
            service: None,
            model: "tiny".into(),
            version: None,
            from_us: 0,
            to_us: QUIET * LANE_US,
        };
        let actor = Actor {
            name: "admin".into(),
            role: Role::Admin,
        };
        let control = Control::new(database, lanes, clock, &settings);
        let answer = control.freeze(&request, &actor).await.unwrap();
        assert_eq!(answer.references.len(), 2, "{answer:?}");
    }

    fn watcher(&self) -> Watcher {
        Watcher::new(self.parts.clone())
    }

    async fn verdicts(&self) -> Vec<VerdictRow> {
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

async fn tick_until_done(watcher: &mut Watcher) {
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
    let letters = database.transact(|t| outbox::list(t, 10)).await.unwrap();
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
    // Twenty lanes later.
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
    let verdicts = later.verdicts().await;
    assert_eq!(verdicts.len(), 2, "once a series, not once a lane");
    for verdict in verdicts {
        assert_eq!(verdict.state, "undecided");
        assert!(verdict.evidence.contains("POST /api/v1/references"));
    }
}
