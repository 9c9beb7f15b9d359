//! Alerts from outside: what comes and goes is one page, what is silenced is told when the silence
//! ends, what is planned is told to nobody, and what people say of pages is counted. A kill in
//! between changes nothing of it.

use serde_json::{Value, json};

use crate::{
    drift::{QUIET, SHIFTED, freeze, judged, shift_one_of_two, states, watchful},
    harness::{
        clock::{eventually, until},
        door,
        fleet::Fleet,
        house::{House, Settings},
        sink::Sink,
    },
};

const CHANGED: &str = "fathomline.verdict.changed";

/// States that were told, in order.
fn told(sink: &Sink) -> Vec<String> {
    let taken = sink.taken(CHANGED).into_iter();
    let state = |event: Value| event["data"]["state"].as_str().unwrap().to_owned();
    taken.map(|delivery| state(delivery.json())).collect()
}

fn alerts(house: &House) -> Value {
    let answer = house.page("/api/v1/alerts");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The incident of the only alert, once it fires.
fn open_incident(house: &House) -> Value {
    eventually("an incident opens", || {
        let incident = alerts(house)["incidents"][0].clone();
        (incident["state"] == "open").then_some(incident)
    })
}

#[test]
fn what_comes_and_goes_is_one_page_though_the_collector_is_killed() {
    let sink = Sink::open();
    let mut house = watchful(&sink);
    // Shifted for 25 lanes, back for 45, and shifted again, which the detector does not judge: it
    // pauses for an hour after an alarm. What flaps without it is in the collector's own tests.
    let lanes = QUIET + 95;
    let fleet = Fleet::ending_now("kiosk", lanes, 51);
    fleet.tell(&house, 1..=QUIET, 1.0);
    fleet.tell(&house, QUIET + 1..=QUIET + 25, SHIFTED);
    fleet.tell(&house, QUIET + 26..=QUIET + 70, 1.0);
    fleet.tell(&house, QUIET + 71..=lanes, SHIFTED);
    freeze(&house, &fleet);
    house.reopen();
    until("every lane has a verdict", || {
        states(&house, "kiosk").len() >= 95
    });
    house.reopen();
    let turned = states(&house, "kiosk");
    let turns = turned.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(turns >= 2, "it came and went: {turned:?}");
    until("what is told has arrived", || told(&sink).len() >= 2);
    let answer = alerts(&house);
    assert_eq!(answer["incidents"].as_array().unwrap().len(), 1, "{answer}");
    let incident = &answer["incidents"][0];
    assert_eq!(incident["pages"], 1, "{answer}");
    assert_ne!(incident["state"], "open", "{answer}");
    assert_eq!(told(&sink), ["drifting", "steady"]);
    let ids = sink.taken(CHANGED).into_iter();
    let named = ids.map(|event| event.json()["data"]["incident_id"].clone());
    assert!(named.into_iter().all(|id| id == incident["id"]), "{answer}");
}

#[test]
fn a_silenced_alert_is_shown_and_told_when_the_silence_ends() {
    let sink = Sink::open();
    let mut house = watchful(&sink);
    let wish = json!({ "model": "tiny", "lasts": "1h", "why": "a rollout" });
    let silence = house.call("/api/v1/silences", &wish);
    assert_eq!(silence.status, 201, "{}", silence.text());
    shift_one_of_two(&house);
    let incident = open_incident(&house);
    let member = &incident["members"][0];
    let muted = member["muted"].as_str().unwrap();
    assert!(muted.contains("a rollout"), "{incident}");
    assert!(member["told"]["evidence"].is_string(), "{incident}");
    until("the incident is counted", || {
        (house.metric("fathomline_incidents_open") - 1.0).abs() < f64::EPSILON
    });
    let page = house.page("/alerts").text();
    for shown in ["firing, muted", "a rollout", "nobody was paged"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    house.reopen();
    assert_eq!(told(&sink), Vec::<String>::new());
    what_a_page_was_worth_is_counted(&house, &incident);

    let data = house.data().display().to_string();
    let id = silence.json()["id"].to_string();
    let (ended, printed) = house.command_line(&["silence", "end", &id, "--data", &data]);
    assert!(ended, "{printed}");
    until("it is told then", || !told(&sink).is_empty());
    house.reopen();
    until("it was paged", || open_incident(&house)["pages"] == 1);
    assert_eq!(told(&sink), ["drifting"]);
}

fn what_a_page_was_worth_is_counted(house: &House, incident: &Value) {
    let id = incident["id"].as_str().unwrap();
    let path = format!("/api/v1/alerts/{id}/acknowledge");
    let url = format!("{}{path}", house.addresses().http);
    let body = json!({ "answer": "noise" });
    let kind = [("content-type", "application/json")];
    let refused = door::post(&url, &kind, body.to_string().as_bytes()).unwrap();
    assert_eq!(refused.status, 401, "whoever may look may not act");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let pressed = format!("act=acknowledge&incident={id}&answer=noise");
    let url = format!("{}/alerts", house.addresses().http);
    let refused = door::post(&url, &form, pressed.as_bytes()).unwrap();
    assert_eq!(refused.status, 401, "{}", refused.text());

    let said = house.call(&path, &body);
    assert_eq!(said.status, 200, "{}", said.text());
    let data = house.data().display().to_string();
    let useful = [
        "alert",
        "ack",
        id,
        "useful",
        "--note",
        "it was the firmware",
        "--data",
        &data,
    ];
    let (succeeded, printed) = house.command_line(&useful);
    assert!(succeeded, "{printed}");
    let (succeeded, printed) = house.command_line(&["alert", "list", "--data", &data]);
    assert!(succeeded && printed.contains("useful"), "{printed}");
    let answer = alerts(house);
    let said = &answer["incidents"][0]["acknowledged"];
    assert_eq!(
        said["note"], "it was the firmware",
        "the last word counts: {answer}"
    );
}

#[test]
fn what_is_planned_is_told_to_nobody() {
    let sink = Sink::open();
    let planned = "[[alert.maintenance]]\nname = \"the move\"\nfrom = \"2020-01-01T00:00:00Z\"\n\
                   until = \"2100-01-01T00:00:00Z\"\nclass = \"kiosk\"\n";
    let config = format!(
        "[store]\nseal_after = \"1s\"\n[drift]\nlane = \"1s\"\nseries_budget = 32\n{}{planned}",
        sink.config()
    );
    let house = House::with(Settings {
        config,
        ..Settings::default()
    });
    let (kiosk, _) = shift_one_of_two(&house);
    judged(&house, &kiosk);
    let incident = open_incident(&house);
    assert_eq!(
        incident["members"][0]["muted"], "maintenance the move",
        "{incident}"
    );
    assert_eq!(incident["pages"], 0, "{incident}");
    assert_eq!(sink.deliveries().len(), 0);
    assert!(house.page("/alerts").text().contains("the move"));
}
