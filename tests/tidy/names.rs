//! Words. In: one file. Out: names that say nothing, and notes nobody will find again.

use super::Breaches;
use crate::harness::workspace::SourceFile;

/// Words that fit every thing and so name none.
const EMPTY_WORDS: [&str; 9] = [
    "manager", "handler", "helper", "util", "common", "misc", "data", "info", "process",
];

/// Names that traits of libraries impose on whoever implements them.
const IMPOSED: [&str; 3] = ["connect_info", "ConnectInfo", "Data"];

/// What introduces a name in Rust.
const ITEMS: [&str; 9] = [
    "fn",
    "struct",
    "enum",
    "trait",
    "mod",
    "const",
    "static",
    "type",
    "macro_rules!",
];

pub(super) fn empty_words(file: &SourceFile) -> Breaches {
    let stem = file
        .path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .split('.')
        .next();
    let stem = stem.into_iter().map(|stem| (1, stem.to_owned()));
    let names = stem.chain(item_names(file));
    names
        .filter_map(|(line, name)| {
            let word = EMPTY_WORDS.iter().find(|word| words(&name).any(|part| is(&part, word)))?;
            Some(format!(
                "{}:{line}: `{name}` says \"{word}\", which fits everything: say what it holds or does",
                file.path
            ))
        })
        .collect()
}

/// Names of the items of shipped Rust code; tests are sentences and may say what they like.
fn item_names(file: &SourceFile) -> Vec<(usize, String)> {
    if file.extension() != "rs" || file.is_test() {
        return vec![];
    }
    let lines = file.text.lines().enumerate();
    let shipped = lines.take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    shipped
        .filter_map(|(index, line)| Some((index + 1, item_name(line)?)))
        .collect()
}

fn item_name(line: &str) -> Option<String> {
    let mut words = line.split_whitespace().skip_while(|word| {
        word.starts_with("pub") || matches!(*word, "async" | "unsafe" | "extern" | "(crate)")
    });
    let mut item = words.next()?;
    let mut name = words.next()?;
    if item == "const" && name == "fn" {
        (item, name) = ("fn", words.next()?);
    }
    if !ITEMS.contains(&item) {
        return None;
    }
    let name: String = name
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect();
    (!name.is_empty() && !IMPOSED.contains(&name.as_str())).then_some(name)
}

/// Parts of `snake_case` and `CamelCase` names, in lower case.
fn words(name: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::new();
    let mut before = '_';
    for c in name.chars() {
        if c.is_ascii_uppercase() && !before.is_ascii_uppercase() {
            spaced.push('_');
        }
        spaced.push(c.to_ascii_lowercase());
        before = c;
    }
    let parts: Vec<String> = spaced.split(['_', '-']).map(str::to_owned).collect();
    parts.into_iter()
}

fn is(part: &str, word: &str) -> bool {
    part == word || part.strip_suffix('s') == Some(word)
}

pub(super) fn loose_ends(file: &SourceFile) -> Breaches {
    // Spelt in parts, so that this file does not breach its own rule.
    let notes = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("T", "BD"),
    ];
    let lines = file.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let note = notes.iter().find(|note| has_word(line, note))?;
            let numbered = line.contains(&format!("{}(#", notes[0]));
            (!numbered).then(|| {
                format!(
                    "{}:{}: {note} without an issue: do it, drop it, or write {}(#number)",
                    file.path,
                    index + 1,
                    notes[0]
                )
            })
        })
        .collect()
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::{super::example, *};

    #[test]
    fn each_rule_of_names_can_fail() {
        let file = example(
            "a/src/frame_utils.rs",
            "//! x\npub(crate) struct QueueManager {}\n",
        );
        let breaches = empty_words(&file);
        assert!(
            breaches[0].contains("`frame_utils` says \"util\""),
            "{breaches:?}"
        );
        assert!(
            breaches[1].contains(":2: `QueueManager` says \"manager\""),
            "{breaches:?}"
        );
        let note = format!("// {}: later\n", concat!("TO", "DO"));
        assert!(loose_ends(&example("a/src/b.rs", &note))[0].contains(":1:"));
    }

    #[test]
    fn names_that_only_look_alike_pass() {
        let text =
            "//! x\npub const fn metadata() {}\nstruct Preprocessed;\n#[cfg(test)]\nfn data() {}\n";
        assert_eq!(
            empty_words(&example("a/src/informed.rs", text)),
            Breaches::new()
        );
        let numbered = format!("// {}(#12): later\n", concat!("TO", "DO"));
        assert_eq!(
            loose_ends(&example("a/src/b.rs", &numbered)),
            Breaches::new()
        );
    }
}
