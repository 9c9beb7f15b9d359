//! What a reply means for the window that was posted. In: status and headers. Out: one of five
//! verdicts. Pure; the only place where status codes are known. When in doubt the window is kept:
//! a wrong token, a missing route or a broken proxy must not cost data.

use std::time::Duration;

/// Longest wait that a reply may ask for; a typo in a proxy must not silence a device for ever.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// What to do with the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It is durable there; forget it here.
    Stored,
    /// Known there under the same identity with other bytes: put aside and go on.
    Conflict,
    /// Not OTLP in the collector's eyes, now or ever: put aside, count, go on.
    Refused,
    /// Too large for one request: send it in parts.
    TooLarge,
    /// Keep it and try later, not before this time if one is given.
    Later(Option<Duration>),
}

/// Judges a reply. `retry_after` and `date` are the headers of these names.
pub(super) fn judge(status: u16, retry_after: Option<&str>, date: Option<&str>) -> Reply {
    match status {
        200..=299 => Reply::Stored,
        400 => Reply::Refused,
        409 => Reply::Conflict,
        413 => Reply::TooLarge,
        429 | 503 => Reply::Later(retry_after.and_then(|value| wait(value, date))),
        _ => Reply::Later(None),
    }
}

/// The same for a reply of some `Content-Type`. A web page decides about no window: portals of
/// wireless networks answer 200 to everything, and proxies 400.
pub(super) fn judge_typed(reply: Reply, content_type: Option<&str>) -> Reply {
    let page = content_type.is_some_and(|value| {
        let kind = value.trim_start().get(..9).unwrap_or_default();
        kind.eq_ignore_ascii_case("text/html")
    });
    match reply {
        Reply::Stored | Reply::Refused | Reply::Conflict if page => Reply::Later(None),
        other => other,
    }
}

/// `Retry-After`: seconds, or a date. A date is held against the reply's own `Date`, because the
/// clock of a device may be off by days.
fn wait(retry_after: &str, date: Option<&str>) -> Option<Duration> {
    let retry_after = retry_after.trim();
    let seconds = match retry_after.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => http_date(retry_after)?.saturating_sub(http_date(date?)?),
    };
    Some(Duration::from_secs(seconds).min(WAIT_MAX))
}

/// Seconds since the Unix epoch of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.trim().split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|known| *known == month)? as u64;
    let year: u64 = words.next()?.parse().ok()?;
    let mut time = words
        .next()?
        .split(':')
        .map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let sane = (1970..10_000).contains(&year)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !sane || words.next() != Some("GMT") {
        return None;
    }
    // Years begin in March here, so that a leap day is a year's last.
    let (year, month) = if month < 2 {
        (year - 1, month + 10)
    } else {
        (year, month - 2)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // Days from the first of March of year 0 to the first of January of 1970.
    let days = days.checked_sub(719_468)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_given_up_only_when_the_collector_decided() {
        assert_eq!(judge(200, None, None), Reply::Stored);
        assert_eq!(judge(400, None, None), Reply::Refused);
        assert_eq!(judge(409, None, None), Reply::Conflict);
        assert_eq!(judge(413, Some("7"), None), Reply::TooLarge);
        for doubt in [301, 401, 403, 404, 405, 408, 415, 500, 501, 502, 504] {
            assert_eq!(judge(doubt, Some("7"), None), Reply::Later(None), "{doubt}");
        }
    }

    #[test]
    fn a_web_page_decides_about_no_window() {
        for status in [200, 400, 409] {
            let reply = judge(status, None, None);
            let page = Some("Text/HTML; charset=utf-8");
            assert_eq!(judge_typed(reply, page), Reply::Later(None), "{status}");
            for other in [
                None,
                Some("application/x-protobuf"),
                Some("text/plain"),
                Some("é"),
            ] {
                assert_eq!(judge_typed(reply, other), reply, "{status} {other:?}");
            }
        }
        assert_eq!(
            judge_typed(Reply::TooLarge, Some("text/html")),
            Reply::TooLarge
        );
    }

    #[test]
    fn the_collector_says_how_long_to_wait() {
        let seconds = |n| Reply::Later(Some(Duration::from_secs(n)));
        assert_eq!(judge(503, Some("7"), None), seconds(7));
        assert_eq!(judge(429, Some(" 0 "), None), seconds(0));
        assert_eq!(judge(503, Some("99999999"), None), seconds(3600));
        let (now, later) = (
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:50:07 GMT",
        );
        assert_eq!(judge(503, Some(later), Some(now)), seconds(30));
        assert_eq!(judge(503, Some(now), Some(later)), seconds(0));
        for nonsense in [later, "soon", "-1", ""] {
            assert_eq!(
                judge(503, Some(nonsense), None),
                Reply::Later(None),
                "{nonsense}"
            );
        }
    }

    #[test]
    fn dates_are_counted_from_the_epoch() {
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(
            http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(784_111_777)
        );
        assert_eq!(
            http_date("Thu, 29 Feb 2024 12:00:00 GMT"),
            Some(1_709_208_000)
        );
        for nonsense in [
            "",
            "Sun, 06 Nov",
            "x, 99 Nov 1994 08:49:37 GMT",
            "x, 06 Nov 1994 8 GMT",
        ] {
            assert_eq!(http_date(nonsense), None, "{nonsense}");
        }
    }
}
