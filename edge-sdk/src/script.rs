//! Which scripts a prompt is written in: the first sign of another language, or of an encoding gone
//! wrong. In: a text that goes no further. Out: how many of its characters belong to each of twelve
//! classes, by Unicode block. Pure; keeps no character.

/// Classes of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    Latin,
    Greek,
    Cyrillic,
    Hebrew,
    Arabic,
    /// Devanagari to Sinhala.
    Indic,
    Han,
    Kana,
    Hangul,
    Digit,
    /// Blanks, punctuation, symbols.
    Sign,
    Other,
}

/// How many characters of each class.
pub(crate) type Scripts = [u64; Script::ALL.len()];

impl Script {
    pub(crate) const ALL: [Self; 12] = [
        Self::Latin,
        Self::Greek,
        Self::Cyrillic,
        Self::Hebrew,
        Self::Arabic,
        Self::Indic,
        Self::Han,
        Self::Kana,
        Self::Hangul,
        Self::Digit,
        Self::Sign,
        Self::Other,
    ];

    /// The contract's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Latin => "latin",
            Self::Greek => "greek",
            Self::Cyrillic => "cyrillic",
            Self::Hebrew => "hebrew",
            Self::Arabic => "arabic",
            Self::Indic => "indic",
            Self::Han => "han",
            Self::Kana => "kana",
            Self::Hangul => "hangul",
            Self::Digit => "digit",
            Self::Sign => "sign",
            Self::Other => "other",
        }
    }

    /// The class of one character.
    pub(crate) fn of(character: char) -> Self {
        match character {
            'a'..='z' | 'A'..='Z' => Self::Latin,
            '0'..='9' => Self::Digit,
            '\0'..='\u{bf}' | '×' | '÷' => Self::Sign,
            '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Self::Latin,
            '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Self::Greek,
            '\u{400}'..='\u{52f}' => Self::Cyrillic,
            '\u{590}'..='\u{5ff}' => Self::Hebrew,
            '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}' | '\u{8a0}'..='\u{8ff}' => Self::Arabic,
            '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}' => Self::Arabic,
            '\u{900}'..='\u{dff}' => Self::Indic,
            '\u{2000}'..='\u{206f}' | '\u{2190}'..='\u{2bff}' | '\u{3000}'..='\u{303f}' => {
                Self::Sign
            }
            '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' => Self::Kana,
            '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' => Self::Han,
            '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}' => Self::Han,
            '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7af}' => {
                Self::Hangul
            }
            _ => Self::Other,
        }
    }
}

/// Counts the characters of a text.
pub(crate) fn count(text: &str) -> Scripts {
    let mut scripts = Scripts::default();
    for character in text.chars() {
        scripts[Script::of(character) as usize] += 1;
    }
    scripts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_script_finds_its_class() {
        for (text, script) in [
            ("Füße", Script::Latin),
            ("λόγος", Script::Greek),
            ("привет", Script::Cyrillic),
            ("שלום", Script::Hebrew),
            ("سلام", Script::Arabic),
            ("नमस्ते", Script::Indic),
            ("漢字", Script::Han),
            ("かなカナ", Script::Kana),
            ("한글", Script::Hangul),
            ("0189", Script::Digit),
            (" ,.-–…→\n", Script::Sign),
            ("🚪ⴰ", Script::Other),
        ] {
            let counts = count(text);
            let all = text.chars().count() as u64;
            assert_eq!(counts[script as usize], all, "{text}: {counts:?}");
        }
    }

    #[test]
    fn a_class_indexes_its_own_place_and_is_a_label() {
        for (index, script) in Script::ALL.iter().enumerate() {
            assert_eq!(*script as usize, index);
            assert!(fathomline_wire::identity::is_label(script.name()));
        }
    }

    proptest! {
        #[test]
        fn no_character_is_lost_or_counted_twice(text in "\\PC*") {
            prop_assert_eq!(count(&text).iter().sum::<u64>(), text.chars().count() as u64);
        }
    }
}
