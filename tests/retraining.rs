//! The retraining contract from outside: drift asks a trainer once, the trainer's signed reports
//! move the request and nothing else does, and a kill in between loses and doubles nothing. The
//! trainer signs with the webhook specification's own library and checks schemas with another.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{
    access::created,
    drift::shift_one_of_two,
    harness::{
        clock::eventually,
        door,
        house::{House, Settings},
        program,
        sink::{SECRET, Sink},
        workspace,
    },
};

const REQUESTED: &str = "fathomline.retraining.requested";
const CHANGED: &str = "fathomline.retraining.changed";

/// A house in which drift asks, and the file of the trainers' secret.
fn house_that_asks(sink: &Sink, more: &str) -> (House, NamedTempFile) {
    let mut secret = NamedTempFile::new().unwrap();
    secret.write_all(SECRET.as_bytes()).unwrap();
    let config = format!(
        "[store]\nseal_after = \"1s\"\n[drift]\nlane = \"1s\"\nseries_budget = 32\n{}\
         [retraining]\nautomatic = true\nwait = \"0s\"\ncallback_secret_file = \"{}\"\n{more}",
        sink.config(),
        secret.path().display()
    );
    let house = House::with(Settings {
        config,
        ..Settings::default()
    });
    (house, secret)
}

/// What a trainer does that was written by others; `None` where there is no Python for it.
fn trainer(told: &Value) -> Option<Value> {
    let python = program::python_with(&["standardwebhooks", "jsonschema"])?;
    let mut child = Command::new(python)
        .arg(workspace::root().join("tests/foreign/trainer.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), told).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Some(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
}

fn schemas() -> Value {
    json!(workspace::root().join("docs/schemas"))
}

/// The answer's status and state, or its error's message.
fn report(house: &House, id: &str, message: &str, report: &Value) -> Option<(u16, String)> {
    let signed = trainer(&json!({
        "secret": SECRET, "schemas": schemas(), "report": report, "message": message,
    }))?;
    Some(post(house, id, &signed))
}

fn post(house: &House, id: &str, signed: &Value) -> (u16, String) {
    let url = format!("{}/api/v1/retraining/{id}/status", house.addresses().http);
    let headers = signed["headers"].as_object().unwrap();
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    let body = signed["body"].as_str().unwrap();
    let answer = door::post(&url, &headers, body.as_bytes()).unwrap();
    let told = answer.json();
    let said = told["state"].as_str().or(told["error"]["message"].as_str());
    (answer.status, said.unwrap_or_default().to_owned())
}

#[test]
fn drift_asks_a_trainer_once_and_only_its_signed_reports_move_the_request() {
    let sink = Sink::open();
    let (mut house, _secret) = house_that_asks(&sink, "");
    shift_one_of_two(&house);
    let asked = eventually("a trainer is asked", || {
        sink.taken(REQUESTED).first().cloned()
    });
    let data = asked.json()["data"].clone();
    let id = data["request"].as_str().unwrap().to_owned();
    assert_eq!(asked.id(), id, "the message is called as the request");
    assert_eq!(data["model"], "tiny", "{data}");
    let signals = data["brief"]["signals"].as_array().unwrap();
    let classes: Vec<_> = signals
        .iter()
        .map(|signal| &signal["device_class"])
        .collect();
    assert!(classes.iter().all(|class| **class == "kiosk"), "{data}");
    assert_eq!(signals[0]["devices"], 6, "{data}");
    assert!(asked.body.len() < 20_000, "{} bytes", asked.body.len());

    house.reopen();
    let Some((status, state)) = report(&house, &id, "m1", &json!({"status": "accepted"})) else {
        return;
    };
    assert_eq!((status, state.as_str()), (200, "accepted"));
    trainer(&json!({ "schemas": schemas(), "event": asked.body }));
    house.reopen();
    let again = report(&house, &id, "m1", &json!({"status": "accepted"})).unwrap();
    assert_eq!(again, (200, "accepted".to_owned()));
    let done = json!({"status": "succeeded", "version": "2"});
    let done = report(&house, &id, "m2", &done).unwrap();
    assert_eq!(done, (200, "succeeded".to_owned()));
    refusals(&house, &id);

    let told = eventually("others are told", || {
        let told = sink.taken(CHANGED);
        (told.len() == 2).then_some(told)
    });
    for event in &told {
        trainer(&json!({ "schemas": schemas(), "event": event.body }));
    }
    assert_eq!(told[1].json()["data"]["new_version"], "2");
    let requests = house.page("/api/v1/retraining").json();
    let steps = requests["requests"][0]["steps"].as_array().unwrap();
    let states: Vec<_> = steps
        .iter()
        .map(|step| step["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["requested", "accepted", "succeeded"]);
    assert_eq!(requests["requests"].as_array().unwrap().len(), 1);
    assert_eq!(sink.taken(REQUESTED).len(), 1, "asked once");
}

/// What changes nothing, and says why.
fn refusals(house: &House, id: &str) {
    let running = json!({"status": "running"});
    let late = report(house, id, "m3", &running).unwrap();
    assert!(late.0 == 409 && late.1.contains("out of order"), "{late:?}");
    let unknown = report(house, "rtr_00", "m4", &running).unwrap();
    assert!(
        unknown.0 == 404 && unknown.1.contains("rtr_00"),
        "{unknown:?}"
    );
    let failed = json!({"status": "failed"});
    let mut signed = trainer(&json!({
        "secret": SECRET, "schemas": schemas(), "report": failed, "message": "m5",
    }))
    .unwrap();
    let body = signed["body"]
        .as_str()
        .unwrap()
        .replace("failed", "running");
    signed["body"] = json!(body);
    let forged = post(house, id, &signed);
    assert!(
        forged.0 == 401 && forged.1.contains("signature"),
        "{forged:?}"
    );
    let nobody = post(house, id, &json!({"headers": {}, "body": "{}"}));
    assert!(
        nobody.0 == 401 && nobody.1.contains("webhook-id"),
        "{nobody:?}"
    );
    let told = json!({
        "secret": SECRET, "schemas": schemas(), "report": failed, "message": "m6",
        "minutes_ago": 10,
    });
    let old = post(house, id, &trainer(&told).unwrap());
    assert!(
        old.0 == 401 && old.1.contains("webhook-timestamp is more than"),
        "{old:?}"
    );
    let shown = house.page(&format!("/api/v1/retraining/{id}")).json();
    assert_eq!(shown["state"], "succeeded", "nothing changed");
    assert_eq!(shown["steps"].as_array().unwrap().len(), 3, "{shown}");
}

#[test]
fn an_operator_approves_and_asks_and_a_viewer_only_looks() {
    let sink = Sink::open();
    let (house, _secret) = house_that_asks(&sink, "approval = true\n");
    shift_one_of_two(&house);
    let waiting = eventually("drift asks", || {
        let listed = house.page("/api/v1/retraining").json();
        listed["requests"].as_array().unwrap().first().cloned()
    });
    assert_eq!(waiting["state"], "waiting");
    assert_eq!(sink.taken(REQUESTED).len(), 0, "nobody said yes");
    let id = waiting["id"].as_str().unwrap();
    let approve = format!("/api/v1/retraining/{id}/approve");
    let url = format!("{}{approve}", house.addresses().http);
    let viewer = door::post(&url, &[], b"").unwrap();
    assert_eq!(viewer.status, 401, "{}", viewer.text());
    let wish = json!({"model": "tiny"});
    let twice = house.call("/api/v1/retraining", &wish);
    assert_eq!(twice.status, 409, "one at a time: {}", twice.text());
    assert_eq!(house.call(&approve, &json!({})).status, 200);
    eventually("the trainer is asked", || {
        sink.taken(REQUESTED).first().cloned()
    });
    let cancel = format!("/api/v1/retraining/{id}/cancel");
    assert_eq!(house.call(&cancel, &json!({})).json()["state"], "cancelled");
    let by_hand = house.call("/api/v1/retraining", &wish);
    assert_eq!(by_hand.status, 201, "{}", by_hand.text());
    assert_eq!(by_hand.json()["requested_by"], "admin");
    reports_by_token(&house, by_hand.json()["id"].as_str().unwrap());
    buttons(&house, by_hand.json()["id"].as_str().unwrap());
    let nothing = house.call("/api/v1/retraining", &json!({"model": "other"}));
    assert_eq!(nothing.status, 422, "{}", nothing.text());
    let unread = house.call("/api/v1/retraining", &json!({"modell": "tiny"}));
    assert_eq!(unread.status, 422, "{}", unread.text());
}

/// Where signing is too much to ask, an administrator's token does; that of a reader does not.
fn reports_by_token(house: &House, id: &str) {
    let path = format!("/api/v1/retraining/{id}/status");
    let reader = created(house, &["--name", "looker", "--scope", "read"]);
    let bearer = format!("Bearer {reader}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
    ];
    let url = format!("{}{path}", house.addresses().http);
    let refused = eventually("the token is known", || {
        let answer = door::post(&url, &headers, br#"{"status":"accepted"}"#).unwrap();
        (answer.status != 401).then_some(answer)
    });
    assert_eq!(refused.status, 403, "{}", refused.text());
    let taken = house.call(&path, &json!({"status": "accepted"}));
    assert_eq!(taken.status, 200, "{}", taken.text());
    assert_eq!(taken.json()["state"], "accepted");
}

/// The page's buttons do what the API does, for whoever may.
fn buttons(house: &House, id: &str) {
    let url = format!("{}/retraining", house.addresses().http);
    let token = fs::read_to_string(house.data().join("admin.token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let body = format!("act=cancel&id={id}");
    let press = |headers: &[(&str, &str)]| door::post(&url, headers, body.as_bytes()).unwrap();
    assert_eq!(press(&[kind]).status, 401);
    let elsewhere = [
        kind,
        ("authorization", bearer.as_str()),
        ("origin", "https://elsewhere.example"),
    ];
    assert_eq!(press(&elsewhere).status, 403);
    let state = || house.page(&format!("/api/v1/retraining/{id}")).json()["state"].clone();
    assert_eq!(state(), "accepted");
    let pressed = press(&elsewhere[..2]);
    assert!(
        pressed.status < 400,
        "{}: {}",
        pressed.status,
        pressed.text()
    );
    assert_eq!(state(), "cancelled");
}

#[test]
fn a_secret_that_cannot_be_used_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (config, secret) = (folder.path().join("f.toml"), folder.path().join("secret"));
    fs::write(&secret, "not a secret").unwrap();
    let text = format!(
        "[retraining]\ncallback_secret_file = \"{}\"\n",
        secret.display()
    );
    fs::write(&config, text).unwrap();
    let mut serve = Command::new(program::path());
    serve.args([
        "serve",
        "--http",
        "127.0.0.1:0",
        "--otlp-http",
        "127.0.0.1:0",
    ]);
    serve.args(["--otlp-grpc", "127.0.0.1:0", "--data"]);
    serve
        .arg(folder.path().join("data"))
        .arg("--config")
        .arg(&config);
    let output = serve.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("whsec_"),
        "{said}"
    );
}
