//! Outcome to reply: the only place with status codes of the OTLP doors.
//!
//! OTLP 1.11: bad data is 400 / INVALID_ARGUMENT and final; too large is 413 /
//! RESOURCE_EXHAUSTED; no room is 503 / UNAVAILABLE with a time to wait. A reply is in the encoding
//! of its request, and a request refused as a whole is answered by a `google.rpc.Status`, as the
//! specification asks.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use fathomline_wire::{names::HEADER_PACE, rejection::Rejection};
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use prost::Message;
use serde_json::{Value, json};
use tonic::Status;

use super::{decode::Encoding, grpc, signal::Signal};
use crate::intake::Refusal;

/// How long a refused sender waits when nothing is in the way, and when everything is.
const RETRY_AFTER_SECONDS: std::ops::RangeInclusive<u64> = 1..=10;

/// As long as wrong tokens are remembered.
const ATTEMPTS_SECONDS: u64 = 60;

/// Up to this share of the queue, a device that has a backlog goes by its own pace.
const CALM: f64 = 0.125;

/// What a device waits between two windows of a backlog when the queue is full. At the edge of calm
/// it is a minute, longer than any device of ours waits by itself.
const PACE_MILLISECONDS: f64 = 600_000.0;

const RETRY_TYPE: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// What became of a request that was not refused as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) rejected: u64,
    /// Why, and what else the sender should know; empty if there is nothing to say.
    pub(super) message: String,
}

/// What a reply depends on beside the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    pub(super) signal: Signal,
    pub(super) encoding: Encoding,
    /// How full the collector is, 0 to 1.
    pub(super) pressure: f64,
}

impl Reply {
    /// For a request that no signal was asked of yet.
    pub(super) fn at_the_door(headers: &HeaderMap) -> Self {
        Self {
            signal: Signal::Metrics,
            encoding: Encoding::of(headers).unwrap_or(Encoding::Protobuf),
            pressure: 0.0,
        }
    }

    pub(super) fn http(self, result: Result<Answer, Refusal>) -> Response {
        let (status, body) = match &result {
            Ok(answer) => (StatusCode::OK, self.body(answer)),
            Err(refusal) => (http_status(refusal.rejection), self.status(refusal)),
        };
        let kind = [(header::CONTENT_TYPE, self.encoding.name())];
        let mut response = (status, kind, body).into_response();
        let headers = response.headers_mut();
        self.pace(headers);
        if let Err(refusal) = result {
            let rejection = refusal.rejection;
            if rejection.retryable() {
                headers.insert(header::RETRY_AFTER, self.retry_after(rejection).into());
            }
            if rejection == Rejection::Unauthenticated {
                let scheme = HeaderValue::from_static("Bearer");
                headers.insert(header::WWW_AUTHENTICATE, scheme);
            }
        }
        response
    }

    pub(super) fn grpc(self, result: Result<Answer, Refusal>) -> Response {
        let mut response = match result {
            Ok(answer) => {
                let trailers = HeaderMap::from_iter([(
                    HeaderName::from_static("grpc-status"),
                    HeaderValue::from_static("0"),
                )]);
                let message = grpc::framed(&protobuf(&answer));
                let body = Full::new(Bytes::from(message))
                    .with_trailers(std::future::ready(Some(Ok(trailers))));
                let mut response = Response::new(Body::new(body));
                let kind = HeaderValue::from_static("application/grpc");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            Err(refusal) => self.grpc_status(&refusal).into_http(),
        };
        self.pace(response.headers_mut());
        response
    }

    fn body(self, answer: &Answer) -> Vec<u8> {
        if self.encoding == Encoding::Protobuf {
            return protobuf(answer);
        }
        let Answer { rejected, message } = answer;
        let said = match answer == &Answer::default() {
            true => json!({}),
            // 64-bit integers are strings in OTLP/JSON.
            false => json!({"partialSuccess": {
                self.signal.rejected_field(): rejected.to_string(),
                "errorMessage": message,
            }}),
        };
        said.to_string().into_bytes()
    }

    fn status(self, refusal: &Refusal) -> Vec<u8> {
        let code = grpc_code(refusal.rejection) as i32;
        let message = sentence(refusal);
        match self.encoding {
            Encoding::Protobuf => RpcStatus {
                code,
                message,
                details: Vec::new(),
            }
            .encode_to_vec(),
            Encoding::Json => {
                let status: Value = json!({ "code": code, "message": message });
                status.to_string().into_bytes()
            }
        }
    }

    fn grpc_status(self, refusal: &Refusal) -> Status {
        let (code, message) = (grpc_code(refusal.rejection), sentence(refusal));
        if !refusal.rejection.retryable() {
            return Status::new(code, message);
        }
        let retry = RetryLater {
            retry_delay: Some(Delay {
                seconds: i64::try_from(self.retry_after(refusal.rejection)).unwrap_or(i64::MAX),
            }),
        };
        let details = RpcStatus {
            code: code as i32,
            message: message.clone(),
            details: vec![Detail {
                type_url: RETRY_TYPE.to_owned(),
                value: retry.encode_to_vec(),
            }],
        };
        Status::with_details(code, message, details.encode_to_vec().into())
    }

    /// The fuller the collector is, the later it wants to be asked again.
    fn retry_after(self, rejection: Rejection) -> u64 {
        if rejection == Rejection::Attempts {
            return ATTEMPTS_SECONDS;
        }
        let (least, most) = RETRY_AFTER_SECONDS.into_inner();
        least + ((most - least) as f64 * self.pressure.clamp(0.0, 1.0)).round() as u64
    }

    fn pace(self, headers: &mut HeaderMap) {
        if self.pressure >= CALM {
            let pace = (PACE_MILLISECONDS * self.pressure.min(1.0)).round() as u64;
            headers.insert(HeaderName::from_static(HEADER_PACE), pace.into());
        }
    }
}

/// The three responses of OTLP have the same fields under the same numbers.
fn protobuf(answer: &Answer) -> Vec<u8> {
    let partial_success = (answer != &Answer::default()).then(|| ExportMetricsPartialSuccess {
        rejected_data_points: i64::try_from(answer.rejected).unwrap_or(i64::MAX),
        error_message: answer.message.clone(),
    });
    ExportMetricsServiceResponse { partial_success }.encode_to_vec()
}

fn sentence(refusal: &Refusal) -> String {
    format!("{} ({})", refusal.rejection, refusal.detail)
}

fn http_status(rejection: Rejection) -> StatusCode {
    match rejection {
        Rejection::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Rejection::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Rejection::Conflict => StatusCode::CONFLICT,
        Rejection::Unauthenticated => StatusCode::UNAUTHORIZED,
        Rejection::Forbidden => StatusCode::FORBIDDEN,
        Rejection::Attempts => StatusCode::TOO_MANY_REQUESTS,
        // 408 would be more exact, but exporters retry on 429, 502, 503 and 504 alone.
        Rejection::Busy | Rejection::Slow => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn grpc_code(rejection: Rejection) -> tonic::Code {
    match rejection {
        Rejection::TooLarge => tonic::Code::ResourceExhausted,
        Rejection::Conflict => tonic::Code::AlreadyExists,
        Rejection::Unauthenticated => tonic::Code::Unauthenticated,
        Rejection::Forbidden => tonic::Code::PermissionDenied,
        Rejection::Busy | Rejection::Slow | Rejection::Attempts => tonic::Code::Unavailable,
        Rejection::Unsupported => tonic::Code::Unimplemented,
        _ => tonic::Code::InvalidArgument,
    }
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryLater {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`, in whole seconds.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(pressure: f64) -> Reply {
        Reply {
            signal: Signal::Traces,
            encoding: Encoding::Json,
            pressure,
        }
    }

    async fn body(response: Response) -> Value {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn only_what_may_pass_later_may_be_retried_and_says_when() {
        for rejection in Rejection::ALL {
            let refused = || Err(Refusal::new(rejection, "detail"));
            let response = reply(0.0).http(refused());
            let retried = matches!(response.status().as_u16(), 429 | 502 | 503 | 504);
            assert_eq!(retried, rejection.retryable(), "{rejection}");
            assert_eq!(
                response.headers().contains_key(header::RETRY_AFTER),
                retried
            );
            // OUT_OF_RANGE and ABORTED would be retried for ever by stock exporters.
            let response = reply(0.0).grpc(refused());
            let headers = response.headers();
            assert_eq!(headers["grpc-status"] == "14", retried, "{rejection}");
            assert_eq!(headers.contains_key("grpc-status-details-bin"), retried);
        }
    }

    #[test]
    fn the_fuller_the_later() {
        let busy = || Err(Refusal::new(Rejection::Busy, ""));
        let waits = [0.0, 0.5, 1.0].map(|pressure| reply(pressure).http(busy()));
        let waits = waits.map(|response| response.headers()[header::RETRY_AFTER].clone());
        assert_eq!(waits, ["1", "6", "10"]);
        let paces = [0.0, 0.125, 1.0].map(|pressure| {
            let response = reply(pressure).http(Ok(Answer::default()));
            response.headers().get(HEADER_PACE).cloned()
        });
        let paces = paces.map(|pace| pace.map(|pace| pace.to_str().unwrap().to_owned()));
        let asked = |pace: &str| Some(pace.to_owned());
        assert_eq!(paces, [None, asked("75000"), asked("600000")]);
    }

    #[tokio::test]
    async fn a_reply_is_in_the_encoding_of_its_request() {
        let answer = Answer {
            rejected: 2,
            message: "why".into(),
        };
        let partial = body(reply(0.0).http(Ok(answer))).await;
        let wanted = json!({"partialSuccess": {"rejectedSpans": "2", "errorMessage": "why"}});
        assert_eq!(partial, wanted);
        let whole = reply(0.0).http(Ok(Answer::default()));
        assert_eq!(whole.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(body(whole).await, json!({}));
        let refused = Refusal::new(Rejection::Malformed, "line 1");
        let refused = body(reply(0.0).http(Err(refused))).await;
        assert_eq!(refused["code"], 3);
        assert!(refused["message"].as_str().unwrap().contains("line 1"));
    }
}
