//! A new version goes on only when it is shown to be no worse: the command, Argo Rollouts and
//! Flagger, as the files in `deploy/` set them up, say the same; too little data holds; what cannot
//! be asked is refused. Windows are sent for a past of some minutes, so every lane is closed.

use fathomline_wire::names;
use serde_json::{Value, json};

use crate::harness::{
    browser::{self, Theme},
    clock::{eventually, now_us},
    device::{Device, Span},
    door,
    house::{House, Settings},
    program, workspace,
};

/// What the demo chooses: seconds instead of days.
const CONFIG: &str = "[store]\nseal_after = \"1s\"\n[privacy]\nmin_devices = 3\n\
    [drift]\nlane = \"5s\"\n[gate]\nwindow = \"5s\"\naa = \"100s\"\nmin_time = \"0s\"\n\
    margin = 2.0\nmin_devices = 3\n";

const LANE_US: i64 = 5_000_000;
/// Lanes of version 1 alone, and of both.
const BEFORE: i64 = 20;
const SINCE: i64 = 24;
const DEVICES: usize = 8;

/// Eight devices of which some move to version 2, so many times as slow, and as surprised.
#[derive(Clone, Copy)]
struct Rollout {
    class: &'static str,
    moved: usize,
    times: f64,
    began_us: i64,
}

impl Rollout {
    fn ended_now(times: f64) -> Self {
        let last = now_us() / LANE_US - 4;
        Self {
            class: "kiosk",
            moved: 4,
            times,
            began_us: (last - BEFORE - SINCE) * LANE_US,
        }
    }

    fn tell(&self, house: &House) {
        for lane in 0..BEFORE + SINCE {
            for number in 0..DEVICES {
                self.tell_window(house, lane, number);
            }
        }
    }

    fn tell_window(&self, house: &House, lane: i64, number: usize) {
        let moved = lane >= BEFORE && number < self.moved;
        let device = Device {
            version: if moved { "2" } else { "1" }.into(),
            ..Device::of_class(number, self.class)
        };
        let span = Span {
            start_us: self.began_us + lane * LANE_US,
            end_us: self.began_us + (lane + 1) * LANE_US,
        };
        let times = if moved { self.times } else { 1.0 };
        let seed = u64::try_from(lane).unwrap() * 64 + number as u64;
        let values: Vec<f64> = (0..24).map(|n| times * value(seed * 64 + n)).collect();
        let sequence = u64::try_from(lane + 1).unwrap();
        let mut request = device.request(sequence, span, &values);
        let duration = device.distribution(names::OPERATION_DURATION, span, &values);
        let metrics = &mut request.resource_metrics[0].scope_metrics[0].metrics;
        metrics.push(duration);
        house.receive(&device.window_of(&request, sequence));
    }
}

/// Log-normal around 0.2: a sum of four uniform draws is close enough to normal.
fn value(seed: u64) -> f64 {
    let draw = |part: u64| {
        let mut z = (seed * 4 + part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / f64::from(u32::MAX)
    };
    0.2 * ((0..4).map(draw).sum::<f64>() - 2.0).exp()
}

fn house() -> House {
    House::with(Settings {
        config: CONFIG.to_owned(),
        ..Settings::default()
    })
}

/// Exit code and output of `fathomline gate`.
fn gate(house: &House, arguments: &[&str]) -> (i32, String) {
    let url = house.addresses().http.clone();
    let from = match arguments.contains(&"--data") {
        true => vec![],
        false => vec!["--url", &url],
    };
    let output = std::process::Command::new(program::path())
        .arg("gate")
        .args(arguments)
        .args(from)
        .env_remove("FATHOMLINE_TOKEN")
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    (output.status.code().unwrap(), printed)
}

const BOTH: [&str; 6] = ["--model", "tiny", "--candidate", "2", "--against", "1"];

/// Waits until the rollout that devices reported is noticed.
fn noticed(house: &House) -> Value {
    eventually("the rollout is noticed", || {
        let listed = house.page("/api/v1/rollouts").json();
        listed["rollouts"].get(0).cloned()
    })
}

#[test]
fn a_slower_version_is_rolled_back_by_every_door() {
    let house = house();
    let rollout = Rollout::ended_now(1.6);
    rollout.tell(&house);
    let found = noticed(&house);
    assert_eq!(
        (&found["candidate"], &found["against"]),
        (&json!("2"), &json!("1"))
    );
    assert_eq!(found["source"], "reported");
    assert_eq!(
        found["started_us"],
        json!(rollout.began_us + BEFORE * LANE_US)
    );

    let (code, printed) = gate(&house, &BOTH);
    assert_eq!(code, 1, "{printed}");
    for part in [
        "rollback: worse than 1",
        "on kiosk",
        "operation.duration",
        "4 devices run 2",
    ] {
        assert!(printed.contains(part), "{part} is missing: {printed}");
    }
    let (code, printed) = gate(&house, &[&BOTH[..], &["--format", "json"]].concat());
    let answer: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, &answer["decision"]), (1, &json!("rollback")));
    assert_eq!(answer["settings"]["margin"], 2.0);
    let signals = answer["classes"][0]["signals"].as_array().unwrap();
    assert!(
        signals.iter().all(|signal| signal["harm_ln_e"].is_f64()),
        "{answer}"
    );

    assert_eq!(asked_by_argo(&house), "rollback");
    assert_eq!(
        asked_by_flagger(&house),
        [("confirm-promotion", 409), ("rollback", 200)]
    );
    let events = "SELECT body FROM events WHERE kind = 'fathomline.rollout.started'";
    let told = eventually("the event is copied", || house.ask(events).pop());
    assert!(
        told[0].as_str().unwrap().contains("\"candidate\":\"2\""),
        "{told:?}"
    );
    the_page_says_so(&house);
}

fn the_page_says_so(house: &House) {
    let page = house.page("/rollouts").text();
    for part in ["rollback", "Worse than 1: on kiosk", "33.3 %", "goes on"] {
        assert!(page.contains(part), "{part} is missing: {page}");
    }
    let Some(chromium) = program::chromium() else {
        return;
    };
    let url = format!("{}/rollouts", house.addresses().http);
    let [light, dark] = [Theme::Light, Theme::Dark]
        .map(|theme| browser::picture(&chromium, &url, "rollouts", theme));
    assert!(
        light.len() > 20_000 && dark.len() > 20_000,
        "the page is nearly empty"
    );
    assert!(light != dark, "the page looks the same in dark and light");
}

#[test]
fn an_equal_version_is_promoted_by_every_door() {
    let house = house();
    Rollout::ended_now(1.0).tell(&house);
    noticed(&house);
    let (code, printed) = gate(&house, &BOTH);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.starts_with("promote: "), "{printed}");
    assert_eq!(asked_by_argo(&house), "promote");
    assert_eq!(
        asked_by_flagger(&house),
        [("confirm-promotion", 200), ("rollback", 409)]
    );
    // The same from the folder, once everything is committed.
    let (folder, config) = (
        house.data().display().to_string(),
        house.folder().join("fathomline.toml"),
    );
    let arguments = ["--data", &folder, "--config", &config.display().to_string()];
    let arguments = [&BOTH[..], &arguments].concat();
    let (code, printed) = eventually("the folder says the same", || {
        let (code, printed) = gate(&house, &arguments);
        (code != 3).then_some((code, printed))
    });
    assert_eq!(code, 0, "{printed}");
}

#[test]
fn too_little_holds_and_what_cannot_be_asked_is_an_error() {
    let house = house();
    let few = Rollout {
        moved: 2,
        ..Rollout::ended_now(1.6)
    };
    few.tell(&house);
    noticed(&house);
    let (code, printed) = gate(&house, &[&BOTH[..], &["--wait", "3s"]].concat());
    assert_eq!(code, 3, "{printed}");
    assert!(
        printed.contains("hold: undecided: on kiosk, 2 of 3 devices run 2"),
        "{printed}"
    );
    assert_eq!(asked_by_argo(&house), "hold");
    assert_eq!(
        asked_by_flagger(&house),
        [("confirm-promotion", 409), ("rollback", 409)]
    );
    let shares = ["%", "above 1.10 times"];
    assert!(
        !shares.iter().any(|part| printed.contains(part)),
        "two devices are told of: {printed}"
    );

    let with = |from: &'static str, to: &'static str| {
        let change = |part: &&'static str| if *part == from { to } else { part };
        BOTH.iter().map(change).collect::<Vec<_>>()
    };
    // Nobody has it yet.
    let (code, printed) = gate(&house, &with("2", "3"));
    assert_eq!(code, 3, "{printed}");
    assert!(printed.contains("seen so far: 1, 2"), "{printed}");
    for (arguments, says) in [
        (with("2", "1"), "cannot hold version 1 against itself"),
        (with("1", "0"), "no device has reported version \"0\""),
        (with("tiny", "large"), "models seen: tiny"),
        (with("tiny", ""), "cannot ask the gate without a model"),
        (
            [&BOTH[..], &["--class", "x"]].concat(),
            "classes seen: kiosk",
        ),
        (
            [&BOTH[..], &["--improve", "mood"]].concat(),
            "cannot be asked to get better",
        ),
        ([&BOTH[..], &["--wait", "1d"]].concat(), "s, min or h"),
        (vec!["--model", "tiny"], "--candidate"),
    ] {
        let (code, printed) = gate(&house, &arguments);
        assert_eq!(code, 2, "{arguments:?}: {printed}");
        assert!(printed.contains(says), "{says} is missing: {printed}");
    }
    for (query, status) in [
        ("model=tiny&candidate=2&against=1", 200),
        ("model=tiny&candidate=2", 400),
        ("model=tiny&candidate=2&against=2", 400),
        ("model=tiny&candidate=2&against=1&marging=1", 400),
        ("model=large&candidate=2&against=1", 404),
    ] {
        let answer = house.page(&format!("/api/v1/gate?{query}"));
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
    }
}

#[test]
fn operators_declare_rollouts_and_others_do_not() {
    let house = house();
    Rollout::ended_now(1.0).tell(&house);
    let reported = noticed(&house);
    let declared = json!({"model": "tiny", "candidate": "2", "against": "1"});
    let url = format!("{}/api/v1/rollouts", house.addresses().http);
    let kind = [("content-type", "application/json")];
    let refused = door::post(&url, &kind, declared.to_string().as_bytes()).unwrap();
    assert_eq!(refused.status, 401, "{}", refused.text());
    let asked = "/api/v1/gate?model=tiny&candidate=2&against=1";
    assert_eq!(house.page(asked).json()["decision"], "promote");
    let started = house.call("/api/v1/rollouts", &declared);
    assert_eq!(started.status, 201, "{}", started.text());
    let id = started.json()["id"].as_i64().unwrap();
    assert_ne!(Some(id), reported["id"].as_i64());
    // It begins now, so nothing has been seen since.
    let answer = house.page(asked).json();
    assert_eq!(answer["decision"], "hold", "{answer}");
    let finish = format!("/api/v1/rollouts/{id}/finish");
    let wrong = house.call(&finish, &json!({"outcome": "forgotten"}));
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    let finished = house.call(&finish, &json!({"outcome": "rolled_back"}));
    assert_eq!(
        finished.json()["outcome"],
        "rolled_back",
        "{}",
        finished.text()
    );
    assert_eq!(
        house.call(&finish, &json!({"outcome": "promoted"})).status,
        409
    );
    let unknown = house.call(
        "/api/v1/rollouts/99/finish",
        &json!({"outcome": "promoted"}),
    );
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    let strange = house.call("/api/v1/rollouts", &json!({"model": "tiny", "canary": "2"}));
    assert_eq!(strange.status, 422, "{}", strange.text());
}

/// The addresses of a file in `deploy/`, at this house.
fn here(url: &str, house: &House) -> String {
    let (_, path) = url.split_once(":8330").expect("an address of a collector");
    format!("{}{path}", house.addresses().http)
}

fn yaml(path: &str) -> Value {
    let text = workspace::read(path);
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What Argo Rollouts reads: the template's address with its arguments, and the member that its
/// JSON path names.
fn asked_by_argo(house: &House) -> String {
    let template = yaml("deploy/argo-rollouts/analysis-template.yaml");
    let metric = &template["spec"]["metrics"][0];
    let web = &metric["provider"]["web"];
    let mut url = here(web["url"].as_str().unwrap(), house);
    let rollout = yaml("deploy/argo-rollouts/rollout.yaml");
    let steps = rollout["spec"]["strategy"]["canary"]["steps"]
        .as_array()
        .unwrap();
    let analysis = steps.iter().find_map(|step| step.get("analysis")).unwrap();
    assert_eq!(
        analysis["templates"][0]["templateName"],
        template["metadata"]["name"]
    );
    for argument in analysis["args"].as_array().unwrap() {
        let name = argument["name"].as_str().unwrap();
        let value = match name {
            // The example's model is another.
            "model" => "tiny",
            _ => argument["value"].as_str().unwrap(),
        };
        url = url.replace(&format!("{{{{args.{name}}}}}"), value);
    }
    url = url.replace("{{args.class}}", "");
    assert!(!url.contains("{{"), "{url}");
    let answer = door::get(&url, &[]).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(web["jsonPath"], "{$.decision}");
    for (condition, word) in [
        ("successCondition", "promote"),
        ("failureCondition", "rollback"),
    ] {
        assert_eq!(metric[condition], format!("result == \"{word}\""));
    }
    answer.json()["decision"].as_str().unwrap().to_owned()
}

/// What Flagger sees: the status of each hook's answer.
fn asked_by_flagger(house: &House) -> Vec<(&'static str, u16)> {
    let canary = yaml("deploy/flagger/canary.yaml");
    let hooks = canary["spec"]["analysis"]["webhooks"].as_array().unwrap();
    let asked = hooks.iter().map(|hook| {
        let mut metadata = hook["metadata"].clone();
        metadata["model"] = json!("tiny");
        let body = json!({
            "name": "assistant", "namespace": "edge", "phase": "WaitingPromotion",
            "checksum": "85d557f47b", "metadata": metadata,
        });
        let kind = [("content-type", "application/json")];
        let url = here(hook["url"].as_str().unwrap(), house);
        let answer = door::post(&url, &kind, body.to_string().as_bytes()).unwrap();
        let known = ["confirm-promotion", "rollback"].into_iter();
        let kind = known
            .into_iter()
            .find(|kind| hook["type"] == *kind)
            .unwrap();
        (kind, answer.status)
    });
    asked.collect()
}
