//! What is told arrives, at least once and under one id, whatever the receiver does and whoever is
//! killed meanwhile. Receivers are servers of these tests on loopback. What this does not prove:
//! TLS to a receiver, and the days between the last attempts of the published schedule, which the
//! collector's own tests run through with a clock in hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use fathomline_wire::names;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    drift::{JUDGED, QUIET, SHIFTED, shift_one_of_two, watchful},
    harness::{
        clock::{eventually, until},
        door,
        fleet::Fleet,
        house::{House, Settings},
        program,
        sink::{Delivery, Reply, SECRET, Sink},
        workspace,
    },
};

const CHANGED: &str = "fathomline.verdict.changed";
const NEXT_SECRET: &str = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

/// A house that judges lanes of one second, with this section `alert`.
fn house_with(alert: &str) -> House {
    let store = "[store]\nseal_after = \"10s\"\n[drift]\nlane = \"1s\"\nseries_budget = 32\n";
    House::with(Settings {
        config: format!("{store}{alert}"),
        ..Settings::default()
    })
}

fn deliveries(house: &House) -> Vec<Value> {
    let listed = house.page("/api/v1/deliveries?limit=1000").json();
    listed["deliveries"].as_array().unwrap().clone()
}

/// Presses a button of the page, as a browser that was given the administrator's token.
fn press(house: &House, path: &str, origin: Option<&str>) -> u16 {
    let token = fs::read_to_string(house.data().join("admin.token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(origin.map(|origin| ("origin", origin)));
    let url = format!("{}{path}", house.addresses().http);
    door::post(&url, &headers, b"").unwrap().status
}

#[test]
fn a_receiver_sees_exactly_what_the_specification_says() {
    let script = [
        Reply::Status(500),
        Reply::Silence(Duration::from_secs(3)),
        Reply::Redirect,
        Reply::Later(503, 2),
        Reply::Status(410),
    ];
    let sink =
        Sink::answering(move |number| script.get(number).copied().unwrap_or(Reply::Status(200)));
    let retry = format!(
        "retry = [{}]\ntimeout = \"1s\"",
        ["\"500ms\""; 12].join(", ")
    );
    let mut house = house_with(&sink.config_with(&retry));
    shift_one_of_two(&house);
    until("it is told to stop", || sink.deliveries().len() >= 5);
    sink.write_secret(&format!("{NEXT_SECRET}\n{SECRET}\n"));
    stopped_until_enabled(&mut house, &sink);
    let told = eventually("it is told again", || sink.taken(CHANGED).first().cloned());
    let attempts = sink.deliveries();
    // Of one event; whatever else was told came when the endpoint was enabled.
    let of_it: Vec<&Delivery> = attempts.iter().filter(|d| d.id() == told.id()).collect();
    let answers: Vec<u16> = of_it.iter().map(|delivery| delivery.status).collect();
    assert_eq!(answers, [500, 0, 302, 503, 410, 200]);
    assert!(of_it.iter().all(|delivery| delivery.path == "/hooks"));
    assert!(of_it.iter().all(|delivery| delivery.body == told.body));
    let times: Vec<i64> = of_it
        .iter()
        .map(|d| header(d, "webhook-timestamp"))
        .collect();
    assert!(times.is_sorted() && times[0] < times[5], "{times:?}");
    assert!(times[4] - times[3] >= 2, "Retry-After: {times:?}");
    let signatures: BTreeSet<&String> = of_it
        .iter()
        .map(|delivery| &delivery.headers["webhook-signature"])
        .collect();
    assert!(signatures.len() >= 3, "a new time, a new signature");
    told.is_signed_with(&[SECRET, NEXT_SECRET]);
    of_it[0].is_signed_with(&[SECRET]);
    sent_again_by_the_page(&house, &sink, &told);
}

fn header(delivery: &Delivery, name: &str) -> i64 {
    delivery.headers[name].parse().unwrap()
}

/// A 410 is the last that the receiver sees, also of a collector that was killed, until an operator
/// enables it.
fn stopped_until_enabled(house: &mut House, sink: &Sink) {
    let stopped = |house: &House| {
        let endpoints = house.page("/api/v1/endpoints").json();
        endpoints["endpoints"][0]["stopped_since_us"].is_i64()
    };
    until("the endpoint is stopped", || stopped(house));
    let seen = sink.deliveries().len();
    house.reopen();
    std::thread::sleep(Duration::from_secs(3));
    assert!(stopped(house));
    assert_eq!(sink.deliveries().len(), seen, "nothing after the 410");
    assert!(house.page("/deliveries").text().contains("Enable</button>"));
    let id = deliveries(house)[0]["id"].as_i64().unwrap();
    let refused = house.call(&format!("/api/v1/deliveries/{id}/replay"), &json!({}));
    assert_eq!(refused.status, 409, "{}", refused.text());
    let enable = "/deliveries/endpoints/sink/enable";
    assert_eq!(press(house, enable, Some("https://evil.example")), 403);
    assert!(stopped(house), "a page of another origin enables nothing");
    let origin = house.addresses().http.clone();
    assert_eq!(press(house, enable, Some(&origin)), 303);
}

fn sent_again_by_the_page(house: &House, sink: &Sink, told: &Delivery) {
    let of_it = |delivery: &&Value| delivery["event_id"] == told.id();
    let id = eventually("it is delivered", || {
        let all = deliveries(house);
        let one = all.iter().find(of_it)?;
        (one["state"] == "delivered").then(|| one["id"].as_i64().unwrap())
    });
    let again = format!("/deliveries/{id}/replay");
    let url = format!("{}{again}", house.addresses().http);
    let anonymous = door::post(&url, &[], b"").unwrap();
    assert_eq!(anonymous.status, 401, "{}", anonymous.text());
    let page = house.page("/deliveries").text();
    assert!(page.contains(&format!(r#"action="{again}""#)), "{page}");
    assert_eq!(press(house, &again, None), 303);
    until("it arrives again", || {
        let taken = sink.taken(CHANGED);
        taken.iter().filter(|taken| taken.id() == told.id()).count() == 2
    });
}

#[test]
fn a_test_event_is_signed_and_its_answer_is_printed() {
    let sink = Sink::refusing_first(1);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("fathomline.toml");
    fs::write(&config, sink.config()).unwrap();
    let test = |endpoint: &str| {
        let output = Command::new(program::path())
            .args(["webhook", "test", endpoint, "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        (output.status.code().unwrap(), printed)
    };
    let (code, printed) = test("sink");
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("500"), "{printed}");
    let (code, printed) = test("sink");
    assert_eq!(code, 0, "{printed}");
    let [taken] = sink.taken("fathomline.webhook.test").try_into().unwrap();
    assert!(printed.contains(taken.id()), "{printed}");
    taken.is_signed_with(&[SECRET]);
    let (code, printed) = test("pager");
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("there are: sink"), "{printed}");
}

/// Starts where it must not: what it says.
fn refused(config: &str, folder: &Path) -> String {
    let file = folder.join("fathomline.toml");
    fs::write(&file, config).unwrap();
    let anywhere = "127.0.0.1:0";
    let output = Command::new(program::path())
        .arg("serve")
        .arg("--config")
        .arg(&file)
        .arg("--data")
        .arg(folder.join("data"))
        .args(["--http", anywhere, "--otlp-http", anywhere])
        .args(["--otlp-grpc", anywhere])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{config}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn endpoints_that_cannot_be_used_stop_the_start_and_say_which_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("secret"), SECRET).unwrap();
    fs::write(path("template.json"), "{\n  \"a\": {{ event. }}\n}\n").unwrap();
    let endpoint = |rest: &str| format!("[[alert.endpoints]]\nname = \"x\"\n{rest}\n");
    let signed = format!("secret_file = \"{}\"", path("secret"));
    for address in ["127.0.0.1:9", "10.0.0.1", "[::1]", "169.254.169.254"] {
        let config = endpoint(&format!("url = \"http://{address}/\"\n{signed}"));
        let said = refused(&config, folder.path());
        assert!(said.contains("internal address"), "{said}");
    }
    let template = format!(
        "kind = \"http\"\nurl = \"https://x.example/\"\ntemplate_file = \"{}\"",
        path("template.json")
    );
    let said = refused(&endpoint(&template), folder.path());
    assert!(said.contains("template.json, line 2"), "{said}");
    let absent = "kind = \"github\"\nurl = \"https://x.example/\"\ntoken_file = \"/nowhere\"";
    let said = refused(&endpoint(absent), folder.path());
    assert!(said.contains("/nowhere"), "{said}");
}

#[test]
fn what_is_told_is_what_the_published_schema_says() {
    let sink = Sink::open();
    let house = watchful(&sink);
    shift_one_of_two(&house);
    let told = eventually("the shift is told", || sink.taken(CHANGED).first().cloned());
    let told = told.json();
    let effect = &told["data"]["effect"];
    assert_eq!(effect["direction"], "more", "{told}");
    assert!(effect["share"].as_f64() > effect["expected_share"].as_f64());
    let (from, to) = (&effect["interval"][0], &effect["interval"][1]);
    assert!(from.as_f64() < to.as_f64(), "{told}");
    let parts = told["data"]["contributors"].as_array().unwrap();
    assert!(parts.iter().any(|part| part["kind"] == "bin"), "{told}");
    parts_of_the_incident_add_up(&told["data"]["incident"]);
    let link = told["data"]["link"].as_str().unwrap();
    assert!(link.starts_with(&house.addresses().http), "{link}");
    let Some(python) = program::python_with(&["jsonschema"]) else {
        return;
    };
    let test = json!({
        "type": "fathomline.webhook.test", "timestamp": "2026-11-23T00:00:00Z", "data": {},
    });
    let mut child = Command::new(python)
        .arg(workspace::root().join("tests/foreign/check_schema.py"))
        .arg(workspace::root().join("docs/schemas"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), &json!([told, test])).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Those of each kind come to the score within a hundredth.
fn parts_of_the_incident_add_up(incident: &Value) {
    let score = incident["score"].as_f64().unwrap();
    assert!(score > 0.0, "{incident}");
    let parts = incident["contributors"].as_array().unwrap();
    for kind in ["class", "version", "signal", "site", "bin"] {
        let of_kind = parts.iter().filter(|part| part["kind"] == kind);
        let sum: f64 = of_kind.map(|part| part["part"].as_f64().unwrap()).sum();
        assert!(
            (sum / score - 1.0).abs() < 0.01,
            "{kind}: {sum} of {incident}"
        );
    }
    assert_eq!(incident["series"][0]["device_class"], "kiosk", "{incident}");
}

/// Each of them shifts, and is held against its reference in another life of the collector.
const CLASSES: [&str; 4] = ["kiosk", "panel", "gateway", "camera"];

/// How often the collector is killed, and what decides when.
///
/// `FATHOMLINE_KILLS=100 FATHOMLINE_SEED=7 cargo test --workspace --test system --
/// deliveries::nothing_told` is the long form.
fn kills_and_seed() -> (u64, u64) {
    let number = |name: &str, default: u64| {
        let given = env::var(name).ok();
        given.map_or(default, |text| text.parse().unwrap())
    };
    (number("FATHOMLINE_KILLS", 6), number("FATHOMLINE_SEED", 11))
}

/// Refuses, says nothing, is slow, takes: by the seed and the number of the delivery.
fn moody(seed: u64) -> impl Fn(usize) -> Reply + Send + Sync + 'static {
    move |number| {
        let mut mood = StdRng::seed_from_u64(seed ^ (number as u64) << 8);
        let wait = Duration::from_millis(mood.random_range(50..400));
        match mood.random_range(0..10) {
            0..4 => Reply::Status(500),
            4 => Reply::Silence(wait),
            5..8 => Reply::Slowly(200, wait),
            _ => Reply::Status(200),
        }
    }
}

#[test]
fn nothing_told_is_lost_or_told_under_two_ids_whoever_is_killed() {
    let (kills, seed) = kills_and_seed();
    eprintln!("{kills} kills by seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let sink = Sink::answering(moody(seed));
    let retry = format!(
        "retry = [{}]\ntimeout = \"2s\"",
        vec!["\"200ms\""; 400].join(", ")
    );
    let mut house = house_with(&sink.config_with(&retry));
    // Of a service each: what drifts together in one would be one page.
    let fleets = CLASSES.map(|class| Fleet {
        service: class,
        class,
        ..Fleet::ending_now("kiosk", QUIET + JUDGED, seed).of(3)
    });
    for fleet in &fleets {
        fleet.tell(&house, 1..=QUIET + 5, 1.0);
        fleet.tell(&house, QUIET + 6..=QUIET + JUDGED, SHIFTED);
    }
    let mut waiting = fleets.iter();
    for kill in 0..kills {
        let due = (kill + 1) * fleets.len() as u64 / kills;
        let frozen = (fleets.len() - waiting.len()) as u64;
        for fleet in waiting.by_ref().take((due - frozen) as usize) {
            freeze_class(&house, fleet);
        }
        send_one_again(&house, &mut chance);
        std::thread::sleep(Duration::from_millis(chance.random_range(20..900)));
        house.reopen();
    }
    let events = eventually("every class is told of", || {
        let sql = format!("SELECT id FROM events WHERE kind = '{CHANGED}'");
        let rows = house.ask(&sql).into_iter();
        let ids: BTreeSet<String> = rows
            .map(|row| row[0].as_str().unwrap().to_owned())
            .collect();
        (ids.len() >= CLASSES.len()).then_some(ids)
    });
    until("nothing is on its way", || {
        let all = deliveries(&house);
        all.len() >= events.len() && all.iter().all(|one| one["state"] == "delivered")
    });
    each_event_under_one_id(&sink, &events);
}

fn freeze_class(house: &House, fleet: &Fleet) {
    let span = json!({
        "model": "tiny", "device_class": fleet.class, "metric": names::OUTPUT_SURPRISAL,
        "from_us": fleet.end_of(0), "to_us": fleet.end_of(QUIET),
    });
    let answer = house.call("/api/v1/references", &span);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// An operator sends something again, whatever became of it.
fn send_one_again(house: &House, chance: &mut StdRng) {
    let all = deliveries(house);
    if !all.is_empty() {
        let id = &all[chance.random_range(0..all.len())]["id"];
        let answer = house.call(&format!("/api/v1/deliveries/{id}/replay"), &json!({}));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

fn each_event_under_one_id(sink: &Sink, events: &BTreeSet<String>) {
    let attempts = sink.deliveries();
    let told = |delivery: &Delivery| delivery.json()["type"] == CHANGED;
    let taken = attempts.iter().filter(|d| d.status == 200 && told(d));
    let taken: BTreeSet<String> = taken.map(|delivery| delivery.id().to_owned()).collect();
    assert_eq!(&taken, events, "every event arrived, and nothing else");
    let (mut bodies, mut ids) = (BTreeMap::new(), BTreeMap::new());
    let mut drifts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for delivery in attempts.iter().filter(|delivery| told(delivery)) {
        let (id, body) = (delivery.id().to_owned(), delivery.body.clone());
        let of_id = bodies.entry(id.clone()).or_insert_with(|| body.clone());
        assert_eq!(of_id, &body, "one id, one body");
        let of_body = ids.entry(body).or_insert_with(|| id.clone());
        assert_eq!(of_body, &id, "one body, one id");
        let data = &delivery.json()["data"];
        if data["state"] == "drifting" {
            let class = data["device_class"].as_str().unwrap().to_owned();
            drifts.entry(class).or_default().insert(id);
        }
    }
    assert_eq!(drifts.len(), CLASSES.len(), "{drifts:?}");
    assert!(drifts.values().all(|ids| ids.len() == 1), "{drifts:?}");
    let (events, attempts) = (events.len(), attempts.len());
    eprintln!("{events} events in {attempts} attempts");
    assert!(attempts > events, "some attempts were repeated");
}
