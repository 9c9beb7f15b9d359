//! The HTTP API: SQL, references, verdicts, the gate, deliveries, health. JSON in and out.
//!
//! In: requests whose Host and Origin were checked (`access::origin`). Out: answers, or a
//! [`Refusal`]. Every route asks `access` for a role first. Never: decisions; those are made in
//! `control`, `watch` and `alert`.

mod alerts;
mod deliveries;
mod gate;
mod references;
pub(crate) mod refusal;
mod retraining;
mod sql;
mod verdict;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{
        DefaultBodyLimit, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use fathomline_queries::engine::Engine;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    access::{
        Access, Role,
        credentials::{self, CredentialError},
    },
    alert::{desk::Desk, duty::Duty},
    clock::{Clock as _, SystemClock},
    control::{Control, References},
    database::{
        Database, DatabaseError, PAGE_ROWS_MAX,
        verdicts::{self, Wanted},
    },
    observe::Observer,
    retraining::Retraining,
    rollout::Rollouts,
    store::StoreHealth,
};
use refusal::Refusal;
use verdict::VerdictJson;

/// The longest query, written as JSON.
const BODY_BYTES_MAX: usize = 256 << 10;
const PAGE_ROWS: u32 = 100;

/// What the routes ask.
#[derive(Clone)]
pub(crate) struct ApiState {
    pub(crate) access: Arc<Access>,
    pub(crate) control: Arc<Control>,
    pub(crate) references: References,
    pub(crate) desk: Desk,
    pub(crate) duty: Duty,
    pub(crate) retraining: Retraining,
    pub(crate) rollouts: Rollouts,
    pub(crate) database: Database,
    pub(crate) engine: Arc<Engine>,
    pub(crate) store: StoreHealth,
    pub(crate) observer: Observer,
}

/// The routes under `/api/v1`, the two for health, and `/metrics`.
pub(crate) fn router(state: ApiState) -> Router {
    Router::new()
        .route("/api/v1/sql", post(sql::answer))
        .merge(references::router())
        .merge(alerts::router())
        .merge(deliveries::router())
        .merge(retraining::router())
        .merge(gate::router())
        .route("/api/v1/verdicts", get(list_verdicts))
        .route("/api/v1/devices/erase", post(erase))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(state)
}

/// Which rows of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    limit: Option<u32>,
}

/// Which verdicts: the newest of every series unless `after` or `series` asks for history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VerdictPage {
    after: Option<i64>,
    series: Option<String>,
    limit: Option<u32>,
}

#[derive(Serialize)]
struct Verdicts {
    verdicts: Vec<VerdictJson>,
}

/// Which device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Erasure {
    device: String,
}

/// Asked for durably when this answers; the rows go within moments, and files by the day named.
async fn erase(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Result<Json<Erasure>, JsonRejection>,
) -> Result<Response, Refusal> {
    let actor = state.access.require(&headers, Role::Admin)?;
    let Json(Erasure { device }) = body?;
    let now_us = SystemClock.now_us();
    let asked = credentials::erase(&state.database, &device, actor.name, now_us).await;
    asked.map_err(|error| match error {
        CredentialError::Name(_) => Refusal::malformed(error),
        error => Refusal::internal(&error),
    })?;
    state.access.refresh().await?;
    let gone = credentials::files_gone_by(now_us);
    Ok((StatusCode::ACCEPTED, Json(json!({ "files_gone_by": gone }))).into_response())
}

async fn list_verdicts(
    State(state): State<ApiState>,
    headers: HeaderMap,
    page: Result<Query<VerdictPage>, QueryRejection>,
) -> Result<Json<Verdicts>, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    let Query(page) = page?;
    let limit = limit(page.limit)?;
    let rows = state
        .database
        .transact(move |t| match (page.after, page.series) {
            (None, None) => verdicts::current(t),
            (after, series) => {
                let after = after.unwrap_or(0);
                verdicts::history(
                    t,
                    &Wanted {
                        after,
                        series,
                        limit,
                    },
                )
            }
        })
        .await?;
    let verdicts = rows.into_iter().map(VerdictJson::from).collect();
    Ok(Json(Verdicts { verdicts }))
}

/// Ready means that windows are taken in and changing state can be read; doors open after the log
/// was replayed.
async fn ready(State(state): State<ApiState>) -> Result<&'static str, Refusal> {
    if let Some(message) = state.store.trouble() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Refusal::new(status, "store", message));
    }
    state
        .database
        .transact(|t| Ok(t.query_row("SELECT 1", [], |_| Ok(()))?))
        .await?;
    Ok("ready\n")
}

/// What the collector says of itself. Who may look at pages may scrape.
async fn metrics(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response, Refusal> {
    state.access.require(&headers, Role::Viewer)?;
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    let view = state.engine.lake().view();
    let page = state.observer.page(&view, accept.unwrap_or_default());
    let page = page.map_err(|error| Refusal::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, page.content_type)], page.body).into_response())
}

fn limit(asked: Option<u32>) -> Result<u32, Refusal> {
    match asked.unwrap_or(PAGE_ROWS) {
        limit @ 1..=PAGE_ROWS_MAX => Ok(limit),
        limit => Err(Refusal::malformed(format!(
            "the limit {limit} is not between 1 and {PAGE_ROWS_MAX}"
        ))),
    }
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        Self::internal(&error)
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        let (status, message) = (rejection.status(), rejection.body_text());
        Self::new(status, "malformed", message)
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::malformed(rejection.body_text())
    }
}

#[cfg(test)]
mod tests;
