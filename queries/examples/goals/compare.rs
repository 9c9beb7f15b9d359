//! Who needed how long, and whether all say the same. In: figures of several rounds. Out: a table,
//! and what differs.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::ours::Figure;

/// How far two estimates of PSI may be apart.
const PSI_APART: f64 = 0.01;
/// Where PSI is called drift.
pub(crate) const PSI_LIMIT: f64 = 0.1;

/// Medians, each peer's beside ours; and in words what differs from ours.
pub(crate) fn table(figures: &[Figure]) -> (String, Vec<String>) {
    let mut rounds: BTreeMap<(&str, &str), Vec<&Figure>> = BTreeMap::new();
    for figure in figures {
        let key = (figure.question.as_str(), figure.who.as_str());
        rounds.entry(key).or_default().push(figure);
    }
    let mut text = String::from(
        "| question | who | wall, s | CPU, s | times our CPU |\n|---|---|---|---|---|\n",
    );
    let mut wrong = vec![];
    for ((question, who), figures) in &rounds {
        let (wall, cpu) = (
            median(figures, |figure| figure.wall),
            median(figures, |f| f.cpu),
        );
        let Some(ours) = rounds.get(&(*question, "fathomline")) else {
            continue;
        };
        let ratio = cpu / median(ours, |figure| figure.cpu);
        let line = writeln!(
            text,
            "| {question} | {who} | {wall:.3} | {cpu:.2} | {ratio:.1} |"
        );
        line.unwrap_or_default();
        for figure in figures {
            if let Some(how) = difference(&ours[0].rows, &figure.rows) {
                wrong.push(format!("{question}, {who}: {how}"));
            }
        }
    }
    wrong.dedup();
    (text, wrong)
}

fn median(figures: &[&Figure], of: impl Fn(&Figure) -> f64) -> f64 {
    let mut values: Vec<f64> = figures.iter().map(|figure| of(figure)).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The first difference, if there is one: text and integers exactly, PSI nearly and in verdict.
pub(crate) fn difference(ours: &[Vec<Value>], theirs: &[Vec<Value>]) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} rows, ours {}", theirs.len(), ours.len()));
    }
    let cells = ours.iter().flatten().zip(theirs.iter().flatten());
    let apart = |(ours, theirs): (&Value, &Value)| match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (
                a.as_f64().unwrap_or(f64::NAN),
                b.as_f64().unwrap_or(f64::NAN),
            );
            let near = (a - b).abs() <= PSI_APART && (a >= PSI_LIMIT) == (b >= PSI_LIMIT);
            (!near).then(|| format!("{b}, ours {a}"))
        }
        (a, b) => (a != b).then(|| format!("{b}, ours {a}")),
    };
    cells.into_iter().find_map(apart)
}
