//! House rules that a machine keeps. Owns the rules of size, names, openings and documents. In:
//! the files of this checkout. Out: for each breach, where it is and what to do instead. Never
//! formats or rewrites anything; lengths of functions and lines are clippy's and rustfmt's.

mod documents;
mod names;
mod shape;

use crate::harness::workspace::{self, SourceFile};

/// A breach: where, and what to do instead.
type Breaches = Vec<String>;

/// Runs one rule over every file and reports all breaches at once.
fn keep(rule: impl Fn(&SourceFile) -> Breaches) {
    let files = workspace::source_files();
    assert!(
        files.len() > 20,
        "found {} files: the walk is broken",
        files.len()
    );
    let breaches: Breaches = files.iter().flat_map(rule).collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

/// A file made up for a rule's self-test.
fn example(path: &str, text: &str) -> SourceFile {
    SourceFile {
        path: path.into(),
        text: text.into(),
    }
}

#[test]
fn files_stay_short() {
    keep(shape::too_long);
}

#[test]
fn files_say_what_they_own() {
    keep(shape::no_opening);
}

#[test]
fn modules_are_files_named_after_them() {
    keep(shape::mod_file);
}

#[test]
fn lines_fit_beside_each_other() {
    keep(shape::wide_line);
}

#[test]
fn rooms_are_found_by_looking() {
    keep(shape::too_deep);
}

#[test]
fn crate_roots_have_few_doors() {
    keep(shape::too_many_exports);
}

#[test]
fn exceptions_to_lints_are_expected_with_a_reason() {
    keep(shape::unexplained_exception);
}

#[test]
fn names_say_what_a_thing_is() {
    keep(names::empty_words);
}

#[test]
fn notes_for_later_carry_an_issue_number() {
    keep(names::loose_ends);
}

#[test]
fn paths_in_documents_exist() {
    let exists = |path: &str| workspace::root().join(path).exists();
    for name in documents::DOCUMENTS {
        let missing = documents::missing_paths(name, &workspace::read(name), exists);
        assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let (manifest, map) = (
        workspace::read("Cargo.toml"),
        workspace::read("ARCHITECTURE.md"),
    );
    let breaches = documents::unexplained_crates(&manifest, &map);
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn commands_in_the_readme_exist() {
    let readme = workspace::read("README.md");
    let breaches = documents::unknown_commands(&readme, &documents::Commands::of_this_checkout());
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn continuous_integration_runs_the_readmes_test_command() {
    let readme = workspace::read("README.md");
    assert!(
        documents::fenced_commands(&readme).any(|line| line == "cargo test --workspace"),
        "the README names no test command"
    );
    let script = workspace::read(".ci/run");
    assert!(
        script.contains("cargo test --workspace\n"),
        ".ci/run must run exactly `cargo test --workspace`, the README's test command"
    );
}
