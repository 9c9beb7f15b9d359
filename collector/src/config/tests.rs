//! What a file may say, and what is said about a bad one.

use super::*;

/// A section of one endpoint.
fn endpoint(rest: &str) -> String {
    format!("[[alert.endpoints]]\nname = \"x\"\n{rest}")
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fathomline.toml");
    std::fs::write(&path, text).unwrap();
    Config::load(Some(&path))
}

#[test]
fn an_empty_file_gives_the_documented_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.http.to_string(), "127.0.0.1:8330");
    assert_eq!(config.store.lane_us, 60_000_000);
    assert_eq!(config.watch.cadence.lateness_us, 120_000_000);
    assert_eq!(config.watch.policy, Policy::default());
    assert!(config.alert.endpoints.is_empty() && !config.alert.allow_internal);
    assert_eq!(config.watch.min_devices, 5);
}

#[test]
fn lanes_are_as_wide_for_the_store_as_for_the_watcher() {
    let config = parse("[drift]\nlane = \"5s\"\nlateness = \"1s\"\nseries_budget = 32").unwrap();
    assert_eq!(config.store.lane_us, 5_000_000);
    assert_eq!(config.watch.policy.lane_us, 5_000_000);
    assert_eq!(config.watch.cadence.lateness_us, 1_000_000);
    assert_eq!(config.watch.policy.series_budget, 32);
}

#[test]
fn endpoints_and_their_retries_are_read() {
    let text = "[alert]\nretry = [\"0s\", \"2s\"]\n[[alert.endpoints]]\nname = \"trainer\"\n\
                url = \"https://example.org\"\nsecret_file = \"/run/secret\"";
    let alert = parse(text).unwrap().alert;
    assert_eq!(alert.endpoints[0].name, "trainer");
    assert_eq!(alert.retry, [Duration::ZERO, Duration::from_secs(2)]);
}

/// Ready configurations of pipelines: each file is one, and its template makes JSON.
#[test]
fn what_lies_ready_for_pipelines_can_be_used() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/retraining");
    let mut found = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let config = Config::load(Some(&folder.join("fathomline.toml"))).unwrap();
        let [endpoint] = config.alert.endpoints.as_slice() else {
            panic!("{}: one endpoint", folder.display());
        };
        if let Kind::Http { template_file, .. } = &endpoint.kind {
            let file = folder.join(template_file.file_name().unwrap());
            crate::alert::shape::check_template(&file).unwrap();
        }
        let asks = endpoint.events.iter().map(Pattern::as_str);
        assert_eq!(
            asks.collect::<Vec<_>>(),
            ["fathomline.retraining.requested"]
        );
        found += 1;
    }
    assert_eq!(found, 4, "airflow, kubeflow, argo-events, github");
}

#[test]
fn doors_are_closed_by_tokens_and_certificates_only_where_the_file_says_so() {
    let open = parse("").unwrap();
    assert_eq!(open.access, Rules::default());
    assert_eq!((open.http_tls, open.otlp_tls), (None, None));
    let text = "[http]\nrequire_token = true\n[http.tls]\ncertificate = \"c\"\nkey = \"k\"\n\
                [otlp]\nrequire_token = true\n[otlp.tls]\ncertificate = \"c\"\nkey = \"k\"\n\
                client_ca = \"ca\"";
    let closed = parse(text).unwrap();
    assert!(closed.access.read && closed.access.send);
    assert_eq!(closed.http_tls.unwrap().client_ca, None);
    let otlp = closed.otlp_tls.unwrap();
    assert_eq!(
        (otlp.section, otlp.client_ca),
        ("otlp.tls", Some("ca".into()))
    );
}

#[test]
fn misspelt_keys_and_bad_values_say_what_and_where() {
    for (text, needles) in [
        (
            "[store]\nseal_afer = \"1s\"",
            &["seal_afer", "fathomline.toml"][..],
        ),
        ("[drift]\nlane = \"soon\"", &["drift.lane = soon"]),
        ("[drift]\nlane = \"0s\"", &["drift.lane = 0s", "above 0"]),
        ("[drift]\nlane = \"99999999h\"", &["drift.lane = 99999999h"]),
        ("[drift]\nseries_budget = 0", &["drift.series_budget = 0"]),
        (
            "[drift]\nfalse_pages_per_30_days = -1.0",
            &["drift.false_pages_per_30_days = -1"],
        ),
        ("[sql]\nrows_max = 0", &["sql.rows_max = 0"]),
        ("[alert]\nretry = [\"later\"]", &["alert.retry = later"]),
        (endpoint("").as_str(), &["\"x\"", "url_file"]),
        (endpoint("url = \"u\"").as_str(), &["\"x\"", "secret_file"]),
        (
            endpoint("url = \"u\"\nurl_file = \"f\"").as_str(),
            &["not both"],
        ),
        (
            endpoint("url = \"u\"\nkind = \"email\"").as_str(),
            &["email"],
        ),
        (
            endpoint("url = \"u\"\nsecret_file = \"s\"\nresend = \"1min\"").as_str(),
            &["take out resend", "\"webhook\""],
        ),
        (
            endpoint("url = \"u\"\nkind = \"slack\"\ntoken_file = \"t\"").as_str(),
            &["take out token_file", "\"slack\""],
        ),
        (
            endpoint("url = \"u\"\nkind = \"slack\"\nevents = [\"drift\"]").as_str(),
            &["\"x\"", "\"drift\""],
        ),
        (
            endpoint("url = \"u\"\nkind = \"http\"").as_str(),
            &["\"x\"", "template_file"],
        ),
        (
            endpoint("url = \"u\"\nkind = \"alertmanager\"\nresend = \"0s\"").as_str(),
            &["resend = 0s"],
        ),
        ("[otlp.tls]\ncertificate = \"c\"", &["key"]),
        ("[otlp]\nrequire_tokens = true", &["require_tokens"]),
        ("[http.tls]\nca = \"c\"", &["ca"]),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(
            needles.iter().all(|needle| error.contains(needle)),
            "{error} lacks {needles:?}"
        );
    }
}

/// Every key a section takes: the parser names them when it meets one that it does not know.
fn keys(section: &str) -> Vec<String> {
    let error = parse(&format!("{section}\nno_such_key = 1")).unwrap_err();
    let error = error.to_string();
    let expected = error.split("unknown field `no_such_key`").nth(1);
    // Our own advice comes after it.
    let expected = expected.and_then(|rest| rest.split([';', '\n']).next());
    let words = expected.unwrap_or_else(|| panic!("{error}")).split('`');
    words.skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_documented_file_is_one_and_names_every_key() {
    let document = include_str!("../../../docs/configuration.md");
    let block = document.split("```toml\n").nth(1).unwrap();
    let text = block.split("```").next().unwrap();
    parse(text).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let of = |path: &[&str]| {
        let value = path
            .iter()
            .fold(toml::Value::from(table.clone()), |v, key| v[*key].clone());
        value
            .as_table()
            .cloned()
            .unwrap_or_else(|| value[0].as_table().unwrap().clone())
    };
    let sections: [(&str, &[&str]); 15] = [
        ("", &[]),
        ("[http]", &["http"]),
        ("[http.tls]", &["http", "tls"]),
        ("[otlp]", &["otlp"]),
        ("[otlp.tls]", &["otlp", "tls"]),
        ("[store]", &["store"]),
        ("[limits]", &["limits"]),
        ("[sql]", &["sql"]),
        ("[drift]", &["drift"]),
        ("[cost]", &["cost"]),
        ("[[cost.tariffs]]", &["cost", "tariffs"]),
        ("[[cost.devices]]", &["cost", "devices"]),
        ("[[cost.cloud]]", &["cost", "cloud"]),
        ("[[cost.budgets]]", &["cost", "budgets"]),
        ("[alert]", &["alert"]),
    ];
    for (section, path) in sections {
        let (known, documented) = (keys(section), of(path));
        assert!(!known.is_empty(), "{section}");
        for key in known {
            assert!(
                documented.contains_key(&key),
                "{section} {key} is not documented"
            );
        }
    }
    let endpoints = table["alert"]["endpoints"].as_array().unwrap();
    for key in keys("[[alert.endpoints]]") {
        let named = endpoints.iter().any(|one| one.get(&key).is_some());
        assert!(named, "alert.endpoints {key} is not documented");
    }
}
