//! The evidence of a verdict as the JSON that is stored, shown and sent. In: what judging found.
//! Out: one document; what is not there is left out.

use fathomline_queries::drift::{Breakdown, Distances, Lane, Leading, Level, Reference, Wide};
use serde::Serialize;

const BORROWED_OF_VERSION: &str = "borrowed: shown beside the reference of its whole version, which never pages; freeze one of its own with POST /api/v1/references";
const BORROWED_OF_MODEL: &str = "borrowed: shown beside the reference of its whole model, which never pages; freeze one of its own with POST /api/v1/references";

/// JSON of the `evidence` column.
#[derive(Serialize)]
pub(super) struct Evidence<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) leading: Option<&'a Leading>,
    /// Evidence of lanes taken together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wide: Option<Wide>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) distances: Option<Distances>,
    /// What a page, or what would have been one, is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) breakdown: Option<&'a Breakdown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shortfall: Option<&'a str>,
    /// Why the rest is not told, where the lane's devices are too few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) withheld: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<ReferenceSpan>,
}

/// What was held against, for whoever wants to draw it.
#[derive(Serialize)]
pub(super) struct ReferenceSpan {
    from_us: i64,
    to_us: i64,
    records: u64,
    /// `variant` is the series' own; `version` and `model` are borrowed.
    level: &'static str,
    season: &'static str,
}

impl ReferenceSpan {
    pub(super) fn of(reference: &Reference) -> Self {
        let (from_us, to_us) = reference.span_us();
        Self {
            from_us,
            to_us,
            records: reference.count(),
            level: reference.level().name(),
            season: reference.season().name(),
        }
    }
}

/// What is told of a lane beside a parent's reference.
pub(super) fn borrowed<'a>(
    reference: &Reference,
    lane: &Lane,
    withheld: Option<&'a str>,
) -> Evidence<'a> {
    let told = withheld.is_none();
    let distances = || Distances::of(reference, lane, lane.count as f64);
    Evidence {
        leading: None,
        wide: None,
        distances: told.then(distances).flatten(),
        breakdown: None,
        shortfall: Some(match reference.level() {
            Level::Variant => "borrowed",
            Level::Version => BORROWED_OF_VERSION,
            Level::Model => BORROWED_OF_MODEL,
        }),
        withheld,
        reference: Some(ReferenceSpan::of(reference)),
    }
}
