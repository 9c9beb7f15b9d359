//! OTLP over gRPC: `MetricsService/Export`, `TraceService/Export` and `LogsService/Export`.
//!
//! A unary call is one framed message in one HTTP/2 request. It is read here, not by a generated
//! server: that would inflate and decode before anybody could ask how large the message is, and
//! answer one over the limit with OUT_OF_RANGE, which exporters send again for ever. So both doors
//! have the same limits, the same budget, and the digest of the same bytes.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use fathomline_wire::{limits::BODY_BYTES_MAX, rejection::Rejection};
use tonic::Status;

use super::{
    Received, Receiver, body, caller, declared,
    decode::{Encoding, Packing},
    reply::{Answer, Reply},
    signal::Signal,
};
use crate::intake::Refusal;

/// A flag for compression and a length of four bytes.
const PREFIX_BYTES: usize = 5;

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The routes of the OTLP/gRPC door.
pub(crate) fn router(receiver: Receiver) -> Router {
    let mut router = Router::new();
    for signal in Signal::ALL {
        let export = move |State(receiver): State<Receiver>, request: Request| {
            export(receiver, signal, request)
        };
        router = router.route(signal.method(), post(export));
    }
    router.fallback(elsewhere).with_state(receiver)
}

/// A message as it goes in a reply: not compressed, and its length.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(PREFIX_BYTES + message.len());
    frame.push(0);
    // Replies are a sentence long.
    frame.extend(
        u32::try_from(message.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    frame.extend_from_slice(message);
    frame
}

async fn export(receiver: Receiver, signal: Signal, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if !is_grpc(&parts.headers) {
        let advice = "this door speaks gRPC; OTLP over HTTP has a door of its own\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, advice).into_response();
    }
    let reply = Reply {
        signal,
        encoding: Encoding::Protobuf,
        pressure: receiver.pressure(),
    };
    let result = accept(&receiver, signal, &parts, body).await;
    receiver.tell(&result);
    let mut response = reply.grpc(result);
    let encodings = HeaderValue::from_static("identity,gzip,zstd");
    response.headers_mut().insert(ACCEPT_ENCODING, encodings);
    response
}

async fn accept(
    receiver: &Receiver,
    signal: Signal,
    parts: &Parts,
    body: Body,
) -> Result<Answer, Refusal> {
    let headers = &parts.headers;
    let sender = caller::of(&parts.extensions)?;
    let packing = Packing::of(headers, &ENCODING)?;
    let declared = declared(headers)?;
    let mut hold = receiver.budget.admit()?;
    let within = receiver.limits.body_timeout;
    let body = body::read(body, BODY_BYTES_MAX + PREFIX_BYTES, within, &mut hold).await?;
    let (compressed, body) = message(body)?;
    let received = Received {
        signal,
        encoding: Encoding::Protobuf,
        packing: if compressed { packing } else { Packing::Plain },
        declared,
        body,
    };
    receiver.accept(received, &sender, hold).await
}

/// The one message of a unary call, and whether it is compressed.
fn message(body: Bytes) -> Result<(bool, Bytes), Refusal> {
    let malformed = |detail: &str| Refusal::new(Rejection::Malformed, detail);
    let Some((prefix, _)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(malformed("the call has no whole message"));
    };
    let [flag, length @ ..] = *prefix;
    let message = body.slice(PREFIX_BYTES..);
    if message.len() != u32::from_be_bytes(length) as usize {
        return Err(malformed(
            "the call must have one message, of the length that it gives",
        ));
    }
    match flag {
        0 => Ok((false, message)),
        1 => Ok((true, message)),
        _ => Err(malformed("the message has another flag than 0 or 1")),
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind == "application/grpc" || kind == "application/grpc+proto")
}

async fn elsewhere(uri: Uri) -> Response {
    let advice = format!(
        "there is no {} here; export metrics, traces or logs",
        uri.path()
    );
    Status::unimplemented(advice).into_http()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_whole_message_is_read_and_nothing_else() {
        let frame = framed(b"abc");
        assert_eq!(message(frame.clone().into()), Ok((false, "abc".into())));
        let compressed = [&[1], &frame[1..]].concat();
        assert_eq!(message(compressed.into()), Ok((true, "abc".into())));
        let odd = [&[2], &frame[1..]].concat();
        for bad in [
            frame[..4].to_vec(),
            frame[..7].to_vec(),
            frame.repeat(2),
            odd,
        ] {
            let refusal = message(bad.into()).unwrap_err();
            assert_eq!(refusal.rejection, Rejection::Malformed);
        }
    }
}
