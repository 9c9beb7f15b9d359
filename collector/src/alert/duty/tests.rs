//! What operators do about alerts, and what is told then.

use fathomline_queries::rows::EventRow;

use super::*;
use crate::{
    alert::{
        incident::{Cohort, Turned},
        mute::{Matcher, When},
        pager::{News, Pager},
        state::Turn,
    },
    clock::{HOUR_US, MovedClock, SECOND_US},
    database::{audit, deliveries},
};

const NOW_US: i64 = 1_000_000 * SECOND_US;

struct Bench {
    duty: Duty,
    pager: Pager,
    database: Database,
    clock: Arc<MovedClock>,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn planned(maintenance: Arc<[Maintenance]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let clock = Arc::new(MovedClock::at(NOW_US));
        let standing = Standing {
            rules: Arc::default(),
            maintenance: Arc::clone(&maintenance),
            lane_us: 60 * SECOND_US,
            false_pages: 1.0,
        };
        Self {
            duty: Duty::new(database.clone(), clock.clone(), standing),
            pager: Pager {
                maintenance,
                ..Pager::for_test(Some("sink"))
            },
            database,
            clock,
            _folder: folder,
        }
    }

    fn open() -> Self {
        Self::planned(Arc::new([]))
    }

    /// A turn of the kiosks' alert now; none: a lane without news.
    async fn lane(&self, turn: Option<Turn>) {
        let now_us = self.clock.now_us();
        let turned = turn.map(|turn| Turned {
            cohort: Cohort {
                subject: "abc".to_owned(),
                model: "tiny".to_owned(),
                device_class: "kiosk".to_owned(),
                metric: "fathomline.output.surprisal".to_owned(),
                ..Cohort::default()
            },
            turn,
            event: format!("evt_{now_us}"),
            time_us: now_us,
            cooldown_us: HOUR_US,
        });
        let events = turned.iter().map(|turned| EventRow {
            time: now_us,
            id: turned.event.clone(),
            kind: "fathomline.verdict.changed".to_owned(),
            subject: turned.cohort.subject.clone(),
            body: json!({ "timestamp": "", "type": "fathomline.webhook.test", "data": {} })
                .to_string(),
        });
        let news = News {
            events: events.collect(),
            turned: turned.into_iter().collect(),
            until_us: now_us,
        };
        let pager = self.pager.clone();
        let work = move |t: &Transaction<'_>| pager.take(t, news, now_us);
        self.database.transact(work).await.unwrap();
        self.clock.advance(60 * SECOND_US);
    }

    async fn letters(&self) -> usize {
        let listed = self.database.transact(|t| deliveries::list(t, 100));
        listed.await.unwrap().len()
    }

    async fn only(&self) -> IncidentShown {
        self.duty.list(10).await.unwrap().remove(0)
    }
}

fn wish() -> Wish {
    Wish {
        model: Some("tiny".to_owned()),
        lasts: Some("2h".to_owned()),
        why: "a rollout".to_owned(),
        ..Wish::default()
    }
}

#[tokio::test]
async fn what_is_silenced_is_shown_and_told_when_the_silence_ends() {
    let bench = Bench::open();
    let silence = bench.duty.silence(wish(), "ann").await.unwrap();
    assert_eq!(
        (silence.state.as_str(), silence.matches.as_str()),
        ("active", "model tiny")
    );
    bench.lane(Some(Turn::Fires)).await;
    assert_eq!(bench.letters().await, 0);
    let shown = bench.only().await;
    assert_eq!((shown.state.as_str(), shown.pages), ("open", 0));
    let muted = shown.members[0].muted.as_deref().unwrap();
    assert_eq!(muted, "silence 1 by ann: a rollout");

    let ended = bench.duty.end_silence(silence.id, "bob").await.unwrap();
    assert_eq!(
        (ended.state.as_str(), ended.ended_by.as_deref()),
        ("over", Some("bob"))
    );
    bench.lane(None).await;
    bench.lane(None).await;
    assert_eq!(bench.letters().await, 1, "told once");
    assert_eq!(
        (
            bench.only().await.pages,
            bench.only().await.members[0].muted.clone()
        ),
        (1, None)
    );
    let again = bench.duty.end_silence(silence.id, "bob").await.unwrap_err();
    assert!(matches!(again, DutyError::Silence(1)), "{again}");
}

#[tokio::test]
async fn a_silence_ends_by_itself() {
    let bench = Bench::open();
    bench.duty.silence(wish(), "ann").await.unwrap();
    bench.lane(Some(Turn::Fires)).await;
    bench.clock.advance(2 * HOUR_US);
    bench.lane(None).await;
    assert_eq!(bench.letters().await, 1);
    let silences = bench.duty.silences(10).await.unwrap();
    assert_eq!(
        (silences[0].state.as_str(), silences[0].ended_by.clone()),
        ("over", None)
    );
}

#[tokio::test]
async fn what_was_over_before_maintenance_ended_is_told_to_nobody() {
    let planned = Maintenance {
        name: "backup".to_owned(),
        matcher: Matcher::default(),
        when: When::Once {
            from_us: 0,
            until_us: NOW_US + HOUR_US,
        },
    };
    let bench = Bench::planned(Arc::new([planned]));
    bench.lane(Some(Turn::Fires)).await;
    let muted = bench.only().await.members[0].muted.clone();
    assert_eq!(muted.as_deref(), Some("maintenance backup"));
    bench.lane(Some(Turn::Resolves)).await;
    bench.clock.advance(HOUR_US);
    bench.lane(None).await;
    assert_eq!(
        (bench.letters().await, bench.only().await.state.as_str()),
        (0, "resolved")
    );
}

#[tokio::test]
async fn what_a_page_was_worth_is_counted_by_rule_and_the_last_word_counts() {
    let bench = Bench::open();
    for number in 0..20 {
        bench.lane(Some(Turn::Fires)).await;
        bench.lane(Some(Turn::Resolves)).await;
        bench.clock.advance(2 * HOUR_US);
        let id = bench.only().await.id;
        let first = bench
            .duty
            .acknowledge(&id, ("noise", None), "ann")
            .await
            .unwrap();
        assert_eq!(first.answer, "noise");
        if number < 9 {
            let note = Some(" it was the firmware ".to_owned());
            let said = bench
                .duty
                .acknowledge(&id, ("useful", note), "bob")
                .await
                .unwrap();
            assert_eq!(said.note.as_deref(), Some("it was the firmware"));
        }
    }
    let overview = bench.duty.overview(100).await.unwrap();
    assert_eq!(overview.incidents.len(), 20);
    let [precision] = overview.precision.as_slice() else {
        panic!("{:?}", overview.precision);
    };
    assert_eq!((precision.useful, precision.noise), (9, 11));
    assert!(precision.proposal.is_some(), "fewer than half");
    let acts = bench
        .database
        .transact(|t| audit::acts(t, "incident.", 100))
        .await;
    assert_eq!(acts.unwrap().len(), 29);

    let unknown = bench
        .duty
        .acknowledge("inc_0", ("noise", None), "ann")
        .await;
    assert!(matches!(unknown.unwrap_err(), DutyError::Incident(_)));
    let id = bench.only().await.id;
    let strange = bench.duty.acknowledge(&id, ("maybe", None), "ann").await;
    assert!(matches!(strange.unwrap_err(), DutyError::Wanted(_)));
}
