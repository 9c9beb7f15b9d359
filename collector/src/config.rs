//! The configuration: file to checked settings, once.
//!
//! In: a TOML file whose sections are named as rooms, and the flags of `fathomline serve`. Out:
//! [`Config`], in which every value is usable. Unknown keys are errors: a misspelt limit that is
//! silently ignored is no limit.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::store::StoreSettings;

const SECOND_US: i64 = 1_000_000;

/// Everything a collector needs to know at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where data rests.
    pub data: PathBuf,
    /// Dashboard and API.
    pub http: SocketAddr,
    /// OTLP over HTTP.
    pub otlp_http: SocketAddr,
    /// OTLP over gRPC.
    pub otlp_grpc: SocketAddr,
    /// Listen beyond loopback without authentication.
    pub insecure: bool,
    pub(crate) store: StoreSettings,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}; check the path given with --config", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not the TOML we know.
    #[error("cannot use the configuration {path}: {source}; correct the file, `fathomline serve --help` names the defaults", path = path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A value is out of its range.
    #[error("cannot use {key} = {value}: {advice}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What it says.
        value: String,
        /// What to write instead.
        advice: &'static str,
    },
}

/// The file as written; every key is optional.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    data: Option<PathBuf>,
    http: RawHttp,
    otlp: RawOtlp,
    store: RawStore,
    drift: RawDrift,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawHttp {
    listen: Option<SocketAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawOtlp {
    http: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawStore {
    seal_after: Option<String>,
    seal_bytes: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawDrift {
    lane: Option<String>,
}

impl Config {
    /// Reads `file`, or gives the defaults.
    ///
    /// # Errors
    /// When the file cannot be read, has an unknown key, or a value out of its range.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let raw = match file {
            None => RawConfig::default(),
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
                        path: path.to_owned(),
                        source,
                    })?;
                toml::from_str(&text).map_err(|source| ConfigError::Invalid {
                    path: path.to_owned(),
                    source: Box::new(source),
                })?
            }
        };
        Self::check(raw)
    }

    fn check(raw: RawConfig) -> Result<Self, ConfigError> {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let lane = duration("drift.lane", raw.drift.lane.as_deref(), "60s")?;
        let seal_after = duration("store.seal_after", raw.store.seal_after.as_deref(), "60s")?;
        Ok(Self {
            data: raw.data.unwrap_or_else(|| PathBuf::from("fathomline-data")),
            http: raw.http.listen.unwrap_or(loopback(8330)),
            otlp_http: raw.otlp.http.unwrap_or(loopback(4318)),
            otlp_grpc: raw.otlp.grpc.unwrap_or(loopback(4317)),
            insecure: false,
            store: StoreSettings {
                seal_after,
                seal_bytes: raw.store.seal_bytes.unwrap_or(64 << 20),
                lane_us: i64::try_from(lane.as_micros()).unwrap_or(60 * SECOND_US),
            },
        })
    }
}

/// A duration such as `500ms`, `5s`, `10min`, `1h`.
fn duration(key: &'static str, text: Option<&str>, default: &str) -> Result<Duration, ConfigError> {
    let text = text.unwrap_or(default);
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis = match unit.trim() {
        "ms" => Some(1),
        "s" => Some(1000),
        "min" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let number = number.parse::<u64>().ok().filter(|number| *number > 0);
    let millis = number
        .zip(millis)
        .and_then(|(number, millis)| number.checked_mul(millis));
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| ConfigError::Value {
            key,
            value: text.to_owned(),
            advice: "write a whole number above 0 and a unit: ms, s, min or h",
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fathomline.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path))
    }

    #[test]
    fn an_empty_file_gives_the_documented_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config.http.to_string(), "127.0.0.1:8330");
        assert_eq!(config.store.lane_us, 60 * SECOND_US);
    }

    #[test]
    fn misspelt_keys_and_bad_values_say_what_and_where() {
        let error = parse("[store]\nseal_afer = \"1s\"")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("seal_afer") && error.contains("fathomline.toml"),
            "{error}"
        );
        let error = parse("[drift]\nlane = \"soon\"").unwrap_err().to_string();
        assert!(error.contains("drift.lane = soon"), "{error}");
    }
}
