//! `/api/v1/deliveries` and `/api/v1/endpoints`: who may look sees what was told to whom, an
//! operator sends a letter again and enables an endpoint that was stopped. In: requests. Out:
//! answers, or a refusal. URLs of endpoints and their secrets are told to nobody.

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::json;

use super::{ApiState, Page, limit, refusal::Refusal};
use crate::{access::Role, alert::desk::DeskError};

pub(super) fn router() -> Router<ApiState> {
    Router::new()
        .route("/api/v1/deliveries", get(list))
        .route("/api/v1/deliveries/{id}/replay", post(replay))
        .route("/api/v1/endpoints", get(endpoints))
        .route("/api/v1/endpoints/{name}/enable", post(enable))
}

async fn list(
    State(state): State<ApiState>,
    headers: HeaderMap,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    let deliveries = state.desk.list(limit(page?.limit)?).await?;
    Ok(Json(json!({ "deliveries": deliveries })).into_response())
}

async fn endpoints(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    let endpoints = state.desk.endpoints().await?;
    Ok(Json(json!({ "endpoints": endpoints })).into_response())
}

async fn replay(
    State(state): State<ApiState>,
    headers: HeaderMap,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Response, Refusal> {
    let actor = state.access.require(&headers, Role::Operator)?;
    let Path(id) = id.map_err(|rejection| Refusal::malformed(rejection.body_text()))?;
    Ok(Json(state.desk.replay(id, &actor.name).await?).into_response())
}

async fn enable(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let actor = state.access.require(&headers, Role::Operator)?;
    Ok(Json(state.desk.enable(&name, &actor.name).await?).into_response())
}

impl From<DeskError> for Refusal {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "delivery", error),
            DeskError::Stopped(_)
            | DeskError::Gone(_)
            | DeskError::Over(_)
            | DeskError::NotStopped(_) => Self::new(StatusCode::CONFLICT, "endpoint", error),
            DeskError::Nowhere(_) | DeskError::Database(_) => Self::internal(&error),
        }
    }
}
