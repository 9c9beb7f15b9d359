//! How the specification spells a request in JSON, for tests: written by hand from the same values,
//! so that a wrong table cannot agree with itself. In: a message. Out: its JSON.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{
        Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint,
        SummaryDataPoint, exemplar, exponential_histogram_data_point::Buckets, metric,
        number_data_point,
    },
};
use serde_json::{Value, json};

fn double(number: f64) -> Value {
    match number {
        n if n.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        n => json!(n),
    }
}

fn any_value(value: &AnyValue) -> Value {
    use any_value::Value as Any;
    match &value.value {
        None => json!({}),
        Some(Any::StringValue(text)) => json!({ "stringValue": text }),
        Some(Any::BoolValue(flag)) => json!({ "boolValue": flag }),
        Some(Any::IntValue(number)) => json!({ "intValue": number.to_string() }),
        Some(Any::DoubleValue(number)) => json!({ "doubleValue": double(*number) }),
        Some(Any::ArrayValue(list)) => {
            let values: Vec<_> = list.values.iter().map(any_value).collect();
            json!({"arrayValue": { "values": values }})
        }
        Some(Any::KvlistValue(list)) => json!({"kvlistValue": {
            "values": attributes(&list.values),
        }}),
        Some(Any::BytesValue(bytes)) => {
            use base64::{Engine, prelude::BASE64_STANDARD};
            json!({ "bytesValue": BASE64_STANDARD.encode(bytes) })
        }
        Some(other) => unreachable!("{other:?}"),
    }
}

fn attributes(list: &[KeyValue]) -> Value {
    let list = list.iter().map(|attribute| {
        let mut spelt = json!({ "key": attribute.key });
        if let Some(value) = &attribute.value {
            spelt["value"] = any_value(value);
        }
        spelt
    });
    Value::Array(list.collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn strings(numbers: &[u64]) -> Vec<String> {
    numbers.iter().map(u64::to_string).collect()
}

fn exemplars(list: &[Exemplar]) -> Value {
    let list = list.iter().map(|one| {
        let mut spelt = json!({
            "timeUnixNano": one.time_unix_nano.to_string(),
            "spanId": hex(&one.span_id),
            "traceId": hex(&one.trace_id),
            "filteredAttributes": attributes(&one.filtered_attributes),
        });
        match one.value {
            Some(exemplar::Value::AsDouble(number)) => spelt["asDouble"] = double(number),
            Some(exemplar::Value::AsInt(number)) => spelt["asInt"] = json!(number.to_string()),
            None => {}
        }
        spelt
    });
    Value::Array(list.collect())
}

fn number_points(points: &[NumberDataPoint]) -> Value {
    let points = points.iter().map(|point| {
        let mut spelt = json!({
            "attributes": attributes(&point.attributes),
            "startTimeUnixNano": point.start_time_unix_nano,
            "timeUnixNano": point.time_unix_nano.to_string(),
            "exemplars": exemplars(&point.exemplars),
            "flags": point.flags,
        });
        match point.value {
            Some(number_data_point::Value::AsDouble(number)) => {
                spelt["asDouble"] = double(number);
            }
            Some(number_data_point::Value::AsInt(number)) => {
                spelt["asInt"] = json!(number.to_string());
            }
            None => {}
        }
        spelt
    });
    Value::Array(points.collect())
}

fn buckets(side: &Buckets) -> Value {
    json!({ "offset": side.offset, "bucketCounts": strings(&side.bucket_counts) })
}

fn exponential_point(point: &ExponentialHistogramDataPoint) -> Value {
    let mut spelt = json!({
        "attributes": attributes(&point.attributes),
        "startTimeUnixNano": point.start_time_unix_nano.to_string(),
        "timeUnixNano": point.time_unix_nano.to_string(),
        "count": point.count.to_string(),
        "scale": point.scale,
        "zeroCount": point.zero_count,
        "flags": point.flags,
        "exemplars": exemplars(&point.exemplars),
        "zeroThreshold": double(point.zero_threshold),
    });
    let numbers = [("sum", point.sum), ("min", point.min), ("max", point.max)];
    for (name, number) in numbers {
        spelt[name] = number.map_or(Value::Null, double);
    }
    let sides = [("positive", &point.positive), ("negative", &point.negative)];
    for (name, side) in sides {
        spelt[name] = side.as_ref().map_or(Value::Null, buckets);
    }
    spelt
}

fn explicit_point(point: &HistogramDataPoint) -> Value {
    let bounds: Vec<_> = point.explicit_bounds.iter().map(|b| double(*b)).collect();
    let mut spelt = json!({
        "attributes": attributes(&point.attributes),
        "startTimeUnixNano": point.start_time_unix_nano.to_string(),
        "timeUnixNano": point.time_unix_nano.to_string(),
        "count": point.count,
        "bucketCounts": strings(&point.bucket_counts),
        "explicitBounds": bounds,
        "exemplars": exemplars(&point.exemplars),
        "flags": point.flags,
    });
    for (name, number) in [("sum", point.sum), ("min", point.min), ("max", point.max)] {
        if let Some(number) = number {
            spelt[name] = double(number);
        }
    }
    spelt
}

fn summary_point(point: &SummaryDataPoint) -> Value {
    let quantiles = point
        .quantile_values
        .iter()
        .map(|value| json!({"quantile": double(value.quantile), "value": double(value.value)}));
    json!({
        "attributes": attributes(&point.attributes),
        "timeUnixNano": point.time_unix_nano.to_string(),
        "count": point.count.to_string(),
        "sum": double(point.sum),
        "quantileValues": quantiles.collect::<Vec<_>>(),
        "flags": point.flags,
    })
}

fn spelt_metric(metric: &Metric) -> Value {
    let mut spelt = json!({
        "name": metric.name,
        "description": metric.description,
        "unit": metric.unit,
        "metadata": attributes(&metric.metadata),
        "aFieldOfTheFuture": {"with": [1, null, {"parts": true}]},
    });
    let data = match &metric.data {
        None => return spelt,
        Some(metric::Data::Gauge(data)) => (
            "gauge",
            json!({ "dataPoints": number_points(&data.data_points) }),
        ),
        Some(metric::Data::Sum(data)) => (
            "sum",
            json!({
                "dataPoints": number_points(&data.data_points),
                "aggregationTemporality": data.aggregation_temporality,
                "isMonotonic": data.is_monotonic,
            }),
        ),
        Some(metric::Data::Histogram(data)) => {
            let points: Vec<_> = data.data_points.iter().map(explicit_point).collect();
            let temporality = data.aggregation_temporality;
            (
                "histogram",
                json!({ "dataPoints": points, "aggregationTemporality": temporality }),
            )
        }
        Some(metric::Data::ExponentialHistogram(data)) => {
            let points: Vec<_> = data.data_points.iter().map(exponential_point).collect();
            let temporality = data.aggregation_temporality;
            (
                "exponentialHistogram",
                json!({ "dataPoints": points, "aggregationTemporality": temporality }),
            )
        }
        Some(metric::Data::Summary(data)) => {
            let points: Vec<_> = data.data_points.iter().map(summary_point).collect();
            ("summary", json!({ "dataPoints": points }))
        }
    };
    spelt[data.0] = data.1;
    spelt
}

pub(in crate::receiver) fn spelt(request: &ExportMetricsServiceRequest) -> Value {
    let resources = request.resource_metrics.iter().map(|source| {
        let scopes = source.scope_metrics.iter().map(|scope| {
            let metrics: Vec<_> = scope.metrics.iter().map(spelt_metric).collect();
            json!({ "metrics": metrics, "schemaUrl": scope.schema_url })
        });
        let resource = source.resource.as_ref().map_or(
            Value::Null,
            |resource| json!({ "attributes": attributes(&resource.attributes) }),
        );
        json!({ "resource": resource, "scopeMetrics": scopes.collect::<Vec<_>>() })
    });
    json!({ "resourceMetrics": resources.collect::<Vec<_>>() })
}
