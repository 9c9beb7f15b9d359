//! Section `alert`: whom to tell, and how. In: what the file says. Out: endpoints of which every
//! key is one that their kind takes. What their files hold is read when alerting starts.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use serde::Deserialize;

use super::{
    ConfigError, duration,
    maintenance::{RawMaintenance, maintenance},
    pause,
};
use crate::alert::{
    AlertSettings,
    endpoint::{Endpoint, EndpointUrl, Headers, Kind},
    recipients::Pattern,
    rules::Rules,
    state::{REMEMBERED_MAX, Rule},
};

/// Prometheus tells an Alertmanager as often.
const RESEND: &str = "1min";

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAlert {
    pub(super) allow_internal: bool,
    pub(super) retry: Option<Vec<String>>,
    pub(super) timeout: Option<String>,
    pub(super) endpoints: Vec<RawEndpoint>,
    drifting: Option<u32>,
    of: Option<u32>,
    steady: Option<u32>,
    cooldown: Option<String>,
    group_within: Option<String>,
    rules: Vec<RawRule>,
    maintenance: Vec<RawMaintenance>,
}

/// What is usual, for some signals in another way.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    metrics: Vec<String>,
    drifting: Option<u32>,
    of: Option<u32>,
    steady: Option<u32>,
    cooldown: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    #[default]
    Webhook,
    Alertmanager,
    Github,
    Slack,
    Http,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEndpoint {
    name: String,
    #[serde(default)]
    kind: RawKind,
    url: Option<String>,
    url_file: Option<PathBuf>,
    events: Option<Vec<String>>,
    #[serde(default)]
    allow_internal: bool,
    secret_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    template_file: Option<PathBuf>,
    headers: Option<BTreeMap<String, String>>,
    header_files: Option<BTreeMap<String, PathBuf>>,
    delivered_statuses: Option<Vec<u16>>,
    resend: Option<String>,
}

pub(super) fn alert(raw: RawAlert) -> Result<AlertSettings, ConfigError> {
    let rules = Arc::new(rules(&raw)?);
    let defaults = AlertSettings::default();
    let retry = match raw.retry {
        None => defaults.retry,
        Some(delays) => delays
            .iter()
            .map(|delay| pause("alert.retry", delay))
            .collect::<Result<_, _>>()?,
    };
    let endpoints = raw.endpoints.into_iter().map(endpoint);
    let planned = raw.maintenance.into_iter().map(maintenance);
    Ok(AlertSettings {
        rules,
        maintenance: planned.collect::<Result<_, _>>()?,
        endpoints: endpoints.collect::<Result<_, _>>()?,
        allow_internal: raw.allow_internal,
        retry,
        timeout: duration("alert.timeout", raw.timeout.as_deref(), "15s")?,
    })
}

fn rules(raw: &RawAlert) -> Result<Rules, ConfigError> {
    let said = RawRule {
        metrics: vec![],
        drifting: raw.drifting,
        of: raw.of,
        steady: raw.steady,
        cooldown: raw.cooldown.clone(),
    };
    let usual = rule(&said, Rule::default())?;
    let mut own = BTreeMap::new();
    for raw in &raw.rules {
        let rule = rule(raw, usual)?;
        for metric in &raw.metrics {
            if own.insert(metric.clone(), rule).is_some() {
                return Err(ConfigError::Value {
                    key: "alert.rules.metrics",
                    value: metric.clone(),
                    advice: "name each metric in one rule only",
                });
            }
        }
    }
    let group_within = match raw.group_within.as_deref() {
        None => Rules::default().group_within,
        Some(text) => pause("alert.group_within", text)?,
    };
    Ok(Rules {
        usual,
        own,
        group_within,
    })
}

fn rule(raw: &RawRule, usual: Rule) -> Result<Rule, ConfigError> {
    let rule = Rule {
        drifting: raw.drifting.unwrap_or(usual.drifting),
        // Who asks for two lanes means two in a row, unless they say of how many.
        of: raw.of.unwrap_or(match raw.drifting {
            Some(drifting) => drifting.max(usual.of),
            None => usual.of,
        }),
        steady: raw.steady.unwrap_or(usual.steady),
        cooldown: match raw.cooldown.as_deref() {
            None => usual.cooldown,
            Some(text) => pause("alert.cooldown", text)?,
        },
    };
    let allowed = 1..=REMEMBERED_MAX;
    let fits = rule.drifting >= 1
        && rule.drifting <= rule.of
        && allowed.contains(&rule.of)
        && (1..REMEMBERED_MAX).contains(&rule.steady);
    match fits {
        true => Ok(rule),
        false => Err(ConfigError::Value {
            key: "alert.drifting, alert.of and alert.steady",
            value: format!("{} of {}, {}", rule.drifting, rule.of, rule.steady),
            advice: "write 1 <= drifting <= of <= 32 and 1 <= steady <= 31",
        }),
    }
}

fn endpoint(mut raw: RawEndpoint) -> Result<Endpoint, ConfigError> {
    let name = std::mem::take(&mut raw.name);
    let failed = |advice: String| ConfigError::Endpoint {
        name: name.clone(),
        advice,
    };
    let url = url(&mut raw).map_err(failed)?;
    let events = match raw.events.take() {
        None => vec![Pattern::all()],
        Some(events) => {
            let patterns = events.iter().map(|text| Pattern::parse(text));
            let patterns: Result<_, _> = patterns.collect();
            patterns.map_err(|error| failed(error.to_string()))?
        }
    };
    let allow_internal = raw.allow_internal;
    let resend = match raw.resend.take() {
        None => None,
        text => Some(duration("alert.endpoints.resend", text.as_deref(), "")?),
    };
    let default = || duration("alert.endpoints.resend", None, RESEND);
    let kind = kind(raw, resend, default()?).map_err(failed)?;
    Ok(Endpoint {
        name,
        url,
        kind,
        events,
        allow_internal,
    })
}

fn url(raw: &mut RawEndpoint) -> Result<EndpointUrl, String> {
    match (raw.url.take(), raw.url_file.take()) {
        (Some(url), None) => Ok(EndpointUrl::Given(url)),
        (None, Some(file)) => Ok(EndpointUrl::File(file)),
        (None, None) => Err("give its url, or its url_file where the url is a secret".to_owned()),
        (Some(_), Some(_)) => Err("give its url or its url_file, not both".to_owned()),
    }
}

fn kind(mut raw: RawEndpoint, resend: Option<Duration>, default: Duration) -> Result<Kind, String> {
    let needed = |key: &str, value: Option<PathBuf>| {
        value.ok_or_else(|| format!("give its {key}; its kind cannot do without"))
    };
    // What a kind takes is taken out; what is left over then, it does not know.
    let kind = match raw.kind {
        RawKind::Webhook => Kind::Webhook {
            secret_file: needed("secret_file", raw.secret_file.take())?,
        },
        RawKind::Alertmanager => Kind::Alertmanager {
            resend: resend.unwrap_or(default),
            headers: headers(&mut raw),
        },
        RawKind::Github => Kind::Github {
            token_file: needed("token_file", raw.token_file.take())?,
        },
        RawKind::Slack => Kind::Slack,
        RawKind::Http => Kind::Http {
            template_file: needed("template_file", raw.template_file.take())?,
            headers: headers(&mut raw),
            secret_file: raw.secret_file.take(),
            delivered_statuses: raw.delivered_statuses.take().unwrap_or_default(),
        },
    };
    let resends = resend.is_some() && raw.kind != RawKind::Alertmanager;
    let left: [(&str, bool); 7] = [
        ("secret_file", raw.secret_file.is_some()),
        ("token_file", raw.token_file.is_some()),
        ("template_file", raw.template_file.is_some()),
        ("headers", raw.headers.is_some()),
        ("header_files", raw.header_files.is_some()),
        ("delivered_statuses", raw.delivered_statuses.is_some()),
        ("resend", resends),
    ];
    match left.iter().find(|(_, given)| *given) {
        None => Ok(kind),
        Some((key, _)) => Err(format!(
            "take out {key}: the kind {:?} has no use for it",
            kind.word()
        )),
    }
}

fn headers(raw: &mut RawEndpoint) -> Headers {
    Headers {
        fixed: raw.headers.take().unwrap_or_default(),
        from_files: raw.header_files.take().unwrap_or_default(),
        token_file: raw.token_file.take(),
    }
}
