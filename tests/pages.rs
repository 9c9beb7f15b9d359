//! The pages say what drifts, where, since when and how sure, to whoever may look; names that
//! devices chose do no harm there, and no page needs anything but this server. How pages look is
//! for people to judge: set `FATHOMLINE_SCREENSHOTS` to a folder and open what lies there
//! afterwards.

use fathomline_wire::names;
use serde_json::Value;

use crate::{
    drift,
    harness::{
        browser::{self, Theme},
        clock::{eventually, now_us},
        device::{Device, Span},
        door,
        house::House,
        program,
        sink::Sink,
    },
};

/// The id of the surprisal series of `class`.
fn series(house: &House, class: &str) -> String {
    let verdicts = house.page("/api/v1/verdicts").json();
    let rows = verdicts["verdicts"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["device_class"] == class && row["metric"] == names::OUTPUT_SURPRISAL);
    row.unwrap()["series"].as_str().unwrap().to_owned()
}

/// A page that must be there.
fn page(house: &House, path: &str) -> String {
    let answer = house.page(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

fn holds(page: &str, path: &str, expected: &[&str]) {
    for text in expected {
        assert!(page.contains(text), "{path} lacks {text:?}:\n{page}");
    }
}

#[test]
fn a_drift_is_two_clicks_from_the_fleet_and_answers_what_a_person_asks() {
    let sink = Sink::open();
    let house = drift::watchful(&sink);
    drift::shift_one_of_two(&house);

    let fleet = page(&house, "/");
    holds(
        &fleet,
        "/",
        &["kiosk", "panel", "series drift", "tiny", "output surprisal"],
    );
    let drifting = series(&house, "kiosk");
    let link = format!("/drift/{drifting}");
    assert!(fleet.contains(&link), "the fleet page links to {link}");

    let list = page(&house, "/drift");
    holds(&list, "/drift", &["drifting", "steady", &link]);
    let filtered = page(&house, "/drift?state=drifting&class=panel");
    holds(
        &filtered,
        "/drift?state=drifting&class=panel",
        &["None of the", "Clear"],
    );

    let shown = page(&house, &link);
    let expected = [
        "output surprisal",
        "on kiosk",
        "more inferences above the reference",
        "since",
        "pages at",
        "reference against current",
        "<svg",
        "Reference share",
        "freeze a new reference",
    ];
    holds(&shown, &link, &expected);
    says_what_the_verdict_says(&house, &shown);
    let steady = page(&house, &format!("/drift/{}", series(&house, "panel")));
    holds(
        &steady,
        "the steady series",
        &["steady", "Nothing to do.", "<svg"],
    );
    looks_like_something(&house, &link);
}

/// The numbers on the page are those of the stored verdict.
fn says_what_the_verdict_says(house: &House, shown: &str) {
    let sql = format!(
        "SELECT reference, count, devices FROM verdicts WHERE device_class = 'kiosk' \
         AND metric = '{}' ORDER BY time DESC, revision DESC LIMIT 1",
        names::OUTPUT_SURPRISAL
    );
    let row = house.ask(&sql).remove(0);
    let reference = row[0].as_str().unwrap();
    assert!(
        shown.contains(&reference[..12]),
        "the page cites its reference"
    );
    for (number, what) in [(&row[1], "inferences"), (&row[2], "devices")] {
        let number = format!("<dd>{number}");
        assert!(shown.contains(&number), "the page says {number} {what}");
    }
}

/// Both themes. No page has a script to switch off, which another test holds them to.
fn looks_like_something(house: &House, series: &str) {
    let Some(chromium) = program::chromium() else {
        return;
    };
    let pages = [
        ("/", "fleet"),
        ("/drift", "drift"),
        ("/deliveries", "deliveries"),
        ("/energy", "energy"),
        (series, "series"),
    ];
    for (path, name) in pages {
        let url = format!("{}{path}", house.addresses().http);
        let light = browser::picture(&chromium, &url, name, Theme::Light);
        let dark = browser::picture(&chromium, &url, name, Theme::Dark);
        for picture in [&light, &dark] {
            assert!(picture.starts_with(b"\x89PNG"), "{name} is no picture");
            // An empty page of this size takes about 8 kB.
            assert!(
                picture.len() > 20_000,
                "{name} is nearly empty: {} bytes",
                picture.len()
            );
        }
        assert!(light != dark, "{name} looks the same in dark and light");
    }
}

#[test]
fn an_empty_house_says_how_to_begin() {
    let house = House::open();
    let fleet = page(&house, "/");
    let otlp = house.addresses().otlp_http.clone();
    holds(&fleet, "/", &["No device has reported", otlp.as_str()]);
    holds(
        &page(&house, "/drift"),
        "/drift",
        &["Nothing has been judged"],
    );
    let says = ["No inference ended in this range", "Nothing is priced"];
    holds(&page(&house, "/energy"), "/energy", &says);
}

#[test]
fn hostile_names_are_shown_and_do_nothing() {
    let house = House::open();
    let end_us = now_us();
    let hostile = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "'; DROP TABLE rollups; --",
        "\u{202e}evil\u{1f4a3}",
    ];
    for (number, class) in hostile.iter().enumerate() {
        let mut device = Device::of_class(number, "kiosk");
        device.class = (*class).to_owned();
        let span = Span {
            start_us: end_us - 1_000_000,
            end_us,
        };
        house.receive(&device.window(1, span, &[0.1, 0.2]));
    }
    let fleet = eventually("every class is on the fleet page", || {
        let fleet = page(&house, "/");
        fleet.contains("DROP TABLE").then_some(fleet)
    });
    assert!(
        !fleet.contains("<script") && !fleet.contains("<img src=x"),
        "{fleet}"
    );
    assert!(
        fleet.contains("&#60;script&#62;"),
        "the name is shown as it is: {fleet}"
    );
    let hostile_path = "/drift?class=%22%3E%3Cscript%3E&model=%27%3B&state=drifting";
    assert!(!page(&house, hostile_path).contains("<script"));
    let lost = house.page("/drift/%3Cscript%3E");
    assert_eq!(lost.status, 404);
    assert!(!lost.text().contains("<script"), "{}", lost.text());
}

#[test]
fn pages_need_nothing_from_elsewhere_and_serve_nobody_elses_pages() {
    let house = House::open();
    let fleet = page(&house, "/");
    for reference in ["http://", "https://", "//cdn", "<script", "javascript:"] {
        let own = fleet.replace(&house.addresses().otlp_http, "");
        assert!(!own.contains(reference), "the page refers to {reference}");
    }
    let style = fleet
        .split("href=\"")
        .find(|part| part.starts_with("/assets/fathomline."));
    let style = style.and_then(|part| part.split('"').next()).unwrap();
    assert!(page(&house, style).contains("prefers-color-scheme"));

    for header in [("host", "evil.example"), ("origin", "https://evil.example")] {
        for path in ["/", "/drift"] {
            let url = format!("{}{path}", house.addresses().http);
            let answer = door::get(&url, &[header]).unwrap();
            assert_eq!(
                answer.status,
                403,
                "{path} with {header:?}: {}",
                answer.text()
            );
        }
    }
}

#[test]
fn what_is_no_page_says_what_to_do() {
    let house = House::open();
    for (path, status, says) in [
        ("/nowhere", 404, "there is no page at /nowhere"),
        ("/drift/0123456789abcdef", 404, "choose a later one"),
        ("/?from=yesterday", 400, "write now, now-15m"),
        ("/?from=now&to=now-1h", 400, "swap the two"),
        (
            "/drift?state=splendid",
            400,
            "choose drifting, undecided or steady",
        ),
        ("/?refresh=often", 400, "refresh"),
        ("/assets/fathomline.0.css", 404, "no such asset"),
    ] {
        let answer = house.page(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(says), "{path}: {}", answer.text());
    }
    let wrong = [("authorization", "Bearer wrong")];
    let answer = door::get(&format!("{}/", house.addresses().http), &wrong).unwrap();
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert_eq!(
        house.page("/api/v1/verdicts").json()["verdicts"],
        Value::Array(vec![])
    );
}
