//! Tables `alert.maintenance`: when what happens is planned. In: what the file says. Out: windows,
//! weekly in UTC or once.

use chrono::DateTime;
use serde::Deserialize;

use super::ConfigError;
use crate::alert::mute::{Maintenance, Matcher, When};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMaintenance {
    name: String,
    days: Option<Vec<String>>,
    from: String,
    until: String,
    model: Option<String>,
    version: Option<String>,
    class: Option<String>,
    site: Option<String>,
    metric: Option<String>,
}

pub(super) fn maintenance(raw: RawMaintenance) -> Result<Maintenance, ConfigError> {
    let when = match (clock_time(&raw.from), clock_time(&raw.until)) {
        (Some(from_minute), Some(until_minute)) if from_minute != until_minute => When::Weekly {
            days: days(raw.days.as_deref())?,
            from_minute,
            until_minute,
        },
        _ => once(&raw)?,
    };
    Ok(Maintenance {
        name: raw.name,
        matcher: Matcher {
            model: raw.model,
            version: raw.version,
            class: raw.class,
            site: raw.site,
            metric: raw.metric,
        },
        when,
    })
}

/// Minutes since midnight.
fn clock_time(text: &str) -> Option<i64> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, max: i64| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<i64>().ok().filter(|_| digits)?;
        (number <= max).then_some(number)
    };
    Some(number(hour, 23)? * 60 + number(minute, 59)?)
}

fn days(named: Option<&[String]>) -> Result<[bool; 7], ConfigError> {
    let Some(named) = named else {
        return Ok([true; 7]);
    };
    if let Some(unknown) = named.iter().find(|name| !DAYS.contains(&name.as_str())) {
        return Err(ConfigError::Value {
            key: "alert.maintenance.days",
            value: unknown.clone(),
            advice: "write mon, tue, wed, thu, fri, sat or sun",
        });
    }
    Ok(DAYS.map(|day| named.iter().any(|name| name == day)))
}

fn once(raw: &RawMaintenance) -> Result<When, ConfigError> {
    let time = |text: &str| {
        let time = DateTime::parse_from_rfc3339(text).ok();
        time.map(|time| time.timestamp_micros())
    };
    let span = time(&raw.from).zip(time(&raw.until));
    match span.filter(|(from_us, until_us)| from_us < until_us && raw.days.is_none()) {
        Some((from_us, until_us)) => Ok(When::Once { from_us, until_us }),
        None => Err(ConfigError::Value {
            key: "alert.maintenance.from and until",
            value: format!("{} and {}", raw.from, raw.until),
            advice: "write two times of day in UTC, such as 22:00 and 02:00, with days if not every day; or two moments, such as 2026-11-23T08:00:00Z, the earlier first",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Maintenance, ConfigError> {
        let raw = format!("name = \"backup\"\n{text}");
        maintenance(toml::from_str(&raw).unwrap())
    }

    #[test]
    fn windows_are_weekly_or_once() {
        let weekly = read("days = [\"sat\"]\nfrom = \"22:00\"\nuntil = \"02:30\"").unwrap();
        let When::Weekly {
            days,
            from_minute,
            until_minute,
        } = weekly.when
        else {
            panic!("{weekly:?}");
        };
        assert_eq!((from_minute, until_minute), (1320, 150));
        assert_eq!(days.iter().filter(|day| **day).count(), 1);
        let once = "from = \"2026-11-23T08:00:00Z\"\nuntil = \"2026-11-23T09:00:00Z\"";
        assert!(matches!(read(once).unwrap().when, When::Once { .. }));
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "from = \"22:00\"\nuntil = \"22:00\"",
            "from = \"8:00\"\nuntil = \"09:00\"",
            "from = \"24:00\"\nuntil = \"25:00\"",
            "from = \"08:00\"\nuntil = \"2026-11-23T09:00:00Z\"",
            "from = \"2026-11-23T09:00:00Z\"\nuntil = \"2026-11-23T08:00:00Z\"",
            "from = \"08:00\"\nuntil = \"09:00\"\ndays = [\"saturday\"]",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
