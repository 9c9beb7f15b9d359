//! Late data for a lane that was judged makes a numbered revision beside the old verdict. It pages
//! nobody for the past, and takes no page back.

use fathomline_wire::names;
use serde_json::{Value, json};

use crate::{
    drift::{JUDGED, QUIET, SHIFTED, freeze, judged, watchful},
    harness::{
        clock::{eventually, until},
        fleet::Fleet,
        house::House,
        sink::Sink,
    },
};

/// The lane of which a device sends its window late: one of the shift.
const LATE: i64 = QUIET + 8;

/// Every revision of the verdict on the late lane of the kiosks' surprisal.
fn revisions(house: &House, fleet: &Fleet) -> Vec<Vec<Value>> {
    house.ask(&format!(
        "SELECT revision, \"count\", devices, state, score, series FROM verdicts \
         WHERE metric = '{}' AND CAST(time AS BIGINT) = {} ORDER BY revision",
        names::OUTPUT_SURPRISAL,
        fleet.end_of(LATE)
    ))
}

#[test]
fn a_late_window_revises_its_lane_and_pages_nobody_for_the_past() {
    let sink = Sink::open();
    let mut house = watchful(&sink);
    let fleet = Fleet::ending_now("kiosk", QUIET + JUDGED, 71);
    fleet.tell(&house, 1..=QUIET + 5, 1.0);
    fleet.tell(&house, QUIET + 6..=LATE - 1, SHIFTED);
    let mut windows = fleet.windows(LATE, SHIFTED);
    let late = windows.pop().unwrap();
    windows.iter().for_each(|window| house.receive(window));
    fleet.tell(&house, LATE + 1..=QUIET + JUDGED, SHIFTED);
    freeze(&house, &fleet);
    judged(&house, &fleet);
    let page = eventually("the webhook arrives", || {
        sink.taken("fathomline.verdict.changed").first().cloned()
    });
    let before = revisions(&house, &fleet);
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!(before[0][..3], [json!(0), json!(200), json!(5)]);

    house.receive(&late);
    until("the verdict is revised", || {
        revisions(&house, &fleet).len() > 1
    });
    let after = revisions(&house, &fleet);
    assert_eq!(after.len(), 2, "{after:?}");
    assert_eq!(after[0], before[0], "what was said stays");
    assert_eq!(after[1][..3], [json!(1), json!(240), json!(6)]);
    assert!(house.metric("fathomline_verdicts_revised_total") >= 1.0);
    noted_once(&house);

    let series = after[1][5].as_str().unwrap();
    let shown = house.page(&format!("/drift/{series}")).text();
    assert!(
        shown.contains("<td class=\"number\">1</td></tr>"),
        "{shown}"
    );

    house.reopen();
    judged(&house, &fleet);
    house.end_politely();
    let told = sink.taken("fathomline.verdict.changed");
    assert!(told.iter().all(|told| told.id() == page.id()), "{told:?}");
    let data = house.data().to_string_lossy().into_owned();
    let sql = "SELECT count(*) AS revised FROM verdicts WHERE revision = 1";
    let arguments = ["sql", sql, "--data", &data, "--format", "json"];
    let (succeeded, printed) = house.command_line(&arguments);
    assert!(succeeded && !printed.contains("\"revised\":0"), "{printed}");
}

/// Beside the incident stands what was revised.
fn noted_once(house: &House) {
    let sql = "SELECT body FROM events WHERE kind = 'fathomline.verdict.revised'";
    let notes = eventually("the incident has its note", || {
        let notes = house.ask(sql);
        (!notes.is_empty()).then_some(notes)
    });
    assert_eq!(notes.len(), 1, "{notes:?}");
    let body: Value = serde_json::from_str(notes[0][0].as_str().unwrap()).unwrap();
    assert_eq!(body["records"], 40, "{body}");
}
