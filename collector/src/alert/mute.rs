//! What keeps alerts from being told: silences that people make, and maintenance that the
//! configuration plans. Pure. A muted alert changes state and is shown like any other; it is told
//! once nothing mutes it, if it still fires. In: cohorts, the time. Out: what mutes them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::incident::Cohort;
use crate::clock::DAY_US;

/// A silence ends by itself, at the latest after so long: longer ones are a change of rules.
pub(crate) const SILENCE_US_MAX: i64 = 92 * DAY_US;
/// Longest name, and longest reason.
const NAME_BYTES_MAX: usize = 128;
const WHY_CHARS_MAX: usize = 300;
const MINUTE_US: i64 = 60 * 1_000_000;

/// Which alerts: those that agree with everything that is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Matcher {
    pub(crate) model: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) class: Option<String>,
    pub(crate) site: Option<String>,
    /// The signal, by its metric name.
    pub(crate) metric: Option<String>,
}

impl Matcher {
    pub(crate) fn matches(&self, cohort: &Cohort) -> bool {
        let agrees = |named: &Option<String>, is: Option<&str>| {
            named.as_deref().is_none_or(|named| Some(named) == is)
        };
        agrees(&self.model, Some(&cohort.model))
            && agrees(&self.version, Some(&cohort.version))
            && agrees(&self.class, Some(&cohort.device_class))
            && agrees(&self.site, cohort.site.as_deref())
            && agrees(&self.metric, Some(&cohort.metric))
    }

    /// What is named, in words; none if nothing is.
    pub(crate) fn words(&self) -> Option<String> {
        let named = self.named().map(|(name, value)| format!("{name} {value}"));
        let words = named.collect::<Vec<_>>().join(", ");
        (!words.is_empty()).then_some(words)
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("model", &self.model),
            ("version", &self.version),
            ("class", &self.class),
            ("site", &self.site),
            ("signal", &self.metric),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// Without what was left blank in a form.
    fn without_blanks(self) -> Self {
        let filled = |value: Option<String>| {
            let value = value.map(|value| value.trim().to_owned());
            value.filter(|value| !value.is_empty())
        };
        Self {
            model: filled(self.model),
            version: filled(self.version),
            class: filled(self.class),
            site: filled(self.site),
            metric: filled(self.metric),
        }
    }
}

/// Why a silence is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SilenceError {
    #[error(
        "a silence of everything hides everything: name at least one of model, version, class, site and metric"
    )]
    Everything,
    #[error(
        "a silence needs a reason of 1 to {WHY_CHARS_MAX} characters: whoever finds it will ask"
    )]
    Why,
    #[error("a name has {NAME_BYTES_MAX} bytes at most")]
    Name,
    #[error("say until when it holds (until), or for how long (lasts); one of them")]
    Until,
    #[error("{0:?} is no time; write it like 2026-11-23T08:00:00Z")]
    Time(String),
    #[error("{0:?} is no length; write it like 30min, 2h or 3d")]
    Length(String),
    #[error("a silence ends after it begins, in the future, and within 92 days")]
    Span,
}

/// What a person wants to hear nothing of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) matcher: Matcher,
    pub(crate) from_us: i64,
    pub(crate) until_us: i64,
    pub(crate) why: String,
}

impl Wanted {
    /// The same as it is kept.
    pub(crate) fn checked(self, now_us: i64) -> Result<Self, SilenceError> {
        let matcher = self.matcher.without_blanks();
        let why = self.why.trim().to_owned();
        if matcher.named().next().is_none() {
            return Err(SilenceError::Everything);
        }
        if matcher.named().any(|(_, name)| name.len() > NAME_BYTES_MAX) {
            return Err(SilenceError::Name);
        }
        if why.is_empty() || why.chars().count() > WHY_CHARS_MAX {
            return Err(SilenceError::Why);
        }
        let length = self.until_us.checked_sub(self.from_us);
        let fits = length.is_some_and(|length| (1..=SILENCE_US_MAX).contains(&length));
        if !fits || self.until_us <= now_us {
            return Err(SilenceError::Span);
        }
        Ok(Self {
            matcher,
            why,
            ..self
        })
    }
}

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Silence {
    pub(crate) id: i64,
    #[serde(flatten)]
    pub(crate) matcher: Matcher,
    pub(crate) from_us: i64,
    /// It ends then by itself, or was ended.
    pub(crate) until_us: i64,
    pub(crate) why: String,
    pub(crate) by: String,
    pub(crate) created_us: i64,
    /// Who ended it before its time.
    pub(crate) ended_by: Option<String>,
}

impl Silence {
    pub(crate) fn holds(&self, now_us: i64) -> bool {
        (self.from_us..self.until_us).contains(&now_us)
    }
}

/// When something is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Every week, in UTC; a window that ends before it begins ends on the next day.
    Weekly {
        /// Monday first: days on which it begins.
        days: [bool; 7],
        from_minute: i64,
        until_minute: i64,
    },
    Once {
        from_us: i64,
        until_us: i64,
    },
}

impl When {
    pub(crate) fn holds(&self, now_us: i64) -> bool {
        match self {
            Self::Once { from_us, until_us } => (*from_us..*until_us).contains(&now_us),
            Self::Weekly {
                days,
                from_minute,
                until_minute,
            } => {
                let day = now_us.div_euclid(DAY_US);
                let minute = now_us.rem_euclid(DAY_US) / MINUTE_US;
                let begins_on = |day: i64| {
                    // The first day of the epoch was a Thursday.
                    let weekday = usize::try_from((day + 3).rem_euclid(7));
                    weekday.is_ok_and(|weekday| days[weekday])
                };
                match from_minute < until_minute {
                    true => begins_on(day) && (*from_minute..*until_minute).contains(&minute),
                    false => {
                        (begins_on(day) && minute >= *from_minute)
                            || (begins_on(day - 1) && minute < *until_minute)
                    }
                }
            }
        }
    }
}

/// A window in which what happens is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Maintenance {
    pub(crate) name: String,
    pub(crate) matcher: Matcher,
    pub(crate) when: When,
}

/// Everything that may mute.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mutes {
    pub(crate) silences: Vec<Silence>,
    pub(crate) maintenance: Arc<[Maintenance]>,
}

impl Mutes {
    /// What mutes alerts of `cohort` now, in words.
    pub(crate) fn muting(&self, cohort: &Cohort, now_us: i64) -> Option<String> {
        let silence = self
            .silences
            .iter()
            .find(|silence| silence.holds(now_us) && silence.matcher.matches(cohort));
        let silence = silence
            .map(|silence| format!("silence {} by {}: {}", silence.id, silence.by, silence.why));
        let planned = || {
            let planned = self
                .maintenance
                .iter()
                .find(|planned| planned.when.holds(now_us) && planned.matcher.matches(cohort));
            planned.map(|planned| format!("maintenance {}", planned.name))
        };
        silence.or_else(planned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HOUR_US;

    /// 2026-11-23, a Monday.
    const MONDAY_US: i64 = 20_780 * DAY_US;

    fn cohort() -> Cohort {
        Cohort {
            model: "tiny".to_owned(),
            version: "2".to_owned(),
            device_class: "kiosk".to_owned(),
            metric: "fathomline.output.surprisal".to_owned(),
            ..Cohort::default()
        }
    }

    fn named(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    fn wanted() -> Wanted {
        Wanted {
            matcher: Matcher {
                model: named(" tiny "),
                class: named(" "),
                ..Matcher::default()
            },
            from_us: 0,
            until_us: 10,
            why: "a rollout".to_owned(),
        }
    }

    #[test]
    fn a_matcher_agrees_with_everything_it_names() {
        let matcher = Matcher {
            model: named("tiny"),
            class: named("kiosk"),
            ..Matcher::default()
        };
        assert!(matcher.matches(&cohort()) && Matcher::default().matches(&cohort()));
        assert_eq!(matcher.words().unwrap(), "model tiny, class kiosk");
        for other in [
            Matcher {
                version: named("1"),
                ..matcher.clone()
            },
            Matcher {
                site: named("north"),
                ..matcher.clone()
            },
            Matcher {
                metric: named("fathomline.feedback"),
                ..matcher
            },
        ] {
            assert!(!other.matches(&cohort()), "{other:?}");
        }
    }

    #[test]
    fn a_silence_names_something_and_a_reason_and_ends_in_time() {
        let kept = wanted().checked(5).unwrap();
        assert_eq!(kept.matcher.model.as_deref(), Some("tiny"));
        assert_eq!(kept.matcher.class, None, "a blank names nothing");
        let refused = |wanted: Wanted| wanted.checked(5).unwrap_err();
        let nothing = Wanted {
            matcher: Matcher::default(),
            ..wanted()
        };
        assert_eq!(refused(nothing), SilenceError::Everything);
        assert_eq!(
            refused(Wanted {
                why: " ".to_owned(),
                ..wanted()
            }),
            SilenceError::Why
        );
        for until_us in [0, 5, SILENCE_US_MAX + 1, i64::MIN] {
            assert_eq!(
                refused(Wanted {
                    until_us,
                    ..wanted()
                }),
                SilenceError::Span
            );
        }
        let endless = Wanted {
            from_us: i64::MIN,
            until_us: i64::MAX,
            ..wanted()
        };
        assert_eq!(refused(endless), SilenceError::Span);
    }

    #[test]
    fn weekly_windows_are_of_the_day_they_begin_on() {
        let mut days = [false; 7];
        days[0] = true;
        let late = When::Weekly {
            days,
            from_minute: 22 * 60,
            until_minute: 2 * 60,
        };
        for (hours, holds) in [
            (-1, false),
            (1, false),
            (21, false),
            (22, true),
            (25, true),
            (26, false),
            (46, false),
        ] {
            assert_eq!(
                late.holds(MONDAY_US + hours * HOUR_US),
                holds,
                "hour {hours}"
            );
        }
        let noon = When::Weekly {
            days,
            from_minute: 720,
            until_minute: 721,
        };
        assert!(noon.holds(MONDAY_US + 12 * HOUR_US) && !noon.holds(MONDAY_US + 13 * HOUR_US));
        assert!(!noon.holds(MONDAY_US + 36 * HOUR_US), "Tuesday");
        let once = When::Once {
            from_us: 3,
            until_us: 5,
        };
        assert_eq!(
            [2, 3, 4, 5].map(|us| once.holds(us)),
            [false, true, true, false]
        );
    }

    #[test]
    fn what_mutes_is_said() {
        let silence = Silence {
            id: 7,
            matcher: Matcher::default(),
            from_us: 10,
            until_us: 20,
            why: "a rollout".to_owned(),
            by: "ann".to_owned(),
            created_us: 9,
            ended_by: None,
        };
        let planned = Maintenance {
            name: "backup".to_owned(),
            matcher: Matcher::default(),
            when: When::Once {
                from_us: 15,
                until_us: 30,
            },
        };
        let mutes = Mutes {
            silences: vec![silence],
            maintenance: Arc::new([planned]),
        };
        let muting = |now_us| mutes.muting(&cohort(), now_us);
        assert_eq!(muting(9), None);
        assert_eq!(muting(19).unwrap(), "silence 7 by ann: a rollout");
        assert_eq!(muting(20).unwrap(), "maintenance backup");
        assert_eq!(muting(30), None);
    }
}
