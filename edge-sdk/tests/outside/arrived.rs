//! What arrived, as tests ask about it. In: requests. Out: metrics, and what they count.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{Metric, metric::Data, number_data_point::Value},
};
use prost::Message;

use crate::server::Request;

/// Metrics of one window.
pub(crate) fn metrics(request: &Request) -> Vec<Metric> {
    let request = ExportMetricsServiceRequest::decode(&request.body[..]).unwrap();
    request.resource_metrics[0].scope_metrics[0].metrics.clone()
}

/// The sum over all requests of what a histogram counts, or a counter adds up to.
pub(crate) fn total(requests: &[Request], name: &str) -> u64 {
    let all = requests
        .iter()
        .flat_map(metrics)
        .filter(|metric| metric.name == name);
    all.map(|metric| match metric.data.unwrap() {
        Data::ExponentialHistogram(data) => data.data_points.iter().map(|p| p.count).sum(),
        Data::Sum(data) => data
            .data_points
            .iter()
            .map(|p| number(&p.value))
            .sum::<u64>(),
        other => panic!("{name} is {other:?}"),
    })
    .sum()
}

fn number(value: &Option<Value>) -> u64 {
    match value {
        Some(Value::AsInt(value)) => u64::try_from(*value).unwrap(),
        other => panic!("{other:?} is no integer"),
    }
}
