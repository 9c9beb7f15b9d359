//! The bounded vocabularies of an inference: operation, finish reason, feedback, validity. Owns
//! their spelling on the wire. Never: text of an application's users.

/// What kind of request an inference answers (`gen_ai.operation.name`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Operation {
    /// A turn of a conversation.
    Chat,
    /// A continuation of a text.
    TextCompletion,
    /// Content of several kinds.
    GenerateContent,
    /// A vector for a text.
    Embeddings,
}

impl Operation {
    #[cfg(feature = "otel-bridge")]
    pub(crate) const ALL: [Self; 4] = [
        Self::Chat,
        Self::TextCompletion,
        Self::GenerateContent,
        Self::Embeddings,
    ];

    /// The convention's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::TextCompletion => "text_completion",
            Self::GenerateContent => "generate_content",
            Self::Embeddings => "embeddings",
        }
    }
}

/// How an inference ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model said it was done.
    Stop,
    /// The application's limit on tokens was reached.
    Length,
    /// Something failed; timings per token and quality signals of it are not recorded.
    Error,
    /// The model declined to answer.
    Refusal,
    /// Nothing was generated.
    Empty,
}

impl FinishReason {
    pub(crate) const ALL: [Self; 5] = [
        Self::Stop,
        Self::Length,
        Self::Error,
        Self::Refusal,
        Self::Empty,
    ];

    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Error => "error",
            Self::Refusal => "refusal",
            Self::Empty => "empty",
        }
    }
}

/// What people, or a check, made of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// Taken as it was.
    Accepted,
    /// Taken after changes.
    Edited,
    /// Asked for again.
    Retried,
    /// Thrown away.
    Rejected,
    /// Known to be right.
    Correct,
    /// Known to be wrong.
    Wrong,
}

impl Feedback {
    pub(crate) const ALL: [Self; 6] = [
        Self::Accepted,
        Self::Edited,
        Self::Retried,
        Self::Rejected,
        Self::Correct,
        Self::Wrong,
    ];

    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Edited => "edited",
            Self::Retried => "retried",
            Self::Rejected => "rejected",
            Self::Correct => "correct",
            Self::Wrong => "wrong",
        }
    }
}

/// What a validator of the application said of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// As it should be.
    Valid,
    /// Not JSON.
    InvalidJson,
    /// JSON of another shape.
    InvalidSchema,
    /// A tool that does not exist, or one called wrongly.
    InvalidTool,
}

impl Validity {
    pub(crate) const ALL: [Self; 4] = [
        Self::Valid,
        Self::InvalidJson,
        Self::InvalidSchema,
        Self::InvalidTool,
    ];

    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::InvalidJson => "invalid_json",
            Self::InvalidSchema => "invalid_schema",
            Self::InvalidTool => "invalid_tool",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{detector::WATCHED, script::Script};

    /// Values that the registry lists for an attribute.
    fn listed(attribute: &str) -> Vec<&'static str> {
        let registry = include_str!("../../wire/semconv/attributes.yaml");
        let heading = format!("      - id: {attribute}\n");
        let (_, rest) = registry.split_once(&heading).unwrap();
        let (own, _) = rest.split_once("\n      - id: ").unwrap_or((rest, ""));
        let values = own.split("value: \"").skip(1);
        values.map(|rest| rest.split('"').next().unwrap()).collect()
    }

    #[test]
    fn the_registry_lists_every_word_of_ours() {
        use fathomline_wire::names;
        let words: [(&str, Vec<&str>); 5] = [
            (
                names::FINISH_REASON,
                FinishReason::ALL.map(FinishReason::name).to_vec(),
            ),
            (
                names::FEEDBACK_KIND,
                Feedback::ALL.map(Feedback::name).to_vec(),
            ),
            (
                names::VALIDITY_KIND,
                Validity::ALL.map(Validity::name).to_vec(),
            ),
            (names::SCRIPT, Script::ALL.map(Script::name).to_vec()),
            (names::ALARM_SIGNAL, WATCHED.to_vec()),
        ];
        for (attribute, words) in words {
            assert_eq!(listed(attribute), words, "{attribute}");
        }
    }

    #[test]
    fn a_category_indexes_its_own_place() {
        for (index, reason) in FinishReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        for (index, kind) in Feedback::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
        for (index, kind) in Validity::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }
}
