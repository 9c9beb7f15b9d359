//! Holds the store against what was sent. In: the totals of the deck. Out: nothing, or every
//! figure that differs. Sums are compared for equality: the deck's values add up exactly.

use anyhow::bail;
use serde_json::Value;

use crate::{collector::Collector, deck::Totals};

/// One question and the answer that the deck promises.
struct Entry {
    sql: &'static str,
    expected: f64,
}

/// Asks the store; an error lists what differs.
pub(crate) fn balance(collector: &Collector, totals: &Totals) -> anyhow::Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are below 2^53")]
    let (points, records, devices) = (
        totals.points as f64,
        totals.records as f64,
        totals.devices as f64,
    );
    let entries = [
        ("SELECT count(*) FROM distributions", points),
        ("SELECT sum(count) FROM distributions", records),
        (
            "SELECT CAST(sum(sum) AS VARCHAR) FROM distributions",
            totals.sum,
        ),
        ("SELECT count(DISTINCT device) FROM distributions", devices),
        ("SELECT sum(device_windows) FROM rollups", points),
        ("SELECT sum(count) FROM rollups", records),
        ("SELECT CAST(sum(sum) AS VARCHAR) FROM rollups", totals.sum),
        // Every device sent one window after another: none is missing, none is there twice.
        (
            "SELECT count(*) FROM (SELECT device, min(sequence) AS a, max(sequence) AS z, \
             count(DISTINCT sequence) AS n, count(*) AS rows FROM distributions GROUP BY device) \
             WHERE a <> 1 OR z <> n OR rows % n <> 0",
            0.0,
        ),
    ];
    let mut wrong = vec![];
    for Entry { sql, expected } in entries.map(|(sql, expected)| Entry { sql, expected }) {
        let row = collector.ask(sql)?;
        let found = row.first().and_then(number).unwrap_or(f64::NAN);
        if found.to_bits() != expected.to_bits() {
            wrong.push(format!("{sql}: {found}, sent {expected}"));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("the store and the sender disagree:\n{}", wrong.join("\n"))
}

/// Sums come as text: a number of JSON is read less exactly than it was written.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_f64(),
    }
}
