//! The configuration: file to checked settings, once.
//!
//! In: a TOML file whose sections are named as rooms, and the flags of `fathomline serve`. Out:
//! [`Config`], in which every value is usable. Unknown keys are errors: a misspelt limit that is
//! silently ignored is no limit.

mod alert;
mod cost;
mod file;
mod gate;
mod maintenance;
mod retraining;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use fathomline_queries::{
    cost::PriceBook,
    drift::Policy,
    engine::EngineLimits,
    gate::{Settings, SettingsError},
    published,
};
use fathomline_wire::names::NOISED;

use self::file::{RawConfig, RawDrift, RawLimits, RawOtlp, RawRetention, RawSql, RawUpkeep};
use crate::{
    access::Rules,
    alert::{
        AlertSettings,
        endpoint::{Endpoint, EndpointUrl, Kind},
        recipients::Pattern,
        trial::{self, Trial, TrialError},
    },
    clock::{Clock as _, SystemClock},
    listener::{certificates::CertificateFiles, connections::ConnectionLimits},
    receiver::ReceiverLimits,
    retraining::RetrainingSettings,
    store::{Limits, Place, Retention, StoreSettings, UpkeepSettings, erase::Erased},
    watch::WatchSettings,
};

/// Less than this (32 MiB) and sorting cannot merge what it wrote to disk.
const UPKEEP_MEMORY_MIN: u64 = 32 << 20;

/// Longer than any query or commit takes.
const VACUUM_AFTER_MIN: Duration = Duration::from_secs(3600);

/// A quarter of an hour: late rows of one device trickle in for as long.
const REBUILD_AFTER_US: i64 = 15 * 60_000_000;

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
    pub(crate) access: Rules,
    /// Certificates of dashboard and API.
    pub(crate) http_tls: Option<CertificateFiles>,
    /// Certificates of both OTLP doors.
    pub(crate) otlp_tls: Option<CertificateFiles>,
    pub(crate) hosts: Vec<String>,
    pub(crate) public_url: Option<String>,
    pub(crate) receiver: ReceiverLimits,
    pub(crate) store: StoreSettings,
    pub(crate) sql: EngineLimits,
    pub(crate) watch: WatchSettings,
    pub(crate) gate: Settings,
    pub(crate) cost: PriceBook,
    pub(crate) alert: AlertSettings,
    pub(crate) retraining: RetrainingSettings,
}

/// A receiver of webhooks, for programs that configure a collector without a file.
#[derive(Clone, Debug)]
pub struct AlertEndpoint {
    /// Stable name; deliveries are listed under it.
    pub name: String,
    /// Where to POST.
    pub url: String,
    /// File that holds the `whsec_` secret.
    pub secret_file: PathBuf,
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
    /// An endpoint that cannot be used so.
    #[error("cannot use the alert endpoint {name:?}: {advice}")]
    Endpoint {
        /// Which one.
        name: String,
        /// What to write instead.
        advice: String,
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
    /// The settings of the gate decide nothing.
    #[error("cannot use gate.{0}")]
    Gate(SettingsError),
}

impl Config {
    /// Reads `file`, or gives the defaults.
    ///
    /// # Errors
    /// When the file cannot be read, has an unknown key, or a value out of its range.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = file else {
            return Self::check(RawConfig::default());
        };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let raw = toml::from_str(&text).map_err(|source| ConfigError::Invalid {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        Self::check(raw)
    }

    /// Reads the same from text, for programs that embed a collector.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let raw = toml::from_str(text).map_err(|source| ConfigError::Invalid {
            path: PathBuf::from("given as text"),
            source: Box::new(source),
        })?;
        Self::check(raw)
    }

    /// Tells one more endpoint, which may be on this machine.
    pub fn tell(&mut self, endpoint: AlertEndpoint) {
        let AlertEndpoint {
            name,
            url,
            secret_file,
        } = endpoint;
        self.alert.allow_internal = true;
        self.alert.endpoints.push(Endpoint {
            name,
            url: EndpointUrl::Given(url),
            kind: Kind::Webhook { secret_file },
            events: vec![Pattern::all()],
            allow_internal: true,
        });
    }

    /// Sends a test event to one of the configured endpoints, and says what it answered.
    ///
    /// # Errors
    /// When there is no such endpoint, or it cannot be used as it is configured.
    pub async fn try_endpoint(&self, name: &str) -> Result<Trial, TrialError> {
        trial::send(&self.alert, name, SystemClock.now_us()).await
    }

    fn check(raw: RawConfig) -> Result<Self, ConfigError> {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut store = store(&raw)?;
        store.limits = limits(&raw.limits)?;
        let (watch, receiver) = (watch(&raw.drift)?, receiver(&raw.otlp)?);
        let watch = WatchSettings {
            min_devices: min_devices(raw.privacy.min_devices)?,
            ..watch
        };
        let gate = gate::settings(raw.gate, lane(&raw.drift)?, watch.min_devices)?;
        Ok(Self {
            data: raw.data.unwrap_or_else(|| PathBuf::from("fathomline-data")),
            http: raw.http.listen.unwrap_or_else(|| loopback(8330)),
            otlp_http: raw.otlp.http.unwrap_or_else(|| loopback(4318)),
            otlp_grpc: raw.otlp.grpc.unwrap_or_else(|| loopback(4317)),
            insecure: false,
            access: Rules {
                send: raw.otlp.require_token,
                read: raw.http.require_token,
            },
            http_tls: raw.http.tls.map(|tls| tls.of("http.tls")),
            otlp_tls: raw.otlp.tls.map(|tls| tls.of("otlp.tls")),
            hosts: raw.http.hosts,
            public_url: raw.http.public_url,
            receiver,
            store,
            sql: sql(&raw.sql)?,
            watch,
            gate,
            cost: cost::book(raw.cost)?,
            alert: alert::alert(raw.alert)?,
            retraining: retraining::settings(raw.retraining)?,
        })
    }
}

fn receiver(raw: &RawOtlp) -> Result<ReceiverLimits, ConfigError> {
    let defaults = ReceiverLimits::default();
    let count = |key, value, default: usize| {
        positive(key, value, default as u64)
            .map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    };
    let connections_max = ("otlp.connections_max", raw.connections_max);
    let connections = defaults.connections.connections_max;
    Ok(ReceiverLimits {
        memory_bytes: count("otlp.memory_bytes", raw.memory_bytes, defaults.memory_bytes)?,
        connections: ConnectionLimits {
            // What one semaphore can count, and far more than a process has file descriptors.
            connections_max: count(connections_max.0, connections_max.1, connections)?.min(1 << 20),
            idle_timeout: duration("otlp.idle_timeout", raw.idle_timeout.as_deref(), "120s")?,
        },
        body_timeout: duration("otlp.body_timeout", raw.body_timeout.as_deref(), "60s")?,
    })
}

fn store(raw: &RawConfig) -> Result<StoreSettings, ConfigError> {
    let RawConfig {
        store: raw,
        upkeep,
        retention,
        drift,
        ..
    } = raw;
    let lane = lane(drift)?;
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    let seal_after = duration("store.seal_after", raw.seal_after.as_deref(), "60s")?;
    let lateness = lateness(drift, lane)?;
    Ok(StoreSettings {
        seal_after,
        seal_bytes: positive("store.seal_bytes", raw.seal_bytes, 64 << 20)?,
        waiting_bytes: positive("store.waiting_bytes", raw.waiting_bytes, 128 << 20)?,
        lane_us: micros(lane),
        lateness_us: micros(lateness),
        limits: Limits::default(),
        tables: raw.tables.as_deref().map(tables).transpose()?,
        erased: Erased::default(),
        // The segment that was open when the last row came in is sealed and committed by then.
        upkeep: UpkeepSettings {
            closes_after_us: micros(lateness + 2 * seal_after),
            retention: self::retention(retention)?,
            ..self::upkeep(upkeep)?
        },
    })
}

fn retention(raw: &RawRetention) -> Result<Retention, ConfigError> {
    let defaults = Retention::default();
    let days = |key, value: Option<u32>, default: u32| {
        positive(key, value.map(u64::from), default.into())
            .map(|days| u32::try_from(days).unwrap_or(u32::MAX))
    };
    Ok(Retention {
        device_rows_days: days(
            "retention.device_rows_days",
            raw.device_rows_days,
            defaults.device_rows_days,
        )?,
        lanes_days: days("retention.lanes_days", raw.lanes_days, defaults.lanes_days)?,
        device_hours_days: days(
            "retention.device_hours_days",
            raw.device_hours_days,
            defaults.device_hours_days,
        )?,
        hours_days: days("retention.hours_days", raw.hours_days, defaults.hours_days)?,
    })
}

fn upkeep(raw: &RawUpkeep) -> Result<UpkeepSettings, ConfigError> {
    let memory = positive("upkeep.memory_bytes", raw.memory_bytes, 128 << 20)?;
    if memory < UPKEEP_MEMORY_MIN {
        return Err(ConfigError::Value {
            key: "upkeep.memory_bytes",
            value: memory.to_string(),
            advice: "write at least 33554432: sorting needs room for what it merges",
        });
    }
    let vacuum_after = duration("upkeep.vacuum_after", raw.vacuum_after.as_deref(), "168h")?;
    if vacuum_after < VACUUM_AFTER_MIN {
        return Err(ConfigError::Value {
            key: "upkeep.vacuum_after",
            value: format!("{vacuum_after:?}"),
            advice: "write at least 1h: a query may be reading what was replaced, and a commit may be about to name what was written",
        });
    }
    let files = positive("upkeep.files", raw.files, 16)?;
    Ok(UpkeepSettings {
        every: duration("upkeep.every", raw.every.as_deref(), "60s")?,
        files: usize::try_from(files).unwrap_or(usize::MAX),
        file_bytes: positive("upkeep.file_bytes", raw.file_bytes, 128 << 20)?,
        memory_bytes: usize::try_from(memory).unwrap_or(usize::MAX),
        closes_after_us: 0,
        rebuild_after_us: REBUILD_AFTER_US,
        retention: Retention::default(),
        vacuum_after,
    })
}

fn limits(raw: &RawLimits) -> Result<Limits, ConfigError> {
    let defaults = Limits::default();
    let count = |key, value: Option<u32>, default: u32| {
        positive(key, value.map(u64::from), default.into())
            .map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    };
    Ok(Limits {
        devices: count("limits.devices", raw.devices, defaults.devices)?,
        services: count("limits.services", raw.services, defaults.services)?,
        cohorts: count("limits.cohorts", raw.cohorts, defaults.cohorts)?,
        metrics: count("limits.metrics", raw.metrics, defaults.metrics)?,
        categories: count("limits.categories", raw.categories, defaults.categories)?,
        stream_bytes: positive(
            "limits.stream_bytes",
            raw.stream_bytes,
            defaults.stream_bytes,
        )?,
    })
}

fn tables(value: &str) -> Result<Place, ConfigError> {
    Place::parse(value).map_err(|error| ConfigError::Value {
        key: "store.tables",
        value: format!("\"{value}\" ({error})"),
        advice: "write a folder, or s3://bucket/prefix with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, if it is not Amazon's, AWS_ENDPOINT_URL in the environment",
    })
}

fn sql(raw: &RawSql) -> Result<EngineLimits, ConfigError> {
    let defaults = EngineLimits::default();
    let count = |key, value, default: usize| {
        positive(key, value, default as u64)
            .map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    };
    Ok(EngineLimits {
        memory_bytes: count("sql.memory_bytes", raw.memory_bytes, defaults.memory_bytes)?,
        deadline: duration("sql.deadline", raw.deadline.as_deref(), "30s")?,
        rows_max: count("sql.rows_max", raw.rows_max, defaults.rows_max)?,
    })
}

fn min_devices(value: Option<u32>) -> Result<u32, ConfigError> {
    let devices = value.unwrap_or(published::MIN_DEVICES);
    if (1..=published::MIN_DEVICES_MAX).contains(&devices) {
        return Ok(devices);
    }
    Err(ConfigError::Value {
        key: "privacy.min_devices",
        value: devices.to_string(),
        advice: "write a number from 1, which shows outputs of single devices, to 128; 5 is the default",
    })
}

fn watch(raw: &RawDrift) -> Result<WatchSettings, ConfigError> {
    let lane = lane(raw)?;
    let lateness = lateness(raw, lane)?;
    let defaults = Policy::default();
    let budget = positive(
        "drift.series_budget",
        raw.series_budget.map(u64::from),
        u64::from(defaults.series_budget),
    )?;
    let pages = raw
        .false_pages_per_30_days
        .unwrap_or(defaults.false_pages_per_30_days);
    if !(pages.is_finite() && pages > 0.0) {
        return Err(ConfigError::Value {
            key: "drift.false_pages_per_30_days",
            value: pages.to_string(),
            advice: "write a number above 0; 1 is the default",
        });
    }
    let policy = Policy {
        series_budget: u32::try_from(budget).unwrap_or(u32::MAX),
        false_pages_per_30_days: pages,
        ..defaults
    };
    let settings = WatchSettings::new(lane, lateness, policy);
    let noised = raw.metrics.iter().flatten();
    if let Some(noised) = noised.into_iter().find(|name| name.ends_with(NOISED)) {
        return Err(ConfigError::Value {
            key: "drift.metrics",
            value: noised.clone(),
            advice: "noised counts can be negative and are not judged; name the exact metric",
        });
    }
    Ok(match &raw.metrics {
        None => settings,
        Some(metrics) => WatchSettings {
            metrics: metrics.clone(),
            ..settings
        },
    })
}

/// Two lanes unless it is given: at the minute, the two minutes that a device may be late.
fn lateness(raw: &RawDrift, lane: Duration) -> Result<Duration, ConfigError> {
    match raw.lateness.as_deref() {
        None => Ok(lane * 2),
        text => duration("drift.lateness", text, ""),
    }
}

fn lane(raw: &RawDrift) -> Result<Duration, ConfigError> {
    duration("drift.lane", raw.lane.as_deref(), "60s")
}

fn positive(key: &'static str, value: Option<u64>, default: u64) -> Result<u64, ConfigError> {
    match value {
        Some(0) => Err(ConfigError::Value {
            key,
            value: "0".to_owned(),
            advice: "write a whole number above 0",
        }),
        value => Ok(value.unwrap_or(default)),
    }
}

/// A duration such as `500ms`, `5s`, `10min`, `1h`.
fn duration(key: &'static str, text: Option<&str>, default: &str) -> Result<Duration, ConfigError> {
    let text = text.unwrap_or(default);
    pause(key, text)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| ConfigError::Value {
            key,
            value: text.to_owned(),
            advice: "write a whole number above 0 and a unit: ms, s, min or h",
        })
}

/// The same, or nothing: `0s`.
fn pause(key: &'static str, text: &str) -> Result<Duration, ConfigError> {
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
    let number = number.parse::<u64>().ok();
    let millis = number
        .zip(millis)
        .and_then(|(number, millis)| number.checked_mul(millis));
    // A century: longer ones overflow times in microseconds.
    let millis = millis.filter(|millis| *millis <= 100 * 365 * 86_400_000);
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| ConfigError::Value {
            key,
            value: text.to_owned(),
            advice: "write a whole number and a unit: ms, s, min or h",
        })
}

#[cfg(test)]
mod tests;
