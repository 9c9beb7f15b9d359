//! Every file of `sql/` is listed, plans, and says in its first lines what it needs and gives.

use std::{collections::BTreeSet, fs, path::Path};

use datafusion::prelude::SessionContext;
use fathomline_wire::names;

use super::*;
use crate::examples::empty_lake;

fn files() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

fn session() -> SessionContext {
    let session = SessionContext::new();
    crate::functions::register(&mut *session.state_ref().write()).unwrap();
    for (table, provider) in empty_lake().view().tables() {
        session.register_table(table.name(), provider).unwrap();
    }
    session
}

/// The header's lines under `title`, joined.
fn header(question: &Question, title: &str) -> String {
    let comments = question
        .sql
        .lines()
        .map_while(|line| line.strip_prefix("-- "));
    let from = comments.skip_while(|line| !line.starts_with(title));
    let mut lines = from
        .enumerate()
        .take_while(|(at, line)| *at == 0 || line.starts_with(' '));
    let first = lines
        .next()
        .map(|(_, line)| line.trim_start_matches(title).to_owned());
    let first = first.unwrap_or_else(|| panic!("{} does not say its {title}", question.name));
    lines.fold(first, |text, (_, line)| text + " " + line.trim())
}

#[test]
fn every_file_is_listed() {
    let listed: BTreeSet<_> = QUESTIONS
        .iter()
        .map(|question| question.name.to_owned())
        .collect();
    assert_eq!(listed, files());
}

#[tokio::test]
async fn every_file_plans_and_its_header_is_true() {
    let session = session();
    for question in QUESTIONS {
        let name = question.name;
        let plan = session.state().create_logical_plan(question.sql).await;
        let plan = plan.unwrap_or_else(|error| panic!("{name} does not plan: {error}"));
        let wanted: BTreeSet<_> = question
            .parameters
            .iter()
            .map(|parameter| format!("${parameter}"))
            .collect();
        let used: BTreeSet<_> = plan.get_parameter_names().unwrap().into_iter().collect();
        assert_eq!(used, wanted, "parameters of {name}");
        let parameters = header(&question, "Parameters:");
        for parameter in &wanted {
            assert!(
                parameters.contains(parameter),
                "{name} does not describe {parameter}"
            );
        }
        let said = header(&question, "Columns:");
        let said: Vec<_> = said.split(',').map(str::trim).collect();
        let given: Vec<_> = plan
            .schema()
            .fields()
            .iter()
            .map(|field| field.name())
            .collect();
        assert_eq!(said, given, "columns of {name}");
        assert!(
            header(&question, "Question:").trim_end().ends_with('?'),
            "{name} asks nothing"
        );
        assert!(
            header(&question, "Caller:").contains("::"),
            "{name} names no caller"
        );
    }
}

#[test]
fn every_metric_named_in_sql_is_one_of_ours() {
    for question in QUESTIONS {
        let quoted = question.sql.split('\'').skip(1).step_by(2);
        for text in quoted.filter(|text| text.contains('.')) {
            assert!(
                names::metric(text).is_some(),
                "{} asks for {text}",
                question.name
            );
        }
    }
}
