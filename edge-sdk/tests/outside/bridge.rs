//! An application with an OpenTelemetry pipeline of its own: what leaves through its exporter, over
//! HTTP, and that nothing of ours is left on the disk.

use std::time::Duration;

use fathomline_edge::{Builder, FinishReason, Model, Operation};
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest, metrics::v1::AggregationTemporality,
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    metrics::{
        PeriodicReader, SdkMeterProvider, Temporality, data::ResourceMetrics,
        exporter::PushMetricExporter,
    },
};
use prost::Message;

use crate::{Data, Fathomline, infer, metrics, server::Server, total};

/// What opentelemetry-otlp does over HTTP, without its clients: the same conversion, one post.
struct Exporter {
    url: String,
}

impl PushMetricExporter for Exporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let body = ExportMetricsServiceRequest::from(metrics).encode_to_vec();
        let posted = ureq::post(&self.url)
            .header("content-type", "application/x-protobuf")
            .send(&body[..]);
        let failed = |error: ureq::Error| OTelSdkError::InternalFailure(error.to_string());
        posted.map(drop).map_err(failed)
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Delta
    }
}

fn provider(server: &Server, resource: Vec<KeyValue>) -> SdkMeterProvider {
    let exporter = Exporter {
        url: format!("{}/v1/metrics", server.endpoint),
    };
    let reader = PeriodicReader::builder(exporter).with_interval(Duration::from_secs(3_600));
    let resource = Resource::builder_empty().with_attributes(resource);
    SdkMeterProvider::builder()
        .with_resource(resource.build())
        .with_reader(reader.build())
        .with_view(Builder::bridge_view)
        .build()
}

#[test]
fn an_applications_own_exporter_ships_what_ours_would() {
    let (server, folder) = (Server::start([]), tempfile::tempdir().unwrap());
    let spool = folder.path().join("spool");
    let builder = Fathomline::builder("assistant", "1.4.0")
        .spool(&spool)
        .installation("kiosk-7")
        .device_class("kiosk")
        .labels(["report"])
        .every_nth_prompt(1);
    let provider = provider(&server, builder.bridge_resource().unwrap());
    let line = builder.bridge(&provider).start().unwrap();
    (0..3).for_each(|_| infer(&line));
    line.operation(Operation::Chat).label("report");
    provider.force_flush().unwrap();
    line.switch_model(Model::new("assistant", "2.0.0")).unwrap();
    infer(&line);
    let health = line.shutdown(Duration::from_secs(10));
    provider.shutdown().unwrap();

    let requests = server.wait_for(2);
    for name in [
        "gen_ai.client.operation.duration",
        "gen_ai.server.time_per_output_token",
        "gen_ai.client.inference.operation.output_tokens",
        "fathomline.output.surprisal",
        "fathomline.output.entropy",
        "fathomline.input.surprisal",
    ] {
        let empty = u64::from(name.contains("duration") || name.contains("output_tokens"));
        assert_eq!(total(&requests[..1], name), 3 + empty, "{name}");
        assert_eq!(total(&requests[1..], name), 1, "{name}");
    }
    assert_eq!(total(&requests, "fathomline.output.finish"), 5);
    assert_eq!(total(&requests, "fathomline.output.label"), 1);
    assert_eq!((health.windows_stored, health.windows_dropped), (0, 0));
    assert!(!spool.exists(), "a bridged line made a spool folder");
}

#[test]
fn scales_temporality_and_the_device_are_those_of_the_contract() {
    let server = Server::start([]);
    let builder = Fathomline::builder("assistant", "1.4.0")
        .installation("kiosk-7")
        .device_class("kiosk");
    let provider = provider(&server, builder.bridge_resource().unwrap());
    let line = builder.bridge(&provider).start().unwrap();
    infer(&line);
    line.operation(Operation::Chat).finish(FinishReason::Error);
    provider.force_flush().unwrap();
    let requests = server.wait_for(1);
    let all = metrics(&requests[0]);
    let mut histograms = 0;
    for metric in all {
        if let Some(Data::ExponentialHistogram(data)) = metric.data {
            let wanted = if metric.unit == "s" { 5 } else { 4 };
            // One value a series, or close ones: nothing had to be coarsened but the durations.
            let scales = data.data_points.iter().map(|point| point.scale);
            assert!(
                scales.clone().all(|scale| scale <= wanted),
                "{}",
                metric.name
            );
            assert!(metric.unit == "s" || scales.clone().all(|scale| scale == wanted));
            assert_eq!(
                data.aggregation_temporality,
                AggregationTemporality::Delta as i32
            );
            histograms += 1;
        }
    }
    assert!(histograms >= 8, "{histograms}");
    let request = ExportMetricsServiceRequest::decode(&requests[0].body[..]).unwrap();
    let resource = request.resource_metrics[0].resource.clone().unwrap();
    let has = |key: &str, value: &str| {
        let mut pairs = resource.attributes.iter();
        pairs.any(|pair| pair.key == key && format!("{:?}", pair.value).contains(value))
    };
    assert!(has("device.id", "kiosk-7") && has("fathomline.device.class", "kiosk"));
    assert!(has("service.name", "assistant") && has("service.instance.id", ""));
}
