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

impl SeriesKey {
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
