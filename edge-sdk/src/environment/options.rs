//! Options that have a variable and a key of ours. In: a builder and a value as text. Out: the
//! builder with it, or the rule that the text breaks. Owns their one list; whether a value is
//! sensible is the builder's to say.

use std::time::Duration;

use super::pairs;
use crate::builder::Builder;

/// Stands for a value that may be a secret.
pub(super) const HIDDEN: &str = "(hidden)";

const PREFIX: &str = "FATHOMLINE_";
const WHOLE: &str = "give a whole number of 0 or more";
const NUMBER: &str = "give a number";

/// The builder with an option, or what the option's text must be.
pub(super) type Parsed = Result<Builder, &'static str>;

/// Sets an option from text.
pub(super) type Apply = fn(Builder, &str) -> Parsed;

/// An option by the name of its variable.
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) apply: Apply,
}

impl Named {
    /// The same option's key in a file.
    pub(super) fn key(&self) -> String {
        let key = self.name.strip_prefix(PREFIX).unwrap_or(self.name);
        key.to_ascii_lowercase()
    }

    /// What an error may show of a value.
    pub(super) fn shown<'a>(&self, value: &'a str) -> &'a str {
        let secret = ["TOKEN", "HEADERS"].iter().any(|end| {
            let rest = self.name.strip_prefix(PREFIX);
            rest == Some(end)
        });
        if secret { HIDDEN } else { value }
    }
}

const fn named(name: &'static str, apply: Apply) -> Named {
    Named { name, apply }
}

/// In the order they apply: of two that set the same, the more particular one comes later.
pub(super) const OPTIONS: &[Named] = &[
    named("FATHOMLINE_DISABLED", |mut b, v| {
        b.plan.disabled = truth(v)?;
        Ok(b)
    }),
    named("FATHOMLINE_SERVICE", |b, v| Ok(b.service(v))),
    named(
        "FATHOMLINE_SERVICE_VERSION",
        |b, v| Ok(b.service_version(v)),
    ),
    named("FATHOMLINE_INSTALLATION", |b, v| Ok(b.installation(v))),
    named("FATHOMLINE_DEVICE_CLASS", |b, v| Ok(b.device_class(v))),
    named("FATHOMLINE_DEVICE_MODEL", |b, v| Ok(b.device_model(v))),
    named("FATHOMLINE_SITE", |b, v| Ok(b.site(v))),
    named("FATHOMLINE_ENVIRONMENT", |b, v| Ok(b.environment(v))),
    named("FATHOMLINE_PROVIDER", |b, v| Ok(b.provider(v))),
    named("FATHOMLINE_QUANTIZATION", |b, v| Ok(b.quantization(v))),
    named("FATHOMLINE_WEIGHTS_DIGEST", |b, v| Ok(b.weights_digest(v))),
    named("FATHOMLINE_TOKENIZER_DIGEST", |b, v| {
        Ok(b.tokenizer_digest(v))
    }),
    named("FATHOMLINE_SAMPLER", |b, v| Ok(b.sampler(v))),
    named("FATHOMLINE_BACKEND", |b, v| Ok(b.backend(v))),
    named("FATHOMLINE_ENDPOINT", |b, v| Ok(b.endpoint(v))),
    named("FATHOMLINE_METRICS_ENDPOINT", |b, v| {
        Ok(b.metrics_endpoint(v))
    }),
    named("FATHOMLINE_HEADERS", headers),
    named("FATHOMLINE_TOKEN", |b, v| Ok(b.token(v))),
    named("FATHOMLINE_ROOT_CERTIFICATE", root),
    named("FATHOMLINE_CLIENT_CERTIFICATE", certificate),
    named("FATHOMLINE_CLIENT_KEY", key),
    named("FATHOMLINE_METERED", |b, v| {
        Ok(if truth(v)? { b.metered() } else { b })
    }),
    named("FATHOMLINE_WINDOW_SECONDS", |b, v| {
        let length = Duration::try_from_secs_f64(number(v)?);
        Ok(b.window(length.map_err(|_| "give seconds, from 0.1 to 21600")?))
    }),
    named(
        "FATHOMLINE_DAILY_BYTES",
        |b, v| Ok(b.daily_bytes(whole(v)?)),
    ),
    named("FATHOMLINE_SPOOL", |b, v| Ok(b.spool(v))),
    named(
        "FATHOMLINE_SPOOL_BYTES",
        |b, v| Ok(b.spool_bytes(whole(v)?)),
    ),
    named("FATHOMLINE_LABELS", |b, v| {
        Ok(b.labels(v.split(',').map(str::trim)))
    }),
    named("FATHOMLINE_ENERGY", |mut b, v| {
        b.energy = truth(v)?;
        Ok(b)
    }),
    named("FATHOMLINE_WATTS_PER_CORE", |b, v| {
        Ok(b.estimated_watts_per_core(number(v)?))
    }),
    named("FATHOMLINE_EVERY_NTH_TOKEN", |b, v| {
        let n = u32::try_from(whole(v)?);
        Ok(b.every_nth_token(n.unwrap_or(u32::MAX)))
    }),
    named("FATHOMLINE_EVERY_NTH_PROMPT", |b, v| {
        Ok(b.every_nth_prompt(whole(v)?))
    }),
    named("FATHOMLINE_VOCABULARY", |b, v| {
        let tokens = usize::try_from(whole(v)?);
        Ok(b.vocabulary(tokens.map_err(|_| WHOLE)?))
    }),
    named("FATHOMLINE_NOISE", noise),
    named("FATHOMLINE_DETECTOR", |b, v| Ok(b.detector(number(v)?))),
    named("FATHOMLINE_PROJECTIONS", |b, v| {
        let rule = "give seed and components, such as 7,8";
        let (seed, components) = v.split_once(',').ok_or(rule)?;
        let components = usize::try_from(whole(components)?).map_err(|_| rule)?;
        Ok(b.projections(whole(seed)?, components))
    }),
];

/// Headers as OpenTelemetry writes them.
pub(super) fn headers(builder: Builder, list: &str) -> Parsed {
    let pairs = pairs::parse(list).ok_or("write pairs such as a=b,c=d, percent-encoded")?;
    let all = pairs.into_iter();
    Ok(all.fold(builder, |builder, (name, value)| {
        builder.header(name, value)
    }))
}

/// The file is read when the line starts, as are the two below.
pub(super) fn root(builder: Builder, path: &str) -> Parsed {
    Ok(builder.root_certificate(path))
}

/// One of two: whether the other is there too is seen when the line starts.
pub(super) fn certificate(mut builder: Builder, path: &str) -> Parsed {
    builder.destination.trust.certificate = Some(path.into());
    Ok(builder)
}

pub(super) fn key(mut builder: Builder, path: &str) -> Parsed {
    builder.destination.trust.key = Some(path.into());
    Ok(builder)
}

/// Epsilon and inferences of a day, and then the metrics if others than usual are meant.
fn noise(builder: Builder, list: &str) -> Parsed {
    let rule = "give the day's epsilon and inferences, such as 1.5,500";
    let mut parts = list.split(',').map(str::trim);
    let epsilon = number(parts.next().ok_or(rule)?)?;
    let inferences = whole(parts.next().ok_or(rule)?)?;
    let builder = builder.noise(epsilon, u32::try_from(inferences).map_err(|_| rule)?);
    let metrics: Vec<_> = parts.collect();
    if metrics.is_empty() {
        return Ok(builder);
    }
    Ok(builder.noised_metrics(metrics))
}

pub(super) fn whole(text: &str) -> Result<u64, &'static str> {
    text.trim().parse().map_err(|_| WHOLE)
}

fn number(text: &str) -> Result<f64, &'static str> {
    let number = text.trim().parse::<f64>().map_err(|_| NUMBER)?;
    if number.is_finite() {
        Ok(number)
    } else {
        Err(NUMBER)
    }
}

fn truth(text: &str) -> Result<bool, &'static str> {
    let rule = "give true or false";
    text.trim().to_ascii_lowercase().parse().map_err(|_| rule)
}
