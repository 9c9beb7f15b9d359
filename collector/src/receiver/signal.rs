//! The three kinds of telemetry that OTLP carries, and what is peculiar to each: where it is
//! posted, what its messages are called, what its parts are called.

use super::message::{LOGS, METRICS, Message, TRACES};

/// A kind of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Metrics,
    /// GenAI spans are stored.
    Traces,
    /// Understood well enough to say no to each record.
    Logs,
}

impl Signal {
    pub(super) const ALL: [Self; 3] = [Self::Metrics, Self::Traces, Self::Logs];

    /// Where it is posted over HTTP.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Metrics => "/v1/metrics",
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
        }
    }

    /// Where it is posted over gRPC.
    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }

    /// The name of its request.
    pub(super) const fn request(self) -> &'static str {
        match self {
            Self::Metrics => "ExportMetricsServiceRequest",
            Self::Traces => "ExportTraceServiceRequest",
            Self::Logs => "ExportLogsServiceRequest",
        }
    }

    pub(super) fn message(self) -> &'static Message {
        match self {
            Self::Metrics => &METRICS,
            Self::Traces => &TRACES,
            Self::Logs => &LOGS,
        }
    }

    /// What a partial success counts, in words.
    pub(super) const fn things(self) -> &'static str {
        match self {
            Self::Metrics => "points",
            Self::Traces => "spans",
            Self::Logs => "log records",
        }
    }

    /// The same, as the field of a partial success in OTLP/JSON.
    pub(super) const fn rejected_field(self) -> &'static str {
        match self {
            Self::Metrics => "rejectedDataPoints",
            Self::Traces => "rejectedSpans",
            Self::Logs => "rejectedLogRecords",
        }
    }
}
