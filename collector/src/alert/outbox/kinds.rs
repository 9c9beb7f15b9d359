//! What receivers of every kind see: secrets that change, endpoints that are enabled again, busy
//! ones, templates and Alertmanagers. Against the same receiver as the other tests.

use serde_json::{Value, json};

use super::{tests::*, *};
use crate::{
    alert::{
        AlertSettings,
        desk::{Desk, DeskError},
        endpoint::{Headers, Kind},
    },
    clock::SECOND_US,
};

const NEXT_SECRET: &str = "whsec_HxAREhMUFRYXGBkaGxwdHgABAgMEBQYHCAkKCwwNDg8=";

/// A desk on a data folder has the machine's clock: what it makes due is due by then.
const LONG_US: i64 = 40 * 365 * 86_400 * SECOND_US;

#[tokio::test]
async fn a_secret_is_replaced_while_letters_are_on_their_way() {
    let house = House::new(&[(500, None), (500, None), (200, None)]).await;
    let outbox = house.outbox();
    push(&outbox, "evt_1").await;
    deliver(&outbox).await;
    house.write("secret", &format!("{NEXT_SECRET}\n{SECRET}\n"));
    house.clock.advance(6 * SECOND_US);
    deliver(&outbox).await;
    house.write("secret", NEXT_SECRET);
    house.clock.advance(400 * SECOND_US);
    deliver(&outbox).await;
    let signed = house.receiver.headers("webhook-signature");
    let counts: Vec<usize> = signed.iter().map(|s| s.split(' ').count()).collect();
    assert_eq!(counts, [1, 2, 1], "{signed:?}");
    assert_eq!(house.receiver.headers("webhook-id"), ["evt_1"; 3]);
}

#[tokio::test]
async fn a_busy_endpoint_is_left_alone_with_all_its_letters() {
    for status in [429, 502, 503, 504] {
        let house = House::new(&[(status, Some(("retry-after", "60")))]).await;
        let outbox = house.outbox();
        for id in ["evt_1", "evt_2", "evt_3"] {
            push(&outbox, id).await;
        }
        deliver(&outbox).await;
        house.clock.advance(59 * SECOND_US);
        deliver(&outbox).await;
        assert_eq!(house.receiver.headers("webhook-id"), ["evt_1"], "{status}");
        house.clock.advance(2 * SECOND_US);
        deliver(&outbox).await;
        let ids = house.receiver.headers("webhook-id");
        assert_eq!(ids, ["evt_1", "evt_1", "evt_2", "evt_3"], "{status}");
    }
}

#[tokio::test]
async fn a_wait_that_is_asked_for_has_bounds() {
    let house = House::new(&[(503, Some(("retry-after", "99999999")))]).await;
    let outbox = house.outbox();
    push(&outbox, "evt_1").await;
    deliver(&outbox).await;
    house.clock.advance(86_401 * SECOND_US);
    deliver(&outbox).await;
    assert_eq!(house.receiver.headers("webhook-id"), ["evt_1"; 2]);
}

#[tokio::test]
async fn what_was_kept_for_a_stopped_endpoint_is_sent_once_it_is_enabled() {
    let house = House::new(&[(410, None)]).await;
    let outbox = house.outbox();
    push(&outbox, "evt_1").await;
    push(&outbox, "evt_2").await;
    deliver(&outbox).await;
    let desk = Desk::open(house.folder.path()).unwrap();
    let refused = desk.replay(1, "ann").await.unwrap_err();
    assert!(matches!(refused, DeskError::Stopped(_)), "{refused}");
    drop(outbox);
    // The stop outlives the process, and letters that come meanwhile wait with the others.
    let outbox = house.outbox();
    push(&outbox, "evt_3").await;
    deliver(&outbox).await;
    assert_eq!(house.receiver.headers("webhook-id"), ["evt_1"]);
    let enabled = desk.enable("ops", "ann").await.unwrap();
    assert_eq!(enabled.letters, 3);
    house.clock.advance(LONG_US);
    deliver(&outbox).await;
    assert_eq!(
        house.receiver.headers("webhook-id"),
        ["evt_1", "evt_1", "evt_2", "evt_3"]
    );
    let refused = desk.enable("ops", "ann").await.unwrap_err();
    assert!(matches!(refused, DeskError::NotStopped(_)), "{refused}");
}

#[tokio::test]
async fn a_letter_is_sent_again_under_its_id_with_the_whole_schedule() {
    let house = House::new(&[(500, None), (500, None), (500, None), (500, None)]).await;
    let outbox = house.outbox();
    push(&outbox, "evt_1").await;
    for _ in 0..3 {
        deliver(&outbox).await;
        house.clock.advance(400 * SECOND_US);
    }
    let desk = Desk::open(house.folder.path()).unwrap();
    let [given_up] = desk.list(10).await.unwrap().try_into().unwrap();
    assert_eq!(
        (given_up.state.as_str(), given_up.attempts_made),
        ("failed", 3)
    );
    let replayed = desk.replay(given_up.id, "ann").await.unwrap();
    assert_eq!(replayed.state, "pending");
    house.clock.advance(LONG_US);
    for _ in 0..2 {
        deliver(&outbox).await;
        house.clock.advance(6 * SECOND_US);
    }
    let [delivered] = desk.list(10).await.unwrap().try_into().unwrap();
    assert_eq!(
        (delivered.state.as_str(), delivered.attempts_made),
        ("delivered", 5)
    );
    assert_eq!(house.receiver.headers("webhook-id"), ["evt_1"; 5]);
    let unknown = desk.replay(99, "ann").await.unwrap_err().to_string();
    assert!(unknown.contains("there is no delivery 99"), "{unknown}");
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_given_up_after_its_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut house = House::new(&[]).await;
    house.url = format!("http://{}/silent", listener.local_addr().unwrap());
    house.timeout = Duration::from_millis(200);
    let outbox = house.outbox();
    push(&outbox, "evt_1").await;
    deliver(&outbox).await;
    let [delivery] = deliveries(&outbox).await.try_into().unwrap();
    let outcome = &delivery.attempts[0].outcome;
    assert!(outcome.contains("timed out"), "{outcome}");
    assert_eq!(delivery.state, "pending");
}

fn template(house: &House, text: &str) -> Kind {
    house.write("template.json", text);
    house.write("token", "t0ken\n");
    Kind::Http {
        template_file: house.folder.path().join("template.json"),
        headers: Headers {
            token_file: Some(house.folder.path().join("token")),
            ..Headers::default()
        },
        secret_file: Some(house.folder.path().join("secret")),
        delivered_statuses: vec![409],
    }
}

#[tokio::test]
async fn a_template_gets_its_body_token_and_signature_and_says_what_is_there_already() {
    let house = House::new(&[(409, None)]).await;
    let text = r#"{"dag_run_id": {{ id }}, "conf": {{ event.data }}}"#;
    let outbox = house.outbox_of(template(&house, text));
    put(
        &outbox,
        "evt_1",
        "t",
        r#"{"type":"t","data":{"model":"a \"b\""}}"#,
    )
    .await;
    deliver(&outbox).await;
    let [delivery] = deliveries(&outbox).await.try_into().unwrap();
    assert_eq!(delivery.state, "delivered", "{delivery:?}");
    let received = house.receiver.received();
    let (headers, body) = &received[0];
    let body: Value = serde_json::from_slice(body).unwrap();
    let expected = json!({ "dag_run_id": "evt_1", "conf": { "model": "a \"b\"" } });
    assert_eq!(body, expected);
    assert_eq!(headers["authorization"], "Bearer t0ken");
    assert!(headers.contains_key("webhook-signature"));
}

#[tokio::test]
async fn what_makes_no_body_is_given_up_at_once_and_says_why() {
    let house = House::new(&[]).await;
    let outbox = house.outbox_of(template(
        &house,
        r#"{"a": {{ event.data.x | default(1) | safe }} }"#,
    ));
    put(&outbox, "evt_1", "t", r#"{"type":"t","data":{"x":"} {"}}"#).await;
    deliver(&outbox).await;
    let [delivery] = deliveries(&outbox).await.try_into().unwrap();
    assert_eq!(delivery.state, "failed");
    let outcome = &delivery.attempts[0].outcome;
    assert!(outcome.contains("no JSON"), "{outcome}");
    assert_eq!(house.receiver.received().len(), 0);
}

fn alertmanager() -> Kind {
    Kind::Alertmanager {
        resend: Duration::from_secs(60),
        headers: Headers::default(),
    }
}

async fn tell(outbox: &Outbox, id: &str, state: &str) {
    let body = json!({
        "type": "fathomline.verdict.changed", "timestamp": "2026-11-23T00:00:00Z",
        "data": { "state": state, "model": "tiny", "device_class": "kiosk", "series": "series" },
    });
    put(outbox, id, "fathomline.verdict.changed", &body.to_string()).await;
}

/// `endsAt` of each alert that arrived, in seconds after the start.
fn ends(house: &House) -> Vec<i64> {
    let received = house.receiver.received();
    let ends = received.iter().map(|(_, body)| {
        let alerts: Value = serde_json::from_slice(body).unwrap();
        let text = alerts[0]["endsAt"].as_str().unwrap().to_owned();
        let time = chrono::DateTime::parse_from_rfc3339(&text).unwrap();
        time.timestamp() - START_US / SECOND_US
    });
    ends.collect()
}

#[tokio::test]
async fn an_alert_is_told_again_while_it_fires_even_after_a_restart_and_not_once_it_is_over() {
    let house = House::new(&[]).await;
    let outbox = house.outbox_of(alertmanager());
    tell(&outbox, "evt_1", "drifting").await;
    deliver(&outbox).await;
    outbox.repeat_due().await.unwrap();
    house.clock.advance(61 * SECOND_US);
    outbox.repeat_due().await.unwrap();
    outbox.repeat_due().await.unwrap();
    drop(outbox);
    let outbox = house.outbox_of(alertmanager());
    house.clock.advance(61 * SECOND_US);
    outbox.repeat_due().await.unwrap();
    tell(&outbox, "evt_2", "steady").await;
    deliver(&outbox).await;
    house.clock.advance(1_000 * SECOND_US);
    outbox.repeat_due().await.unwrap();
    // Believed for four times the pause, each time anew, and then over.
    assert_eq!(ends(&house), [240, 301, 362, 122]);
}

#[tokio::test]
async fn an_endpoint_that_is_told_again_is_left_alone_or_stopped_when_it_says_so() {
    let busy = (429, Some(("retry-after", "600")));
    let house = House::new(&[(200, None), busy, (410, None)]).await;
    let outbox = house.outbox_of(alertmanager());
    tell(&outbox, "evt_1", "drifting").await;
    deliver(&outbox).await;
    let seen = |after_s: i64| {
        house.clock.advance(after_s * SECOND_US);
        let outbox = &outbox;
        let house = &house;
        async move {
            outbox.repeat_due().await.unwrap();
            house.receiver.received().len()
        }
    };
    assert_eq!(seen(61).await, 2);
    // It asked for ten minutes.
    assert_eq!(seen(300).await, 2);
    assert_eq!(seen(301).await, 3);
    // It is gone: it hears no more of this alert, and letters wait until it is enabled.
    assert_eq!(seen(10_000).await, 3);
    tell(&outbox, "evt_2", "steady").await;
    deliver(&outbox).await;
    assert_eq!(deliveries(&outbox).await[0].state, "stopped");
}

#[tokio::test]
async fn the_published_schedule_is_kept_to_its_end() {
    let answers = [(500, None); 12];
    let house = House::new(&answers).await;
    let outbox = Outbox {
        retry: AlertSettings::default().retry,
        ..house.outbox()
    };
    push(&outbox, "evt_1").await;
    // Minutes apart, the published pauses fall between two looks.
    for _ in 0..60 * 90 {
        deliver(&outbox).await;
        house.clock.advance(60 * SECOND_US);
    }
    let [given_up] = deliveries(&outbox).await.try_into().unwrap();
    assert_eq!(given_up.state, "failed");
    let began = given_up.attempts.iter().map(|attempt| attempt.started_us);
    let began: Vec<i64> = began.map(|us| (us - START_US) / SECOND_US).collect();
    let pauses: Vec<i64> = began.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let published = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
    assert_eq!((began[0], pauses.len()), (0, published.len()));
    for (pause, published) in pauses.iter().zip(published) {
        // Up to a tenth of jitter, and a minute until the next look.
        let most = published + published / 10 + 60;
        assert!((published..=most).contains(pause), "{pauses:?}");
    }
    let ids = house.receiver.headers("webhook-id");
    assert_eq!(ids, vec!["evt_1"; 10]);
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_asked() {
    let house = House::new(&[]).await;
    let port = house.url.split(':').nth(2).unwrap();
    let outbox = house.outbox_at(&format!("http://localhost:{port}"));
    push(&outbox, "evt_1").await;
    deliver(&outbox).await;
    let [delivery] = deliveries(&outbox).await.try_into().unwrap();
    let outcome = &delivery.attempts[0].outcome;
    assert!(outcome.contains("internal"), "{outcome}");
    assert_eq!(house.receiver.received().len(), 0);
}

#[tokio::test]
async fn an_alert_that_had_to_wait_does_not_fire_again_after_its_end() {
    let house = House::new(&[(500, None), (200, None)]).await;
    let outbox = house.outbox_of(alertmanager());
    tell(&outbox, "evt_1", "drifting").await;
    deliver(&outbox).await;
    tell(&outbox, "evt_2", "steady").await;
    deliver(&outbox).await;
    house.clock.advance(6 * SECOND_US);
    deliver(&outbox).await;
    assert_eq!(ends(&house), [240, 0]);
    let states: Vec<_> = deliveries(&outbox)
        .await
        .into_iter()
        .map(|d| d.state)
        .collect();
    assert_eq!(states, ["delivered", "overtaken"]);
    house.clock.advance(1_000 * SECOND_US);
    outbox.repeat_due().await.unwrap();
    assert_eq!(house.receiver.received().len(), 2);
}

#[tokio::test]
async fn what_is_too_long_is_sent_shortened_and_the_same_at_every_attempt() {
    let house = House::new(&[(500, None)]).await;
    let outbox = house.outbox();
    let long: Vec<String> = (0..3_000).map(|at| format!("series {at}")).collect();
    let body = json!({ "type": "t", "data": { "list": long } }).to_string();
    put(&outbox, "evt_1", "t", &body).await;
    deliver(&outbox).await;
    house.clock.advance(6 * SECOND_US);
    deliver(&outbox).await;
    let received = house.receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].1, received[1].1);
    assert!(received[0].1.len() < 20_000, "{}", received[0].1.len());
    let sent: Value = serde_json::from_slice(&received[0].1).unwrap();
    assert_eq!(sent["data"]["shortened"], true);
}
