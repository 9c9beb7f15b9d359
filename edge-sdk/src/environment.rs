//! Options from outside the application. In: a lookup of environment variables, and the file that
//! one of them names. Out: a builder with them applied, or an error that names the variable or the
//! key. Never the process's environment itself, so tests set none; never repeats a secret.
//!
//! Each layer wins over those before it: what the application said, the file, OpenTelemetry's
//! variables (the more particular one), ours. A variable that is set and empty counts as unset, as
//! the specification of OpenTelemetry's environment variables says.

mod file;
mod options;
mod pairs;

use std::{ffi::OsString, path::Path, time::Duration};

use options::{Apply, HIDDEN, OPTIONS, Parsed};

use crate::{builder::Builder, error::Error};

const FILE: &str = "FATHOMLINE_CONFIG";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Applies what `look_up` knows to `builder`. Operators win over developers.
pub(crate) fn apply(
    builder: Builder,
    look_up: impl Fn(&str) -> Option<OsString>,
) -> Result<Builder, Error> {
    // Before anything that could fail: whoever turns it off wants no errors from it either.
    let disabled = look_up("OTEL_SDK_DISABLED");
    if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(builder.disabled());
    }
    let mut layers = Layers {
        sound: builder.check().is_ok(),
        builder,
    };
    if let Some(path) = text(&look_up, FILE)? {
        let path = Path::new(&path);
        for (option, value) in file::read(path)? {
            let origin = format!("key {:?} of {}", option.key(), path.display());
            layers = layers.set(&origin, option.shown(&value), |b| (option.apply)(b, &value))?;
        }
    }
    if let Some(list) = text(&look_up, RESOURCE)? {
        layers = layers.resource(&list)?;
    }
    for (name, apply) in OPENTELEMETRY {
        if let Some(value) = text(&look_up, name)? {
            let shown = if name.ends_with("HEADERS") {
                HIDDEN
            } else {
                &value
            };
            layers = layers.set(name, shown, |builder| apply(builder, &value))?;
        }
    }
    for option in OPTIONS {
        if let Some(value) = text(&look_up, option.name)? {
            layers = layers.set(option.name, option.shown(&value), |builder| {
                (option.apply)(builder, &value)
            })?;
        }
    }
    Ok(layers.builder)
}

/// OpenTelemetry's own variables, in the order they apply.
const OPENTELEMETRY: [(&str, Apply); 12] = [
    ("OTEL_SERVICE_NAME", |b, v| Ok(b.service(v))),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", |b, v| Ok(b.endpoint(v))),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", |b, v| {
        Ok(b.metrics_endpoint(v))
    }),
    ("OTEL_EXPORTER_OTLP_HEADERS", options::headers),
    ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", options::headers),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", options::root),
    ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", options::root),
    (
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        options::certificate,
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
        options::certificate,
    ),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", options::key),
    ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", options::key),
    ("OTEL_METRIC_EXPORT_INTERVAL", |b, v| {
        Ok(b.window(Duration::from_millis(options::whole(v)?)))
    }),
];

/// A builder under way through the layers.
struct Layers {
    builder: Builder,
    /// It could start: if it cannot after the next option, that option is why.
    sound: bool,
}

impl Layers {
    fn set(
        self,
        origin: &str,
        shown: &str,
        apply: impl FnOnce(Builder) -> Parsed,
    ) -> Result<Self, Error> {
        let builder = apply(self.builder).map_err(|rule| unusable(origin, shown, rule))?;
        let checked = builder.check();
        let sound = checked.is_ok();
        match checked {
            Err(Error::Declaration { rule, .. }) if self.sound => {
                Err(unusable(origin, shown, rule))
            }
            Err(error) if self.sound => Err(error),
            _ => Ok(Self { builder, sound }),
        }
    }

    /// Attributes that the contract does not know are left alone: they are meant for others.
    fn resource(mut self, list: &str) -> Result<Self, Error> {
        let rule = "write pairs such as a=b,c=d, percent-encoded";
        let pairs = pairs::parse(list).ok_or_else(|| unusable(RESOURCE, list, rule))?;
        for (key, value) in pairs {
            let pair = format!("{key}={value}");
            self = self.set(RESOURCE, &pair, |b| {
                Ok(match key.as_str() {
                    "service.name" => b.service(value),
                    "service.version" => b.service_version(value),
                    "deployment.environment.name" => b.environment(value),
                    "device.id" => b.installation(value),
                    "device.model.identifier" => b.device_model(value),
                    "fathomline.device.class" => b.device_class(value),
                    "fathomline.site" => b.site(value),
                    _ => b,
                })
            })?;
        }
        Ok(self)
    }
}

/// A variable's text, if it is set to one.
fn text(look_up: impl Fn(&str) -> Option<OsString>, name: &str) -> Result<Option<String>, Error> {
    let value = look_up(name).filter(|value| !value.is_empty());
    let text = value.map(|value| value.into_string()).transpose();
    text.map_err(|_| unusable(name, HIDDEN, "it must be UTF-8"))
}

fn unusable(origin: &str, value: &str, rule: &str) -> Error {
    Error::Configuration {
        origin: origin.to_owned(),
        value: value.to_owned(),
        rule: rule.to_owned(),
    }
}

#[cfg(test)]
mod tests;
