//! `/api/v1/alerts` and `/api/v1/silences`: who may look sees incidents, silences and how precise
//! rules are; an operator says what a page was worth, and silences what is known of. In: requests.
//! Out: answers, or a refusal.

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;

use super::{ApiState, Page, limit, refusal::Refusal};
use crate::{
    access::Role,
    alert::{duty::DutyError, silence::Wish},
};

pub(super) fn router() -> Router<ApiState> {
    Router::new()
        .route("/api/v1/alerts", get(list))
        .route("/api/v1/alerts/{id}/acknowledge", post(acknowledge))
        .route("/api/v1/silences", get(silences).post(silence))
        .route("/api/v1/silences/{id}/end", post(end))
}

/// What a page was worth.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    answer: String,
    note: Option<String>,
}

async fn list(
    State(state): State<ApiState>,
    headers: HeaderMap,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    Ok(Json(state.duty.overview(limit(page?.limit)?).await?).into_response())
}

async fn acknowledge(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(id): Path<String>,
    said: Result<Json<Said>, JsonRejection>,
) -> Result<Response, Refusal> {
    let actor = state.access.require(&headers, Role::Operator)?;
    let Json(Said { answer, note }) = said?;
    let said = state.duty.acknowledge(&id, (&answer, note), &actor.name);
    Ok(Json(said.await?).into_response())
}

async fn silences(
    State(state): State<ApiState>,
    headers: HeaderMap,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    let silences = state.duty.silences(limit(page?.limit)?).await?;
    Ok(Json(json!({ "silences": silences })).into_response())
}

async fn silence(
    State(state): State<ApiState>,
    headers: HeaderMap,
    wish: Result<Json<Wish>, JsonRejection>,
) -> Result<Response, Refusal> {
    let actor = state.access.require(&headers, Role::Operator)?;
    let Json(wish) = wish?;
    let kept = state.duty.silence(wish, &actor.name).await?;
    Ok((StatusCode::CREATED, Json(kept)).into_response())
}

async fn end(
    State(state): State<ApiState>,
    headers: HeaderMap,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Response, Refusal> {
    let actor = state.access.require(&headers, Role::Operator)?;
    let Path(id) = id.map_err(|rejection| Refusal::malformed(rejection.body_text()))?;
    Ok(Json(state.duty.end_silence(id, &actor.name).await?).into_response())
}

impl From<DutyError> for Refusal {
    fn from(error: DutyError) -> Self {
        match error {
            DutyError::Incident(_) => Self::new(StatusCode::NOT_FOUND, "incident", error),
            DutyError::Silence(_) => Self::new(StatusCode::NOT_FOUND, "silence", error),
            DutyError::Wanted(_) => Self::malformed(error),
            DutyError::Nowhere(_) | DutyError::Database(_) => Self::internal(&error),
        }
    }
}
