//! What an operator may choose of the gate. Owns the defaults, their reasons and their limits.

use serde::{Deserialize, Serialize};

use super::signal::METRICS;

const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3_600 * SECOND_US;

/// Windows that the comparison of like with like needs: the mean of fewer is a guess.
const AA_WINDOWS_MIN: i64 = 10;

/// How strict the gate is; every answer shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Width of the windows in which both arms are compared, microseconds.
    pub window_us: i64,
    /// How long the baseline alone is looked at before the start, microseconds: what its devices
    /// differ by when nothing differs.
    pub aa_us: i64,
    /// Nothing is promoted before, microseconds: a full cycle of a day.
    pub min_time_us: i64,
    /// Nothing is promoted after, microseconds: a person decides.
    pub deadline_us: i64,
    /// Devices each arm needs in each class.
    pub min_devices: u64,
    /// Devices a window needs in each arm before it tells of outputs.
    pub group_devices: u64,
    /// A candidate must be shown to have fewer than so many times the baseline's bad events.
    pub margin: f64,
    /// A latency or energy is bad beyond so much more than the baseline's quantile: 0.1 is 10 %.
    pub worse: f64,
    /// Share below which a ratio means nothing: a rarer event is held against this share.
    pub rare: f64,
    /// Risk of rolling back a version that is no worse.
    pub rollback_alpha: f64,
    /// Risk of promoting one whose events are `margin` times as frequent.
    pub promote_alpha: f64,
    /// Metrics that are looked at.
    pub metrics: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window_us: 300 * SECOND_US,
            aa_us: 24 * HOUR_US,
            min_time_us: 24 * HOUR_US,
            deadline_us: 72 * HOUR_US,
            min_devices: 5,
            group_devices: 5,
            margin: 1.2,
            worse: 0.1,
            rare: 0.01,
            rollback_alpha: 0.05,
            promote_alpha: 0.05,
            metrics: METRICS.map(str::to_owned).to_vec(),
        }
    }
}

/// A choice that makes no gate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} = {value} {why}")]
pub struct SettingsError {
    /// Which setting.
    pub name: &'static str,
    /// What it is.
    pub value: String,
    /// What is wrong with it, and what to do.
    pub why: String,
}

impl Settings {
    /// # Errors
    /// Names the setting, and what it may be.
    pub fn checked(self) -> Result<Self, SettingsError> {
        let wrong = |name, value: String, why: &str| SettingsError {
            name,
            value,
            why: why.to_owned(),
        };
        let seconds = |us: i64| format!("{} s", us as f64 / 1e6);
        if self.window_us < SECOND_US {
            let why = "is too short: a window has a second at least";
            return Err(wrong("window", seconds(self.window_us), why));
        }
        if self.aa_us < AA_WINDOWS_MIN * self.window_us {
            let why = "is too short: it has ten windows at least";
            return Err(wrong("aa", seconds(self.aa_us), why));
        }
        if self.deadline_us < self.min_time_us || self.deadline_us < self.window_us {
            let why = "is before anything may be promoted: make it longer than min_time";
            return Err(wrong("deadline", seconds(self.deadline_us), why));
        }
        for (name, value, within) in [
            ("margin", self.margin, 1.05..=10.0),
            ("worse", self.worse, 0.0..=10.0),
            ("rare", self.rare, 1e-6..=0.2),
            ("rollback_alpha", self.rollback_alpha, 1e-9..=0.5),
            ("promote_alpha", self.promote_alpha, 1e-9..=0.5),
        ] {
            if !within.contains(&value) {
                let why = format!("is not within {} and {}", within.start(), within.end());
                return Err(wrong(name, value.to_string(), &why));
            }
        }
        if self.margin * self.rare >= 0.5 {
            let why = "is too much times the margin: half of all inferences would be fine";
            return Err(wrong("rare", self.rare.to_string(), why));
        }
        if let Some(unknown) = self.metrics.iter().find(|m| !METRICS.contains(&m.as_str())) {
            let why = format!("is none the gate knows; it knows {}", METRICS.join(", "));
            return Err(wrong("metrics", unknown.clone(), &why));
        }
        if self.metrics.is_empty() {
            let why = "names none: leave it out for all";
            return Err(wrong("metrics", "[]".to_owned(), why));
        }
        Ok(self)
    }

    /// Windows of both halves that the comparison of like with like needs: half of its length, for
    /// devices that were away.
    pub(super) fn aa_windows_min(&self) -> u64 {
        let windows = self.aa_us / self.window_us / 2;
        windows.max(AA_WINDOWS_MIN).unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_gate_is_named() {
        assert!(Settings::default().checked().is_ok());
        let name = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.checked().unwrap_err().name
        };
        assert_eq!(name(|s| s.window_us = 1), "window");
        assert_eq!(name(|s| s.aa_us = 9 * s.window_us), "aa");
        assert_eq!(name(|s| s.deadline_us = s.min_time_us - 1), "deadline");
        assert_eq!(name(|s| s.margin = 1.0), "margin");
        assert_eq!(name(|s| s.margin = f64::NAN), "margin");
        assert_eq!(name(|s| s.rollback_alpha = 0.0), "rollback_alpha");
        assert_eq!(name(|s| s.metrics = vec!["mood".into()]), "metrics");
        assert_eq!(name(|s| s.metrics.clear()), "metrics");
        let (rare, margin) = (0.1, 6.0);
        let both = Settings {
            rare,
            margin,
            ..Settings::default()
        };
        assert_eq!(both.checked().unwrap_err().name, "rare");
    }
}
