//! The registry under `semconv/` and the names in the code say the same: every name of ours is in
//! both, with the same unit, instrument and category, and neither has one that the other has not.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path};

use fathomline_wire::names::{self, Kind, METRICS};
use serde::Deserialize;

#[derive(Deserialize)]
struct Registry {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    id: String,
    #[serde(default)]
    metric_name: String,
    brief: String,
    #[serde(default)]
    instrument: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    id: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    #[serde(rename = "type")]
    kind: Option<Type>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Type {
    Plain(String),
    Members { members: Vec<Member> },
}

#[derive(Deserialize)]
struct Member {
    value: String,
}

#[derive(Deserialize)]
struct Manifest {
    name: String,
    schema_url: String,
}

fn read<T: for<'a> Deserialize<'a>>(file: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("semconv")
        .join(file);
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Attributes that are defined, with the values they may have if those are listed.
fn defined() -> BTreeMap<String, Vec<String>> {
    let groups = read::<Registry>("attributes.yaml").groups.into_iter();
    let attributes = groups.flat_map(|group| group.attributes);
    let defined = attributes.map(|attribute| {
        let values = match attribute.kind.unwrap() {
            Type::Plain(kind) => {
                assert_eq!(kind, "string");
                vec![]
            }
            Type::Members { members } => members.into_iter().map(|m| m.value).collect(),
        };
        (attribute.id.unwrap(), values)
    });
    defined.collect()
}

/// Constants of the code whose value begins with our prefix, apart from headers.
fn constants() -> Vec<&'static str> {
    let code = include_str!("../src/names.rs");
    let after = code.split("pub const ").skip(1);
    let strings = after.filter_map(|rest| {
        let (name, rest) = rest.split_once(": &str =")?;
        let (_, rest) = rest.split_once('"')?;
        let (value, _) = rest.split_once('"')?;
        (!name.starts_with("HEADER_")).then_some(value)
    });
    strings
        .filter(|value| value.starts_with("fathomline."))
        .collect()
}

#[test]
fn every_metric_is_in_the_registry_as_the_code_has_it() {
    let groups = read::<Registry>("metrics.yaml").groups;
    let ours = METRICS
        .iter()
        .filter(|metric| metric.name.starts_with("fathomline."));
    let listed: Vec<&str> = groups.iter().map(|group| &group.metric_name[..]).collect();
    let coded: Vec<&str> = ours.clone().map(|metric| metric.name).collect();
    assert_eq!(listed, coded);
    for (group, metric) in groups.iter().zip(ours) {
        let instrument = match metric.kind {
            Kind::Distribution | Kind::Explicit => "histogram",
            Kind::Category | Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        assert_eq!(
            (&group.unit[..], &group.instrument[..]),
            (metric.unit, instrument)
        );
        assert_eq!(group.id, format!("metric.{}", metric.name));
        let references = || {
            group
                .attributes
                .iter()
                .map(|a| a.reference.as_deref().unwrap())
        };
        if let Some(category) = metric.category {
            assert!(references().any(|name| name == category), "{}", metric.name);
        }
        let defined = defined();
        for name in references() {
            assert!(
                defined.contains_key(name),
                "{} refers to {name}",
                metric.name
            );
        }
        assert!(group.brief.ends_with('.'), "{}", metric.name);
    }
}

#[test]
fn every_attribute_is_in_the_registry_and_only_those() {
    let mut coded = constants();
    coded.retain(|name| names::metric(name).is_none());
    coded.sort_unstable();
    assert_eq!(defined().into_keys().collect::<Vec<_>>(), coded);
}

#[test]
fn listed_values_are_those_of_the_code() {
    let defined = defined();
    assert_eq!(defined[names::ENERGY_SOURCE], names::ENERGY_SOURCES);
    assert_eq!(defined[names::ENERGY_SCOPE], names::ENERGY_SCOPES);
}

#[test]
fn the_manifest_names_the_contract() {
    let manifest: Manifest = read("manifest.yaml");
    assert_eq!(manifest.name, names::SCOPE);
    assert_eq!(manifest.schema_url, names::SCHEMA_URL);
}
