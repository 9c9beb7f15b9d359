//! References from outside: they are made, shown, pinned, compared, retired and sent through files
//! by an operator, on the command line while the collector runs and through its API; everybody else
//! may look. Every act is in the audit, and what is retired judges no more.

use serde_json::{Value, json};

use crate::{
    drift::{JUDGED, QUIET, SHIFTED, freeze, judged, states, watchful},
    harness::{
        browser::{self, Theme},
        clock::{eventually, until},
        door,
        fleet::Fleet,
        house::House,
        program,
        sink::Sink,
    },
};

/// The command line on this house's data; what it printed.
fn reference(house: &House, arguments: &[&str]) -> String {
    let (succeeded, printed) = tried(house, arguments);
    assert!(succeeded, "reference {arguments:?}: {printed}");
    printed
}

fn tried(house: &House, arguments: &[&str]) -> (bool, String) {
    let data = house.data().to_string_lossy().into_owned();
    let arguments = [&["reference"], arguments, &["--data", &data]].concat();
    house.command_line(&arguments)
}

fn listed(house: &House) -> Vec<Value> {
    let page = house.page("/api/v1/references").json();
    page["references"].as_array().unwrap().clone()
}

/// A house with a quiet fleet whose surprisal is frozen and judged.
fn judged_house(sink: &Sink) -> (House, Fleet) {
    let house = watchful(sink);
    let fleet = Fleet::ending_now("kiosk", QUIET + JUDGED, 31);
    fleet.tell(&house, 1..=QUIET + JUDGED, 1.0);
    freeze(&house, &fleet);
    judged(&house, &fleet);
    (house, fleet)
}

/// The hash of the surprisal reference.
fn surprisal(house: &House) -> String {
    let all = listed(house);
    let is = |row: &&Value| row["name"].as_str().unwrap().ends_with("output.surprisal");
    all.iter().find(is).unwrap()["hash"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn an_operator_lists_shows_retires_and_pins_while_the_collector_runs() {
    let sink = Sink::open();
    let (house, fleet) = judged_house(&sink);
    let hash = surprisal(&house);
    let short = &hash[..12];
    let list = reference(&house, &["list"]);
    assert!(list.contains(short) && list.contains("since 20"), "{list}");
    let shown = reference(&house, &["show", short]);
    for part in [
        &hash,
        "above the reference p50",
        "reference.create",
        "admin",
        "cited by",
    ] {
        assert!(shown.contains(part), "{part} is missing: {shown}");
    }
    let series = listed(&house)
        .iter()
        .find(|row| row["hash"] == hash.as_str())
        .map(|row| row["cited_by"][0]["series"].clone());
    assert!(
        series.is_some_and(|series| series.is_string()),
        "the series cites it"
    );

    reference(&house, &["retire", short]);
    let undecided = |word: &str| {
        let sql = "SELECT state, evidence FROM verdicts WHERE metric LIKE '%surprisal' \
                   ORDER BY time DESC, revision DESC LIMIT 1";
        let row = house.ask(sql).remove(0);
        row[0] == "undecided" && row[1].as_str().unwrap().contains(word)
    };
    let page = house.page("/references").text();
    assert!(
        page.contains("retired 20") && page.contains("by <bdi>command line"),
        "{page}"
    );
    let lane = fleet.lane_ending_now();
    fleet.tell(&house, lane..=lane, 1.0);
    until("the series is undecided", || undecided("no reference"));
    reference(&house, &["pin", short]);
    let pinned = reference(&house, &["show", short]);
    assert!(
        pinned.contains("reference.pin") && pinned.contains("reference.retire"),
        "{pinned}"
    );
}

#[test]
fn a_reference_goes_through_a_file_to_another_house_and_keeps_its_name() {
    let sinks = [Sink::open(), Sink::open()];
    let (here, _) = judged_house(&sinks[0]);
    let there = watchful(&sinks[1]);
    let hash = surprisal(&here);
    let file = here.folder().join("reference.toml");
    let path = file.to_string_lossy().into_owned();
    reference(&here, &["export", &hash, "--output", &path]);
    reference(&there, &["import", &path, "--pin"]);
    let row = listed(&there).remove(0);
    assert_eq!(
        (&row["hash"], &row["made_from"]),
        (&json!(hash), &json!("file"))
    );
    let over_http = here.page(&format!("/api/v1/references/{hash}/file")).text();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), over_http);

    // What it says of another fleet is judged there: this one is twice as surprised.
    let fleet = Fleet::ending_now("kiosk", 20, 33);
    fleet.tell(&there, 1..=3, SHIFTED);
    let edited = over_http.replace("devices = 6", "devices = 7");
    std::fs::write(&file, edited).unwrap();
    let (succeeded, printed) = tried(&there, &["import", &path]);
    assert!(
        !succeeded && printed.contains("a reference cannot be edited"),
        "{printed}"
    );
}

#[test]
fn what_cannot_be_done_says_what_to_do_and_changes_nothing() {
    let sink = Sink::open();
    let (house, _) = judged_house(&sink);
    let before = listed(&house);
    for (arguments, says) in [
        (&["show", "abcdef"][..], "there is no reference abcdef"),
        (&["pin", "xyz"], "6 to 64 hexadecimal digits"),
        (&["retire", "00"], "6 to 64 hexadecimal digits"),
        (&["import", "/nowhere.toml"], "cannot read /nowhere.toml"),
        (&["create", "--model", "tiny"], "--version"),
        (
            &["create", "--model", "other", "--weeks", "1"],
            "no watched series",
        ),
        (&["create", "--model", "tiny", "--weeks", "9"], "1..=4"),
        (
            &[
                "create", "--model", "tiny", "--weeks", "1", "--season", "moon",
            ],
            "hour-of-week",
        ),
        (
            &["create", "--model", "tiny", "--from", "noon", "--to", "now"],
            "2026-11-26T09:00:00Z",
        ),
    ] {
        let (succeeded, printed) = tried(&house, arguments);
        assert!(
            !succeeded && printed.contains(says),
            "{arguments:?}: {printed}"
        );
    }
    let (succeeded, printed) = house.command_line(&["reference", "list", "--data", "/nowhere"]);
    assert!(
        !succeeded && printed.contains("holds no data of a collector"),
        "{printed}"
    );
    let hash = surprisal(&house);
    for (path, status, says) in [
        ("/api/v1/references/abcdef", 404, "there is no reference"),
        ("/api/v1/references/%3Cb%3E", 400, "hexadecimal"),
        ("/api/v1/references?limit=0", 400, "between 1 and"),
    ] {
        let answer = house.page(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(says), "{path}: {}", answer.text());
    }
    for path in ["pin", "retire"] {
        let url = format!("{}/api/v1/references/{hash}/{path}", house.addresses().http);
        assert_eq!(
            door::post(&url, &[], b"").unwrap().status,
            401,
            "{path} without a token"
        );
    }
    let import = format!(
        "{}/api/v1/references/import?pin=true",
        house.addresses().http
    );
    assert_eq!(door::post(&import, &[], b"x").unwrap().status, 401);
    assert_eq!(listed(&house), before);
}

#[test]
fn committed_rows_make_references_on_the_command_line() {
    let sink = Sink::open();
    let house = watchful(&sink);
    let fleet = Fleet::ending_now("kiosk", QUIET + JUDGED, 34);
    fleet.tell(&house, 1..=QUIET, 1.0);
    let config = house.folder().join("fathomline.toml");
    let config = config.to_string_lossy().into_owned();
    let create = [
        "create",
        "--model",
        "tiny",
        "--version",
        "1",
        "--config",
        &config,
        "--no-pin",
    ];
    eventually("rows are committed and enough for a reference", || {
        let (succeeded, printed) = tried(&house, &create);
        (succeeded && printed.contains("output.surprisal")).then_some(())
    });
    let rows = listed(&house);
    assert!(
        rows.iter().all(|row| row["in_force_since_us"].is_null()),
        "{rows:?}"
    );
    assert!(
        rows.iter().all(|row| row["made_from"] == "version"),
        "{rows:?}"
    );
    let acts = house.page("/api/v1/references/acts").json();
    assert_eq!(acts["acts"][0]["actor"], "command line");
    reference(&house, &["pin", &surprisal(&house)]);
    assert!(!states(&house, "kiosk").contains(&"drifting".to_owned()));
}

#[test]
fn the_page_shows_who_made_what_and_compares_two() {
    let sink = Sink::open();
    let house = watchful(&sink);
    let fleet = Fleet::ending_now("kiosk", QUIET + JUDGED, 35);
    fleet.tell(&house, 1..=QUIET, 1.0);
    fleet.tell(&house, QUIET + 1..=QUIET + JUDGED, SHIFTED);
    freeze(&house, &fleet);
    let first = surprisal(&house);
    let later = json!({
        "model": "tiny", "include_incidents": true, "pin": false,
        "from_us": fleet.end_of(QUIET), "to_us": fleet.end_of(QUIET + JUDGED),
    });
    let answer = eventually("the later lanes have closed", || {
        let answer = house.call("/api/v1/references", &later);
        (answer.status == 200).then(|| answer.json())
    });
    let is = |row: &&Value| row["name"].as_str().unwrap().ends_with("output.surprisal");
    let made = answer["references"].as_array().unwrap().clone();
    let second = made.iter().find(is).unwrap()["hash"]
        .as_str()
        .unwrap()
        .to_owned();
    let compared = reference(&house, &["compare", &first, &second]);
    assert!(compared.contains("PSI, debiased"), "{compared}");
    let path = format!("/references?first={first}&second={second}");
    let page = house.page(&path);
    assert_eq!(page.status, 200, "{}", page.text());
    let page = page.text();
    let expected = [
        &first[..12],
        &second[..12],
        "The difference is large",
        "First share",
        "beyond tolerance",
        "by <bdi>admin</bdi>",
        "admin made",
        "<svg",
    ];
    for part in expected {
        assert!(page.contains(part), "{part} is missing: {page}");
    }
    looks_like_something(&house, &path);
}

fn looks_like_something(house: &House, path: &str) {
    let Some(chromium) = program::chromium() else {
        return;
    };
    let url = format!("{}{path}", house.addresses().http);
    let [light, dark] = [Theme::Light, Theme::Dark]
        .map(|theme| browser::picture(&chromium, &url, "references", theme));
    assert!(
        light.len() > 20_000 && dark.len() > 20_000,
        "the page is nearly empty"
    );
    assert!(light != dark, "the page looks the same in dark and light");
}
