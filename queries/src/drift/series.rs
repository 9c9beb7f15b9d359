//! Which series. Owns its stable name.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Everything that makes two distributions comparable over time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesKey {
    /// `service.name`.
    pub service: String,
    /// Model name.
    pub model: String,
    /// Model version: a new version is a new series, never a drift.
    pub version: String,
    /// Model variant.
    pub variant: String,
    /// Device class.
    pub device_class: String,
    /// Metric name.
    pub metric: String,
}

/// How much a reference was made of: one variant, or all of them together. A series without a
/// reference of its own is shown beside its parent's.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// One variant of one version: the series itself.
    #[default]
    Variant,
    /// All variants of one version.
    Version,
    /// All versions of one model.
    Model,
}

/// Stands for all versions, or all variants, in the key of a parent.
const ALL: &str = "*";

impl Level {
    /// Where a series without a reference of its own looks, nearest first.
    pub const PARENTS: [Self; 2] = [Self::Version, Self::Model];

    /// The word in files, tables and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Variant => "variant",
            Self::Version => "version",
            Self::Model => "model",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Variant, Self::Version, Self::Model];
        all.into_iter().find(|level| level.name() == name)
    }
}

impl SeriesKey {
    /// The series that this one belongs to at a level.
    pub fn at(&self, level: Level) -> Self {
        let mut key = self.clone();
        if level >= Level::Version {
            key.variant = ALL.to_owned();
        }
        if level == Level::Model {
            key.version = ALL.to_owned();
        }
        key
    }

    /// A stable identifier for links and tables: 16 hexadecimal digits.
    pub fn id(&self) -> String {
        let mut hasher = Sha256::new();
        let parts = [
            &self.service,
            &self.model,
            &self.version,
            &self.variant,
            &self.device_class,
            &self.metric,
        ];
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            service,
            model,
            version,
            variant,
            device_class,
            metric,
        } = self;
        write!(
            f,
            "{service}: {model} {version} ({variant}) on {device_class}: {metric}"
        )
    }
}
