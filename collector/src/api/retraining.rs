//! `/api/v1/retraining`: who may look sees requests and what became of them, an operator asks,
//! approves, declines and cancels, a trainer reports under its signature.

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{ApiState, Page, limit, refusal::Refusal};
use crate::{
    access::Role,
    clock::rfc3339,
    database::retraining::{Request, Step},
    retraining::{
        RetrainingError, Shown,
        asking::Wish,
        progress::Act,
        reporting::{Report, ReportError},
        rule::NotNow,
    },
};

pub(super) fn router() -> Router<ApiState> {
    Router::new()
        .route("/api/v1/retraining", get(list).post(ask))
        .route("/api/v1/retraining/{id}", get(show))
        .route("/api/v1/retraining/{id}/status", post(report))
        .route(
            "/api/v1/retraining/{id}/approve",
            post(async |state, headers, id| act(state, headers, id, Act::Approve).await),
        )
        .route(
            "/api/v1/retraining/{id}/decline",
            post(async |state, headers, id| act(state, headers, id, Act::Decline).await),
        )
        .route(
            "/api/v1/retraining/{id}/cancel",
            post(async |state, headers, id| act(state, headers, id, Act::Cancel).await),
        )
}

/// A request as it is answered.
#[derive(Serialize)]
struct RequestJson {
    id: String,
    service: String,
    model: String,
    version: String,
    state: &'static str,
    open: bool,
    requested_by: String,
    cause: Option<String>,
    created: String,
    changed: String,
    new_version: Option<String>,
    /// How often the new version was looked at, and what the last look found.
    looks: u32,
    proof: Option<String>,
    /// The event that a trainer gets.
    event: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<StepJson>,
}

#[derive(Serialize)]
struct StepJson {
    time: String,
    state: String,
    by: String,
    detail: Option<String>,
}

impl From<Step> for StepJson {
    fn from(step: Step) -> Self {
        Self {
            time: rfc3339(step.time_us),
            state: step.state,
            by: step.by,
            detail: step.detail,
        }
    }
}

impl From<Request> for RequestJson {
    fn from(request: Request) -> Self {
        Self {
            state: request.state.word(),
            open: request.state.is_open(),
            created: rfc3339(request.created_us),
            changed: rfc3339(request.changed_us),
            // Ours, written a moment before; what does not parse is shown as it is.
            event: serde_json::from_str(&request.body).unwrap_or(Value::String(request.body)),
            id: request.id,
            service: request.service,
            model: request.model,
            version: request.version,
            requested_by: request.requested_by,
            cause: request.cause,
            new_version: request.new_version,
            looks: request.looks,
            proof: request.proof,
            steps: vec![],
        }
    }
}

impl From<Shown> for RequestJson {
    fn from(shown: Shown) -> Self {
        Self {
            steps: shown.steps.into_iter().map(StepJson::from).collect(),
            ..shown.request.into()
        }
    }
}

async fn list(
    State(state): State<ApiState>,
    headers: HeaderMap,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    let listed = state.retraining.list(limit(page?.limit)?).await?;
    let requests: Vec<RequestJson> = listed.into_iter().map(RequestJson::from).collect();
    Ok(Json(json!({ "requests": requests })).into_response())
}

async fn show(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<RequestJson>, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    Ok(Json(state.retraining.show(&id).await?.into()))
}

async fn ask(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Result<Json<Wish>, JsonRejection>,
) -> Result<Response, Refusal> {
    let actor = state.access.require(&headers, Role::Operator)?;
    let Json(wish) = body?;
    let request = state.retraining.ask(wish, &actor.name).await?;
    Ok((StatusCode::CREATED, Json(RequestJson::from(request))).into_response())
}

/// A signature vouches for a trainer, or a token for a person; who shows both is a trainer.
async fn report(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: String,
) -> Result<Json<RequestJson>, Refusal> {
    let signs = headers.contains_key("webhook-signature");
    let report = match headers.contains_key(AUTHORIZATION) && !signs {
        true => {
            let actor = state.access.require(&headers, Role::Operator)?;
            Report::of_person(&body, &actor.name)
        }
        false => state.retraining.signed(&headers, &body),
    };
    let report = report.map_err(RetrainingError::from)?;
    Ok(Json(state.retraining.report(&id, report).await?.into()))
}

async fn act(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(id): Path<String>,
    act: Act,
) -> Result<Json<RequestJson>, Refusal> {
    let actor = state.access.require(&headers, Role::Operator)?;
    Ok(Json(
        state.retraining.act(&id, act, &actor.name).await?.into(),
    ))
}

impl From<RetrainingError> for Refusal {
    fn from(error: RetrainingError) -> Self {
        let code = "retraining";
        match error {
            RetrainingError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, code, error),
            RetrainingError::Model(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, error),
            RetrainingError::NotNow(NotNow::Budget { .. }) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, code, error)
            }
            RetrainingError::NotNow(_) | RetrainingError::Stays(_) => {
                Self::new(StatusCode::CONFLICT, code, error)
            }
            RetrainingError::Report(error) => match error {
                ReportError::Malformed(_) => Self::malformed(error),
                ReportError::Reused(_) => Self::new(StatusCode::CONFLICT, code, error),
                ReportError::Unsigned
                | ReportError::NoSecret
                | ReportError::Signature
                | ReportError::Time => Self::new(StatusCode::UNAUTHORIZED, "signature", error),
            },
            RetrainingError::Lanes(_) => Self::internal(&error),
            RetrainingError::Database(error) => error.into(),
        }
    }
}
