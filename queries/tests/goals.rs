//! The benchmark of the goals in small: it runs, and what it answers is what it wrote.
//!
//! Does not compare with peers, nor say how long anything takes: `examples/goals.rs` does.
#![allow(clippy::unwrap_used)]

#[path = "../examples/goals/compare.rs"]
mod compare;
#[path = "../examples/goals/fleet.rs"]
mod fleet;
#[path = "../examples/goals/ours.rs"]
mod ours;

use serde_json::{Value, json};

use self::fleet::Size;

#[tokio::test]
async fn answers_of_the_goals_questions_are_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let size = Size {
        devices: 24,
        minutes: 3,
        ..Size::of(0.002)
    };
    let (points, hours) = fleet::write(folder.path(), size).await.unwrap();
    assert_eq!((points.rows, hours.rows), (24 * 3 * 8, 24 * 720));
    assert!(points.buckets > 10 * points.rows);
    let engine = ours::engine(folder.path()).await.unwrap();
    let mut figures = vec![];
    for asked in ours::questions() {
        figures.push(ours::ask(&engine, &asked).await.unwrap());
    }
    let [fleet, devices, drifts, whole] = &figures[..] else {
        panic!("four questions")
    };
    let sum = |rows: &[Vec<Value>], at: usize| -> u64 {
        rows.iter().map(|row| row[at].as_u64().unwrap()).sum()
    };
    assert_eq!(fleet.rows.len(), 24 * 8, "of six models and four versions");
    assert_eq!(sum(&fleet.rows, 3), points.records);
    assert_eq!(sum(&devices.rows, 1), sum(&of_one_metric(&fleet.rows), 3));
    // Device 3 of every ten answers more slowly in the second half.
    for (device, row) in drifts.rows.iter().enumerate() {
        let psi = row[1].as_f64().unwrap();
        assert_eq!(psi > 0.1, device % 10 == 3, "{row:?}");
    }
    let whole = whole.rows[0][1].as_f64().unwrap();
    assert!(whole > 0.0 && whole < 0.1, "{whole}");
    let raw = ours::raw(folder.path()).unwrap();
    for (column, row) in raw.rows.iter().enumerate() {
        // Odd columns move, each further than the one before; the first two by little.
        let (far, moved) = (column % 2 == 1 && column >= 5, column % 2 == 1);
        assert!(
            !far || row[2] == json!(true) && row[3] == json!(true),
            "{row:?}"
        );
        assert!(moved || row[2] == json!(false), "{row:?}");
    }
    figures.push(raw);
    let (table, wrong) = compare::table(&figures);
    assert_eq!(table.lines().count(), 2 + 5);
    assert!(wrong.is_empty());
}

fn of_one_metric(rows: &[Vec<Value>]) -> Vec<Vec<Value>> {
    let one = |row: &&Vec<Value>| row[2] == json!(fleet::METRIC);
    rows.iter().filter(one).cloned().collect()
}

#[test]
fn answers_that_differ_are_told() {
    let ours = vec![vec![json!("a"), json!(3), json!(0.05)]];
    let differs = |row: Vec<Value>| compare::difference(&ours, &[row]);
    assert_eq!(differs(vec![json!("a"), json!(3), json!(0.055)]), None);
    assert!(differs(vec![json!("a"), json!(4), json!(0.05)]).is_some());
    assert!(differs(vec![json!("a"), json!(3), json!(0.07)]).is_some());
    let verdict = compare::difference(&[vec![json!(0.099)]], &[vec![json!(0.101)]]);
    assert!(
        verdict.is_some(),
        "near, but on the other side of the limit"
    );
    assert!(compare::difference(&ours, &[]).is_some());
}
