//! The configuration file as written. Every key is optional; what is unknown is refused.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

use super::{alert::RawAlert, cost::RawCost, gate::RawGate, retraining::RawRetraining};
use crate::listener::certificates::CertificateFiles;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) data: Option<PathBuf>,
    pub(super) http: RawHttp,
    pub(super) otlp: RawOtlp,
    pub(super) store: RawStore,
    pub(super) upkeep: RawUpkeep,
    pub(super) retention: RawRetention,
    pub(super) limits: RawLimits,
    pub(super) sql: RawSql,
    pub(super) privacy: RawPrivacy,
    pub(super) drift: RawDrift,
    pub(super) gate: RawGate,
    pub(super) cost: RawCost,
    pub(super) alert: RawAlert,
    pub(super) retraining: RawRetraining,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHttp {
    pub(super) listen: Option<SocketAddr>,
    /// Names beside loopback under which the dashboard is reached.
    pub(super) hosts: Vec<String>,
    /// For links in webhooks.
    pub(super) public_url: Option<String>,
    /// Looking needs a token, too.
    pub(super) require_token: bool,
    pub(super) tls: Option<RawTls>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOtlp {
    pub(super) http: Option<SocketAddr>,
    pub(super) grpc: Option<SocketAddr>,
    /// Sending needs a token.
    pub(super) require_token: bool,
    pub(super) tls: Option<RawTls>,
    /// Memory of all requests that are being worked on.
    pub(super) memory_bytes: Option<u64>,
    /// Connections a door holds open.
    pub(super) connections_max: Option<u64>,
    pub(super) idle_timeout: Option<String>,
    pub(super) body_timeout: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPrivacy {
    /// Devices that a group needs for its outputs to be shown by themselves.
    pub(super) min_devices: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

impl RawTls {
    pub(super) fn of(self, section: &'static str) -> CertificateFiles {
        CertificateFiles {
            section,
            certificate: self.certificate,
            key: self.key,
            client_ca: self.client_ca,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawStore {
    pub(super) seal_after: Option<String>,
    pub(super) seal_bytes: Option<u64>,
    pub(super) waiting_bytes: Option<u64>,
    /// A folder, or `s3://bucket/prefix` with credentials in the environment.
    pub(super) tables: Option<String>,
}

/// What becomes of tables after their commits.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawUpkeep {
    pub(super) every: Option<String>,
    /// So many small files of a day become one.
    pub(super) files: Option<u64>,
    pub(super) file_bytes: Option<u64>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) vacuum_after: Option<String>,
}

/// Days that rows are kept.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRetention {
    pub(super) device_rows_days: Option<u32>,
    pub(super) lanes_days: Option<u32>,
    pub(super) device_hours_days: Option<u32>,
    pub(super) hours_days: Option<u32>,
}

/// Most of everything, all senders together; a token may make a quarter of each.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) devices: Option<u32>,
    pub(super) services: Option<u32>,
    /// Combinations of service, class, model, version and variant.
    pub(super) cohorts: Option<u32>,
    /// Metrics beyond those of the contract.
    pub(super) metrics: Option<u32>,
    /// Values of categories, labels among them.
    pub(super) categories: Option<u32>,
    /// Memory of the streams that are told apart by their intervals.
    pub(super) stream_bytes: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSql {
    pub(super) memory_bytes: Option<u64>,
    pub(super) deadline: Option<String>,
    pub(super) rows_max: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDrift {
    pub(super) lane: Option<String>,
    pub(super) lateness: Option<String>,
    pub(super) metrics: Option<Vec<String>>,
    pub(super) series_budget: Option<u32>,
    pub(super) false_pages_per_30_days: Option<f64>,
}
