//! Where the story's webhook arrives: what a retraining pipeline would run. Owns a server on
//! loopback. In: HTTP requests that claim to be Standard Webhooks. Out: each delivery once, with
//! whether its signature holds. Never trusts a body before its signature, and shares no code with
//! the collector that signs.

mod signature;

use std::{collections::HashSet, net::Ipv4Addr, sync::Arc};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use fathomline_wire::event::{
    Event, EventBody, RetrainingChanged, RetrainingRequested, VerdictChanged,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
};

use crate::clock;
pub use signature::{Refusal, Secret};

/// Standard Webhooks asks senders to stay below 20 kB; more is no webhook of ours.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Deliveries that wait for the story to read them. A sender that floods us is told to come back.
const DELIVERIES_MAX: usize = 1_024;

/// One webhook that arrived.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Its signature holds: a series changed its state.
    Verdict {
        id: String,
        change: Box<VerdictChanged>,
    },
    /// Its signature holds: a model is to be trained again.
    Request {
        id: String,
        request: Box<RetrainingRequested>,
    },
    /// Its signature holds: such a request went on.
    Moved {
        id: String,
        change: Box<RetrainingChanged>,
    },
    /// Its signature holds, and it is something else, such as a test.
    Other { id: String },
    /// It was turned away.
    Refused { reason: Refusal },
}

/// A server that is listening, and what arrives there.
pub struct Receiver {
    pub url: String,
    pub deliveries: mpsc::Receiver<Delivery>,
}

/// Listens on a free port of loopback until the runtime ends.
pub async fn listen(secret: Secret) -> Result<Receiver> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("cannot listen for webhooks on loopback")?;
    let url = format!("http://{}/webhooks/fathomline", listener.local_addr()?);
    let (sender, deliveries) = mpsc::channel(DELIVERIES_MAX);
    let desk = Arc::new(Desk {
        secret,
        sender,
        seen: Mutex::default(),
    });
    let router = Router::new()
        .route("/webhooks/fathomline", post(receive))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(desk);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "webhook receiver stopped");
        }
    });
    Ok(Receiver { url, deliveries })
}

struct Desk {
    secret: Secret,
    sender: mpsc::Sender<Delivery>,
    /// A sender that missed our answer sends again, under the same id: that is no second event.
    seen: Mutex<HashSet<String>>,
}

async fn receive(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let now_s = clock::now_us() / 1_000_000;
    let delivery = match desk.secret.verify(&headers, &body, now_s) {
        Err(reason) => Delivery::Refused { reason },
        Ok(id) => match read(id, &body) {
            Some(delivery) => delivery,
            None => return StatusCode::BAD_REQUEST,
        },
    };
    desk.accept(delivery).await
}

/// What a body whose signature holds says; `None` when it cannot be read.
fn read(id: String, body: &[u8]) -> Option<Delivery> {
    let event: Event = serde_json::from_slice(body).ok()?;
    Some(match event.body {
        EventBody::VerdictChanged(change) => Delivery::Verdict { id, change },
        EventBody::RetrainingRequested(request) => Delivery::Request { id, request },
        EventBody::RetrainingChanged(change) => Delivery::Moved { id, change },
        _ => Delivery::Other { id },
    })
}

impl Delivery {
    /// None where it was turned away.
    fn id(&self) -> Option<&str> {
        match self {
            Self::Refused { .. } => None,
            Self::Verdict { id, .. }
            | Self::Request { id, .. }
            | Self::Moved { id, .. }
            | Self::Other { id } => Some(id),
        }
    }
}

impl Desk {
    async fn accept(&self, delivery: Delivery) -> StatusCode {
        let id = delivery.id().map(str::to_owned);
        let answer = match id {
            None => StatusCode::UNAUTHORIZED,
            Some(_) => StatusCode::NO_CONTENT,
        };
        let mut seen = self.seen.lock().await;
        if id.as_ref().is_some_and(|id| seen.contains(id)) {
            return answer;
        }
        match self.sender.try_send(delivery) {
            // Only what was taken in is remembered: what was not must be sent again.
            Ok(()) => seen.extend(id),
            Err(_) => return StatusCode::SERVICE_UNAVAILABLE,
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: &str =
        r#"{"type":"fathomline.webhook.test","timestamp":"2026-11-23T00:00:00Z","data":{}}"#;

    async fn deliver(url: &str, secret: &Secret, id: &str, body: &str) -> u16 {
        let now_s = clock::now_us() / 1_000_000;
        let request = reqwest::Client::new()
            .post(url)
            .header("webhook-id", id)
            .header("webhook-timestamp", now_s)
            .header("webhook-signature", secret.sign(id, now_s, body.as_bytes()))
            .body(body.to_owned());
        request.send().await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn a_signed_delivery_arrives_once_and_a_forged_one_is_refused() {
        let (ours, theirs) = (Secret::random(), Secret::random());
        let mut receiver = listen(ours.clone()).await.unwrap();
        let url = receiver.url.clone();
        assert_eq!(deliver(&url, &ours, "evt_1", TEST).await, 204);
        assert_eq!(deliver(&url, &ours, "evt_1", TEST).await, 204);
        assert_eq!(deliver(&url, &theirs, "evt_2", TEST).await, 401);
        assert_eq!(deliver(&url, &ours, "evt_3", "no json").await, 400);

        let first = receiver.deliveries.recv().await.unwrap();
        assert!(matches!(first, Delivery::Other { id } if id == "evt_1"));
        let second = receiver.deliveries.recv().await.unwrap();
        let reason = Refusal::Signature;
        assert!(matches!(second, Delivery::Refused { reason: r } if r == reason));
        assert!(receiver.deliveries.try_recv().is_err());
    }
}
