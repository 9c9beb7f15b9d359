//! `POST /v1/enrol`: a fleet's token for a device's own. In: a request under a fleet's token that
//! names the device. Out: the device's token, once; afterwards the device needs the fleet's no more
//! and can drop it. A device that has a token of its own, or was revoked, is an operator's matter:
//! whoever finds a fleet's token cannot take over devices with it.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, State, rejection::JsonRejection},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Access,
    credentials::{self, CredentialError, Enrolment},
    sender::Sender,
};
use crate::{api::refusal::Refusal, clock::Clock, database::Database};

/// A name and what JSON puts around it.
const BODY_BYTES_MAX: usize = 1024;

/// What the route asks.
#[derive(Clone)]
pub(crate) struct Enrolling {
    pub(crate) access: Arc<Access>,
    pub(crate) database: Database,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The route, for the door that devices know.
pub(crate) fn router(state: Enrolling) -> Router {
    Router::new()
        .route("/v1/enrol", post(enrol))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(state)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    device: String,
}

async fn enrol(
    State(state): State<Enrolling>,
    Extension(sender): Extension<Sender>,
    wish: Result<Json<Wish>, JsonRejection>,
) -> Result<Response, Refusal> {
    let Some(fleet) = sender.fleet() else {
        let message = "enrolling needs the token of a fleet; `fathomline token create --fleet NAME` makes one";
        let status = match sender.is_known() {
            true => StatusCode::FORBIDDEN,
            false => StatusCode::UNAUTHORIZED,
        };
        return Err(Refusal::new(status, "fleet", message));
    };
    let Json(Wish { device }) = wish?;
    if let Some(why) = state.access.barred(&sender, &device) {
        return Err(Refusal::forbidden("device", why));
    }
    let enrolment = Enrolment {
        device: device.clone(),
        fleet: Some(fleet.to_owned()),
        by: format!("fleet {fleet}"),
        now_us: state.clock.now_us(),
        takes_back: false,
    };
    let issued = credentials::enrol(&state.database, enrolment).await?;
    // The token works from this answer on, not from the next look at the database.
    state.access.refresh().await?;
    let body = json!({ "device": device, "fleet": fleet, "token": issued.token });
    let unkept = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, unkept, Json(body)).into_response())
}

impl From<CredentialError> for Refusal {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Name(_) => Self::malformed(error),
            CredentialError::Enrolled(_) => Self::new(StatusCode::CONFLICT, "enrolled", error),
            CredentialError::Revoked(_) | CredentialError::OtherFleet(_) => {
                Self::forbidden("device", error)
            }
            error => Self::internal(&error),
        }
    }
}
