//! `from` and `to`, as Grafana writes them: `now`, `now-15m`, milliseconds since the Unix epoch;
//! and RFC 3339 for people. In: two texts. Out: a range that ends after it begins, or what is
//! wrong.

use chrono::DateTime;

const SECOND_US: i64 = 1_000_000;
/// Longest range: a typing error must not read ten years of lanes.
const RANGE_US_MAX: i64 = 400 * 86_400 * SECOND_US;

/// Ranges offered on every page: `from`, and what it is called.
pub(crate) const PRESETS: [(&str, &str); 6] = [
    ("now-5m", "5 min"),
    ("now-15m", "15 min"),
    ("now-1h", "1 h"),
    ("now-6h", "6 h"),
    ("now-24h", "24 h"),
    ("now-7d", "7 d"),
];
const FROM: &str = "now-15m";
const TO: &str = "now";

/// A range of time, relative to now until it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimeRange {
    from: Moment,
    to: Moment,
    /// As it was written.
    pub(crate) from_text: String,
    pub(crate) to_text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Ago(i64),
    At(i64),
}

impl TimeRange {
    /// The range between two texts; the last 15 minutes where there are none.
    pub(crate) fn parse(from: Option<&str>, to: Option<&str>) -> Result<Self, String> {
        let (from, to) = (from.unwrap_or(FROM), to.unwrap_or(TO));
        let range = Self {
            from: moment("from", from)?,
            to: moment("to", to)?,
            from_text: from.to_owned(),
            to_text: to.to_owned(),
        };
        // Whatever now is, a range of two relative or two absolute moments keeps its length.
        let (begin_us, end_us) = match (range.from, range.to) {
            (Moment::Ago(from), Moment::Ago(to)) => (-from, -to),
            (Moment::At(from), Moment::At(to)) => (from, to),
            _ => return Ok(range),
        };
        if end_us <= begin_us {
            return Err(format!(
                "the range from {from:?} to {to:?} ends before it begins; swap the two"
            ));
        }
        if end_us.saturating_sub(begin_us) > RANGE_US_MAX {
            return Err(format!(
                "the range from {from:?} to {to:?} is longer than 400 days; choose a shorter one"
            ));
        }
        Ok(range)
    }

    /// Microseconds since the Unix epoch; never longer than 400 days, never empty.
    pub(crate) fn at(&self, now_us: i64) -> (i64, i64) {
        let resolve = |moment| match moment {
            Moment::Ago(us) => now_us.saturating_sub(us),
            Moment::At(us) => us,
        };
        let to_us = resolve(self.to);
        let from_us = resolve(self.from).max(to_us.saturating_sub(RANGE_US_MAX));
        (from_us.min(to_us.saturating_sub(1)), to_us)
    }

    /// Whether it moves with the clock.
    pub(crate) fn is_live(&self) -> bool {
        self.to == Moment::Ago(0)
    }
}

fn moment(name: &str, text: &str) -> Result<Moment, String> {
    let wrong = || {
        format!(
            "cannot read {name}={text:?}: write now, now-15m (s, m, h or d), milliseconds since \
             1970, or a time such as 2026-11-24T14:00:00Z"
        )
    };
    if let Some(rest) = text.strip_prefix("now") {
        let ago = match rest.strip_prefix('-') {
            None if rest.is_empty() => Some(0),
            None => None,
            Some(ago) => duration(ago),
        };
        return ago.map(Moment::Ago).ok_or_else(wrong);
    }
    if let Ok(millis) = text.parse::<i64>() {
        return millis.checked_mul(1000).map(Moment::At).ok_or_else(wrong);
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| wrong())?;
    Ok(Moment::At(time.timestamp_micros()))
}

fn duration(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number
        .parse::<i64>()
        .ok()?
        .checked_mul(seconds)?
        .checked_mul(SECOND_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_392_000_000_000;

    fn at(from: &str, to: &str) -> (i64, i64) {
        TimeRange::parse(Some(from), Some(to)).unwrap().at(NOW)
    }

    #[test]
    fn every_way_to_write_a_moment_is_read() {
        let hour = 3_600 * SECOND_US;
        assert_eq!(at("now-1h", "now"), (NOW - hour, NOW));
        assert_eq!(
            at("1795388400000", "2026-11-23T00:00:00Z"),
            (NOW - hour, NOW)
        );
        assert_eq!(at("now-2d", "now-1d"), (NOW - 48 * hour, NOW - 24 * hour));
        let default = TimeRange::parse(None, None).unwrap();
        assert_eq!(default.at(NOW), (NOW - hour / 4, NOW));
        assert!(default.is_live());
        assert!(!TimeRange::parse(None, Some("now-1m")).unwrap().is_live());
    }

    #[test]
    fn what_is_no_range_says_so() {
        let reason = |from, to| TimeRange::parse(Some(from), Some(to)).unwrap_err();
        for from in [
            "yesterday",
            "now-",
            "now-5",
            "now-5y",
            "now+5m",
            "",
            "99999999999999999999",
        ] {
            assert!(reason(from, "now").contains("cannot read from="), "{from}");
        }
        assert!(reason("now", "now-1h").contains("swap the two"));
        assert!(reason("now-500d", "now").contains("400 days"));
        assert!(reason("0", "99999999999999").contains("400 days"));
    }

    #[test]
    fn a_mixed_range_is_cut_and_never_empty() {
        let (from_us, to_us) = at("0", "now");
        assert_eq!(to_us - from_us, RANGE_US_MAX);
        let (from_us, to_us) = at("now", "0");
        assert!(from_us < to_us);
    }
}
