//! What cannot leave a device, whatever an application gives to its line. Proves that every text
//! on the wire was declared at the start or belongs to the contract, and that with noise nothing
//! of an inference leaves but counts of fixed cells.
#![allow(clippy::unwrap_used)]

#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "outside/server.rs"]
mod server;

use std::{collections::BTreeSet, path::Path, time::Duration};

use fathomline_edge::{Builder, Fathomline, Feedback, FinishReason, Model, Operation, Validity};
use fathomline_wire::{names, noise};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{Metric, metric::Data, number_data_point::Value as Number},
};
use prost::Message;
use serde_json::Value;
use server::{Request, Server};

const FLUSH: Duration = Duration::from_secs(10);

/// What the application declares, and so expects to leave.
const DECLARED: [&str; 17] = [
    "assistant",
    "1.4.0",
    "assistant-2",
    "2.0.0",
    "q8_0",
    "metal",
    "kiosk-app",
    "7.1",
    "kiosk",
    "rpi-5",
    "hall-3",
    "staging",
    "installation-1",
    "open",
    "close",
    "5eed.0",
    "5eed.1",
];

/// Words of the contract that are values of attributes.
const VOCABULARY: &str = "chat text_completion generate_content embeddings stop length error \
    refusal empty accepted edited retried rejected correct wrong valid invalid_json \
    invalid_schema invalid_tool latin greek cyrillic hebrew arabic indic han kana hangul digit \
    sign inference idle unattributed candle other";

/// Attribute keys of the contract.
const KEYS: [&str; 26] = [
    names::SERVICE_NAME,
    names::SERVICE_VERSION,
    names::SERVICE_INSTANCE_ID,
    names::DEVICE_ID,
    names::DEVICE_MODEL_IDENTIFIER,
    names::HOST_ARCH,
    names::OS_TYPE,
    names::ENVIRONMENT,
    names::DEVICE_CLASS,
    names::SITE,
    names::OPERATION_NAME,
    names::PROVIDER_NAME,
    names::REQUEST_MODEL,
    names::MODEL_VERSION,
    names::MODEL_VARIANT,
    names::MODEL_QUANTIZATION,
    names::ENERGY_SOURCE,
    names::ENERGY_SCOPE,
    names::ENERGY_USE,
    names::VALIDITY_KIND,
    names::PROJECTION_COMPONENT,
    names::CELL,
    names::PRIVACY_EPSILON,
    names::FINISH_REASON,
    names::FEEDBACK_KIND,
    names::SCRIPT,
];

/// What the two models of the test hash to: nothing of what was hashed can be read from it.
fn variants() -> [String; 2] {
    let first = Model::new("assistant", "1.4.0")
        .weights_digest("canary-weights")
        .tokenizer_digest("canary-tokenizer")
        .sampler("canary-sampler")
        .quantization("q8_0")
        .backend("metal");
    [first.variant(), second_model().variant()]
}

fn second_model() -> Model {
    Model::new("assistant-2", "2.0.0").sampler("canary-sampler")
}

/// A line that declares everything there is to declare.
fn declaring_all(server: &Server, spool: &Path) -> Builder {
    Fathomline::builder("assistant", "1.4.0")
        .weights_digest("canary-weights")
        .tokenizer_digest("canary-tokenizer")
        .sampler("canary-sampler")
        .quantization("q8_0")
        .backend("metal")
        .service("kiosk-app")
        .service_version("7.1")
        .device_class("kiosk")
        .device_model("rpi-5")
        .site("hall-3")
        .environment("staging")
        .installation("installation-1")
        .token("canary-token")
        .labels(["open", "close"])
        .projections(0x5eed, 2)
        .estimated_watts_per_core(3.0)
        .every_nth_prompt(1)
        .endpoint(&server.endpoint)
        .spool(spool)
        .window(Duration::from_secs(3_600))
}

/// Uses every call there is, with a canary wherever a text fits.
fn use_all(line: &Fathomline) {
    line.model_loaded(Duration::from_secs(2));
    for operation in [Operation::Chat, Operation::Embeddings] {
        for n in 0..20u32 {
            let mut op = line.operation(operation);
            op.prompt_text(&format!("canary-{n} in a prompt, канарейка, 金丝雀 №{n}"));
            op.prompt_tokens(12);
            op.observe_prompt(&[0.0, 1.0, 2.0], 1);
            op.observe_logits(&[0.0, 2.0, -1.0], n % 3);
            op.observe_logits(&[0.5, 2.0, -1.0], 1);
            op.token();
            op.label(&format!("canary-{n}"));
            op.label("open");
            op.validity(Validity::Valid);
            op.embedding(&[1.0, -2.0, 3.0, 0.5]);
            op.feedback(Feedback::Edited);
            let finished = op.finish(FinishReason::Stop);
            finished.feedback(Feedback::Correct);
        }
    }
    line.switch_model(second_model()).unwrap();
    drop(line.operation(Operation::TextCompletion));
}

/// Every text of a request with the name of the field that holds it, in the OTLP/JSON mapping:
/// whatever field a text is in, it is here.
fn texts(request: &Request) -> Vec<(String, String)> {
    fn walk(value: &Value, field: &str, found: &mut Vec<(String, String)>) {
        match value {
            Value::String(text) => found.push((field.to_owned(), text.clone())),
            Value::Array(all) => all.iter().for_each(|value| walk(value, field, found)),
            Value::Object(all) => all
                .iter()
                .for_each(|(field, value)| walk(value, field, found)),
            _ => {}
        }
    }
    let decoded = ExportMetricsServiceRequest::decode(&request.body[..]).unwrap();
    // Nothing hides in fields that the decoder does not know.
    assert_eq!(decoded.encode_to_vec(), request.body);
    let mut found = Vec::new();
    walk(&serde_json::to_value(decoded).unwrap(), "", &mut found);
    found
}

/// Whether a text may leave, by the field that holds it.
fn may_leave(field: &str, text: &str, request: &Request) -> bool {
    let is_metric = |text: &str| {
        let exact = text.strip_suffix(names::NOISED).unwrap_or(text);
        names::metric(exact).is_some()
    };
    let is_number = text.parse::<i128>().is_ok();
    match field {
        "name" => is_metric(text) || text == names::SCOPE,
        "unit" => names::METRICS.iter().any(|metric| metric.unit == text),
        "key" => KEYS.contains(&text) || text == names::LABEL,
        "schemaUrl" => text == names::SCHEMA_URL,
        "version" => text == env!("CARGO_PKG_VERSION"),
        "description" | "traceState" => text.is_empty(),
        "stringValue" => {
            DECLARED.contains(&text)
                || VOCABULARY.split(' ').any(|word| word == text)
                || names::ENERGY_SOURCES.contains(&text)
                || names::ENERGY_SCOPES.contains(&text)
                || text == request.boot()
                || variants().contains(&text.to_owned())
                || [std::env::consts::ARCH, std::env::consts::OS].contains(&text)
                || noise::parse(text).is_some()
                || text.parse::<f64>().is_ok_and(|epsilon| epsilon < 20.0)
        }
        // Numbers of 64 bits are texts in JSON.
        _ => is_number || text == "NaN" || text.is_empty(),
    }
}

fn metrics(request: &Request) -> Vec<Metric> {
    let request = ExportMetricsServiceRequest::decode(&request.body[..]).unwrap();
    request.resource_metrics[0].scope_metrics[0].metrics.clone()
}

fn sent(builder: Builder, server: &Server) -> Vec<Request> {
    let line = builder.start().unwrap();
    use_all(&line);
    line.shutdown(FLUSH);
    server.requests()
}

#[test]
fn every_text_that_leaves_was_declared_or_is_the_contracts() {
    for noised in [false, true] {
        let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
        let mut builder = declaring_all(&server, spool.path());
        if noised {
            builder = builder.noise(1_000.0, 200).noised_metrics([
                names::OUTPUT_SURPRISAL,
                names::OUTPUT_LABEL,
                names::FEEDBACK,
                names::OUTPUT_VALIDITY,
                names::OUTPUT_FINISH,
            ]);
        }
        let requests = sent(builder, &server);
        assert!(!requests.is_empty());
        let mut fields = BTreeSet::new();
        for request in &requests {
            for (field, text) in texts(request) {
                assert!(may_leave(&field, &text, request), "{field}: {text:?}");
                fields.insert(field);
            }
            let headers = format!("{:?}", request.headers).replace("canary-token", "");
            assert!(!headers.contains("canary"), "{headers}");
        }
        // The walk sees the fields that hold texts.
        for field in ["name", "unit", "key", "stringValue", "schemaUrl", "version"] {
            assert!(fields.contains(field), "{field} is not among {fields:?}");
        }
    }
}

#[test]
fn a_full_window_uses_what_the_contract_has_for_inferences() {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    let requests = sent(declaring_all(&server, spool.path()), &server);
    let named: BTreeSet<String> = requests.iter().flat_map(metrics).map(|m| m.name).collect();
    for name in [
        names::OUTPUT_SURPRISAL,
        names::INPUT_SURPRISAL,
        names::OUTPUT_LABEL,
        names::OUTPUT_VALIDITY,
        names::FEEDBACK,
        names::INPUT_SCRIPT,
        names::EMBEDDING_PROJECTION,
        names::MODEL_LOAD_DURATION,
        names::OUTPUT_FINISH,
    ] {
        assert!(named.contains(name), "{name} is not among {named:?}");
    }
}

#[test]
fn with_noise_inferences_leave_only_counts_of_fixed_cells() {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    let builder = declaring_all(&server, spool.path()).noise(240.0, 60);
    let requests = sent(builder, &server);
    // A release of two variants; an application with one sends half of it each hour.
    let bytes: usize = requests.iter().map(|request| request.body.len()).sum();
    assert!(bytes < 60 * 1024, "{bytes}");
    eprintln!("{bytes} bytes");
    let mut released = BTreeSet::new();
    for metric in requests.iter().flat_map(metrics) {
        let Some(exact) = metric.name.strip_suffix(names::NOISED) else {
            let of_the_device = metric.name.starts_with("fathomline.device.")
                && metric.name != names::DEVICE_ENERGY;
            assert!(of_the_device, "{} leaves without noise", metric.name);
            continue;
        };
        let unit = names::metric(exact).unwrap().unit;
        assert_eq!(metric.unit, unit);
        let Some(Data::Sum(sum)) = metric.data else {
            panic!("{} is no sum", metric.name)
        };
        assert!(!sum.is_monotonic && sum.aggregation_temporality == 1);
        // Both variants have every cell, though one of them inferred once.
        let cells = match exact {
            names::OUTPUT_FINISH => 5,
            _ => noise::cells(unit).unwrap().count(),
        };
        assert_eq!(sum.data_points.len(), 2 * cells, "{exact}");
        for point in &sum.data_points {
            assert!(matches!(point.value, Some(Number::AsInt(_))));
            let said = format!("{:?}", point.attributes);
            // 240 a day by 60 inferences by 6 metrics.
            assert!(said.contains("0.666666") && !said.contains(names::OPERATION_NAME));
        }
        released.insert(exact.to_owned());
    }
    assert_eq!(released.len(), 6, "{released:?}");
    let ledger = std::fs::read_to_string(spool.path().join("privacy.json")).unwrap();
    let ledger: Value = serde_json::from_str(&ledger).unwrap();
    // 41 inferences of 6 metrics by 666,666 millionths.
    assert_eq!(ledger["spent"][0][1], 41 * 6 * 666_666);
    assert_eq!(ledger["terms"]["epsilon_of_an_inference"], 3.999_996);
}

#[test]
fn noise_stays_within_its_day_however_often_a_line_restarts() {
    let spool = tempfile::tempdir().unwrap();
    let mut told = 0i64;
    for _ in 0..6 {
        let server = Server::start([]);
        // An epsilon of 19 a cell: counts are exact but once in a hundred million times.
        let builder = Fathomline::builder("assistant", "1.4.0")
            .noise(19.0 * 10.0, 10)
            .noised_metrics([names::OUTPUT_FINISH])
            .endpoint(&server.endpoint)
            .spool(spool.path());
        let line = builder.start().unwrap();
        (0..4).for_each(|_| drop(line.operation(Operation::Chat)));
        line.shutdown(FLUSH);
        for metric in server.requests().iter().flat_map(metrics) {
            if let (true, Some(Data::Sum(sum))) =
                (metric.name.ends_with(names::NOISED), metric.data)
            {
                told += sum
                    .data_points
                    .iter()
                    .fold(0, |told, point| match point.value {
                        Some(Number::AsInt(count)) => told + count,
                        _ => panic!("a count is an integer"),
                    });
            }
        }
    }
    // Ten a day; the test may have run across midnight.
    assert!((10..=20).contains(&told), "{told}");
}
