//! Windows through a relay: a hop that decodes several requests, batches them into one, encodes it
//! anew and forwards it without our headers, as an OpenTelemetry Collector does. Every point must
//! arrive as it left, and a window must still be told from another without its headers. What the
//! collector makes of it is proven in the workspace's system tests.

use std::time::Duration;

use fathomline_edge::{Fathomline, Feedback, FinishReason, Operation, Validity};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{Metric, ResourceMetrics, metric::Data, number_data_point::Value},
};
use prost::Message;

use crate::server::{Reply, Request, Server};

/// Uploads of one device, oldest first.
fn device(name: &str) -> Vec<Request> {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    let line = Fathomline::builder("assistant", "1.4.0")
        .endpoint(&server.endpoint)
        .spool(spool.path())
        .window(Duration::from_millis(100))
        .installation(name)
        .device_class("kiosk")
        .quantization("q8_0")
        .labels(["set_target", "report"])
        .projections(7, 4)
        .every_nth_prompt(1)
        .start()
        .unwrap();
    for round in 0..4 {
        for n in 0..=round {
            let mut op = line.operation(Operation::Chat);
            op.prompt_tokens(3 + n);
            op.prompt_text("how warm is it? 21 °C");
            op.observe_prompt(&[0.0, 1.0], 0);
            (0..6).for_each(|token| op.observe_logits(&[n as f32, 2.0, -1.0], token % 3));
            op.label("report");
            op.embedding(&[1.0, n as f32, -2.0]);
            op.validity(Validity::Valid);
            op.finish(FinishReason::Stop).feedback(Feedback::Accepted);
        }
        server.wait_for(server.requests().len() + 1);
    }
    line.shutdown(Duration::from_secs(10));
    server.requests()
}

fn decode(body: &[u8]) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest::decode(body).unwrap()
}

/// Decodes what came in, batches it, and posts it without a header of ours.
fn relay(incoming: &[Request], to: &Server) {
    let resource_metrics = incoming
        .iter()
        .flat_map(|request| decode(&request.body).resource_metrics)
        .collect();
    let batch = ExportMetricsServiceRequest { resource_metrics };
    let status = ureq::post(format!("{}/v1/metrics", to.endpoint))
        .header("content-type", "application/x-protobuf")
        .send(&batch.encode_to_vec()[..])
        .unwrap()
        .status();
    assert_eq!(status.as_u16(), 200);
}

fn metrics(resource: &ResourceMetrics) -> &[Metric] {
    assert_eq!(resource.scope_metrics.len(), 1);
    &resource.scope_metrics[0].metrics
}

fn attribute(resource: &ResourceMetrics, key: &str) -> String {
    let mut attributes = resource.resource.as_ref().unwrap().attributes.iter();
    let found = attributes.find(|attribute| attribute.key == key).unwrap();
    format!("{:?}", found.value)
}

/// The window's number, from its point and not from a header.
fn sequence(resource: &ResourceMetrics) -> i64 {
    let mut sequences = metrics(resource)
        .iter()
        .filter(|metric| metric.name == "fathomline.device.window.sequence");
    let Some(Data::Gauge(gauge)) = &sequences.next().unwrap().data else {
        panic!("the sequence is no gauge")
    };
    match gauge.data_points[0].value {
        Some(Value::AsInt(value)) => value,
        ref other => panic!("{other:?} is no integer"),
    }
}

#[test]
fn a_relay_that_batches_and_drops_headers_changes_no_point() {
    let sent: Vec<Request> = ["kiosk-1", "kiosk-2"]
        .into_iter()
        .flat_map(device)
        .collect();
    let collector = Server::start([Reply::Status(200, "")]);
    relay(&sent, &collector);
    let [arrived] = &collector.wait_for(1)[..] else {
        panic!("one batch arrives once")
    };
    assert!(
        !arrived
            .headers
            .keys()
            .any(|name| name.starts_with("fathomline")),
        "{:?}",
        arrived.headers
    );
    let arrived = decode(&arrived.body).resource_metrics;
    assert!(sent.len() >= 8 && arrived.len() == sent.len());
    let mut points = 0;
    for (request, arrived) in sent.iter().zip(&arrived) {
        let left = decode(&request.body).resource_metrics;
        assert_eq!(left.len(), 1);
        // Attributes, times, buckets, sums: prost compares floats by value, field by field.
        assert_eq!(&left[0], arrived);
        let again = ExportMetricsServiceRequest {
            resource_metrics: left,
        };
        assert_eq!(
            again.encode_to_vec(),
            request.body,
            "a hop changes the bytes"
        );
        // What the headers said is in the body as well.
        assert_eq!(
            sequence(arrived),
            i64::try_from(request.sequence()).unwrap()
        );
        assert!(attribute(arrived, "service.instance.id").contains(request.boot()));
        assert!(
            attribute(arrived, "device.id").contains(&request.headers["fathomline-installation"])
        );
        points += metrics(arrived).len();
    }
    assert!(
        points > 8 * 15,
        "{points} metrics are too few to prove much"
    );
}
