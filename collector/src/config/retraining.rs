//! Section `retraining`: text to settings in which every value is usable.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{ConfigError, duration, pause, positive};
use crate::retraining::RetrainingSettings;

/// Whom drift asks to train a model again, and how often.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRetraining {
    automatic: bool,
    approval: bool,
    metrics: Option<Vec<String>>,
    wait: Option<String>,
    cooldown: Option<String>,
    budget: Option<u32>,
    period: Option<String>,
    report_within: Option<String>,
    prove_within: Option<String>,
    proof_lanes: Option<u32>,
    callback_secret_file: Option<PathBuf>,
}

pub(super) fn settings(raw: RawRetraining) -> Result<RetrainingSettings, ConfigError> {
    let defaults = RetrainingSettings::default();
    let time = |key, value: Option<String>, default: Duration| match value {
        None => Ok(default),
        text => duration(key, text.as_deref(), ""),
    };
    let count = |key, value: Option<u32>, default: u32| {
        let count = positive(key, value.map(u64::from), default.into())?;
        Ok::<_, ConfigError>(u32::try_from(count).unwrap_or(u32::MAX))
    };
    let wait = raw.wait.map(|wait| pause("retraining.wait", &wait));
    Ok(RetrainingSettings {
        automatic: raw.automatic,
        approval: raw.approval,
        metrics: raw.metrics.unwrap_or(defaults.metrics),
        wait: wait.transpose()?.unwrap_or(defaults.wait),
        cooldown: time("retraining.cooldown", raw.cooldown, defaults.cooldown)?,
        budget: count("retraining.budget", raw.budget, defaults.budget)?,
        period: time("retraining.period", raw.period, defaults.period)?,
        report_within: time(
            "retraining.report_within",
            raw.report_within,
            defaults.report_within,
        )?,
        prove_within: time(
            "retraining.prove_within",
            raw.prove_within,
            defaults.prove_within,
        )?,
        proof_lanes: count(
            "retraining.proof_lanes",
            raw.proof_lanes,
            defaults.proof_lanes,
        )?,
        callback_secret_file: raw.callback_secret_file,
    })
}
