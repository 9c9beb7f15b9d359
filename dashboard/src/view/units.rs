//! Numbers, shares, times and ages for people. In: values and UCUM units. Out: short text with a
//! unit. What is unknown is a dash, never zero.

use chrono::{DateTime, SecondsFormat};

/// Shown where nothing was measured.
pub(crate) const UNKNOWN: &str = "–";

const SECOND_US: i64 = 1_000_000;

/// `12,345`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// As [`count`], for numbers that are stored with a sign.
pub(crate) fn signed(value: i64) -> String {
    let sign = if value < 0 { "−" } else { "" };
    format!("{sign}{}", count(value.unsigned_abs()))
}

/// `5.0 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Three significant digits and a unit that people read: `12.3 ms`, `0.0541 nat`.
pub(crate) fn quantity(value: f64, unit: &str) -> String {
    let (value, unit) = match unit {
        "s" => seconds(value),
        "1" | "" => return significant(value),
        _ => (value, word(unit)),
    };
    format!("{} {unit}", significant(value))
}

/// As [`quantity`], or a dash.
pub(crate) fn maybe(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| quantity(value, unit))
}

/// A UCUM unit as people write it; counts of things are the things.
pub(crate) fn word(unit: &str) -> &str {
    match unit {
        "{token}" => "tokens",
        "1" => "",
        _ => unit.trim_start_matches('{').trim_end_matches('}'),
    }
}

/// Three significant digits.
pub(crate) fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return UNKNOWN.to_owned();
    }
    let size = value.abs().log10().floor();
    if size >= 3.0 {
        let sign = if value < 0.0 { "−" } else { "" };
        // Floats above 2^53 saturate nothing here: u64 holds far more than a page shows.
        return format!("{sign}{}", count(value.abs().round() as u64));
    }
    if size < -4.0 {
        return format!("{value:.2e}");
    }
    let decimals = (2.0 - size).clamp(0.0, 9.0) as usize;
    format!("{value:.decimals$}").replace('-', "−")
}

fn seconds(value: f64) -> (f64, &'static str) {
    match value.abs() {
        size if size >= 1.0 || size == 0.0 => (value, "s"),
        size if size >= 1e-3 => (value * 1e3, "ms"),
        _ => (value * 1e6, "µs"),
    }
}

/// Time of day in UTC: `14:03:05`.
pub(crate) fn time_of_day(us: i64) -> String {
    formatted(us, "%H:%M:%S")
}

/// `2026-11-24 14:03:05 UTC`.
pub(crate) fn date_and_time(us: i64) -> String {
    formatted(us, "%Y-%m-%d %H:%M:%S UTC")
}

/// RFC 3339, for machines and for `datetime` attributes.
pub(crate) fn rfc3339(us: i64) -> String {
    let time = DateTime::from_timestamp_micros(us);
    time.map_or_else(
        || us.to_string(),
        |time| time.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}

fn formatted(us: i64, pattern: &str) -> String {
    let time = DateTime::from_timestamp_micros(us);
    time.map_or_else(|| us.to_string(), |time| time.format(pattern).to_string())
}

/// `12 s`, `3 min`, `2 h`, `4 d`: one unit, rounded down.
pub(crate) fn span(us: i64) -> String {
    let seconds = us.max(0) / SECOND_US;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago, seen from `now_us`.
pub(crate) fn age(now_us: i64, then_us: i64) -> String {
    if then_us >= now_us {
        return "now".to_owned();
    }
    format!("{} ago", span(now_us - then_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_thousands() {
        let shown = [0, 999, 1_000, 12_345, 1_234_567].map(count);
        assert_eq!(shown, ["0", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!(signed(-1_000), "−1,000");
    }

    #[test]
    fn quantities_have_three_digits_and_a_unit_people_read() {
        let shown = [
            quantity(0.001_234_5, "s"),
            quantity(0.000_012, "s"),
            quantity(12.345, "s"),
            quantity(0.054_12, "{nat}"),
            quantity(17.0, "{token}"),
            quantity(0.5, "1"),
            quantity(12_345.6, "By"),
            quantity(0.0, "s"),
            quantity(1.5e-9, "J"),
            quantity(-0.25, "1"),
        ];
        let expected = [
            "1.23 ms",
            "12.0 µs",
            "12.3 s",
            "0.0541 nat",
            "17.0 tokens",
            "0.500",
            "12,346 By",
            "0 s",
            "1.50e-9 J",
            "−0.250",
        ];
        assert_eq!(shown, expected);
        assert_eq!(maybe(None, "s"), UNKNOWN);
        assert_eq!(quantity(f64::NAN, "1"), UNKNOWN);
    }

    #[test]
    fn times_say_their_zone_and_ages_one_unit() {
        let us = 1_795_392_000_000_000;
        assert_eq!(date_and_time(us), "2026-11-23 00:00:00 UTC");
        assert_eq!(rfc3339(us), "2026-11-23T00:00:00Z");
        assert_eq!(time_of_day(us + 61 * SECOND_US), "00:01:01");
        let ages = [5, 150, 7_300, 900_000].map(|s| age(us, us - s * SECOND_US));
        assert_eq!(ages, ["5 s ago", "2 min ago", "2 h ago", "10 d ago"]);
        assert_eq!(age(us, us + 1), "now");
        assert_eq!(date_and_time(i64::MAX), i64::MAX.to_string());
    }
}
