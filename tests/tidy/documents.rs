//! Documents that are true. In: a document's text. Out: paths that are not there and commands
//! that cannot be run. Never follows links to other sites.

use std::{collections::BTreeSet, process::Command};

use super::Breaches;
use crate::harness::{program, workspace};

/// Documents whose every path must exist.
pub(super) const DOCUMENTS: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"];

/// Endings that make a word in backquotes a file name.
const ENDINGS: [&str; 10] = [
    ".rs", ".md", ".toml", ".sql", ".html", ".css", ".py", ".json", ".png", ".svg",
];

/// Paths in `text` that do not exist.
pub(super) fn missing_paths(name: &str, text: &str, exists: impl Fn(&str) -> bool) -> Breaches {
    let missing = paths(text).into_iter().filter(|path| !exists(path));
    missing
        .map(|path| format!("{name}: `{path}` does not exist: name the file that does, or drop it"))
        .collect()
}

/// Words in backquotes that look like files of this repository, and the targets of links.
fn paths(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let quoted = quoted.filter(|word| is_path(word));
    let linked = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let linked = linked.filter(|target| !target.contains("://") && !target.starts_with('#'));
    quoted.chain(linked).collect()
}

fn is_path(word: &str) -> bool {
    let plain = word
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    let ours = word.ends_with('/') || ENDINGS.iter().any(|ending| word.ends_with(ending));
    plain && ours && word.contains('/') && !word.starts_with('/')
}

/// Crates of the workspace's list that `architecture` gives no reason for.
pub(super) fn unexplained_crates(manifest: &str, architecture: &str) -> Breaches {
    let list = manifest
        .split("[workspace.dependencies]\n")
        .nth(1)
        .unwrap_or_default();
    let list = list.lines().take_while(|line| !line.starts_with('['));
    let crates = list.filter_map(|line| Some(line.split_once(" = ")?.0));
    let explained: BTreeSet<&str> = architecture
        .lines()
        .filter(|line| line.starts_with("| "))
        .flat_map(|line| line.split(['|', ',', ' ']))
        .collect();
    crates
        .filter(|name| !name.starts_with("fathomline-") && !explained.contains(name))
        .map(|name| {
            format!("ARCHITECTURE.md gives no reason for {name}: add one, or do without the crate")
        })
        .collect()
}

/// What can be run in this checkout.
pub(super) struct Commands {
    /// Binaries for `cargo run --bin`.
    binaries: BTreeSet<String>,
    /// Subcommands of `fathomline`.
    subcommands: BTreeSet<String>,
}

impl Commands {
    pub(super) fn of_this_checkout() -> Self {
        let manifests = workspace::source_files();
        let manifests = manifests
            .iter()
            .filter(|file| file.path.ends_with("/Cargo.toml"));
        let binaries = manifests.flat_map(|file| binaries(&file.text)).collect();
        let help = Command::new(program::path()).arg("--help").output();
        let help = help.expect("the collector's binary runs").stdout;
        Self {
            binaries,
            subcommands: subcommands(&String::from_utf8_lossy(&help)),
        }
    }
}

/// Names of `[[bin]]` sections, and of the package, which may have a `main.rs`.
fn binaries(manifest: &str) -> Vec<String> {
    let names = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("name = \""));
    names
        .map(|name| name.trim_end_matches('"').to_owned())
        .collect()
}

fn subcommands(help: &str) -> BTreeSet<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| line.starts_with("  "));
    listed
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

/// Commands in the document's fenced blocks that cannot be run.
pub(super) fn unknown_commands(text: &str, commands: &Commands) -> Breaches {
    let lines: Vec<&str> = fenced_commands(text).collect();
    lines
        .into_iter()
        .filter(|line| !is_known(line, commands))
        .map(|line| {
            format!("README.md: `{line}` cannot be run: correct it, or teach tests/tidy/documents.rs what it is")
        })
        .collect()
}

/// Lines of blocks fenced as `sh`.
pub(super) fn fenced_commands(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split("\n```sh\n").skip(1);
    let lines = blocks.flat_map(|rest| rest.split("\n```").next().unwrap_or_default().lines());
    lines
        .map(|line| line.split(" #").next().unwrap_or_default().trim())
        .filter(|l| !l.is_empty())
}

fn is_known(line: &str, commands: &Commands) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["cargo", "test", "--workspace"] => true,
        ["cargo", "run", rest @ ..] => {
            let binary = rest.iter().skip_while(|word| **word != "--bin").nth(1);
            let named = binary.is_some_and(|name| commands.binaries.contains(*name));
            let after: Vec<&&str> = rest.iter().skip_while(|word| **word != "--").collect();
            let collector = binary == Some(&"fathomline");
            named
                && (!collector
                    || after
                        .get(1)
                        .is_none_or(|c| commands.subcommands.contains(**c)))
        }
        ["fathomline", subcommand, ..] => commands.subcommands.contains(*subcommand),
        ["git", "clone", ..] | ["cd", ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> Commands {
        Commands {
            binaries: BTreeSet::from(["fathomline".into(), "fathomline-demo".into()]),
            subcommands: subcommands(
                "Usage: x\n\nCommands:\n  serve  Runs\n  sql    Asks\n\nOptions:\n",
            ),
        }
    }

    #[test]
    fn a_path_that_is_not_there_is_found() {
        let text = "See `wire/src/lib.rs`, [this](docs/a.png), `application/x-protobuf`, `a/b/`.";
        let missing = missing_paths("X.md", text, |path| path == "wire/src/lib.rs");
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert!(
            missing[1].starts_with("X.md: `docs/a.png` does not exist"),
            "{missing:?}"
        );
    }

    #[test]
    fn a_crate_without_a_reason_is_found() {
        let manifest =
            "[workspace.dependencies]\nfathomline-wire = 1\na-b = 2\nc = 3\n\n[x]\nd = 4\n";
        let found = unexplained_crates(manifest, "| crate | reason |\n| x, a-b | because |\nc\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("no reason for c:"), "{found:?}");
    }

    #[test]
    fn a_command_that_cannot_be_run_is_found() {
        let good = "x\n```sh\ncargo test --workspace   # all\nfathomline sql 'SELECT 1'\ncargo run --bin fathomline-demo\n```\n";
        assert_eq!(unknown_commands(good, &commands()), Breaches::new());
        for bad in [
            "cargo run --bin nothing",
            "fathomline dance",
            "make demo",
            "cargo tset",
        ] {
            let text = format!("x\n```sh\n{bad}\n```\n");
            assert_eq!(unknown_commands(&text, &commands()).len(), 1, "{bad}");
        }
    }
}
