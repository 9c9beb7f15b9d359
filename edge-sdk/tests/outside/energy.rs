//! Energy from outside: an inference that works, and the joules that leave for it. On a machine
//! without a sensor these are estimated; one with a sensor sends what it measured, and no joules of
//! an inference before it has seen what idling draws.

use std::{collections::BTreeMap, fs};

use fathomline_edge::{Builder, FinishReason, Operation};
use fathomline_wire::names;
use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value},
    metrics::v1::{Metric, metric::Data, number_data_point::Value},
};

use super::{
    FLUSH, builder, metrics,
    server::{Request, Server},
};

/// One point: its value, or a histogram's sum, and its attributes.
type Point = (f64, BTreeMap<String, String>);

/// One inference that keeps a core busy for a while, in a program that ends with it.
fn run(configure: impl FnOnce(Builder) -> Builder) -> Vec<Request> {
    let (server, spool) = (Server::start([]), tempfile::tempdir().unwrap());
    let line = configure(builder(&server, spool.path())).start().unwrap();
    let op = line.operation(Operation::Chat);
    let from = processor_ticks();
    while processor_ticks() < from + 10 {
        std::hint::spin_loop();
    }
    op.finish(FinishReason::Stop);
    line.shutdown(FLUSH);
    server.requests()
}

/// Processor time of this process in hundredths of a second.
fn processor_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let times = fields.split_whitespace().skip(11).take(2);
    times.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// All points that were sent under a name.
fn points(requests: &[Request], name: &str) -> Vec<Point> {
    let mut found = Vec::new();
    let all = requests.iter().flat_map(metrics);
    for metric in all.filter(|metric| metric.name == name) {
        match metric.data.unwrap() {
            Data::ExponentialHistogram(data) => {
                found.extend(data.data_points.iter().map(|point| {
                    let sum = point.sum.unwrap();
                    (sum, attributes(&point.attributes))
                }))
            }
            Data::Sum(data) => found.extend(data.data_points.iter().map(|point| {
                let Some(Value::AsDouble(value)) = point.value else {
                    panic!("joules are real numbers");
                };
                (value, attributes(&point.attributes))
            })),
            other => panic!("{name} is {other:?}"),
        }
    }
    found
}

fn attributes(all: &[KeyValue]) -> BTreeMap<String, String> {
    let texts = all.iter().map(|attribute| {
        let value = attribute.value.as_ref().and_then(|any| any.value.as_ref());
        let Some(any_value::Value::StringValue(text)) = value else {
            panic!("{} is no text", attribute.key);
        };
        (attribute.key.clone(), text.clone())
    });
    texts.collect()
}

#[test]
fn an_inference_says_what_it_used_and_where_the_number_comes_from() {
    let requests = run(|builder| builder.estimated_watts_per_core(4.0));
    let device = points(&requests, names::DEVICE_ENERGY);
    for (_, attributes) in &device {
        let of = |key| attributes[key].as_str();
        assert!(names::ENERGY_SOURCES.contains(&of(names::ENERGY_SOURCE)));
        assert!(names::ENERGY_SCOPES.contains(&of(names::ENERGY_SCOPE)));
    }
    if device[0].1[names::ENERGY_SOURCE] != "estimated" {
        return;
    }
    let [(joules, attributes)] = &points(&requests, names::INFERENCE_ENERGY)[..] else {
        panic!("one inference has joules");
    };
    assert_eq!(attributes[names::ENERGY_SOURCE], "estimated");
    // Ten ticks of one core at 4 W; ticks are counted late, and other threads may work too.
    assert!(*joules >= 0.3, "{joules}");
    let by_use = |name| {
        let own = device.iter().filter(|(_, a)| a[names::ENERGY_USE] == name);
        own.map(|(joules, _)| joules).sum::<f64>()
    };
    assert!((by_use("inference") - joules).abs() < 1e-9);
    // An estimate from work says nothing of idling, and zero would be something.
    assert!(!device.iter().any(|(_, a)| a[names::ENERGY_USE] == "idle"));
}

#[test]
fn without_energy_no_joules_leave() {
    let requests = run(|builder| builder.estimated_watts_per_core(4.0).without_energy());
    // What the device went through is no energy, and is there.
    let all: Vec<_> = requests.iter().flat_map(metrics).collect();
    let memory = |metric: &Metric| metric.name == names::DEVICE_MEMORY_USAGE;
    assert!(all.iter().any(memory));
    assert_eq!(points(&requests, names::DEVICE_ENERGY), []);
    assert_eq!(points(&requests, names::INFERENCE_ENERGY), []);
}
