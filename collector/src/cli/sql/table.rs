//! Rows in aligned columns. In: an answer. Out: text; numbers to the right, everything else to the
//! left. Control characters are shown escaped: what a device sent must not steer a terminal.

use std::io::{self, Write};

use fathomline_queries::engine::Answer;
use serde_json::Value;

/// Writes headings, a rule, and a line a row.
pub(super) fn write(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let headings: Vec<String> = answer.columns.iter().map(|c| plain(&c.name)).collect();
    let rows: Vec<Vec<String>> = answer
        .rows
        .iter()
        .map(|row| row.iter().map(cell).collect())
        .collect();
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(at, heading)| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            cells.chain([heading]).map(|c| c.chars().count()).max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    let right: Vec<bool> = answer
        .columns
        .iter()
        .map(|c| is_number(&c.r#type))
        .collect();
    line(out, &headings, &widths, &right)?;
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    line(out, &rules, &widths, &right)?;
    for row in &rows {
        line(out, row, &widths, &right)?;
    }
    let plural = if rows.len() == 1 { "row" } else { "rows" };
    writeln!(out, "({} {plural})", rows.len())
}

fn line(
    out: &mut impl Write,
    cells: &[String],
    widths: &[usize],
    right: &[bool],
) -> io::Result<()> {
    let mut text = String::new();
    for ((cell, width), right) in cells.iter().zip(widths).zip(right) {
        let padding = " ".repeat(width - cell.chars().count());
        let (before, after) = if *right {
            (padding, String::new())
        } else {
            (String::new(), padding)
        };
        text += &format!("{before}{cell}{after}  ");
    }
    writeln!(out, "{}", text.trim_end())
}

fn is_number(r#type: &str) -> bool {
    [
        "bigint", "double", "integer", "smallint", "tinyint", "real", "decimal",
    ]
    .contains(&r#type)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => plain(text),
        other => plain(&other.to_string()),
    }
}

fn plain(text: &str) -> String {
    let shown = text.chars().map(|c| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use fathomline_queries::engine::AnswerColumn;
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up_and_nothing_steers_the_terminal() {
        let column = |name: &str, r#type: &str| AnswerColumn {
            name: name.into(),
            r#type: r#type.into(),
        };
        let answer = Answer {
            columns: vec![column("metric", "text"), column("n", "bigint")],
            rows: vec![
                vec![json!("a\u{1b}[2J"), json!(7)],
                vec![json!("long metric"), json!(12345)],
                vec![Value::Null, json!(1)],
            ],
            truncated: false,
        };
        let mut out = vec![];
        write(&mut out, &answer).unwrap();
        let expected = "\
metric           n
-----------  -----
a\\u{1b}[2J       7
long metric  12345
                 1
(3 rows)
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
