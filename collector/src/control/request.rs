//! A wish for references, and the lanes it means. Pure. In: a request, the time, the width of
//! lanes. Out: a span of whole closed lanes and which series of it, or what the wish lacks.

use fathomline_queries::{
    drift::{Level, SeriesKey},
    stats::Season,
};
use serde::Deserialize;

use super::ControlError;
use crate::{
    clock::DAY_US,
    watch::{Cadence, schedule::Span},
};

/// Four weeks of minute lanes; a reference needs no more, and what is read must fit into memory.
pub(super) const LANES_MAX: i64 = 40_320;

/// Weeks that trail now, at most.
const WEEKS_MAX: u32 = 4;

/// Weeks from which on hours of the week are told apart unless another season is asked for.
const WEEKS_OF_HOURS: u32 = 2;

/// Which references to make: of a span, of trailing weeks, or of everything that is kept of a
/// version.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// Only this service.
    pub service: Option<String>,
    /// Of this model.
    pub model: String,
    /// Only this version.
    pub version: Option<String>,
    /// Only this variant.
    pub variant: Option<String>,
    /// Only this class of devices.
    pub device_class: Option<String>,
    /// Only this signal.
    pub metric: Option<String>,
    /// Begin of a span, microseconds since the Unix epoch; whole lanes within it are used.
    pub from_us: Option<i64>,
    /// End of the span.
    pub to_us: Option<i64>,
    /// Weeks that end now.
    pub weeks: Option<u32>,
    /// What is taken together.
    #[serde(default)]
    pub level: Level,
    /// Which hours are told apart; those of the week for two trailing weeks and more, those of the
    /// day for one, none otherwise.
    pub season: Option<Season>,
    /// Use lanes in which the series drifted, too: what is new is how it should be.
    #[serde(default)]
    pub include_incidents: bool,
    /// Hold the series against it from now on.
    #[serde(default = "yes")]
    pub pin: bool,
}

fn yes() -> bool {
    true
}

impl CreateRequest {
    /// A wish for the references of a model, of which nothing else is said yet.
    pub fn of(model: impl Into<String>) -> Self {
        Self {
            service: None,
            model: model.into(),
            version: None,
            variant: None,
            device_class: None,
            metric: None,
            from_us: None,
            to_us: None,
            weeks: None,
            level: Level::Variant,
            season: None,
            include_incidents: false,
            pin: true,
        }
    }

    pub(super) fn wants(&self, key: &SeriesKey) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        key.model == self.model
            && same(&self.service, &key.service)
            && same(&self.version, &key.version)
            && same(&self.variant, &key.variant)
            && same(&self.device_class, &key.device_class)
            && same(&self.metric, &key.metric)
    }

    pub(super) fn season(&self) -> Season {
        self.season.unwrap_or(match self.weeks {
            None => Season::None,
            Some(weeks) if weeks < WEEKS_OF_HOURS => Season::HourOfDay,
            Some(_) => Season::HourOfWeek,
        })
    }

    /// The word for what it is made from.
    pub(super) fn made_from(&self) -> &'static str {
        match (self.weeks, self.from_us) {
            (Some(_), _) => "weeks",
            (None, Some(_)) => "span",
            (None, None) => "version",
        }
    }

    /// The closed lanes that it means.
    pub(super) fn span(&self, cadence: Cadence, now_us: i64) -> Result<Span, ControlError> {
        let closed_us = cadence.closed_until(now_us);
        match (self.from_us, self.to_us, self.weeks) {
            (Some(from_us), Some(to_us), None) => whole_lanes((from_us, to_us), cadence, closed_us),
            (None, None, Some(weeks)) if (1..=WEEKS_MAX).contains(&weeks) => {
                let from_us = closed_us.saturating_sub(i64::from(weeks) * 7 * DAY_US);
                whole_lanes((from_us, closed_us), cadence, closed_us)
            }
            (None, None, Some(weeks)) => Err(ControlError::Request(format!(
                "{weeks} weeks are not 1 to {WEEKS_MAX}"
            ))),
            (None, None, None) if self.version.is_some() => Ok(Span {
                from_us: closed_us.saturating_sub(LANES_MAX.saturating_mul(cadence.lane_us)),
                to_us: closed_us,
            }),
            _ => Err(ControlError::Request(
                "say one of: from when to when (from_us and to_us), how many trailing weeks (weeks), or which version".to_owned(),
            )),
        }
    }
}

/// The closed lanes that lie wholly within a span.
fn whole_lanes(
    (from_us, to_us): (i64, i64),
    cadence: Cadence,
    closed_us: i64,
) -> Result<Span, ControlError> {
    // Nobody's lanes are that far away, and no arithmetic on them overflows.
    let clamped = |us: i64| us.clamp(i64::MIN / 4, i64::MAX / 4);
    let span = Span {
        from_us: cadence.ceil(clamped(from_us)),
        to_us: cadence.floor(clamped(to_us)).min(closed_us),
    };
    let lanes = span.to_us.saturating_sub(span.from_us) / cadence.lane_us;
    let why = if to_us <= from_us {
        "it ends before it begins".to_owned()
    } else if lanes < 1 {
        format!("it holds no whole lane that has closed; lanes have closed up to {closed_us}")
    } else if lanes > LANES_MAX {
        format!("it holds {lanes} lanes and {LANES_MAX} are allowed; choose a shorter one")
    } else {
        return Ok(span);
    };
    Err(ControlError::Span {
        from_us,
        to_us,
        why,
    })
}
