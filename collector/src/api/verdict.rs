//! A verdict as JSON. In: a row of the control database. Out: the same with times in words and the
//! evidence as an object.

use fathomline_queries::rows::VerdictRow;
use serde::Serialize;
use serde_json::Value;

use crate::clock::rfc3339;

/// One verdict of the answer.
#[derive(Serialize)]
pub(super) struct VerdictJson {
    /// Row number; `after` takes it.
    id: i64,
    /// End of the lane.
    time: String,
    time_us: i64,
    series: String,
    service: String,
    device_class: String,
    model: String,
    version: String,
    variant: String,
    metric: String,
    revision: i32,
    state: String,
    method: String,
    score: Option<f64>,
    threshold: Option<f64>,
    count: i64,
    effective_count: Option<f64>,
    devices: i64,
    since: Option<String>,
    reference: Option<String>,
    evidence: Value,
}

impl From<(i64, VerdictRow)> for VerdictJson {
    fn from((id, row): (i64, VerdictRow)) -> Self {
        Self {
            id,
            time: rfc3339(row.time),
            time_us: row.time,
            series: row.series,
            service: row.service,
            device_class: row.device_class,
            model: row.model,
            version: row.version,
            variant: row.variant,
            metric: row.metric,
            revision: row.revision,
            state: row.state,
            method: row.method,
            score: row.score,
            threshold: row.threshold,
            count: row.count,
            effective_count: row.effective_count,
            devices: row.devices,
            since: row.since.map(rfc3339),
            reference: row.reference,
            // Ours, written a moment before; what does not parse is shown as it is.
            evidence: serde_json::from_str(&row.evidence).unwrap_or(Value::String(row.evidence)),
        }
    }
}
