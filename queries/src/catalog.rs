//! The questions there are: each `sql/*.sql` with its name and parameters. The only place that
//! touches the text of our own SQL. In: nothing. Out: [`Question`]s for the engine.

/// One file of `sql/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// File name without its ending.
    pub name: &'static str,
    /// What the file holds.
    pub sql: &'static str,
    /// Names of its parameters, without the dollar sign.
    pub parameters: &'static [&'static str],
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
/// The last verdict of every series.
pub(crate) const VERDICTS_LATEST: Question = question!("verdicts_latest", ["from", "to"]);
/// Every verdict of one series.
pub(crate) const VERDICT_HISTORY: Question = question!("verdict_history", ["series", "from", "to"]);
/// What happened lately.
pub(crate) const EVENTS: Question = question!("events", ["from", "to"]);

/// Every question.
pub const QUESTIONS: [Question; 7] = [
    LANES,
    FLEET_OVERVIEW,
    SERIES_SPAN,
    SERIES_TREND,
    VERDICTS_LATEST,
    VERDICT_HISTORY,
    EVENTS,
];

#[cfg(test)]
mod tests;
