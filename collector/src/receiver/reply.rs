//! Outcome to reply: the only place with status codes of the OTLP doors.
//!
//! OTLP 1.11: bad data is 400 / INVALID_ARGUMENT and final; too large is 413 /
//! RESOURCE_EXHAUSTED; no room is 503 / UNAVAILABLE with a time to wait. A body refused with an
//! error is a protobuf `google.rpc.Status`, as the specification asks.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use fathomline_wire::rejection::Rejection;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use prost::Message;
use tonic::Status;

use crate::{intake::Refusal, store::Outcome};

/// How long a refused sender should wait when nothing better is known.
const RETRY_AFTER_SECONDS: u64 = 1;

/// As long as wrong tokens are remembered.
const ATTEMPTS_SECONDS: u64 = 60;

/// The answer to a request that was decided upon: success, or partial success with reasons.
pub(super) fn to_message(outcome: &Outcome) -> ExportMetricsServiceResponse {
    let partial_success = (!outcome.rejected.is_empty()).then(|| ExportMetricsPartialSuccess {
        rejected_data_points: i64::try_from(outcome.rejected.total()).unwrap_or(i64::MAX),
        error_message: outcome.rejected.to_string(),
    });
    ExportMetricsServiceResponse { partial_success }
}

pub(super) fn to_http(result: Result<Outcome, Refusal>) -> Response {
    match result {
        Ok(outcome) => protobuf(StatusCode::OK, to_message(&outcome).encode_to_vec()),
        Err(refusal) => {
            let status = http_status(refusal.rejection);
            let code = grpc_code(refusal.rejection) as i32;
            let body = RpcStatus {
                code,
                message: sentence(&refusal),
            }
            .encode_to_vec();
            let mut response = protobuf(status, body);
            if let Some(seconds) = retry_after_seconds(refusal.rejection) {
                let headers = response.headers_mut();
                headers.insert(header::RETRY_AFTER, seconds.into());
            }
            if refusal.rejection == Rejection::Unauthenticated {
                let scheme = HeaderValue::from_static("Bearer");
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, scheme);
            }
            response
        }
    }
}

pub(super) fn to_grpc(refusal: &Refusal) -> Status {
    Status::new(grpc_code(refusal.rejection), sentence(refusal))
}

fn sentence(refusal: &Refusal) -> String {
    format!("{} ({})", refusal.rejection, refusal.detail)
}

fn protobuf(status: StatusCode, body: Vec<u8>) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/x-protobuf")],
        body,
    )
        .into_response()
}

fn retry_after_seconds(rejection: Rejection) -> Option<u64> {
    let seconds = match rejection {
        Rejection::Attempts => ATTEMPTS_SECONDS,
        _ => RETRY_AFTER_SECONDS,
    };
    rejection.retryable().then_some(seconds)
}

fn http_status(rejection: Rejection) -> StatusCode {
    match rejection {
        Rejection::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Rejection::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Rejection::Conflict => StatusCode::CONFLICT,
        Rejection::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Rejection::Unauthenticated => StatusCode::UNAUTHORIZED,
        Rejection::Forbidden => StatusCode::FORBIDDEN,
        Rejection::Attempts => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn grpc_code(rejection: Rejection) -> tonic::Code {
    match rejection {
        Rejection::TooLarge => tonic::Code::ResourceExhausted,
        Rejection::Conflict => tonic::Code::AlreadyExists,
        Rejection::Busy | Rejection::Attempts => tonic::Code::Unavailable,
        Rejection::Unauthenticated => tonic::Code::Unauthenticated,
        Rejection::Forbidden => tonic::Code::PermissionDenied,
        _ => tonic::Code::InvalidArgument,
    }
}

/// `google.rpc.Status` without details, which is all that OTLP over HTTP needs.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_by_itself_may_be_retried_and_says_when() {
        for rejection in Rejection::ALL {
            let response = to_http(Err(Refusal::new(rejection, "detail")));
            let retried = matches!(response.status().as_u16(), 429 | 502 | 503 | 504);
            assert_eq!(retried, rejection.retryable(), "{rejection}");
            assert_eq!(
                response.headers().contains_key(header::RETRY_AFTER),
                retried
            );
            // OUT_OF_RANGE and ABORTED would be retried for ever by stock exporters.
            let code = to_grpc(&Refusal::new(rejection, "")).code();
            assert_eq!(code == tonic::Code::Unavailable, rejection.retryable());
        }
    }
}
