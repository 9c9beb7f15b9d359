//! One look at a page: who looks, when, at which span, with which filters.
//!
//! In: a request. Out: a [`Visit`], or the page that says what is wrong. As an extractor it runs
//! before any page does, so no page can forget to ask whether the visitor may look.

use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use fathomline_queries::series::Span;

use crate::{
    pages::failure::Failure,
    router::Dashboard,
    view::{
        time_range::TimeRange,
        url_state::{self, UrlState},
    },
};

/// A visitor who may look, at a span that is a span.
pub(crate) struct Visit {
    pub(crate) now_us: i64,
    pub(crate) url: UrlState,
    pub(crate) range: TimeRange,
    /// The same, as whole lanes.
    pub(crate) span: Span,
}

impl FromRequestParts<Dashboard> for Visit {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut Parts,
        dashboard: &Dashboard,
    ) -> Result<Self, Self::Rejection> {
        dashboard.control.may_look(&parts.headers)?;
        let query = Query::<UrlState>::try_from_uri(&parts.uri);
        let Query(url) = query.map_err(|error| Failure::malformed(error.body_text()))?;
        let url = url_state::without_blanks(url);
        let range = TimeRange::parse(url.from.as_deref(), url.to.as_deref());
        let range = range.map_err(Failure::malformed)?;
        let now_us = dashboard.control.now_us();
        let span = whole_lanes(range.at(now_us), dashboard.lane_us);
        Ok(Self {
            now_us,
            url,
            range,
            span,
        })
    }
}

/// The lanes that the range touches; the one that is still open is among them.
fn whole_lanes((from_us, to_us): (i64, i64), width_us: i64) -> Span {
    let floor = |us: i64| us.div_euclid(width_us) * width_us;
    Span {
        width_us,
        from_us: floor(from_us),
        to_us: floor(to_us.saturating_add(width_us - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_widened_to_the_lanes_it_touches() {
        let span = whole_lanes((12, 31), 10);
        assert_eq!((span.from_us, span.to_us), (10, 40));
        let span = whole_lanes((10, 30), 10);
        assert_eq!((span.from_us, span.to_us), (10, 30));
    }
}
