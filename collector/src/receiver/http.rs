//! OTLP over HTTP: `POST /v1/metrics`, `/v1/traces` and `/v1/logs`, in protobuf or JSON.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
    routing::post,
};
use fathomline_wire::limits::BODY_BYTES_MAX;

use super::{
    Received, Receiver, body, caller, declared,
    decode::{Encoding, Packing},
    reply::{Answer, Reply},
    signal::Signal,
};
use crate::intake::Refusal;

/// The routes of the OTLP/HTTP door.
pub(crate) fn router(receiver: Receiver) -> Router {
    let mut router = Router::new();
    for signal in Signal::ALL {
        let export = move |State(receiver): State<Receiver>, request: Request| {
            export(receiver, signal, request)
        };
        router = router.route(signal.path(), post(export));
    }
    router.fallback(elsewhere).with_state(receiver)
}

async fn export(receiver: Receiver, signal: Signal, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let encoding = Encoding::of(&parts.headers);
    let reply = Reply {
        signal,
        encoding: *encoding.as_ref().unwrap_or(&Encoding::Protobuf),
        pressure: receiver.pressure(),
    };
    let result = match encoding {
        Ok(encoding) => accept(&receiver, (signal, encoding), &parts, body).await,
        Err(refusal) => Err(refusal),
    };
    receiver.tell(&result);
    reply.http(result)
}

async fn accept(
    receiver: &Receiver,
    (signal, encoding): (Signal, Encoding),
    parts: &Parts,
    body: Body,
) -> Result<Answer, Refusal> {
    let headers = &parts.headers;
    let sender = caller::of(&parts.extensions)?;
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
    receiver.accept(received, &sender, hold).await
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
