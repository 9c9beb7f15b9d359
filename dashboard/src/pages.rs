//! One page, one file, one template. Owns what all pages share: the shell around them.
//!
//! In: a [`Visit`](crate::visit::Visit). Out: HTML, or a [`failure::Failure`]. A page asks its
//! questions, puts the answers into words, and renders; it decides nothing.

pub(crate) mod alerts;
pub(crate) mod deliveries;
pub(crate) mod drift;
pub(crate) mod energy;
mod evidence;
pub(crate) mod failure;
pub(crate) mod fleet;
pub(crate) mod happened;
pub(crate) mod references;
pub(crate) mod retraining;
pub(crate) mod rollouts;
pub(crate) mod series;

use askama::Template;
use axum::response::Html;

use crate::{
    assets,
    pages::failure::Failure,
    view::{time_range::PRESETS, units, url_state::UrlState},
    visit::Visit,
};

/// A series that nobody judged for so long has no verdict any more. Undecided verdicts are written
/// again every hour, so this is one hour and a generous margin.
const VERDICT_LIFE_US: i64 = 2 * 3_600 * 1_000_000;
/// Seconds between two reloads, for whoever wants them.
const REFRESH_SECONDS: u32 = 5;

/// What stands around every page.
struct Shell {
    title: String,
    /// Which entry of the navigation is ours.
    section: &'static str,
    url: UrlState,
    now: String,
    now_rfc3339: String,
    presets: Vec<Preset>,
    range: String,
    /// Link that turns reloading on, or off.
    refresh_link: String,
    style: String,
    mark: String,
}

/// A span to choose.
struct Preset {
    label: &'static str,
    link: String,
    chosen: bool,
}

impl Shell {
    fn new(visit: &Visit, title: impl Into<String>, section: &'static str, path: &str) -> Self {
        let url = &visit.url;
        let chosen = |from: &str| visit.range.is_live() && visit.range.from_text == from;
        let presets = PRESETS.map(|(from, label)| Preset {
            label,
            link: url.over(from, "now").link(path),
            chosen: chosen(from),
        });
        let refresh = url.refresh.is_none().then_some(REFRESH_SECONDS);
        Self {
            title: title.into(),
            section,
            now: units::date_and_time(visit.now_us),
            now_rfc3339: units::rfc3339(visit.now_us),
            presets: presets.into(),
            range: range(visit),
            refresh_link: url.refreshing(refresh).link(path),
            style: assets::style_path(),
            mark: assets::mark_path(),
            url: url.clone(),
        }
    }
}

/// The span in words, with its zone.
fn range(visit: &Visit) -> String {
    let (from_us, to_us) = visit.range.at(visit.now_us);
    format!(
        "{} to {}",
        units::date_and_time(from_us),
        units::date_and_time(to_us)
    )
}

/// The first moment whose verdicts are still in force at the end of the span.
fn verdicts_from(visit: &Visit) -> i64 {
    visit
        .span
        .from_us
        .min(visit.span.to_us.saturating_sub(VERDICT_LIFE_US))
}

fn render(page: &impl Template) -> Result<Html<String>, Failure> {
    Ok(Html(page.render()?))
}
