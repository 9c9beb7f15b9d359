//! Layers, names in errors, and that every option has its variable, its key and its line in the
//! README.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::*;
use crate::line::Fathomline;

fn applied_to(builder: Builder, variables: &[(&str, &str)]) -> Result<Builder, Error> {
    apply(builder, |name| {
        let found = variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| OsString::from(value))
    })
}

fn developer() -> Builder {
    Fathomline::builder("m", "1").service("of the developer")
}

/// What the builder would start with.
fn applied(variables: &[(&str, &str)]) -> Result<String, Error> {
    applied_to(developer(), variables).map(|builder| format!("{builder:?}"))
}

fn file(folder: &tempfile::TempDir, json: &str) -> PathBuf {
    let path = folder.path().join("fathomline.json");
    fs::write(&path, json).unwrap();
    path
}

fn from_file(json: &str) -> Result<String, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, json);
    applied(&[(FILE, path.to_str().unwrap())])
}

#[track_caller]
fn assert_says(said: &str, wanted: &str) {
    assert!(said.contains(wanted), "{wanted} is not in {said}");
}

#[test]
fn the_file_wins_over_the_application_and_a_variable_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        &folder,
        r#"{"service": "of the file", "site": "of the file"}"#,
    );
    let config = (FILE, path.to_str().unwrap());
    assert_says(
        &applied(&[]).unwrap(),
        r#"service: Some("of the developer")"#,
    );
    let said = applied(&[config]).unwrap();
    assert_says(&said, r#"service: Some("of the file")"#);
    for (wins, over) in [
        (
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=of%20the%20list"),
            "of the list",
        ),
        (("OTEL_SERVICE_NAME", "of otel"), "of otel"),
        (("FATHOMLINE_SERVICE", "of ours"), "of ours"),
    ] {
        let said = applied(&[config, wins]).unwrap();
        assert_says(&said, &format!("service: Some({over:?})"));
        assert_says(&said, r#"site: Some("of the file")"#);
    }
    let all = [
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a"),
        ("OTEL_SERVICE_NAME", "b"),
        ("FATHOMLINE_SERVICE", "c"),
    ];
    assert_says(&applied(&all).unwrap(), r#"service: Some("c")"#);
    assert_says(&applied(&all[..2]).unwrap(), r#"service: Some("b")"#);
    assert_says(
        &applied(&[("OTEL_SERVICE_NAME", "")]).unwrap(),
        "of the developer",
    );
}

#[test]
fn opentelemetrys_variables_mean_what_they_mean_elsewhere() {
    let said = applied(&[
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.version=2,deployment.environment.name=test,device.id=kiosk-7,\
             device.model.identifier=rpi-5,fathomline.device.class=kiosk,\
             fathomline.site=north%20wing,team=x",
        ),
        ("OTEL_METRIC_EXPORT_INTERVAL", "30000"),
    ])
    .unwrap();
    for wanted in [
        r#"service_version: Some("2")"#,
        r#"environment: Some("test")"#,
        r#"installation: Some("kiosk-7")"#,
        r#"device_model: Some("rpi-5")"#,
        r#"device_class: Some("kiosk")"#,
        r#"site: Some("north wing")"#,
        "window: Some(30s)",
    ] {
        assert_says(&said, wanted);
    }
    assert!(!said.contains("team"));
}

#[test]
fn the_metrics_url_is_taken_as_it_is_and_headers_are_kept() {
    let builder = applied_to(
        developer(),
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://metrics/in/"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer%20t0k, X-Tenant=a%2Cb",
            ),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-tenant=c"),
        ],
    )
    .unwrap();
    assert_eq!(builder.destination.url(), "http://metrics/in/");
    let sent = builder.destination.headers();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let wanted = [pair("x-tenant", "c"), pair("authorization", "Bearer t0k")];
    assert_eq!(sent, wanted);
    let all = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318")];
    let builder = applied_to(developer(), &all).unwrap();
    assert_eq!(builder.destination.url(), "http://all:4318/v1/metrics");
}

#[test]
fn a_wrong_value_names_its_variable() {
    for (name, value) in [
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "7"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
        ("FATHOMLINE_SPOOL_BYTES", "-1"),
        ("FATHOMLINE_SPOOL_BYTES", "1"),
        ("FATHOMLINE_DAILY_BYTES", "7"),
        ("FATHOMLINE_WINDOW_SECONDS", "-1"),
        ("FATHOMLINE_WINDOW_SECONDS", "nan"),
        ("FATHOMLINE_WINDOW_SECONDS", "1e30"),
        ("FATHOMLINE_LABELS", "good,Not Good"),
        ("FATHOMLINE_ENERGY", "yes"),
        ("FATHOMLINE_WATTS_PER_CORE", "0"),
        ("FATHOMLINE_PROJECTIONS", "7"),
        ("FATHOMLINE_PROJECTIONS", "7,17"),
        ("FATHOMLINE_INSTALLATION", "a b"),
        ("FATHOMLINE_CONFIG", "/no/such/file"),
    ] {
        let error = applied(&[(name, value)]).unwrap_err().to_string();
        let wanted = format!("cannot use {name} {value:?}: ");
        assert!(error.starts_with(&wanted), "{error}");
    }
    for (list, shown) in [
        ("service.name", "service.name"),
        ("a=%zz", "a=%zz"),
        ("team=x,fathomline.site=", "fathomline.site="),
    ] {
        let error = applied(&[(RESOURCE, list)]).unwrap_err().to_string();
        let wanted = format!("cannot use {RESOURCE} {shown:?}: ");
        assert!(error.starts_with(&wanted), "{error}");
    }
}

#[test]
fn a_wrong_value_names_its_key_and_its_file() {
    for (json, key) in [
        (r#"{"spool_bytes": "few"}"#, "spool_bytes"),
        (r#"{"spool_bytes": 1}"#, "spool_bytes"),
        (r#"{"labels": ["a", "b,c"]}"#, "labels"),
        (r#"{"site": {"name": "x"}}"#, "site"),
        (r#"{"endpoint": "collector"}"#, "endpoint"),
    ] {
        let error = from_file(json).unwrap_err().to_string();
        let wanted = format!("cannot use key {key:?} of ");
        assert!(error.starts_with(&wanted), "{error}");
        assert_says(&error, "fathomline.json");
    }
    for json in ["", "[]", "{", r#"{"spool_byte": 1}"#] {
        let error = from_file(json).unwrap_err().to_string();
        assert!(error.starts_with("cannot use FATHOMLINE_CONFIG"), "{error}");
    }
    let error = from_file(&" ".repeat(70_000)).unwrap_err().to_string();
    assert_says(&error, "more than 65536 bytes");
}

#[test]
fn no_error_and_no_log_repeats_a_secret() {
    for name in [
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        "FATHOMLINE_HEADERS",
        "FATHOMLINE_TOKEN",
    ] {
        for value in ["s3cret\n", "host=s3cret", "x=s3cret%0d%0a", "x=s3cret%zz"] {
            match applied(&[(name, value)]) {
                Ok(shown) => assert!(!shown.contains("s3cret"), "{shown}"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.starts_with(&format!("cannot use {name} ")), "{error}");
                    assert!(!error.contains("s3cret"), "{error}");
                }
            }
        }
    }
    for json in [
        r#"{"token": ["s3cret", {}]}"#,
        r#"{"headers": {"x": "s3cret"}}"#,
        r#"{"token": "s3cret"#,
    ] {
        let error = from_file(json).unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_mistake_of_the_developer_is_not_blamed_on_a_variable() {
    let builder = developer().site("");
    let builder = applied_to(builder, &[("FATHOMLINE_SERVICE", "kiosk")]).unwrap();
    let error = builder.clone().start().unwrap_err().to_string();
    assert!(error.starts_with("cannot declare site"), "{error}");
    let mended = applied_to(builder, &[("FATHOMLINE_SITE", "north")]).unwrap();
    mended.check().unwrap();
}

/// A value of each option that is not its default.
fn sample(name: &str) -> &'static str {
    match name.strip_prefix("FATHOMLINE_").unwrap() {
        "DISABLED" | "METERED" => "true",
        "ENERGY" => "false",
        "ENDPOINT" | "METRICS_ENDPOINT" => "http://sample:1",
        "HEADERS" => "x-sample=1",
        "WINDOW_SECONDS" => "0.5",
        "DAILY_BYTES" | "SPOOL_BYTES" => "123456",
        "WATTS_PER_CORE" | "DETECTOR" => "2.5",
        "EVERY_NTH_TOKEN" | "EVERY_NTH_PROMPT" | "VOCABULARY" => "3",
        "PROJECTIONS" => "7,8",
        "NOISE" => "1.5,500,gen_ai.client.operation.duration",
        _ => "sample",
    }
}

#[test]
fn every_option_has_a_variable_a_key_and_a_line_in_the_readme() {
    let readme = include_str!("../../README.md");
    let untouched = applied(&[]).unwrap();
    let mut effects = BTreeSet::new();
    for option in OPTIONS {
        let value = sample(option.name);
        let by_variable = applied(&[(option.name, value)]).unwrap();
        assert_ne!(by_variable, untouched, "{}", option.name);
        let json = format!("{{{:?}: {value:?}}}", option.key());
        assert_eq!(from_file(&json).unwrap(), by_variable, "{json}");
        assert!(
            effects.insert(by_variable),
            "{} repeats another",
            option.name
        );
        assert_says(readme, &format!("| `{}` |", option.name));
    }
    for (name, _) in OPENTELEMETRY {
        assert_says(readme, name);
    }
}

#[test]
fn a_files_values_may_be_of_their_own_kinds() {
    let said = from_file(
        r#"{"labels": ["open", "close"], "projections": [7, 8], "window_seconds": 2,
            "energy": false, "site": null, "watts_per_core": 4.5}"#,
    )
    .unwrap();
    for wanted in [
        r#"labels: ["open", "close"]"#,
        "components: 8",
        "window: Some(2s)",
        "energy: false",
        "site: None",
        "watts_per_core: Some(4.5)",
    ] {
        assert_says(&said, wanted);
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let look_up =
        |name: &str| (name == "FATHOMLINE_SITE").then(|| OsString::from_vec(vec![b'a', 0xff]));
    let error = apply(developer(), look_up).unwrap_err().to_string();
    assert!(error.starts_with("cannot use FATHOMLINE_SITE"), "{error}");
}

#[test]
fn a_disabled_line_keeps_nothing_and_starts_nothing() {
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "True"),
        ("FATHOMLINE_DISABLED", "true"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        let builder = Fathomline::builder("m", "1").spool(&spool);
        let line = applied_to(builder, &[(name, value)])
            .unwrap()
            .start()
            .unwrap();
        let mut op = line.operation(crate::words::Operation::Chat);
        assert_eq!(op.greedy(&[0.0, 1.0]), Some(1));
        op.finish(crate::words::FinishReason::Stop);
        let health = line.shutdown(Duration::from_secs(5));
        assert_eq!((health.windows_waiting, spool.exists()), (0, false));
    }
    // What turns it off works whatever else is wrong.
    let wrong = [("OTEL_SDK_DISABLED", "true"), ("FATHOMLINE_ENERGY", "?")];
    assert_says(&applied(&wrong).unwrap(), "disabled: true");
    let on = [("FATHOMLINE_DISABLED", "false")];
    let builder = applied_to(developer().disabled(), &on).unwrap();
    assert!(!builder.plan.disabled);
}
