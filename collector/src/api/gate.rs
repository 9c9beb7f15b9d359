//! `/api/v1/gate` and `/api/v1/rollouts`: what the gate says, for people and pipelines, and
//! rollouts that operators begin and end. In: requests. Out: answers, or a refusal.
//!
//! A hold is an answer: GET gives 200 with any decision (Argo Rollouts reads it), and POST gives
//! 200 only for the decision that was waited for and 409 for any other (Flagger reads the status).

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use fathomline_queries::gate::{Answer, Decision};
use serde::Deserialize;
use serde_json::json;

use super::{ApiState, Page, limit, refusal::Refusal};
use crate::{
    access::Role,
    rollout::{Asked, Declared, Finished, GateError},
};

pub(super) fn router() -> Router<ApiState> {
    Router::new()
        .route("/api/v1/gate", get(answer).post(webhook))
        .route("/api/v1/rollouts", get(list).post(start))
        .route("/api/v1/rollouts/{id}/finish", post(finish))
}

async fn answer(
    State(state): State<ApiState>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Answer>, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    let Query(asked) = asked?;
    Ok(Json(state.rollouts.decide(&asked.checked()?).await?))
}

/// What a webhook of Flagger holds; of its other members nothing is read.
#[derive(Deserialize)]
struct Webhook {
    metadata: Waiting,
}

/// Which rollout, and the decision that is waited for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    /// Stands for the header that Flagger cannot send; never logged.
    token: Option<String>,
    #[serde(default = "promote")]
    when: Decision,
    model: String,
    candidate: String,
    against: String,
    class: Option<String>,
    service: Option<String>,
    improve: Option<String>,
}

impl From<Waiting> for Asked {
    fn from(waiting: Waiting) -> Self {
        Self {
            model: waiting.model,
            candidate: waiting.candidate,
            against: waiting.against,
            class: waiting.class,
            service: waiting.service,
            improve: waiting.improve,
        }
    }
}

const fn promote() -> Decision {
    Decision::Promote
}

async fn webhook(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Result<Json<Webhook>, JsonRejection>,
) -> Result<Response, Refusal> {
    let Json(Webhook { mut metadata }) = body?;
    let headers = with_token(headers, metadata.token.take());
    state.access.require(&headers, Role::Viewer)?;
    let when = metadata.when;
    let asked = Asked::from(metadata).checked()?;
    let answer = state.rollouts.decide(&asked).await?;
    let status = match answer.decision == when {
        true => StatusCode::OK,
        false => StatusCode::CONFLICT,
    };
    Ok((status, Json(answer)).into_response())
}

/// What the body brings counts as if it stood in the header; a header goes first.
fn with_token(mut headers: HeaderMap, token: Option<String>) -> HeaderMap {
    let bearer = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
    if let Some(mut bearer) = bearer {
        bearer.set_sensitive(true);
        headers.entry(AUTHORIZATION).or_insert(bearer);
    }
    headers
}

async fn list(
    State(state): State<ApiState>,
    headers: HeaderMap,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    let rollouts = state.rollouts.list(limit(page?.limit)?).await?;
    Ok(Json(json!({ "rollouts": rollouts })).into_response())
}

async fn start(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Result<Json<Declared>, JsonRejection>,
) -> Result<Response, Refusal> {
    let actor = state.access.require(&headers, Role::Operator)?;
    let Json(declared) = body?;
    let rollout = state.rollouts.start(&declared, &actor.name).await?;
    Ok((StatusCode::CREATED, Json(rollout)).into_response())
}

async fn finish(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(id): Path<i64>,
    body: Result<Json<Finished>, JsonRejection>,
) -> Result<Response, Refusal> {
    let actor = state.access.require(&headers, Role::Operator)?;
    let Json(finished) = body?;
    let rollout = state.rollouts.finish(id, finished, &actor.name).await?;
    Ok(Json(rollout).into_response())
}

impl From<GateError> for Refusal {
    fn from(error: GateError) -> Self {
        match error {
            GateError::Missing(_)
            | GateError::Same(_)
            | GateError::Service { .. }
            | GateError::Improve(..)
            | GateError::Declared(_) => Self::malformed(error),
            GateError::Model { .. }
            | GateError::Version { .. }
            | GateError::Class { .. }
            | GateError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "rollout", error),
            GateError::Over(_) => Self::new(StatusCode::CONFLICT, "rollout", error),
            GateError::Nowhere(_)
            | GateError::Tables(_)
            | GateError::Query(_)
            | GateError::Database(_) => Self::internal(&error),
        }
    }
}
