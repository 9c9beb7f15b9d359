//! The questions there are: each `sql/*.sql` with its name and parameters. The only place that
//! touches the text of our own SQL. In: nothing. Out: [`Question`]s for the engine.

/// One file of `sql/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// File name without its ending.
    pub(crate) name: &'static str,
    /// What the file holds.
    pub(crate) sql: &'static str,
    /// Names of its parameters, without the dollar sign.
    pub(crate) parameters: &'static [&'static str],
}

macro_rules! question {
    ($name:literal, $parameters:expr) => {
        Question {
            name: $name,
            sql: include_str!(concat!("../sql/", $name, ".sql")),
            parameters: &$parameters,
        }
    };
}

/// Lanes that closed, of every series.
pub(crate) const LANES: Question = question!("lanes", ["width_us", "from", "to", "metrics"]);
/// How much each of them holds.
pub(crate) const LANE_COUNTS: Question =
    question!("lane_counts", ["width_us", "from", "to", "metrics"]);
/// One line a cohort for the fleet page.
pub(crate) const FLEET_OVERVIEW: Question = question!("fleet_overview", ["width_us", "from", "to"]);
/// What a series looked like over a span.
pub(crate) const SERIES_SPAN: Question = question!(
    "series_span",
    [
        "width_us",
        "from",
        "to",
        "service",
        "model",
        "version",
        "variant",
        "device_class",
        "metric"
    ]
);
/// How a series moved, step by step.
pub(crate) const SERIES_TREND: Question = question!(
    "series_trend",
    [
        "width_us",
        "step",
        "from",
        "to",
        "service",
        "model",
        "version",
        "variant",
        "device_class",
        "metric"
    ]
);
/// The same, in steps of whole hours or days.
pub(crate) const SERIES_TREND_LONG: Question = question!(
    "series_trend_long",
    [
        "width_us",
        "step",
        "from",
        "days_to",
        "hours_to",
        "to",
        "service",
        "model",
        "version",
        "variant",
        "device_class",
        "metric"
    ]
);
/// Up to when hours and days are built.
pub(crate) const BUILT: Question = question!("built", ["from", "to"]);
/// The last verdict of every series.
pub(crate) const VERDICTS_LATEST: Question = question!("verdicts_latest", ["from", "to"]);
/// Every verdict of one series.
pub(crate) const VERDICT_HISTORY: Question = question!("verdict_history", ["series", "from", "to"]);
/// What happened lately.
pub(crate) const EVENTS: Question = question!("events", ["from", "to"]);
/// What each device did in a span.
pub(crate) const PARTS: Question = question!("parts", ["from", "to", "metrics", "models"]);
/// The same, hour by hour.
pub(crate) const PARTS_HOURS: Question =
    question!("parts_hours", ["from", "to", "metrics", "models"]);

/// What was used, by day, site and cohort: what energy and money are counted from.
pub(crate) const COST_USAGE: Question = question!(
    "cost_usage",
    ["width_us", "from", "hours_to", "to", "metrics"]
);

/// Which versions reported.
pub(crate) const ROLLOUT_VERSIONS: Question =
    question!("rollout_versions", ["width_us", "from", "to"]);
/// Which devices ran which of two versions.
pub(crate) const ROLLOUT_DEVICES: Question = question!(
    "rollout_devices",
    ["from", "to", "service", "model", "versions", "metrics"]
);
/// What two versions did at the same time.
pub(crate) const ROLLOUT_WINDOWS: Question = question!(
    "rollout_windows",
    [
        "width_us", "step", "from", "to", "service", "model", "versions", "metrics"
    ]
);
/// What two groups of devices did with the same version.
pub(crate) const ROLLOUT_HALVES: Question = question!(
    "rollout_halves",
    [
        "step", "from", "to", "service", "model", "version", "group", "metrics"
    ]
);

/// One hour of devices, from what they measured.
pub(crate) const DEVICE_HOUR: Question = question!("device_hour", ["from", "to"]);
/// One hour of devices, from what they counted.
pub(crate) const DEVICE_HOUR_COUNTS: Question = question!("device_hour_counts", ["from", "to"]);
/// One hour of devices, from what rose by fractions.
pub(crate) const DEVICE_HOUR_AMOUNTS: Question = question!("device_hour_amounts", ["from", "to"]);
/// One hour of cohorts by site, from device hours.
pub(crate) const SITE_HOUR: Question = question!("site_hour", ["from", "to"]);
/// Whether device hours and lanes count the same.
pub(crate) const SITE_HOUR_DIFFERS: Question = question!("site_hour_differs", ["from", "to"]);
/// A stretch of cohorts, from lanes.
pub(crate) const COHORT_SPAN: Question = question!("cohort_span", ["from", "to"]);
/// One day of cohorts, from their hours.
pub(crate) const COHORT_DAY: Question = question!("cohort_day", ["from", "to"]);

/// Every question.
#[cfg(test)]
const QUESTIONS: [Question; 24] = [
    LANES,
    LANE_COUNTS,
    FLEET_OVERVIEW,
    SERIES_SPAN,
    SERIES_TREND,
    SERIES_TREND_LONG,
    BUILT,
    VERDICTS_LATEST,
    VERDICT_HISTORY,
    EVENTS,
    PARTS,
    PARTS_HOURS,
    COST_USAGE,
    ROLLOUT_VERSIONS,
    ROLLOUT_DEVICES,
    ROLLOUT_WINDOWS,
    ROLLOUT_HALVES,
    DEVICE_HOUR,
    DEVICE_HOUR_COUNTS,
    DEVICE_HOUR_AMOUNTS,
    SITE_HOUR,
    SITE_HOUR_DIFFERS,
    COHORT_SPAN,
    COHORT_DAY,
];

#[cfg(test)]
mod plans;
#[cfg(test)]
mod tests;
