//! Options from the environment. In: variables, OpenTelemetry's own where there is one, ours for
//! the rest. Out: a builder with them applied over what the application set, or an error that
//! names the variable. A variable that is set and empty counts as unset, as the specification of
//! OpenTelemetry's environment variables says. Pure but for the lookup.

use std::time::Duration;

use crate::{builder::Builder, error::Error};

/// Applies what `look_up` knows to `builder`. Operators win over developers.
pub(crate) fn apply(
    mut builder: Builder,
    look_up: impl Fn(&str) -> Option<String>,
) -> Result<Builder, Error> {
    let set = |name: &str| look_up(name).filter(|value| !value.is_empty());
    for (key, value) in resource(set("OTEL_RESOURCE_ATTRIBUTES"))? {
        builder = match key.as_str() {
            "service.name" => builder.service(value),
            "service.version" => builder.service_version(value),
            "deployment.environment.name" => builder.environment(value),
            "device.id" => builder.installation(value),
            "device.model.identifier" => builder.device_model(value),
            "fathomline.device.class" => builder.device_class(value),
            "fathomline.site" => builder.site(value),
            // Other attributes are not part of the contract.
            _ => builder,
        };
    }
    for (name, apply) in TEXTS {
        if let Some(value) = set(name) {
            builder = apply(builder, value);
        }
    }
    if let Some(headers) = set("OTEL_EXPORTER_OTLP_HEADERS") {
        builder = token(builder, &headers)?;
    }
    for (name, apply) in NUMBERS {
        if let Some(text) = set(name) {
            let number = text.trim().parse();
            builder = apply(builder, number.map_err(|_| invalid(name, &text))?);
        }
    }
    Ok(match set("OTEL_SDK_DISABLED").as_deref() {
        Some("true") => builder.disabled(),
        _ => builder,
    })
}

type Text = fn(Builder, String) -> Builder;
type Number = fn(Builder, u64) -> Builder;

/// In the order they apply: the more particular one wins.
const TEXTS: [(&str, Text); 9] = [
    ("OTEL_SERVICE_NAME", |b, v| b.service(v)),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", |b, v| b.endpoint(v)),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", |b, v| b.endpoint(v)),
    ("FATHOMLINE_ENDPOINT", |b, v| b.endpoint(v)),
    ("FATHOMLINE_TOKEN", |b, v| b.token(v)),
    ("FATHOMLINE_SPOOL", |b, v| b.spool(v)),
    ("FATHOMLINE_DEVICE_CLASS", |b, v| b.device_class(v)),
    ("FATHOMLINE_SITE", |b, v| b.site(v)),
    ("FATHOMLINE_INSTALLATION", |b, v| b.installation(v)),
];

const NUMBERS: [(&str, Number); 6] = [
    ("FATHOMLINE_DAILY_BYTES", |b, bytes| b.daily_bytes(bytes)),
    ("OTEL_METRIC_EXPORT_INTERVAL", |b, ms| {
        b.window(Duration::from_millis(ms))
    }),
    ("FATHOMLINE_WINDOW_SECONDS", |b, s| {
        b.window(Duration::from_secs(s))
    }),
    ("FATHOMLINE_SPOOL_BYTES", |b, bytes| b.spool_bytes(bytes)),
    ("FATHOMLINE_EVERY_NTH_TOKEN", |b, n| {
        b.every_nth_token(u32::try_from(n).unwrap_or(u32::MAX))
    }),
    ("FATHOMLINE_EVERY_NTH_PROMPT", |b, n| b.every_nth_prompt(n)),
];

/// `key=value,key=value`, percent-encoded.
fn resource(list: Option<String>) -> Result<Vec<(String, String)>, Error> {
    pairs("OTEL_RESOURCE_ATTRIBUTES", &list.unwrap_or_default())
}

/// Of the headers only the bearer token is used; others name vendors' own doors.
fn token(builder: Builder, headers: &str) -> Result<Builder, Error> {
    const NAME: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    // The value is a secret: no error may repeat it.
    let headers = pairs(NAME, headers).map_err(|_| invalid(NAME, "(hidden)"))?;
    let authorization = headers
        .into_iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("authorization"));
    Ok(match authorization {
        Some((_, value)) => match value.strip_prefix("Bearer ") {
            Some(token) => builder.token(token),
            None => return Err(invalid(NAME, "(hidden)")),
        },
        None => builder,
    })
}

fn pairs(name: &'static str, list: &str) -> Result<Vec<(String, String)>, Error> {
    let entries = list
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    let pair = |entry: &str| {
        let (key, value) = entry.split_once('=')?;
        Some((key.trim().to_owned(), decoded(value.trim())?))
    };
    entries
        .map(|entry| pair(entry).ok_or_else(|| invalid(name, list)))
        .collect()
}

/// Percent-decoding; `None` for what is not UTF-8 or not encoded rightly.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = value.bytes();
    let mut out = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

fn invalid(what: &'static str, value: &str) -> Error {
    Error::Declaration {
        what,
        value: value.to_owned(),
        rule: "the variable must be a whole number, or pairs such as a=b,c=d; fix or unset it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Fathomline;

    fn applied(variables: &[(&str, &str)]) -> Result<String, Error> {
        let builder = Fathomline::builder("m", "1").service("of the developer");
        let look_up = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        apply(builder, look_up).map(|builder| format!("{builder:?}"))
    }

    #[test]
    fn operators_win_and_the_more_particular_variable_does() {
        let said = applied(&[
            ("OTEL_SERVICE_NAME", "kiosk"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=less,fathomline.site=north%20wing,team=x",
            ),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318"),
            (
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
                "http://metrics:4318/v1/metrics",
            ),
            ("OTEL_METRIC_EXPORT_INTERVAL", "30000"),
            ("FATHOMLINE_SPOOL_BYTES", "1048576"),
        ])
        .unwrap();
        for wanted in [
            "service: Some(\"kiosk\")",
            "site: Some(\"north wing\")",
            "endpoint: \"http://metrics:4318/v1/metrics\"",
            "window: Some(30s)",
            "spool_bytes: 1048576",
        ] {
            assert!(said.contains(wanted), "{wanted} is not in {said}");
        }
        let unset = applied(&[("OTEL_SERVICE_NAME", "")]).unwrap();
        assert!(unset.contains("of the developer"));
    }

    #[test]
    fn a_wrong_value_names_its_variable_and_a_secret_stays_one() {
        for (name, value) in [
            ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
            ("FATHOMLINE_SPOOL_BYTES", "-1"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=%zz"),
        ] {
            let error = applied(&[(name, value)]).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("cannot declare {name} ")),
                "{error}"
            );
        }
        for headers in ["authorization=Basic%20s3cret", "s3cret"] {
            let error = applied(&[("OTEL_EXPORTER_OTLP_HEADERS", headers)]).unwrap_err();
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_disabled_line_keeps_nothing_and_starts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        let builder = Fathomline::builder("m", "1").spool(&spool);
        let look_up = |name: &str| (name == "OTEL_SDK_DISABLED").then(|| "true".to_owned());
        let line = apply(builder, look_up).unwrap().start().unwrap();
        let mut op = line.operation(crate::words::Operation::Chat);
        assert_eq!(op.greedy(&[0.0, 1.0]), Some(1));
        op.finish(crate::words::FinishReason::Stop);
        let health = line.shutdown(Duration::from_secs(5));
        assert_eq!((health.windows_waiting, spool.exists()), (0, false));
    }
}
