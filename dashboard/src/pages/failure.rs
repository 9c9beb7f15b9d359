//! The page that says no, and why. In: whatever went wrong. Out: a status and a sentence that says
//! what to do. The cause of what is our fault is logged here, once, and not shown.

use askama::Template;
use axum::{
    http::{StatusCode, Uri, header::WWW_AUTHENTICATE},
    response::{Html, IntoResponse, Response},
};
use fathomline_queries::engine::QueryError;

use crate::{
    assets,
    control::{ControlError, Refused},
};

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage {
    status: u16,
    reason: &'static str,
    message: String,
    style: String,
    mark: String,
}

impl Failure {
    /// 400: the URL cannot be understood.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    /// 404: understood, and not here.
    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            message: message.into(),
        }
    }

    fn ours(cause: &dyn std::error::Error) -> Self {
        tracing::error!(error = %cause, "cannot show a page");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: "the collector could not make this page; its log says why".to_owned(),
        }
    }
}

/// Every URL that no page has.
pub(crate) async fn nothing_here(uri: Uri) -> Failure {
    Failure::missing(format!("there is no page at {}", uri.path()))
}

impl From<Refused> for Failure {
    fn from(Refused { status, message }: Refused) -> Self {
        Self { status, message }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Deadline(_) | QueryError::Memory(_) | QueryError::TooLarge(_) => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                message: format!("{error}; choose a shorter range"),
            },
            _ => Self::ours(&error),
        }
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self::ours(&error)
    }
}

impl From<askama::Error> for Failure {
    fn from(error: askama::Error) -> Self {
        Self::ours(&error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let page = FailurePage {
            status: self.status.as_u16(),
            reason: self.status.canonical_reason().unwrap_or("failed"),
            message: self.message.clone(),
            style: assets::style_path(),
            mark: assets::mark_path(),
        };
        let mut response = match page.render() {
            Ok(html) => (self.status, Html(html)).into_response(),
            Err(_) => (self.status, self.message).into_response(),
        };
        if self.status == StatusCode::UNAUTHORIZED {
            // Programs send tokens; browsers ask for a password, which may be one.
            for scheme in ["Bearer", "Basic realm=\"fathomline\""] {
                let scheme = axum::http::HeaderValue::from_static(scheme);
                response.headers_mut().append(WWW_AUTHENTICATE, scheme);
            }
        }
        response
    }
}
