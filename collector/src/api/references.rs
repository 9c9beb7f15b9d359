//! `/api/v1/references`: who may look sees what is kept, an operator makes, pins and retires. In:
//! requests. Out: answers, or a refusal. What a reference of few devices holds is told to nobody
//! who may only look.

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use fathomline_queries::{drift::Reference, published};
use serde::Deserialize;
use serde_json::json;

use super::{ApiState, Page, limit, refusal::Refusal};
use crate::{
    access::Role,
    control::{ControlError, CreateRequest, KeptError, Shown},
};

pub(super) fn router() -> Router<ApiState> {
    Router::new()
        .route("/api/v1/references", get(list).post(create))
        .route("/api/v1/references/acts", get(acts))
        .route("/api/v1/references/import", post(import))
        .route("/api/v1/references/{name}", get(show))
        .route("/api/v1/references/{name}/file", get(export))
        .route("/api/v1/references/{name}/pin", post(pin))
        .route("/api/v1/references/{name}/retire", post(retire))
        .route("/api/v1/references/{name}/compare/{other}", get(compare))
}

/// Whether the series of a file is held against it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    #[serde(default)]
    pin: bool,
}

async fn create(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Result<Json<CreateRequest>, JsonRejection>,
) -> Result<Response, Refusal> {
    let actor = state.access.require(&headers, Role::Operator)?;
    let Json(request) = body?;
    let answer = state.control.create(&request, &actor.name).await?;
    // Too little for any reference is an answer, and not the one that was asked for.
    let status = match answer.references.is_empty() {
        true => StatusCode::UNPROCESSABLE_ENTITY,
        false => StatusCode::OK,
    };
    Ok((status, Json(answer)).into_response())
}

async fn list(
    State(state): State<ApiState>,
    headers: HeaderMap,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    let listed = state.references.list(limit(page?.limit)?).await?;
    Ok(Json(json!({ "references": listed })).into_response())
}

async fn acts(
    State(state): State<ApiState>,
    headers: HeaderMap,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    let acts = state.references.acts(limit(page?.limit)?).await?;
    Ok(Json(json!({ "acts": acts })).into_response())
}

async fn show(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Json<Shown>, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    let shown = state.references.show(&name).await?;
    let content = shown.content.filter(|content| is_told(&state, content));
    Ok(Json(Shown { content, ..shown }))
}

async fn compare(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path((name, other)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    for name in [&name, &other] {
        told_or_refused(&state, &headers, name).await?;
    }
    Ok(Json(state.references.compare(&name, &other).await?).into_response())
}

async fn export(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    told_or_refused(&state, &headers, &name).await?;
    let file = state.references.export(&name).await?;
    Ok(([(CONTENT_TYPE, "application/toml")], file).into_response())
}

async fn import(
    State(state): State<ApiState>,
    headers: HeaderMap,
    asked: Result<Query<Import>, QueryRejection>,
    file: String,
) -> Result<Response, Refusal> {
    let actor = state.access.require(&headers, Role::Operator)?;
    let Query(Import { pin }) = asked?;
    let imported = state.references.import(&file, pin, &actor.name).await?;
    Ok(Json(imported).into_response())
}

async fn pin(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let actor = state.access.require(&headers, Role::Operator)?;
    Ok(Json(state.references.pin(&name, &actor.name).await?).into_response())
}

async fn retire(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let actor = state.access.require(&headers, Role::Operator)?;
    Ok(Json(state.references.retire(&name, &actor.name).await?).into_response())
}

/// Whether the groups that it was made of are large enough for its values to be told.
fn is_told(state: &ApiState, content: &Reference) -> bool {
    let min_devices = state.engine.publication().min_devices();
    published::shows(min_devices, &content.key().metric, content.devices())
}

async fn told_or_refused(state: &ApiState, headers: &HeaderMap, name: &str) -> Result<(), Refusal> {
    let shown = state.references.show(name).await?;
    let told = shown.content.is_none_or(|content| is_told(state, &content));
    if told || state.access.require(headers, Role::Operator).is_ok() {
        return Ok(());
    }
    Err(Refusal::forbidden(
        "few_devices",
        "this reference is of too few devices for its values to be told (privacy.min_devices); an operator's token shows them",
    ))
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Span { .. } | ControlError::Request(_) => Self::malformed(error),
            ControlError::Nothing { .. } => Self::new(StatusCode::NOT_FOUND, "nothing", error),
            ControlError::Reference { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "reference", error)
            }
            ControlError::Kept(error) => error.into(),
            ControlError::Lanes(_)
            | ControlError::Database(_)
            | ControlError::Tables(_)
            | ControlError::Elsewhere => Self::internal(&error),
        }
    }
}

impl From<KeptError> for Refusal {
    fn from(error: KeptError) -> Self {
        match error {
            KeptError::Name(_) | KeptError::Ambiguous(_) | KeptError::File(_) => {
                Self::malformed(error)
            }
            KeptError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "reference", error),
            KeptError::Retired(_) | KeptError::Kinds(..) | KeptError::Contract(_) => {
                Self::new(StatusCode::CONFLICT, "reference", error)
            }
            KeptError::Unreadable(_) | KeptError::Large(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "reference", error)
            }
            KeptError::Nowhere(_) | KeptError::Database(_) => Self::internal(&error),
        }
    }
}
