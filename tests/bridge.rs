//! An application that already has an OpenTelemetry pipeline: what its line records leaves through
//! the exporter that everybody uses, and every inference is counted once.

use std::time::Duration;

use fathomline_edge::{Builder, Fathomline, FinishReason, Operation};
use fathomline_wire::names;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider, Temporality},
};
use serde_json::json;

use crate::harness::house::House;

/// Three exports of so many inferences.
const EXPORTS: usize = 3;
const INFERENCES: usize = 4;

fn provider(house: &House, builder: &Builder) -> SdkMeterProvider {
    let exporter = opentelemetry_otlp::MetricExporter::builder()
        .with_tonic()
        .with_endpoint(&house.addresses().otlp_grpc)
        .with_temporality(Temporality::Delta)
        .build()
        .unwrap();
    let reader = PeriodicReader::builder(exporter).with_interval(Duration::from_secs(3_600));
    let resource = Resource::builder_empty().with_attributes(builder.bridge_resource().unwrap());
    SdkMeterProvider::builder()
        .with_resource(resource.build())
        .with_reader(reader.build())
        .with_view(Builder::bridge_view)
        .build()
}

#[test]
fn every_inference_of_a_bridged_line_is_counted_once() {
    let house = House::open();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    // The exporter's connection lives on it.
    let _entered = runtime.enter();
    let builder = Fathomline::builder("assistant", "1.4.0")
        .installation("kiosk-7")
        .device_class("kiosk");
    let provider = provider(&house, &builder);
    let line = builder.bridge(&provider).start().unwrap();
    for _ in 0..EXPORTS {
        for _ in 0..INFERENCES {
            let mut operation = line.operation(Operation::Chat);
            operation.observe_logits(&[1.0, 2.0, 0.5], 1);
            operation.finish(FinishReason::Stop);
        }
        provider.force_flush().unwrap();
    }
    line.shutdown(Duration::from_secs(10));
    provider.shutdown().unwrap();
    let all = i64::try_from(EXPORTS * INFERENCES).unwrap();
    for metric in [names::OPERATION_DURATION, names::OUTPUT_SURPRISAL] {
        let stored = house.ask(&format!(
            "SELECT sum(count), min(device), min(device_class), min(model), min(clock) \
             FROM distributions WHERE metric = '{metric}'"
        ));
        let wanted = json!([[all, "kiosk-7", "kiosk", "assistant", "ok"]]);
        assert_eq!(json!(stored), wanted, "{metric}");
    }
    let finished = format!(
        "SELECT sum(count) FROM measurements WHERE metric = '{}'",
        names::OUTPUT_FINISH
    );
    assert_eq!(house.number(&finished), all);
}
