//! Every URL, in page order, and the headers that all pages carry.

use std::sync::Arc;

use axum::{
    Router,
    http::{
        HeaderValue,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware,
    response::Response,
    routing::{get, post},
};
use fathomline_queries::{cost::PriceBook, engine::Engine};

use crate::{assets, control::Control, pages};

/// Nothing but our own style and mark: a hostile name in a table can load and run nothing.
const CONTENT_SECURITY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the pages read and ask.
#[derive(Clone)]
pub struct Dashboard {
    /// Reads tables.
    pub engine: Arc<Engine>,
    /// The collector.
    pub control: Arc<dyn Control>,
    /// Width of the collector's lanes, microseconds.
    pub lane_us: i64,
    /// How long lanes stay open for stragglers, microseconds.
    pub lateness_us: i64,
    /// What an operator wrote down of prices.
    pub prices: Arc<PriceBook>,
    /// Base URL under which devices reach OTLP over HTTP, to tell those who have none yet.
    pub otlp_url: String,
}

/// All pages. Host and Origin are checked by whoever mounts them.
pub fn router(dashboard: Dashboard) -> Router {
    Router::new()
        .route("/", get(pages::fleet::show))
        .route("/drift", get(pages::drift::show))
        .route("/drift/{series}", get(pages::series::show))
        .route("/energy", get(pages::energy::show))
        .route("/alerts", get(pages::alerts::show).post(pages::alerts::act))
        .route("/references", get(pages::references::show))
        .route("/deliveries", get(pages::deliveries::show))
        .route("/deliveries/{id}/replay", post(pages::deliveries::replay))
        .route(
            "/deliveries/endpoints/{name}/enable",
            post(pages::deliveries::enable),
        )
        .route(
            "/retraining",
            get(pages::retraining::show).post(pages::retraining::act),
        )
        .route("/rollouts", get(pages::rollouts::show))
        .route("/assets/{name}", get(assets::serve))
        .fallback(pages::failure::nothing_here)
        .layer(middleware::map_response(with_headers))
        .with_state(dashboard)
}

async fn with_headers(mut response: Response) -> Response {
    let fixed: [(HeaderName, &'static str); 3] = [
        (CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Numbers age by the second; only assets, whose names change with them, may be kept.
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
