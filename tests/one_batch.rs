//! One batch, twelve steps: the walk of ARCHITECTURE.md, asserted from outside. A step that ends
//! in a place nobody can look into is asserted by what it makes possible.

use std::fs;

use fathomline_wire::names;

use crate::{
    drift,
    harness::{
        books,
        clock::eventually,
        fleet::{Fleet, Sent},
        sink::Sink,
    },
};

#[test]
fn a_batch_travels_from_a_device_to_a_page() {
    let sink = Sink::open();
    let house = drift::watchful(&sink);
    let fleet = Fleet::ending_now("kiosk", 90, 31);

    // 1. A device posts a window with its identity headers.
    let batch = fleet.windows(1, 1.0).remove(0);
    assert!(
        batch
            .headers
            .iter()
            .any(|(name, _)| *name == names::HEADER_SEQUENCE)
    );
    // 2. The door takes it: 200 and an empty answer, which means nothing was rejected.
    // 4, 6. There was room, and it was synced before this answer came.
    house.receive(&batch);
    let first = Sent {
        windows: 1,
        records: 40,
    };
    // 3. Intake made rows of it, shaped as the tables are.
    let row = house.ask("SELECT device, device_class, service, model, unit FROM distributions");
    assert_eq!(row, [["kiosk-0", "kiosk", "assistant", "tiny", "{nat}"]]);
    // 5. A repeat is answered as before and counted once.
    house.receive(&batch);
    books::balance(&house, first);
    // 6. The log on disk holds it: a reader of committed rows may not see it yet, SQL here does.
    let log = house.data().join("log");
    assert!(
        fs::read_dir(&log).unwrap().count() > 0,
        "{} is empty",
        log.display()
    );
    // 7, 8. The segment is sealed, its rows become Parquet, and a commit makes them visible.
    books::wait_for_commit(&house, first);
    let commits = house.data().join("tables/distributions/_delta_log");
    assert!(
        fs::read_dir(&commits).unwrap().count() > 0,
        "{} is empty",
        commits.display()
    );
    books::balance(&house, first);

    // 9. More of the same, and a reference: lanes of the past are due at once.
    fleet.tell(&house, 1..=65, 1.0);
    fleet.tell(&house, 66..=90, drift::SHIFTED);
    let frozen = drift::freeze(&house, &fleet);
    assert!(
        frozen.to_string().contains(names::OUTPUT_SURPRISAL),
        "{frozen}"
    );
    drift::judged(&house, &fleet);
    // 10. The verdict is a row with all that is needed to judge it.
    assert!(drift::states(&house, "kiosk").contains(&"drifting".into()));
    let cited = house.number(
        "SELECT count(*) FROM verdicts WHERE state = 'drifting' AND score >= threshold \
         AND length(reference) = 64 AND method LIKE 'qx-e-cusum/%'",
    );
    assert!(
        cited > 0,
        "a drifting verdict cites score, threshold, reference and method"
    );
    // 11. One event for the change of state reaches those who asked.
    let event = eventually("the webhook arrives", || {
        sink.taken("fathomline.verdict.changed").first().cloned()
    });
    assert_eq!(
        event.json()["data"]["metric"],
        names::OUTPUT_SURPRISAL,
        "{}",
        event.body
    );
    // 12. Whoever follows the webhook's link sees it, and so does whoever asks the API.
    let link = event.json()["data"]["link"].as_str().unwrap().to_owned();
    let path = link
        .strip_prefix(&house.addresses().http)
        .expect("a link to this house");
    for path in [path, "/drift", "/api/v1/verdicts"] {
        let page = house.page(path);
        assert_eq!(page.status, 200, "{path}");
        for shown in ["kiosk", "surprisal", "drifting"] {
            assert!(page.text().contains(shown), "{path} lacks {shown}");
        }
    }
}
