//! Silences as people ask for them and see them. Pure. In: names, times as people write them. Out:
//! what is kept, or why it cannot be; silences in words.

use chrono::DateTime;
use serde::{Deserialize, Serialize};

use super::mute::{Matcher, Silence, SilenceError, Wanted};
use crate::clock::{DAY_US, HOUR_US, SECOND_US};

/// What a person wants to hear nothing of, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wish {
    /// Model name.
    pub model: Option<String>,
    /// Version of the model.
    pub version: Option<String>,
    /// Class of the devices.
    pub class: Option<String>,
    /// Site of the devices.
    pub site: Option<String>,
    /// The signal, by its metric name.
    pub metric: Option<String>,
    /// From when on, RFC 3339; now unless it is given.
    pub from: Option<String>,
    /// Until when, RFC 3339; or else `lasts`.
    pub until: Option<String>,
    /// For how long, such as `30min`, `2h`, `3d`.
    pub lasts: Option<String>,
    /// What whoever finds it is to know.
    pub why: String,
}

impl Wish {
    /// The same in microseconds.
    pub(crate) fn wanted(self, now_us: i64) -> Result<Wanted, SilenceError> {
        let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let from_us = match given(self.from) {
            None => now_us,
            Some(text) => time_us(&text)?,
        };
        let until_us = match (given(self.until), given(self.lasts)) {
            (Some(text), None) => time_us(&text)?,
            (None, Some(text)) => from_us.saturating_add(length_us(&text)?),
            _ => return Err(SilenceError::Until),
        };
        Ok(Wanted {
            matcher: Matcher {
                model: self.model,
                version: self.version,
                class: self.class,
                site: self.site,
                metric: self.metric,
            },
            from_us,
            until_us,
            why: self.why,
        })
    }
}

fn time_us(text: &str) -> Result<i64, SilenceError> {
    let time = DateTime::parse_from_rfc3339(text.trim());
    let time = time.map_err(|_| SilenceError::Time(text.to_owned()))?;
    Ok(time.timestamp_micros())
}

fn length_us(text: &str) -> Result<i64, SilenceError> {
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let unit_us = match unit.trim() {
        "s" => Some(SECOND_US),
        "min" => Some(60 * SECOND_US),
        "h" => Some(HOUR_US),
        "d" => Some(DAY_US),
        _ => None,
    };
    let number = number.parse::<i64>().ok();
    let length = number
        .zip(unit_us)
        .and_then(|(n, unit_us)| n.checked_mul(unit_us));
    length.ok_or_else(|| SilenceError::Length(text.to_owned()))
}

/// A silence. Times are microseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SilenceShown {
    /// Its number.
    pub id: i64,
    /// What it silences, in words.
    pub matches: String,
    /// `planned`, `active` or `over`.
    pub state: String,
    /// From when on.
    pub from_us: i64,
    /// Until when.
    pub until_us: i64,
    /// What whoever finds it is to know.
    pub why: String,
    /// Who made it.
    pub by: String,
    /// Who ended it before its time.
    pub ended_by: Option<String>,
}

impl SilenceShown {
    pub(crate) fn of(silence: Silence, now_us: i64) -> Self {
        let state = match silence.holds(now_us) {
            true => "active",
            false if silence.until_us <= now_us => "over",
            false => "planned",
        };
        Self {
            id: silence.id,
            matches: silence.matcher.words().unwrap_or_default(),
            state: state.to_owned(),
            from_us: silence.from_us,
            until_us: silence.until_us,
            why: silence.why,
            by: silence.by,
            ended_by: silence.ended_by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(until: Option<&str>, lasts: Option<&str>) -> Wish {
        Wish {
            model: Some("tiny".to_owned()),
            until: until.map(str::to_owned),
            lasts: lasts.map(str::to_owned),
            why: "a rollout".to_owned(),
            ..Wish::default()
        }
    }

    #[test]
    fn it_ends_at_a_time_or_after_a_while() {
        let lasts = wish(None, Some("2h")).wanted(10).unwrap();
        assert_eq!((lasts.from_us, lasts.until_us), (10, 10 + 2 * HOUR_US));
        let until = wish(Some("1970-01-02T00:00:00Z"), Some(""))
            .wanted(10)
            .unwrap();
        assert_eq!(until.until_us, DAY_US, "a blank is none");
        for (until, lasts) in [
            (None, None),
            (Some("1970-01-02T00:00:00Z"), Some("2h")),
            (Some("tomorrow"), None),
            (None, Some("2 weeks")),
            (None, Some("h")),
            (None, Some("99999999999999999d")),
        ] {
            let refused = wish(until, lasts).wanted(10);
            assert!(refused.is_err(), "{until:?} {lasts:?}");
        }
    }
}
