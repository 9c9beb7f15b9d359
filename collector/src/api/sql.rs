//! `POST /api/v1/sql`: a stranger's query. In: `{"query": "SELECT ..."}`. Out: columns, rows, and
//! whether the row limit cut them off. What may be asked and for how long is the engine's business.

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
};
use fathomline_queries::engine::{Answer, QueryError};
use serde::Deserialize;

use super::{ApiState, refusal::Refusal};
use crate::access::Role;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SqlRequest {
    query: String,
}

pub(super) async fn answer(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Result<Json<SqlRequest>, JsonRejection>,
) -> Result<Json<Answer>, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    let Json(request) = body?;
    Ok(Json(state.engine.query_outside(&request.query).await?))
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        let status = match &error {
            QueryError::TooLong(_) | QueryError::Plan(_) | QueryError::ReadOnly(_) => {
                StatusCode::BAD_REQUEST
            }
            QueryError::Deadline(_) | QueryError::Memory(_) | QueryError::TooLarge(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            QueryError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!(%error, "a query failed");
        }
        Self::new(status, error.code(), error)
    }
}
