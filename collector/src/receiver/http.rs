//! OTLP over HTTP: `POST /v1/metrics`, `/v1/traces` and `/v1/logs`, in protobuf or JSON.

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::post,
};
use fathomline_wire::limits::BODY_BYTES_MAX;

use super::{
    Received, Receiver, body, declared,
    decode::{Encoding, Packing},
    reply::{Answer, Reply},
    signal::Signal,
};
use crate::intake::Refusal;

/// The routes of the OTLP/HTTP door.
pub(crate) fn router(receiver: Receiver) -> Router {
    let mut router = Router::new();
    for signal in Signal::ALL {
        let export = move |State(receiver): State<Receiver>, headers: HeaderMap, body: Body| {
            export(receiver, signal, headers, body)
        };
        router = router.route(signal.path(), post(export));
    }
    router.fallback(elsewhere).with_state(receiver)
}

async fn export(receiver: Receiver, signal: Signal, headers: HeaderMap, body: Body) -> Response {
    let encoding = Encoding::of(&headers);
    let reply = Reply {
        signal,
        encoding: *encoding.as_ref().unwrap_or(&Encoding::Protobuf),
        pressure: receiver.pressure(),
    };
    let result = match encoding {
        Ok(encoding) => accept(&receiver, (signal, encoding), &headers, body).await,
        Err(refusal) => Err(refusal),
    };
    reply.http(result)
}

async fn accept(
    receiver: &Receiver,
    (signal, encoding): (Signal, Encoding),
    headers: &HeaderMap,
    body: Body,
) -> Result<Answer, Refusal> {
    let packing = Packing::of(headers, &header::CONTENT_ENCODING)?;
    let declared = declared(headers)?;
    let mut hold = receiver.budget.admit()?;
    let body = body::read(
        body,
        BODY_BYTES_MAX,
        receiver.limits.body_timeout,
        &mut hold,
    )
    .await?;
    let received = Received {
        signal,
        encoding,
        packing,
        declared,
        body,
    };
    receiver.accept(received, hold).await
}

async fn elsewhere(method: Method, uri: Uri) -> Response {
    let advice = match Signal::ALL
        .iter()
        .find(|signal| signal.path() == uri.path())
    {
        Some(_) => "send it with POST",
        None => "the paths here are POST /v1/metrics, /v1/traces and /v1/logs",
    };
    (
        StatusCode::NOT_FOUND,
        format!("{method} {}: {advice}\n", uri.path()),
    )
        .into_response()
}
