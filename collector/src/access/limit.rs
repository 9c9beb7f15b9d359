//! Too many wrong tokens at the pages and the API: 429 instead of one more 401. In: requests and
//! their answers. Out: the answers, or the wait. Good tokens are not slowed down.

use std::sync::Arc;

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::Access;
use crate::{api::refusal::Refusal, clock::Clock, listener::Peer};

/// What the limit needs to know.
#[derive(Clone)]
pub(crate) struct Limit {
    pub(crate) access: Arc<Access>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Passes requests on and counts those whose token was wrong.
pub(crate) async fn check(
    State(limit): State<Limit>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let presented = request.headers().contains_key(header::AUTHORIZATION);
    let response = next.run(request).await;
    if !presented || response.status() != StatusCode::UNAUTHORIZED {
        return response;
    }
    let now_us = limit.clock.now_us();
    let Some(wait) = limit.access.failed(peer.address.ip(), now_us) else {
        return response;
    };
    let message = "too many wrong tokens came from this address; wait, and correct the token";
    let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "attempts", message);
    let mut response = refusal.into_response();
    let seconds = HeaderValue::from(wait.as_secs() + 1);
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}
