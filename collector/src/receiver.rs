//! Where data enters: OTLP metrics over HTTP and gRPC.
//!
//! In: requests from anyone. Out: one [`Arrival`] a request, offered to the store, and the
//! store's [`Outcome`] as a status the sender's exporter understands. Never: a decision about
//! counting (that is the store's), or a status that makes an exporter drop what we may still
//! want.
//!
//! | file | does |
//! |---|---|
//! | `http.rs` | `POST /v1/metrics` |
//! | `grpc.rs` | `MetricsService/Export` |
//! | `caller.rs` | who sends, asked of `access` before a body is read |
//! | `decode.rs` | content type and encoding, limits before and after inflation, protobuf |
//! | `reply.rs` | outcome to status, partial success, Retry-After: the only status codes |

pub(crate) mod caller;
pub(crate) mod decode;
pub(crate) mod grpc;
pub(crate) mod http;
mod reply;

use std::sync::Arc;

use fathomline_wire::identity::Declared;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use sha2::{Digest, Sha256};

use crate::{
    access::{Access, sender::Sender},
    clock::Clock,
    intake::{self, Arrival, Refusal},
    observe::Observer,
    store::{Outcome, Store},
};

/// What both doors share.
#[derive(Clone)]
pub(crate) struct Receiver {
    store: Store,
    clock: Arc<dyn Clock>,
    access: Arc<Access>,
    observer: Observer,
}

impl Receiver {
    pub(crate) fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        access: Arc<Access>,
        observer: Observer,
    ) -> Self {
        Self {
            store,
            clock,
            access,
            observer,
        }
    }

    /// Tells what became of a request before its sender is told.
    fn tell(&self, result: &Result<Outcome, Refusal>) {
        self.observer.answered(result, self.clock.now_us());
    }

    /// Reads the request into an arrival and waits until the store has decided and synced.
    async fn accept(
        &self,
        sender: &Sender,
        request: &ExportMetricsServiceRequest,
        declared: Option<Declared>,
        digest: [u8; 32],
    ) -> Result<Outcome, Refusal> {
        let received_us = self.clock.now_us();
        intake::check_size(request)?;
        let (windows, rejected) = intake::from_request(request);
        let mut arrival = Arrival {
            declared,
            token: sender.number(),
            digest,
            received_us,
            windows,
            rejected,
        };
        self.access.admit(sender, &mut arrival)?;
        self.store.offer(arrival).await
    }
}

/// Names the bytes of a body, so that one identity can be held to one body.
fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}
