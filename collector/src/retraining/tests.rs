//! Requests against a real control database: what drift and people may ask, what reports change,
//! and that nothing is sent twice or lost. Does not prove: HTTP, and that trainers in other
//! languages sign alike (the system tests do).

use std::sync::Mutex;

use async_trait::async_trait;
use axum::http::HeaderMap;
use fathomline_queries::{lanes::parts::SeriesParts, rows::VerdictRow};
use fathomline_wire::names;
use serde_json::{Value, json};

use super::{asking::Wish, reporting::Report, *};
use crate::{
    alert::{
        desk::Desk,
        pager::Pager,
        state::{Alert, State as AlertState},
    },
    clock::{MovedClock, SECOND_US},
    database::{alerts, outbox, verdicts},
    watch::lanes::{Asked, AskedParts, SeriesLanes},
};

const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const START_S: i64 = 1_795_392_000;

/// A collector's retraining on a clock that a test moves.
pub(super) struct Bench {
    folder: tempfile::TempDir,
    pub(super) clock: Arc<MovedClock>,
    settings: RetrainingSettings,
    pub(super) devices: Arc<Devices>,
}

/// Retraining that asks nobody, for tests of other rooms.
pub(crate) fn idle(database: Database) -> Retraining {
    let telling = Telling {
        pager: Pager::for_test(None),
        base_url: String::new(),
    };
    let judging = Judging {
        cadence: Cadence::new(Duration::from_secs(1), Duration::from_secs(2)),
        min_devices: 5,
        lanes: Arc::<Devices>::default(),
    };
    let clock = Arc::new(MovedClock::default());
    let settings = RetrainingSettings::default();
    Retraining::new(
        settings,
        (database, clock),
        judging,
        (telling, Arc::default()),
    )
    .unwrap()
}

/// Says what a test wants devices to have done.
#[derive(Default)]
pub(super) struct Devices(pub(super) Mutex<SeriesParts>);

#[async_trait]
impl LaneSource for Devices {
    async fn lanes(&self, _: Asked<'_>) -> Result<SeriesLanes, LanesError> {
        Ok(SeriesLanes::new())
    }

    async fn parts(&self, asked: AskedParts<'_>) -> Result<SeriesParts, LanesError> {
        let span = asked.span;
        let mut parts = self.0.lock().unwrap().clone();
        for parts in parts.values_mut() {
            parts.retain(|part| part.end_us > span.from_us && part.end_us <= span.to_us);
        }
        Ok(parts)
    }
}

impl Bench {
    pub(super) fn open(settings: RetrainingSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("trainers.secret");
        std::fs::write(&secret, SECRET).unwrap();
        Self {
            clock: Arc::new(MovedClock::at(START_S * SECOND_US)),
            settings: RetrainingSettings {
                automatic: true,
                callback_secret_file: Some(secret),
                ..settings
            },
            folder,
            devices: Arc::default(),
        }
    }

    /// Opens the same folder, as a collector does after a crash.
    pub(super) fn retraining(&self) -> Retraining {
        let database = Database::open(self.folder.path()).unwrap();
        let clock: Arc<dyn Clock> = Arc::<MovedClock>::clone(&self.clock);
        let telling = Telling {
            pager: Pager::for_test(Some("trainer")),
            base_url: "http://127.0.0.1:8330/".to_owned(),
        };
        let judging = Judging {
            cadence: Cadence::new(Duration::from_secs(1), Duration::from_secs(2)),
            min_devices: 5,
            lanes: Arc::<Devices>::clone(&self.devices),
        };
        Retraining::new(
            self.settings.clone(),
            (database, clock),
            judging,
            (telling, Arc::default()),
        )
        .unwrap()
    }

    pub(super) fn later(&self, seconds: i64) {
        self.clock.advance(seconds * SECOND_US);
    }

    fn sign(&self, message: &str, body: &str) -> HeaderMap {
        let secret = Secrets::read(&self.folder.path().join("trainers.secret")).unwrap();
        let timestamp_s = self.clock.now_us() / SECOND_US;
        let mut headers = HeaderMap::new();
        let signature = secret.sign(message, timestamp_s, body);
        for (name, value) in [
            ("webhook-id", message),
            ("webhook-timestamp", &timestamp_s.to_string()),
            ("webhook-signature", &signature),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        headers
    }
}

/// A verdict on a series of `metric`, which drifts from now on or does not.
async fn judge(retraining: &Retraining, version: &str, metric: &str, drifts: bool) {
    let now_us = retraining.clock.now_us();
    let row = VerdictRow {
        time: now_us,
        series: format!("{version}-{metric}"),
        service: "assistant".into(),
        device_class: "kiosk".into(),
        model: "tiny".into(),
        version: version.into(),
        variant: "v".into(),
        metric: metric.into(),
        revision: 0,
        state: if drifts { "drifting" } else { "steady" }.into(),
        method: "QX".into(),
        score: Some(20.0),
        threshold: Some(10.0),
        count: 100,
        effective_count: Some(90.0),
        devices: 12,
        since: drifts.then_some(now_us),
        reference: Some("r".into()),
        evidence: json!({"breakdown": {"psi_debiased": 0.3, "interval": [0.2, 0.4], "bins": [
            {"bin": "over 2", "reference_share": 0.1, "share": 0.2, "part": 0.2}]}})
        .to_string(),
    };
    let alert = Alert {
        state: if drifts {
            AlertState::Firing
        } else {
            AlertState::Inactive
        },
        since_us: now_us,
        recent: 1,
    };
    let work = move |t: &Transaction<'_>| {
        verdicts::insert(t, &row)?;
        alerts::store(t, &row.series, alert)
    };
    retraining.database.transact(work).await.unwrap();
}

/// Bodies that wait for the endpoint, by kind.
pub(super) async fn letters(retraining: &Retraining, kind: &str) -> Vec<Value> {
    let now_us = i64::MAX;
    let due = retraining
        .database
        .transact(move |t| outbox::due(t, "trainer", now_us, 100));
    let due = due.await.unwrap().into_iter();
    due.filter(|due| due.letter.kind == kind)
        .map(|due| serde_json::from_str(&due.letter.body).unwrap())
        .collect()
}

async fn requested(retraining: &Retraining) -> Vec<Value> {
    letters(retraining, "fathomline.retraining.requested").await
}

pub(super) fn wish() -> Wish {
    Wish {
        model: "tiny".to_owned(),
        service: None,
        version: None,
    }
}

pub(super) async fn report(
    bench: &Bench,
    id: &str,
    message: &str,
    body: &str,
) -> Result<State, String> {
    let retraining = bench.retraining();
    let signed = retraining.signed(&bench.sign(message, body), body);
    let signed = signed.map_err(|error| error.to_string())?;
    let moved = retraining.report(id, signed).await;
    moved
        .map(|request| request.state)
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn drift_that_stands_asks_once_with_a_brief_of_what_moved_by_then() {
    let bench = Bench::open(RetrainingSettings::default());
    let retraining = bench.retraining();
    judge(&retraining, "1", names::OUTPUT_SURPRISAL, true).await;
    judge(&retraining, "1", names::TIME_PER_OUTPUT_TOKEN, true).await;
    bench.later(599);
    judge(&retraining, "1", names::OUTPUT_UNCERTAINTY, true).await;
    retraining.look().await.unwrap();
    assert_eq!(requested(&retraining).await.len(), 0, "it has to stand");
    bench.later(1);
    for _ in 0..3 {
        bench.retraining().look().await.unwrap();
    }
    let asked = requested(&retraining).await;
    assert_eq!(asked.len(), 1);
    let data = &asked[0]["data"];
    let metrics: Vec<_> = data["brief"]["signals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|signal| signal["metric"].as_str().unwrap())
        .collect();
    assert_eq!(
        metrics,
        [names::OUTPUT_SURPRISAL, names::OUTPUT_UNCERTAINTY]
    );
    assert_eq!(data["brief"]["signals"][0]["bins"][0]["bin"], "over 2");
    assert_eq!(data["budget"]["left"], 2);
    let id = data["request"].as_str().unwrap();
    let callback = format!("http://127.0.0.1:8330/api/v1/retraining/{id}/status");
    assert_eq!(data["callback"], callback.as_str());
}

#[tokio::test]
async fn what_is_slow_or_not_automatic_asks_nobody() {
    let slow = Bench::open(RetrainingSettings::default());
    let retraining = slow.retraining();
    judge(&retraining, "1", names::TIME_PER_OUTPUT_TOKEN, true).await;
    slow.later(3_600);
    retraining.look().await.unwrap();
    assert_eq!(requested(&retraining).await.len(), 0);
    let mut by_hand = Bench::open(RetrainingSettings::default());
    by_hand.settings.automatic = false;
    let retraining = by_hand.retraining();
    judge(&retraining, "1", names::OUTPUT_SURPRISAL, true).await;
    by_hand.later(3_600);
    retraining.look().await.unwrap();
    assert_eq!(requested(&retraining).await.len(), 0);
}

#[tokio::test]
async fn a_trainer_reports_and_what_it_says_again_or_too_late_changes_nothing() {
    let bench = Bench::open(RetrainingSettings::default());
    let retraining = bench.retraining();
    judge(&retraining, "1", names::OUTPUT_SURPRISAL, true).await;
    let id = retraining.ask(wish(), "ann").await.unwrap().id;
    let accepted = r#"{"status":"accepted"}"#;
    assert_eq!(
        report(&bench, &id, "m1", accepted).await,
        Ok(State::Accepted)
    );
    // A retry signs anew, with the time of that attempt.
    bench.later(60);
    assert_eq!(
        report(&bench, &id, "m1", accepted).await,
        Ok(State::Accepted)
    );
    let done = r#"{"status":"succeeded","version":"2"}"#;
    assert_eq!(report(&bench, &id, "m2", done).await, Ok(State::Succeeded));
    assert_eq!(
        report(&bench, &id, "m1", accepted).await,
        Ok(State::Succeeded)
    );
    let steps = retraining.show(&id).await.unwrap().steps;
    let steps: Vec<_> = steps.iter().map(|step| step.state.as_str()).collect();
    assert_eq!(steps, ["requested", "accepted", "succeeded"]);
    for (message, body, why) in [
        ("m3", r#"{"status":"running"}"#, "out of order"),
        ("m4", r#"{"status":"failed"}"#, "out of order"),
        (
            "m5",
            r#"{"status":"succeeded","version":"3"}"#,
            "out of order",
        ),
        (
            "m6",
            r#"{"status":"succeeded","version":"1"}"#,
            "another name",
        ),
        ("m2", r#"{"status":"failed"}"#, "another body"),
        ("a.b", r#"{"status":"failed"}"#, "signature"),
    ] {
        let refused = report(&bench, &id, message, body).await.unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let unknown = report(&bench, "rtr_0", "m7", accepted).await.unwrap_err();
    assert!(unknown.contains("no request rtr_0"), "{unknown}");
    assert_eq!(retraining.show(&id).await.unwrap().steps.len(), 3);
    let changed = letters(&retraining, "fathomline.retraining.changed").await;
    assert_eq!(changed.len(), 2);
    assert_eq!(changed[1]["data"]["new_version"], "2");
}

#[tokio::test]
async fn wrong_signatures_old_times_and_strangers_are_refused() {
    let mut bench = Bench::open(RetrainingSettings::default());
    let body = r#"{"status":"accepted"}"#;
    let signed = bench.sign("m1", body);
    let refuse = |bench: &Bench, headers: &HeaderMap, body: &str| {
        let refused = bench.retraining().signed(headers, body);
        refused.unwrap_err().to_string()
    };
    let other = refuse(&bench, &signed, r#"{"status":"running"}"#);
    assert!(other.contains("not one of this body"), "{other}");
    let mut renamed = signed.clone();
    renamed.insert("webhook-id", "m2".parse().unwrap());
    assert!(refuse(&bench, &renamed, body).contains("not one of this body"));
    let unsigned = refuse(&bench, &HeaderMap::new(), body);
    assert!(unsigned.contains("needs the headers"), "{unsigned}");
    // Several signatures, as while secrets change: one that fits is enough.
    let mut several = signed.clone();
    let both = format!("v1,AAAA {}", signed["webhook-signature"].to_str().unwrap());
    several.insert("webhook-signature", both.parse().unwrap());
    assert!(bench.retraining().signed(&several, body).is_ok());
    bench.later(300);
    assert!(bench.retraining().signed(&signed, body).is_ok());
    bench.later(1);
    assert!(refuse(&bench, &signed, body).contains("check the sender's clock"));
    bench.later(-602);
    assert!(refuse(&bench, &signed, body).contains("check the sender's clock"));
    bench.settings.callback_secret_file = None;
    let nobody = refuse(&bench, &signed, body);
    assert!(
        nobody.contains("retraining.callback_secret_file"),
        "{nobody}"
    );
}

#[tokio::test]
async fn an_approval_sends_what_was_written_when_it_was_asked() {
    let bench = Bench::open(RetrainingSettings {
        approval: true,
        wait: Duration::ZERO,
        ..RetrainingSettings::default()
    });
    let retraining = bench.retraining();
    judge(&retraining, "1", names::OUTPUT_SURPRISAL, true).await;
    retraining.look().await.unwrap();
    assert_eq!(
        requested(&retraining).await.len(),
        0,
        "a person has to say yes"
    );
    let waiting = retraining.list(10).await.unwrap().remove(0).request;
    assert_eq!(waiting.state, State::Waiting);
    let early = report(&bench, &waiting.id, "m1", r#"{"status":"accepted"}"#).await;
    assert!(early.unwrap_err().contains("waits for approval"));
    bench.later(60);
    retraining
        .act(&waiting.id, Act::Approve, "ann")
        .await
        .unwrap();
    let asked = requested(&retraining).await;
    let written: Value = serde_json::from_str(&waiting.body).unwrap();
    assert_eq!(asked, [written]);
    let twice = retraining.act(&waiting.id, Act::Approve, "ann").await;
    assert!(
        twice
            .unwrap_err()
            .to_string()
            .contains("only one that waits")
    );
    assert_eq!(requested(&retraining).await.len(), 1);
}

#[tokio::test]
async fn people_are_told_why_a_model_is_not_asked_for() {
    let bench = Bench::open(RetrainingSettings {
        budget: 2,
        ..RetrainingSettings::default()
    });
    let retraining = bench.retraining();
    let refused = |error: RetrainingError| error.to_string();
    let unknown = refused(retraining.ask(wish(), "ann").await.unwrap_err());
    assert!(unknown.contains("nothing that is judged"), "{unknown}");
    judge(&retraining, "1", names::OUTPUT_SURPRISAL, false).await;
    let first = retraining.ask(wish(), "ann").await.unwrap();
    let open = refused(retraining.ask(wish(), "ann").await.unwrap_err());
    assert!(open.contains("still open"), "{open}");
    retraining.act(&first.id, Act::Cancel, "ann").await.unwrap();
    judge(&retraining, "2", names::OUTPUT_SURPRISAL, false).await;
    let several = refused(retraining.ask(wish(), "ann").await.unwrap_err());
    assert!(several.contains("several versions"), "{several}");
    // The one that drifts is the one that is meant.
    bench.later(1);
    judge(&retraining, "2", names::OUTPUT_SURPRISAL, true).await;
    bench.later(1);
    let second = retraining.ask(wish(), "ann").await.unwrap();
    assert_eq!(second.version, "2");
    retraining
        .act(&second.id, Act::Cancel, "ann")
        .await
        .unwrap();
    let used_up = refused(retraining.ask(wish(), "ann").await.unwrap_err());
    assert!(used_up.contains("use up its budget"), "{used_up}");
}

#[tokio::test]
async fn what_nobody_answers_ends_and_says_so() {
    let bench = Bench::open(RetrainingSettings::default());
    let retraining = bench.retraining();
    judge(&retraining, "1", names::OUTPUT_SURPRISAL, false).await;
    let id = retraining.ask(wish(), "ann").await.unwrap().id;
    let running = r#"{"status":"running"}"#;
    bench.later(47 * 3_600);
    report(&bench, &id, "m1", running).await.unwrap();
    for (message, body) in [("m2", running), ("m3", running)] {
        bench.later(47 * 3_600);
        report(&bench, &id, message, body).await.unwrap();
    }
    bench.later(47 * 3_600);
    retraining.look().await.unwrap();
    assert_eq!(retraining.show(&id).await.unwrap().steps.len(), 2);
    assert_eq!(
        retraining.show(&id).await.unwrap().request.state,
        State::Running
    );
    bench.later(3_600);
    retraining.look().await.unwrap();
    let shown = retraining.show(&id).await.unwrap();
    assert_eq!(shown.request.state, State::Expired);
    let why = shown.steps.last().unwrap().detail.as_deref();
    assert!(why.unwrap().contains("report_within"));
    let over = report(&bench, &id, "m4", running).await.unwrap_err();
    assert!(over.contains("takes no more reports"), "{over}");
}

#[tokio::test]
async fn a_request_that_names_nothing_to_compare_ends_with_its_training() {
    let bench = Bench::open(RetrainingSettings::default());
    let retraining = bench.retraining();
    judge(&retraining, "1", names::OUTPUT_SURPRISAL, false).await;
    let id = retraining.ask(wish(), "ann").await.unwrap().id;
    let done = r#"{"status":"succeeded","version":"2"}"#;
    report(&bench, &id, "m1", done).await.unwrap();
    retraining.look().await.unwrap();
    let shown = retraining.show(&id).await.unwrap();
    assert_eq!(shown.request.state, State::Unproven);
    let why = shown.steps.last().unwrap().detail.as_deref();
    assert!(why.unwrap().contains("no signal"), "{why:?}");
    // And drift may ask again.
    assert!(
        retraining
            .database
            .transact(rows::open)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn what_is_over_is_asked_of_nobody_any_more() {
    let bench = Bench::open(RetrainingSettings::default());
    let retraining = bench.retraining();
    judge(&retraining, "1", names::OUTPUT_SURPRISAL, false).await;
    let id = retraining.ask(wish(), "ann").await.unwrap().id;
    assert_eq!(requested(&retraining).await.len(), 1);
    retraining.act(&id, Act::Cancel, "ann").await.unwrap();
    assert_eq!(requested(&retraining).await.len(), 0);
    let desk = Desk::open(bench.folder.path()).unwrap();
    let listed = desk.list(10).await.unwrap();
    let letter = listed.iter().find(|letter| letter.event_id == id).unwrap();
    assert_eq!(letter.state, "overtaken");
    let refused = desk.replay(letter.id, "ann").await.unwrap_err();
    assert!(refused.to_string().contains("in vain"), "{refused}");
}

#[tokio::test]
async fn a_person_reports_without_a_signature() {
    let bench = Bench::open(RetrainingSettings::default());
    let retraining = bench.retraining();
    judge(&retraining, "1", names::OUTPUT_SURPRISAL, false).await;
    let id = retraining.ask(wish(), "ann").await.unwrap().id;
    let failed = Report::of_person(r#"{"status":"failed","reason":"no_data"}"#, "ann").unwrap();
    let moved = retraining.report(&id, failed).await.unwrap();
    assert_eq!(moved.state, State::Failed);
    let steps = retraining.show(&id).await.unwrap().steps;
    assert_eq!(
        (steps[1].by.as_str(), steps[1].detail.as_deref()),
        ("ann", Some("no_data"))
    );
}
