//! How the HTTP API says no: a status and `{"error": {"code", "message"}}`. Codes are stable and
//! for programs, messages are for people and say what to do next.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::access::Denied;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl ToString) -> Self {
        Self {
            status,
            code,
            message: message.to_string(),
        }
    }

    /// 400: the request cannot be understood.
    pub(crate) fn malformed(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message)
    }

    /// 403: understood, and not allowed.
    pub(crate) fn forbidden(code: &'static str, message: impl ToString) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// 500: our fault. The cause is logged here, once, and not told to the caller.
    pub(crate) fn internal(cause: &dyn std::error::Error) -> Self {
        tracing::error!(error = %cause, "cannot answer a request");
        let message = "the collector could not answer; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Absent | Denied::Unknown | Denied::Revoked => {
                Self::new(StatusCode::UNAUTHORIZED, "token", denied)
            }
            Denied::Role { .. } | Denied::SendsOnly | Denied::ReadsOnly => {
                Self::forbidden("role", denied)
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            // Programs send tokens; browsers ask for a password, which may be one.
            for scheme in ["Bearer", "Basic realm=\"fathomline\""] {
                let scheme = HeaderValue::from_static(scheme);
                response.headers_mut().append(WWW_AUTHENTICATE, scheme);
            }
        }
        response
    }
}
