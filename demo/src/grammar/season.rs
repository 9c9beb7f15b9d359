//! One season's speech. Owns the format of the word lists: sections of alternatives whose slots
//! are filled from other sections. In: the text of one list. Out: utterances, or the line that
//! cannot be understood.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use super::{Utterance, numerals};

/// Section that every list starts from.
const REQUESTS: &str = "requests";
/// How often people say a number in words where they could read out its digits.
const WORDS_SHARE: f64 = 0.6;

/// One alternative of a section.
#[derive(Debug)]
enum Entry {
    /// What is said and what is written, both with slots to fill.
    Phrase { said: String, written: String },
    /// Any number of an inclusive range.
    Number(u32, u32),
}

/// Sections by name.
#[derive(Debug)]
pub(super) struct Season(BTreeMap<String, Vec<Entry>>);

impl Season {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut sections = BTreeMap::<String, Vec<Entry>>::new();
        let mut current = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                current = Some(sections.entry(name.to_owned()).or_default());
                continue;
            }
            let section = current
                .as_mut()
                .with_context(|| format!("line {} stands before any [section]", index + 1))?;
            let entry = entry(line).with_context(|| format!("cannot read line {}", index + 1))?;
            section.push(entry);
        }
        let season = Self(sections);
        season.check()?;
        Ok(season)
    }

    /// Every slot names a section, and what is written uses only what is said.
    fn check(&self) -> Result<()> {
        ensure!(self.0.contains_key(REQUESTS), "no [{REQUESTS}] section");
        for (name, entries) in &self.0 {
            ensure!(!entries.is_empty(), "section [{name}] is empty");
            for entry in entries {
                let Entry::Phrase { said, written } = entry else {
                    continue;
                };
                for slot in slots(said) {
                    ensure!(self.0.contains_key(slot), "[{name}]: no section [{slot}]");
                }
                for slot in slots(written) {
                    let said = slots(said).any(|other| other == slot);
                    ensure!(said, "[{name}]: {{{slot}}} is written but never said");
                }
            }
        }
        Ok(())
    }

    pub(super) fn speak(&self, rng: &mut StdRng) -> Utterance {
        let (request, action) = self.choose(REQUESTS, rng);
        Utterance {
            request: tidy(&request),
            action: tidy(&action),
        }
    }

    /// One alternative of a section: what is said, what is written.
    fn choose(&self, section: &str, rng: &mut StdRng) -> (String, String) {
        let entry = self.0.get(section).and_then(|entries| entries.choose(rng));
        match entry.expect("check() found every section, none empty") {
            Entry::Phrase { said, written } => self.fill(said, written, rng),
            Entry::Number(low, high) => {
                let number = rng.random_range(*low..=*high);
                let written = number.to_string();
                if rng.random_bool(WORDS_SHARE) {
                    (numerals::words(number), written)
                } else {
                    (written.clone(), written)
                }
            }
        }
    }

    fn fill(&self, said: &str, written: &str, rng: &mut StdRng) -> (String, String) {
        let mut filled = (said.to_owned(), written.to_owned());
        for slot in slots(said) {
            let (spoken, noted) = self.choose(slot, rng);
            let mark = format!("{{{slot}}}");
            filled.0 = filled.0.replacen(&mark, &spoken, 1);
            filled.1 = filled.1.replace(&mark, &noted);
        }
        filled
    }
}

fn entry(line: &str) -> Result<Entry> {
    if let Some((low, high)) = line.split_once("..") {
        let (low, high) = (low.parse()?, high.parse()?);
        ensure!(low <= high, "the range {low}..{high} is empty");
        return Ok(Entry::Number(low, high));
    }
    let line = if line == "-" { "" } else { line };
    let (said, written) = line
        .split_once(" -> ")
        .or_else(|| line.split_once(" = "))
        .unwrap_or((line, line));
    if said.matches('{').count() != said.matches('}').count() {
        bail!("a slot is left open in {said:?}");
    }
    Ok(Entry::Phrase {
        said: said.to_owned(),
        written: written.to_owned(),
    })
}

/// Names of the slots in a phrase, in order.
fn slots(phrase: &str) -> impl Iterator<Item = &str> {
    let opened = phrase.split('{').skip(1);
    opened.filter_map(|rest| Some(rest.split_once('}')?.0))
}

/// Single spaces: a silent slot leaves none behind.
fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn slots_are_filled_with_one_choice_on_both_sides() {
        let text = "[requests]\n{hush} open {door} -> open {door}\n[hush]\n-\n[door]\ngate {n} = g{n}\n[n]\n4..4\n";
        let season = Season::parse(text).unwrap();
        let mut rng = StdRng::seed_from_u64(0);
        let said: Vec<_> = (0..50).map(|_| season.speak(&mut rng)).collect();
        assert!(said.iter().all(|utterance| utterance.action == "open g4"));
        for request in ["open gate four", "open gate 4"] {
            assert!(said.iter().any(|utterance| utterance.request == request));
        }
    }

    #[test]
    fn a_list_that_cannot_work_names_what_is_wrong() {
        let reason = |text: &str| format!("{:#}", Season::parse(text).unwrap_err());
        assert!(reason("hello\n").contains("line 1 stands before any [section]"));
        assert!(reason("[requests]\ngo {far} -> go\n").contains("no section [far]"));
        assert!(reason("[requests]\ngo -> {far}\n[far]\nx\n").contains("never said"));
        assert!(reason("[requests]\n[far]\nx\n").contains("[requests] is empty"));
        assert!(reason("[requests]\n9..x\n").contains("cannot read line 2"));
        assert!(reason("[a]\nx\n").contains("no [requests]"));
    }
}
