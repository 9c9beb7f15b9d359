//! A known shift fires; when nothing shifted, it stays silent; too little is undecided. Windows
//! are sent for a past of some minutes, so every lane is closed and complete before it is judged:
//! how fast this machine is decides nothing.

use fathomline_wire::names;
use serde_json::{Value, json};

use crate::harness::{
    clock::{eventually, until},
    fleet::{Fleet, LANE_US},
    house::{House, Settings},
    sink::{Delivery, SECRET, Sink},
};

/// Lanes of the reference; lanes that are judged against it.
pub(crate) const QUIET: i64 = 60;
pub(crate) const JUDGED: i64 = 30;

/// What the shift does to surprisal.
pub(crate) const SHIFTED: f64 = 2.0;

/// A house that judges lanes of one second and tells `sink`.
pub(crate) fn watchful(sink: &Sink) -> House {
    let config = format!(
        "[store]\nseal_after = \"1s\"\n[drift]\nlane = \"1s\"\nseries_budget = 32\n{}",
        sink.config()
    );
    House::with(Settings {
        config,
        ..Settings::default()
    })
}

/// Freezes what `fleet` said in its quiet lanes.
pub(crate) fn freeze(house: &House, fleet: &Fleet) -> Value {
    let span = json!({
        "model": "tiny",
        "from_us": fleet.end_of(0),
        "to_us": fleet.end_of(QUIET),
    });
    let answer = house.call("/api/v1/references", &span);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// States of the surprisal series of `class` against its reference, oldest first, as stored.
pub(crate) fn states(house: &House, class: &str) -> Vec<String> {
    let sql = format!(
        "SELECT state FROM verdicts WHERE reference IS NOT NULL AND metric = '{}' \
         AND device_class = '{class}' ORDER BY time, revision",
        names::OUTPUT_SURPRISAL
    );
    let rows = house.ask(&sql);
    rows.iter()
        .filter_map(|row| row[0].as_str().map(str::to_owned))
        .collect()
}

/// Waits until the last lane of `fleet` has a verdict.
pub(crate) fn judged(house: &House, fleet: &Fleet) {
    let lanes = usize::try_from(JUDGED).unwrap();
    until("every lane has a verdict", || {
        states(house, fleet.class).len() >= lanes
    });
}

/// Two classes with the same past; only one of them shifts.
fn two_classes() -> (Fleet, Fleet) {
    let kiosk = Fleet::ending_now("kiosk", QUIET + JUDGED, 21);
    (
        kiosk,
        Fleet {
            class: "panel",
            seed: 22,
            ..kiosk
        },
    )
}

/// Tells a house of two classes, of which only `kiosk` shifts, and waits for the verdicts.
pub(crate) fn shift_one_of_two(house: &House) -> (Fleet, Fleet) {
    let (kiosk, panel) = two_classes();
    kiosk.tell(house, 1..=QUIET + 5, 1.0);
    kiosk.tell(house, QUIET + 6..=QUIET + JUDGED, SHIFTED);
    panel.tell(house, 1..=QUIET + JUDGED, 1.0);
    freeze(house, &kiosk);
    judged(house, &kiosk);
    judged(house, &panel);
    (kiosk, panel)
}

#[test]
fn only_the_class_that_shifted_drifts_and_the_webhook_says_so_once() {
    let sink = Sink::refusing_first(2);
    let house = watchful(&sink);
    let (kiosk, _) = shift_one_of_two(&house);

    let shifted = states(&house, "kiosk");
    assert!(
        !shifted[..5].contains(&"drifting".into()),
        "before the shift: {shifted:?}"
    );
    assert!(
        shifted.contains(&"drifting".into()),
        "after the shift: {shifted:?}"
    );
    let quiet = states(&house, "panel");
    assert!(
        !quiet.contains(&"drifting".into()),
        "nothing shifted: {quiet:?}"
    );
    delivered_once(&sink);
    since_is_near_the_shift(&house, &kiosk);
}

/// The same pages, found in what is stored: as sent by the detector, and by a rule.
#[test]
fn a_backtest_finds_the_page_that_would_have_been_sent() {
    let sink = Sink::refusing_first(0);
    let mut house = watchful(&sink);
    shift_one_of_two(&house);
    house.end_politely();
    let data = house.data().to_string_lossy().into_owned();
    let backtest = |extra: &[&str]| -> Vec<Value> {
        let fixed = ["backtest", "--data", &data, "--format", "json"];
        let arguments = [&fixed[..], &["--series-budget", "32"], extra].concat();
        let (succeeded, printed) = house.command_line(&arguments);
        assert!(succeeded, "{printed}");
        // What is printed beside it comes after.
        let mut values = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
        let lines = values.next().unwrap().unwrap();
        lines.as_array().unwrap().clone()
    };
    let pages = |lines: &[Value], class: &str| -> Vec<Value> {
        let of = |line: &&Value| {
            let name = line["name"].as_str().unwrap();
            name.contains(class) && name.contains(names::OUTPUT_SURPRISAL)
        };
        let line = lines.iter().find(of).unwrap_or_else(|| panic!("{lines:?}"));
        line["pages"].as_array().unwrap().clone()
    };
    for by in [&["--reference-minutes", "1"][..], &["--in-force"]] {
        let found = backtest(&[by, &["--model", "tiny"]].concat());
        assert_eq!(pages(&found, "kiosk").len(), 1, "{by:?}: {found:?}");
        assert_eq!(pages(&found, "panel").len(), 0, "{by:?}: {found:?}");
    }
    let found = backtest(&["--in-force"]);
    let page = &pages(&found, "kiosk")[0];
    assert!(
        page["score"].as_f64() >= page["threshold"].as_f64(),
        "{page}"
    );
    assert!(
        page["evidence"].as_str().unwrap().contains("reference"),
        "{page}"
    );
    let rule = ["--rule", "psi", "--limit", "0.2", "--lanes", "5"];
    let rule = backtest(&[&["--reference-minutes", "1"][..], &rule].concat());
    assert!(!pages(&rule, "kiosk").is_empty(), "{rule:?}");
    let (succeeded, said) = house.command_line(&["backtest", "--data", "nowhere"]);
    assert!(!succeeded && said.contains("cannot find tables"), "{said}");
}

#[test]
fn power_says_how_small_a_change_each_series_could_detect() {
    let sink = Sink::open();
    let mut house = watchful(&sink);
    let fleet = Fleet::ending_now("kiosk", QUIET, 41);
    fleet.tell(&house, 1..=QUIET, 1.0);
    freeze(&house, &fleet);
    house.end_politely();
    let data = house.data().to_string_lossy().into_owned();
    let power = |extra: &[&str]| -> (bool, Value) {
        let fixed = ["power", "--data", &data, "--format", "json"];
        let arguments = [&fixed[..], &["--series-budget", "32"], extra].concat();
        let (succeeded, printed) = house.command_line(&arguments);
        let mut values = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
        let lines = values.next().unwrap().unwrap();
        let of = |line: &&Value| line["name"].as_str().unwrap().contains("surprisal");
        let line = lines.as_array().unwrap().iter().find(of).cloned();
        (succeeded, line.unwrap_or_else(|| panic!("{printed}")))
    };
    let (succeeded, line) = power(&["--min-devices", "3"]);
    assert!(succeeded, "{line}");
    let per_lane = line["records_per_lane"].as_f64().unwrap();
    assert!((per_lane - 240.0).abs() < 1e-9, "{line}");
    let found = line["detectable"].as_array().unwrap();
    let smallest = |within_us: i64, direction: &str| {
        let of =
            |found: &&Value| found["within_us"] == within_us && found["direction"] == direction;
        let one = found.iter().find(of).unwrap_or_else(|| panic!("{line}"));
        one["deviations"].as_f64().unwrap()
    };
    for direction in ["more", "less"] {
        let (hour, day) = (3_600_000_000, 86_400_000_000);
        let (hour, day) = (smallest(hour, direction), smallest(day, direction));
        assert!(0.0 < day && day <= hour && hour < 1.0, "{line}");
    }
    let (succeeded, line) = power(&["--min-devices", "7"]);
    assert!(line["detectable"].as_array().unwrap().is_empty(), "{line}");
    assert_eq!(line["shortfall"], "not told of 6 devices", "{line}");
    assert!(!succeeded, "nothing can be told: {line}");
    let (succeeded, said) = house.command_line(&["power", "--data", "nowhere"]);
    assert!(
        !succeeded && said.contains("holds no data of a collector"),
        "{said}"
    );
}

/// The first two attempts were refused; the third has the same id and the same bytes.
fn delivered_once(sink: &Sink) {
    let event = eventually("the webhook arrives", || {
        sink.taken("fathomline.verdict.changed").first().cloned()
    });
    let told = event.json();
    assert_eq!(told["data"]["state"], "drifting", "{told}");
    assert_eq!(told["data"]["device_class"], "kiosk", "{told}");
    let attempts = sink.deliveries();
    let same: Vec<&Delivery> = attempts.iter().filter(|d| d.id() == event.id()).collect();
    assert!(
        same.iter().all(|delivery| delivery.body == event.body),
        "{attempts:?}"
    );
    assert_eq!(
        same.iter()
            .filter(|delivery| delivery.status == 200)
            .count(),
        1
    );
    assert!(
        attempts.len() > 2,
        "refused deliveries were tried again: {attempts:?}"
    );
    event.is_signed_with(&[SECRET]);
}

fn since_is_near_the_shift(house: &House, kiosk: &Fleet) {
    let sql = "SELECT CAST(min(since) AS BIGINT), max(count), max(devices) FROM verdicts \
               WHERE state = 'drifting' AND device_class = 'kiosk'";
    let row = house.ask(sql).remove(0);
    let since = row[0].as_i64().expect("a drifting verdict says since when");
    let lanes_off = (since - kiosk.end_of(QUIET + 5)) / LANE_US;
    assert!(
        (-3..=5).contains(&lanes_off),
        "since is {lanes_off} lanes after the shift"
    );
    assert_eq!(row[2], 6, "six devices reported");
}

#[test]
fn when_nothing_shifts_it_stays_silent() {
    let sink = Sink::open();
    let house = watchful(&sink);
    let fleet = Fleet::ending_now("kiosk", QUIET + JUDGED, 23);
    fleet.tell(&house, 1..=QUIET + JUDGED, 1.0);
    freeze(&house, &fleet);
    judged(&house, &fleet);
    let states = states(&house, "kiosk");
    assert!(states.contains(&"steady".into()), "{states:?}");
    assert!(!states.contains(&"drifting".into()), "{states:?}");
    assert_eq!(sink.taken("fathomline.verdict.changed").len(), 0);
}

#[test]
fn too_little_history_is_undecided_and_says_what_is_missing() {
    let sink = Sink::open();
    let house = watchful(&sink);
    let fleet = Fleet {
        devices: 1,
        ..Fleet::ending_now("kiosk", QUIET + JUDGED, 24)
    };
    fleet.tell(&house, 1..=10, 1.0);
    fleet.tell(&house, QUIET + 1..=QUIET + JUDGED, SHIFTED);
    let answer = house.call(
        "/api/v1/references",
        &json!({ "model": "tiny", "from_us": fleet.end_of(0), "to_us": fleet.end_of(QUIET) }),
    );
    // 10 lanes and 400 records are no reference, and the answer says so.
    assert!(
        answer.text().contains("3000") || answer.text().contains("3,000"),
        "{}",
        answer.text()
    );
    assert!(!states(&house, "kiosk").contains(&"drifting".into()));
    assert_eq!(sink.taken("fathomline.verdict.changed").len(), 0);
}

#[test]
fn a_house_that_was_killed_judges_like_one_that_was_not() {
    let fleet = Fleet::ending_now("kiosk", QUIET + JUDGED, 25);
    let sinks = [Sink::open(), Sink::open()];
    let verdicts = [false, true].map(|killed| {
        let mut house = watchful(&sinks[usize::from(killed)]);
        fleet.tell(&house, 1..=QUIET, 1.0);
        if killed {
            house.reopen();
        }
        fleet.tell(&house, QUIET + 1..=QUIET + JUDGED, SHIFTED);
        freeze(&house, &fleet);
        if killed {
            house.reopen();
        }
        judged(&house, &fleet);
        if killed {
            house.reopen();
        }
        house.ask(
            "SELECT series, metric, CAST(time AS BIGINT) AS time_us, state, score, threshold, \"count\", \
             effective_count, devices, reference FROM verdicts \
             WHERE reference IS NOT NULL ORDER BY series, time, revision",
        )
    });
    assert!(!verdicts[0].is_empty());
    assert_eq!(
        verdicts[0], verdicts[1],
        "equal bits, whatever happened in between"
    );
}
