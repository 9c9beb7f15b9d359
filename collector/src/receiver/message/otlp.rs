//! The tables themselves, in the order of the OTLP protobuf files. A list of equal entries.

use std::mem::size_of;

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1 as common,
    logs::v1 as logs,
    metrics::v1 as metrics,
    resource::v1 as resource,
    trace::v1 as trace,
};

use super::{Field, Kind, Message};

/// `ExportMetricsServiceRequest`.
pub(in crate::receiver) static METRICS: Message = Message {
    size: size_of::<ExportMetricsServiceRequest>(),
    fields: &[many("resourceMetrics", 1, Kind::Message(&RESOURCE_METRICS))],
};

/// `ExportTraceServiceRequest`.
pub(in crate::receiver) static TRACES: Message = Message {
    size: size_of::<ExportTraceServiceRequest>(),
    fields: &[many("resourceSpans", 1, Kind::Message(&RESOURCE_SPANS))],
};

/// `ExportLogsServiceRequest`.
pub(in crate::receiver) static LOGS: Message = Message {
    size: size_of::<ExportLogsServiceRequest>(),
    fields: &[many("resourceLogs", 1, Kind::Message(&RESOURCE_LOGS))],
};

const fn one(name: &'static str, number: u32, kind: Kind) -> Field {
    Field {
        name,
        number,
        kind,
        repeated: false,
    }
}

const fn many(name: &'static str, number: u32, kind: Kind) -> Field {
    Field {
        repeated: true,
        ..one(name, number, kind)
    }
}

static ANY_VALUE: Message = Message {
    size: size_of::<common::AnyValue>(),
    fields: &[
        one("stringValue", 1, Kind::Text),
        one("boolValue", 2, Kind::Bool),
        one("intValue", 3, Kind::Int64),
        one("doubleValue", 4, Kind::Double),
        one("arrayValue", 5, Kind::Message(&ARRAY_VALUE)),
        one("kvlistValue", 6, Kind::Message(&KEY_VALUE_LIST)),
        one("bytesValue", 7, Kind::Base64),
    ],
};

static ARRAY_VALUE: Message = Message {
    size: size_of::<common::ArrayValue>(),
    fields: &[many("values", 1, Kind::Message(&ANY_VALUE))],
};

static KEY_VALUE_LIST: Message = Message {
    size: size_of::<common::KeyValueList>(),
    fields: &[many("values", 1, Kind::Message(&KEY_VALUE))],
};

static KEY_VALUE: Message = Message {
    size: size_of::<common::KeyValue>(),
    fields: &[
        one("key", 1, Kind::Text),
        one("value", 2, Kind::Message(&ANY_VALUE)),
    ],
};

static SCOPE: Message = Message {
    size: size_of::<common::InstrumentationScope>(),
    fields: &[
        one("name", 1, Kind::Text),
        one("version", 2, Kind::Text),
        many("attributes", 3, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Kind::Uint32),
    ],
};

static ENTITY_REF: Message = Message {
    size: size_of::<common::EntityRef>(),
    fields: &[
        one("schemaUrl", 1, Kind::Text),
        one("type", 2, Kind::Text),
        many("idKeys", 3, Kind::Text),
        many("descriptionKeys", 4, Kind::Text),
    ],
};

static RESOURCE: Message = Message {
    size: size_of::<resource::Resource>(),
    fields: &[
        many("attributes", 1, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 2, Kind::Uint32),
        many("entityRefs", 3, Kind::Message(&ENTITY_REF)),
    ],
};

static RESOURCE_METRICS: Message = Message {
    size: size_of::<metrics::ResourceMetrics>(),
    fields: &[
        one("resource", 1, Kind::Message(&RESOURCE)),
        many("scopeMetrics", 2, Kind::Message(&SCOPE_METRICS)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static SCOPE_METRICS: Message = Message {
    size: size_of::<metrics::ScopeMetrics>(),
    fields: &[
        one("scope", 1, Kind::Message(&SCOPE)),
        many("metrics", 2, Kind::Message(&METRIC)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static METRIC: Message = Message {
    size: size_of::<metrics::Metric>(),
    fields: &[
        one("name", 1, Kind::Text),
        one("description", 2, Kind::Text),
        one("unit", 3, Kind::Text),
        one("gauge", 5, Kind::Message(&GAUGE)),
        one("sum", 7, Kind::Message(&SUM)),
        one("histogram", 9, Kind::Message(&HISTOGRAM)),
        one("exponentialHistogram", 10, Kind::Message(&EXPONENTIAL)),
        one("summary", 11, Kind::Message(&SUMMARY)),
        many("metadata", 12, Kind::Message(&KEY_VALUE)),
    ],
};

static GAUGE: Message = Message {
    size: size_of::<metrics::Gauge>(),
    fields: &[many("dataPoints", 1, Kind::Message(&NUMBER_POINT))],
};

static SUM: Message = Message {
    size: size_of::<metrics::Sum>(),
    fields: &[
        many("dataPoints", 1, Kind::Message(&NUMBER_POINT)),
        one("aggregationTemporality", 2, Kind::Enum),
        one("isMonotonic", 3, Kind::Bool),
    ],
};

static HISTOGRAM: Message = Message {
    size: size_of::<metrics::Histogram>(),
    fields: &[
        many("dataPoints", 1, Kind::Message(&HISTOGRAM_POINT)),
        one("aggregationTemporality", 2, Kind::Enum),
    ],
};

static EXPONENTIAL: Message = Message {
    size: size_of::<metrics::ExponentialHistogram>(),
    fields: &[
        many("dataPoints", 1, Kind::Message(&EXPONENTIAL_POINT)),
        one("aggregationTemporality", 2, Kind::Enum),
    ],
};

static SUMMARY: Message = Message {
    size: size_of::<metrics::Summary>(),
    fields: &[many("dataPoints", 1, Kind::Message(&SUMMARY_POINT))],
};

static NUMBER_POINT: Message = Message {
    size: size_of::<metrics::NumberDataPoint>(),
    fields: &[
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("asDouble", 4, Kind::Double),
        many("exemplars", 5, Kind::Message(&EXEMPLAR)),
        one("asInt", 6, Kind::Signed64),
        many("attributes", 7, Kind::Message(&KEY_VALUE)),
        one("flags", 8, Kind::Uint32),
    ],
};

static HISTOGRAM_POINT: Message = Message {
    size: size_of::<metrics::HistogramDataPoint>(),
    fields: &[
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        one("sum", 5, Kind::Double),
        many("bucketCounts", 6, Kind::Fixed64),
        many("explicitBounds", 7, Kind::Double),
        many("exemplars", 8, Kind::Message(&EXEMPLAR)),
        many("attributes", 9, Kind::Message(&KEY_VALUE)),
        one("flags", 10, Kind::Uint32),
        one("min", 11, Kind::Double),
        one("max", 12, Kind::Double),
    ],
};

static EXPONENTIAL_POINT: Message = Message {
    size: size_of::<metrics::ExponentialHistogramDataPoint>(),
    fields: &[
        many("attributes", 1, Kind::Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        one("sum", 5, Kind::Double),
        one("scale", 6, Kind::Zigzag32),
        one("zeroCount", 7, Kind::Fixed64),
        one("positive", 8, Kind::Message(&BUCKETS)),
        one("negative", 9, Kind::Message(&BUCKETS)),
        one("flags", 10, Kind::Uint32),
        many("exemplars", 11, Kind::Message(&EXEMPLAR)),
        one("min", 12, Kind::Double),
        one("max", 13, Kind::Double),
        one("zeroThreshold", 14, Kind::Double),
    ],
};

static BUCKETS: Message = Message {
    size: size_of::<metrics::exponential_histogram_data_point::Buckets>(),
    fields: &[
        one("offset", 1, Kind::Zigzag32),
        many("bucketCounts", 2, Kind::Uint64),
    ],
};

static SUMMARY_POINT: Message = Message {
    size: size_of::<metrics::SummaryDataPoint>(),
    fields: &[
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        one("sum", 5, Kind::Double),
        many("quantileValues", 6, Kind::Message(&QUANTILE)),
        many("attributes", 7, Kind::Message(&KEY_VALUE)),
        one("flags", 8, Kind::Uint32),
    ],
};

static QUANTILE: Message = Message {
    size: size_of::<metrics::summary_data_point::ValueAtQuantile>(),
    fields: &[
        one("quantile", 1, Kind::Double),
        one("value", 2, Kind::Double),
    ],
};

static EXEMPLAR: Message = Message {
    size: size_of::<metrics::Exemplar>(),
    fields: &[
        one("timeUnixNano", 2, Kind::Fixed64),
        one("asDouble", 3, Kind::Double),
        one("spanId", 4, Kind::Hex),
        one("traceId", 5, Kind::Hex),
        one("asInt", 6, Kind::Signed64),
        many("filteredAttributes", 7, Kind::Message(&KEY_VALUE)),
    ],
};

static RESOURCE_SPANS: Message = Message {
    size: size_of::<trace::ResourceSpans>(),
    fields: &[
        one("resource", 1, Kind::Message(&RESOURCE)),
        many("scopeSpans", 2, Kind::Message(&SCOPE_SPANS)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static SCOPE_SPANS: Message = Message {
    size: size_of::<trace::ScopeSpans>(),
    fields: &[
        one("scope", 1, Kind::Message(&SCOPE)),
        many("spans", 2, Kind::Message(&SPAN)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static SPAN: Message = Message {
    size: size_of::<trace::Span>(),
    fields: &[
        one("traceId", 1, Kind::Hex),
        one("spanId", 2, Kind::Hex),
        one("traceState", 3, Kind::Text),
        one("parentSpanId", 4, Kind::Hex),
        one("name", 5, Kind::Text),
        one("kind", 6, Kind::Enum),
        one("startTimeUnixNano", 7, Kind::Fixed64),
        one("endTimeUnixNano", 8, Kind::Fixed64),
        many("attributes", 9, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 10, Kind::Uint32),
        many("events", 11, Kind::Message(&EVENT)),
        one("droppedEventsCount", 12, Kind::Uint32),
        many("links", 13, Kind::Message(&LINK)),
        one("droppedLinksCount", 14, Kind::Uint32),
        one("status", 15, Kind::Message(&STATUS)),
        one("flags", 16, Kind::Fixed32),
    ],
};

static EVENT: Message = Message {
    size: size_of::<trace::span::Event>(),
    fields: &[
        one("timeUnixNano", 1, Kind::Fixed64),
        one("name", 2, Kind::Text),
        many("attributes", 3, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Kind::Uint32),
    ],
};

static LINK: Message = Message {
    size: size_of::<trace::span::Link>(),
    fields: &[
        one("traceId", 1, Kind::Hex),
        one("spanId", 2, Kind::Hex),
        one("traceState", 3, Kind::Text),
        many("attributes", 4, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 5, Kind::Uint32),
        one("flags", 6, Kind::Fixed32),
    ],
};

static STATUS: Message = Message {
    size: size_of::<trace::Status>(),
    fields: &[one("message", 2, Kind::Text), one("code", 3, Kind::Enum)],
};

static RESOURCE_LOGS: Message = Message {
    size: size_of::<logs::ResourceLogs>(),
    fields: &[
        one("resource", 1, Kind::Message(&RESOURCE)),
        many("scopeLogs", 2, Kind::Message(&SCOPE_LOGS)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static SCOPE_LOGS: Message = Message {
    size: size_of::<logs::ScopeLogs>(),
    fields: &[
        one("scope", 1, Kind::Message(&SCOPE)),
        many("logRecords", 2, Kind::Message(&LOG_RECORD)),
        one("schemaUrl", 3, Kind::Text),
    ],
};

static LOG_RECORD: Message = Message {
    size: size_of::<logs::LogRecord>(),
    fields: &[
        one("timeUnixNano", 1, Kind::Fixed64),
        one("severityNumber", 2, Kind::Enum),
        one("severityText", 3, Kind::Text),
        one("body", 5, Kind::Message(&ANY_VALUE)),
        many("attributes", 6, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 7, Kind::Uint32),
        one("flags", 8, Kind::Fixed32),
        one("traceId", 9, Kind::Hex),
        one("spanId", 10, Kind::Hex),
        one("observedTimeUnixNano", 11, Kind::Fixed64),
        one("eventName", 12, Kind::Text),
    ],
};
