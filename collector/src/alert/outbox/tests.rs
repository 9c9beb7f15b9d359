//! Delivery against a real receiver on loopback. Does not prove: TLS, and that a kill between the
//! answer and its record repeats the id (the system tests kill the whole collector).

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, response::IntoResponse, routing};

use fathomline_queries::rows::EventRow;

use super::*;
use crate::{
    alert::{
        AlertSettings,
        endpoint::{Endpoint, EndpointUrl, Kind},
        recipients::Pattern,
        signature::Secrets,
    },
    clock::{MovedClock, SECOND_US},
    database::deliveries::{self, Delivery},
};

pub(super) const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(super) const START_US: i64 = 1_795_392_000 * SECOND_US;

pub(super) type Answer = (u16, Option<(&'static str, &'static str)>);

/// What the receiver will answer, and what it got.
#[derive(Default)]
pub(super) struct Receiver {
    answers: Mutex<VecDeque<Answer>>,
    received: Mutex<Vec<(HeaderMap, Bytes)>>,
}

impl Receiver {
    pub(super) fn received(&self) -> MutexGuard<'_, Vec<(HeaderMap, Bytes)>> {
        self.received.lock().unwrap()
    }

    pub(super) fn headers(&self, name: &str) -> Vec<String> {
        let received = self.received();
        received
            .iter()
            .map(|(headers, _)| headers[name].to_str().unwrap().to_owned())
            .collect()
    }
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    receiver.received().push((headers, body));
    let (status, header) = receiver
        .answers
        .lock()
        .unwrap()
        .pop_front()
        .unwrap_or((200, None));
    let status = axum::http::StatusCode::from_u16(status).unwrap();
    let mut headers = HeaderMap::new();
    if let Some((name, value)) = header {
        headers.insert(name, value.parse().unwrap());
    }
    (status, headers)
}

/// A receiver, a database and a clock that outlive the outboxes made on them.
pub(super) struct House {
    pub(super) folder: tempfile::TempDir,
    pub(super) receiver: Arc<Receiver>,
    pub(super) url: String,
    pub(super) clock: Arc<MovedClock>,
    pub(super) timeout: Duration,
}

impl House {
    pub(super) async fn new(answers: &[Answer]) -> Self {
        let receiver = Arc::new(Receiver::default());
        receiver.answers.lock().unwrap().extend(answers);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/hook", routing::post(receive))
            .with_state(Arc::clone(&receiver));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), SECRET).unwrap();
        let clock = Arc::new(MovedClock::at(START_US));
        Self {
            folder,
            receiver,
            url,
            clock,
            timeout: Duration::from_secs(15),
        }
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Opens the database anew, as a restart does.
    pub(super) fn outbox(&self) -> Outbox {
        self.outbox_of(Kind::Webhook {
            secret_file: self.folder.path().join("secret"),
        })
    }

    pub(super) fn outbox_of(&self, kind: Kind) -> Outbox {
        self.outbox_for(Endpoint {
            name: "ops".to_owned(),
            url: EndpointUrl::Given(self.url.clone()),
            kind,
            events: vec![Pattern::all()],
            allow_internal: true,
        })
    }

    /// Where nothing internal is allowed.
    pub(super) fn outbox_at(&self, url: &str) -> Outbox {
        self.outbox_for(Endpoint {
            name: "ops".to_owned(),
            url: EndpointUrl::Given(url.to_owned()),
            kind: Kind::Webhook {
                secret_file: self.folder.path().join("secret"),
            },
            events: vec![Pattern::all()],
            allow_internal: false,
        })
    }

    fn outbox_for(&self, endpoint: Endpoint) -> Outbox {
        let sender = Sender::new(
            &endpoint,
            &AlertSettings {
                timeout: self.timeout,
                ..AlertSettings::default()
            },
        )
        .unwrap();
        let database = Database::open(self.folder.path()).unwrap();
        let clock: Arc<dyn Clock> = Arc::<MovedClock>::clone(&self.clock);
        let retry = vec![
            Duration::ZERO,
            Duration::from_secs(5),
            Duration::from_secs(300),
        ];
        Outbox::new(sender, database, clock, retry, Observer::default())
    }
}

pub(super) async fn push(outbox: &Outbox, id: &str) {
    put(
        outbox,
        id,
        "fathomline.webhook.test",
        r#"{"type":"fathomline.webhook.test"}"#,
    )
    .await;
}

pub(super) async fn put(outbox: &Outbox, id: &str, kind: &str, body: &str) {
    let event = EventRow {
        time: outbox.clock.now_us(),
        id: id.to_owned(),
        kind: kind.to_owned(),
        subject: "series".to_owned(),
        body: body.to_owned(),
    };
    let work = move |t: &rusqlite::Transaction<'_>| outbox::put(t, &event, ["ops"], event.time);
    outbox.database.transact(work).await.unwrap();
}

pub(super) async fn deliver(outbox: &Outbox) {
    let (_keep, stop) = watch::channel(false);
    outbox.deliver_due(&stop).await.unwrap();
}

pub(super) async fn deliveries(outbox: &Outbox) -> Vec<Delivery> {
    outbox
        .database
        .transact(|t| deliveries::list(t, 10))
        .await
        .unwrap()
}

#[tokio::test]
async fn every_retry_has_the_same_id_and_a_new_timestamp_across_a_restart() {
    let house = House::new(&[(500, None), (500, None), (200, None)]).await;
    let outbox = house.outbox();
    push(&outbox, "evt_1").await;
    deliver(&outbox).await;
    deliver(&outbox).await;
    assert_eq!(
        house.receiver.received().len(),
        1,
        "the second attempt is not due yet"
    );
    house.clock.advance(6 * SECOND_US);
    deliver(&outbox).await;
    drop(outbox);

    let outbox = house.outbox();
    house.clock.advance(400 * SECOND_US);
    deliver(&outbox).await;
    house.clock.advance(86_400 * SECOND_US);
    deliver(&outbox).await;

    assert_eq!(house.receiver.headers("webhook-id"), ["evt_1"; 3]);
    let timestamps: Vec<i64> = house
        .receiver
        .headers("webhook-timestamp")
        .iter()
        .map(|t| t.parse().unwrap())
        .collect();
    assert_eq!(
        timestamps
            .iter()
            .map(|t| t - START_US / SECOND_US)
            .collect::<Vec<_>>(),
        [0, 6, 406]
    );
    let [delivery] = deliveries(&outbox).await.try_into().unwrap();
    assert_eq!(delivery.state, "delivered");
    let statuses: Vec<_> = delivery.attempts.iter().filter_map(|a| a.status).collect();
    assert_eq!(statuses, [500, 500, 200]);
}

#[tokio::test]
async fn what_arrives_verifies_with_the_shared_secret() {
    let house = House::new(&[]).await;
    let outbox = house.outbox();
    push(&outbox, "evt_1").await;
    deliver(&outbox).await;
    let received = house.receiver.received();
    let (headers, body) = &received[0];
    let secret = Secrets::read(&house.folder.path().join("secret")).unwrap();
    let expected = secret.sign(
        "evt_1",
        START_US / SECOND_US,
        std::str::from_utf8(body).unwrap(),
    );
    assert_eq!(headers["webhook-signature"], expected.as_str());
    assert_eq!(headers["content-type"], "application/json");
}

#[tokio::test]
async fn a_used_up_schedule_is_a_failure_and_the_next_letter_still_goes() {
    let house = House::new(&[(500, None), (404, None), (503, None)]).await;
    let outbox = house.outbox();
    push(&outbox, "evt_1").await;
    for _ in 0..4 {
        deliver(&outbox).await;
        house.clock.advance(1_000 * SECOND_US);
    }
    push(&outbox, "evt_2").await;
    deliver(&outbox).await;
    let states: Vec<_> = deliveries(&outbox)
        .await
        .into_iter()
        .map(|d| d.state)
        .collect();
    assert_eq!(states, ["delivered", "failed"]);
    assert_eq!(house.receiver.received().len(), 4);
}

#[tokio::test]
async fn gone_stops_the_endpoint_until_its_url_changes() {
    let mut house = House::new(&[(410, None)]).await;
    let outbox = house.outbox();
    push(&outbox, "evt_1").await;
    push(&outbox, "evt_2").await;
    deliver(&outbox).await;
    push(&outbox, "evt_3").await;
    deliver(&outbox).await;
    assert_eq!(house.receiver.received().len(), 1);
    assert!(
        deliveries(&outbox)
            .await
            .iter()
            .all(|d| d.state == "stopped")
    );

    house.url.push_str("?moved");
    let outbox = house.outbox();
    push(&outbox, "evt_4").await;
    deliver(&outbox).await;
    assert_eq!(house.receiver.headers("webhook-id"), ["evt_1", "evt_4"]);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let house = House::new(&[(302, Some(("location", "/hook")))]).await;
    let outbox = house.outbox();
    push(&outbox, "evt_1").await;
    deliver(&outbox).await;
    assert_eq!(house.receiver.received().len(), 1);
    let [delivery] = deliveries(&outbox).await.try_into().unwrap();
    assert_eq!(delivery.state, "pending");
    assert!(
        delivery.attempts[0]
            .outcome
            .contains("redirects are not followed")
    );
}

#[tokio::test]
async fn retry_after_is_obeyed_when_it_is_longer_than_the_schedule() {
    let house = House::new(&[(429, Some(("retry-after", "60")))]).await;
    let outbox = house.outbox();
    push(&outbox, "evt_1").await;
    deliver(&outbox).await;
    house.clock.advance(59 * SECOND_US);
    deliver(&outbox).await;
    assert_eq!(house.receiver.received().len(), 1);
    house.clock.advance(SECOND_US);
    deliver(&outbox).await;
    assert_eq!(house.receiver.received().len(), 2);
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_retried_and_its_url_is_not_in_the_log() {
    let mut house = House::new(&[]).await;
    house.url = "http://127.0.0.1:9/token-in-the-path".to_owned();
    let outbox = house.outbox();
    push(&outbox, "evt_1").await;
    deliver(&outbox).await;
    let [delivery] = deliveries(&outbox).await.try_into().unwrap();
    assert_eq!(
        (delivery.state.as_str(), delivery.attempts[0].status),
        ("pending", None)
    );
    assert!(!delivery.attempts[0].outcome.contains("token-in-the-path"));
}

#[test]
fn jitter_adds_at_most_a_tenth_and_differs() {
    let reply = Reply {
        verdict: ReplyKind::Failed,
        status: None,
        outcome: String::new(),
    };
    let retry = [Duration::ZERO, Duration::from_secs(100)];
    assert_eq!(
        fate(&reply, &retry, 1, 0, 0.0),
        Fate::RetryAt(100 * SECOND_US)
    );
    assert_eq!(
        fate(&reply, &retry, 1, 0, 1.0),
        Fate::RetryAt(110 * SECOND_US)
    );
    assert_eq!(fate(&reply, &retry, 2, 0, 0.0), Fate::Failed);
    assert!((0.0..1.0).contains(&jitter("a", 1)) && jitter("a", 1) != jitter("a", 2));
}
