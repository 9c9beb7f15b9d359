//! `POST /v1/metrics`: OTLP over HTTP with protobuf bodies.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, Uri, request::Parts},
    response::{IntoResponse, Response},
    routing::post,
};
use fathomline_wire::{identity, limits::BODY_BYTES_MAX, rejection::Rejection};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{Receiver, caller, decode, digest, reply};
use crate::{intake::Refusal, store::Outcome};

/// The routes of the OTLP/HTTP door.
pub(crate) fn router(receiver: Receiver) -> Router {
    Router::new()
        .route("/v1/metrics", post(export_metrics))
        .fallback(elsewhere)
        .with_state(receiver)
}

async fn export_metrics(State(receiver): State<Receiver>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let result = export(&receiver, &parts, body).await;
    receiver.tell(&result);
    reply::to_http(result)
}

async fn export(receiver: &Receiver, parts: &Parts, body: Body) -> Result<Outcome, Refusal> {
    let sender = caller::of(&parts.extensions)?;
    let headers = &parts.headers;
    decode::check_content_type(headers)?;
    let declared =
        identity::from_headers(|name| headers.get(name).and_then(|value| value.to_str().ok()))
            .map_err(|error| Refusal::new(Rejection::Malformed, error.to_string()))?;
    let body = Limited::new(body, BODY_BYTES_MAX)
        .collect()
        .await
        .map_err(unread)?
        .to_bytes();
    let body = decode::inflated(headers, &body)?;
    let request = decode::metrics_request(&body)?;
    receiver
        .accept(&sender, &request, declared, digest(&body))
        .await
}

fn unread(error: Box<dyn std::error::Error + Send + Sync>) -> Refusal {
    if error.downcast_ref::<LengthLimitError>().is_some() {
        decode::too_large()
    } else {
        Refusal::new(
            Rejection::Malformed,
            format!("the body ended early: {error}"),
        )
    }
}

async fn elsewhere(method: Method, uri: Uri) -> Response {
    let advice = match uri.path() {
        "/v1/logs" => "logs are not stored; export metrics only",
        "/v1/traces" => "traces are not stored; export metrics only",
        "/v1/metrics" => "send metrics with POST",
        _ => "the only path here is POST /v1/metrics",
    };
    (
        StatusCode::NOT_FOUND,
        format!("{method} {}: {advice}\n", uri.path()),
    )
        .into_response()
}
