//! How long, how opened, how many doors. In: one file. Out: breaches. Never looks at meaning.

use super::Breaches;
use crate::harness::workspace::SourceFile;

/// Longest file. Ask yourself at 400 whether it is two.
const LINES_MAX: usize = 600;

/// Most names a crate root may export (modules and re-exports).
const EXPORTS_MAX: usize = 14;

/// Widest line: two files fit side by side.
const COLUMNS_MAX: usize = 100;

/// Folders below `src`: deeper ones are not found by looking.
const FOLDERS_MAX: usize = 2;

/// Longer files, each with the reason why splitting would make it worse.
const LONG_FILES: [(&str, &str); 0] = [];

pub(super) fn too_long(file: &SourceFile) -> Breaches {
    let lines = file.text.lines().count();
    let excepted = LONG_FILES.iter().any(|(path, _)| file.path == *path);
    if lines <= LINES_MAX || excepted {
        return vec![];
    }
    vec![format!(
        "{}: {lines} lines, {LINES_MAX} at most: split it by what its parts own; a list of equal entries may be excepted by name in tests/tidy/shape.rs",
        file.path
    )]
}

pub(super) fn no_opening(file: &SourceFile) -> Breaches {
    let opening = match file.extension() {
        "rs" => "//!",
        "sql" => "--",
        "py" => "\"\"\"",
        _ => return vec![],
    };
    if file.text.starts_with(opening) {
        return vec![];
    }
    vec![format!(
        "{}: start it with `{opening}` and say what it owns, what comes in, what goes out, what it never does",
        file.path
    )]
}

pub(super) fn mod_file(file: &SourceFile) -> Breaches {
    if !file.path.ends_with("/mod.rs") {
        return vec![];
    }
    let folder = file.path.trim_end_matches("/mod.rs");
    vec![format!(
        "{}: move it to {folder}.rs, so that a tab's title says which module it is",
        file.path
    )]
}

/// rustfmt breaks code at 100 columns; comments are ours to break. Tables and links stay whole.
pub(super) fn wide_line(file: &SourceFile) -> Breaches {
    let lines = file.text.lines().enumerate();
    let wide = lines.filter(|(_, line)| {
        let start = line.trim_start();
        let comment = start.starts_with("//") || start.starts_with("--");
        let whole = line.contains(" | ") || line.contains("://");
        comment && !whole && line.chars().count() > COLUMNS_MAX
    });
    let breach = |(number, _)| {
        format!(
            "{}:{}: over {COLUMNS_MAX} columns: break the line",
            file.path,
            number + 1
        )
    };
    match file.extension() {
        "rs" | "sql" => wide.map(breach).collect(),
        _ => vec![],
    }
}

pub(super) fn too_deep(file: &SourceFile) -> Breaches {
    let Some((_, below)) = file.path.split_once("src/") else {
        return vec![];
    };
    let folders = below.matches('/').count();
    if folders <= FOLDERS_MAX {
        return vec![];
    }
    vec![format!(
        "{}: lies {folders} folders below src, {FOLDERS_MAX} at most: give the inner room a door of its own",
        file.path
    )]
}

pub(super) fn too_many_exports(file: &SourceFile) -> Breaches {
    if !file.path.ends_with("src/lib.rs") {
        return vec![];
    }
    let exports = exports(&file.text);
    if exports <= EXPORTS_MAX {
        return vec![];
    }
    vec![format!(
        "{}: exports {exports} names, {EXPORTS_MAX} at most: group them in a module or make them private",
        file.path
    )]
}

/// Names that `pub mod`, `pub use` and public items of a crate root export.
fn exports(root: &str) -> usize {
    let code: String = root
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let uses = code.split("pub use ").skip(1).map(|rest| {
        let path = rest.split(';').next().unwrap_or_default();
        // One name a leaf: `a::{b, c::{d, e}}` has three.
        path.split(',')
            .filter(|leaf| !leaf.trim_matches(['}', ' ']).is_empty())
            .count()
    });
    let items = [
        "pub mod ",
        "pub fn ",
        "pub struct ",
        "pub enum ",
        "pub trait ",
        "pub const ",
    ];
    uses.sum::<usize>()
        + items
            .iter()
            .map(|item| code.matches(item).count())
            .sum::<usize>()
}

pub(super) fn unexplained_exception(file: &SourceFile) -> Breaches {
    let lines = file.text.lines().enumerate();
    lines
        .filter(|(_, line)| line.trim_start().starts_with(concat!("#[", "allow(")))
        .map(|(number, _)| {
            format!(
                "{}:{}: write #[expect(.., reason = \"..\")]: it fails once the exception is no longer needed",
                file.path,
                number + 1
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::example, *};

    #[test]
    fn each_rule_of_shape_can_fail() {
        let long = "//! x\n".repeat(LINES_MAX + 1);
        assert!(too_long(&example("a/src/b.rs", &long))[0].contains("601 lines"));
        assert!(no_opening(&example("a/sql/b.sql", "SELECT 1"))[0].contains("start it with `--`"));
        assert!(mod_file(&example("a/src/b/mod.rs", ""))[0].contains("move it to a/src/b.rs"));
        let root = "pub use a::{\n    B,\n    C,\n};\npub mod d;\n".repeat(5);
        assert_eq!(exports(&root), 15);
        assert_eq!(too_many_exports(&example("a/src/lib.rs", &root)).len(), 1);
        let wide = format!("// {}\n", "x".repeat(COLUMNS_MAX));
        assert!(wide_line(&example("a/src/b.rs", &wide))[0].contains(":1:"));
        assert_eq!(too_deep(&example("a/src/b/c/d/e.rs", "")).len(), 1);
        let exception = format!("fn f() {{\n    {}dead_code)]\n", concat!("#[", "allow("));
        assert!(unexplained_exception(&example("a/src/b.rs", &exception))[0].contains(":2:"));
    }

    #[test]
    fn each_rule_of_shape_can_pass() {
        let good = example("a/src/lib.rs", "//! Owns.\npub mod b;\npub use c::D;\n");
        for rule in [
            too_long,
            no_opening,
            mod_file,
            wide_line,
            too_deep,
            too_many_exports,
            unexplained_exception,
        ] {
            assert_eq!(rule(&good), Breaches::new());
        }
    }
}
