//! What each door answered. In: answers on their way out. Out: the same answers, counted by door
//! and status.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};

use super::{Observer, instruments::Answer};

/// Where gRPC says how a call ended before it began to answer; one that answered has it behind.
const GRPC_STATUS: &str = "grpc-status";

/// A door, and who counts there.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) name: &'static str,
    pub(crate) observer: Observer,
}

impl Door {
    fn count(&self, status: u16) {
        let answer = Answer {
            door: self.name,
            status,
        };
        self.observer.0.requests.get_or_create(&answer).inc();
    }

    /// Counts an answer of gRPC by its code: 0 is success, 14 is unavailable.
    fn count_grpc(&self, response: &Response) {
        let code = response.headers().get(GRPC_STATUS);
        let code = code.map_or(Some(0), |code| code.to_str().ok()?.parse().ok());
        self.count(code.unwrap_or(tonic::Code::Unknown as u16));
    }
}

/// Counts answers of HTTP.
pub(crate) async fn count(State(door): State<Door>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    door.count(response.status().as_u16());
    response
}

/// Counts answers of gRPC.
pub(crate) async fn count_grpc(State(door): State<Door>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    door.count_grpc(&response);
    response
}
