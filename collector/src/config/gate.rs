//! Section `gate`: text to settings in which every value is usable.

use std::time::Duration;

use fathomline_queries::gate::{METRICS, Settings, SettingsError};
use serde::Deserialize;

use super::{ConfigError, duration, pause};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawGate {
    window: Option<String>,
    aa: Option<String>,
    min_time: Option<String>,
    deadline: Option<String>,
    min_devices: Option<u32>,
    margin: Option<f64>,
    worse: Option<f64>,
    rare: Option<f64>,
    rollback_alpha: Option<f64>,
    promote_alpha: Option<f64>,
    metrics: Option<Vec<String>>,
}

/// Windows are made of lanes of `lane`; outputs are told of `group_devices` devices.
pub(super) fn settings(
    raw: RawGate,
    lane: Duration,
    group_devices: u32,
) -> Result<Settings, ConfigError> {
    let defaults = Settings::default();
    let window = match raw.window.as_deref() {
        // Five minutes, or the lane where that is longer or does not divide them.
        None => Duration::from_micros(defaults.window_us.unsigned_abs()),
        text => duration("gate.window", text, "")?,
    };
    let window = match raw.window {
        None if !is_whole(window, lane) => lane,
        _ => window,
    };
    if !is_whole(window, lane) {
        return Err(ConfigError::Value {
            key: "gate.window",
            value: format!("{window:?}"),
            advice: "write a whole number of lanes (drift.lane)",
        });
    }
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4);
    let least = match raw.min_time.as_deref() {
        None => Duration::from_micros(defaults.min_time_us.unsigned_abs()),
        Some(text) => pause("gate.min_time", text)?,
    };
    let settings = Settings {
        window_us: micros(window),
        aa_us: micros(duration("gate.aa", raw.aa.as_deref(), "24h")?),
        min_time_us: micros(least),
        deadline_us: micros(duration("gate.deadline", raw.deadline.as_deref(), "72h")?),
        min_devices: raw.min_devices.map_or(defaults.min_devices, u64::from),
        group_devices: group_devices.into(),
        margin: raw.margin.unwrap_or(defaults.margin),
        worse: raw.worse.unwrap_or(defaults.worse),
        rare: raw.rare.unwrap_or(defaults.rare),
        rollback_alpha: raw.rollback_alpha.unwrap_or(defaults.rollback_alpha),
        promote_alpha: raw.promote_alpha.unwrap_or(defaults.promote_alpha),
        metrics: raw
            .metrics
            .unwrap_or_else(|| METRICS.map(str::to_owned).to_vec()),
    };
    Ok(settings.checked()?)
}

fn is_whole(window: Duration, lane: Duration) -> bool {
    window.as_micros().checked_rem(lane.as_micros()) == Some(0) && !window.is_zero()
}

impl From<SettingsError> for ConfigError {
    fn from(error: SettingsError) -> Self {
        Self::Gate(error)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn windows_are_whole_lanes_and_what_makes_no_gate_is_named() {
        let refused = |text: &str| Config::from_toml(text).unwrap_err().to_string();
        let demo = "[drift]\nlane = \"5s\"\n[privacy]\nmin_devices = 3\n[gate]\nwindow = \"5s\"\n\
                    aa = \"60s\"\nmin_time = \"0s\"\nmargin = 2.0\nmin_devices = 3\n";
        let gate = Config::from_toml(demo).unwrap().gate;
        assert_eq!((gate.window_us, gate.min_time_us), (5_000_000, 0));
        assert_eq!((gate.min_devices, gate.group_devices), (3, 3));
        let odd = Config::from_toml("[drift]\nlane = \"7s\"\n").unwrap().gate;
        assert_eq!(odd.window_us, 7_000_000);
        assert!(refused("[gate]\nwindow = \"90s\"\n").contains("gate.window"));
        assert!(refused("[gate]\nmargin = 1.0\n").contains("gate.margin = 1 "));
        assert!(refused("[gate]\nmetrics = [\"mood\"]\n").contains("mood"));
        assert!(refused("[gate]\naa = \"1min\"\n").contains("gate.aa"));
        assert!(refused("[gate]\nmarging = 1.2\n").contains("marging"));
    }
}
