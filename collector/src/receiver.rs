//! Where data enters: OTLP metrics, traces and logs over HTTP and gRPC.
//!
//! In: requests from anyone. Out: one [`Arrival`] a request, offered to the store, and the
//! store's [`Outcome`] as a status the sender's exporter understands. Never: a decision about
//! counting (that is the store's), or a status that makes an exporter drop what we may still
//! want.
//!
//! | file | does |
//! |---|---|
//! | `http.rs` | `POST /v1/metrics`, `/v1/traces`, `/v1/logs`, in protobuf or JSON |
//! | `grpc.rs` | `Export` of the three services |
//! | `caller.rs` | who sends, asked of `access` before a body is read |
//! | `body.rs` | reads a body, in time and within its limit |
//! | `decode.rs` | content type and packing, limits before and after inflation |
//! | `message.rs` (+ `message/`) | OTLP as tables: JSON to protobuf, memory of a message |
//! | `budget.rs` | memory of all requests together |
//! | `limits.rs` | what senders may take |
//! | `signal.rs` | metrics, traces, logs: what is peculiar to each |
//! | `reply.rs` | outcome to status, partial success, Retry-After, pace: the only status codes |

mod body;
mod budget;
pub(crate) mod caller;
mod decode;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod grpc;
pub(crate) mod http;
mod limits;
mod message;
mod reply;
mod signal;

use std::sync::Arc;

use axum::http::HeaderMap;
use bytes::Bytes;
use fathomline_queries::rows::SpanRow;
use fathomline_wire::{
    identity::{self, Declared},
    limits::ATTRIBUTE_VALUE_BYTES_MAX,
    rejection::Rejection,
};
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use sha2::{Digest, Sha256};

pub(crate) use limits::ReceiverLimits;

use self::{
    budget::{Budget, Hold},
    caller::Callers,
    decode::{Encoding, Packing},
    limits::{INLINE_BYTES_MAX, INLINE_PACKED_BYTES_MAX},
    reply::Answer,
    signal::Signal,
};
use crate::{
    access::{Access, sender::Sender},
    clock::Clock,
    intake::{self, Arrival, LeftOut, Point, Refusal, Rejected},
    observe::Observer,
    store::Store,
};

/// Memory that a row's texts take at most: who sends, which model, which metric.
const ROW_TEXT_BYTES_MAX: usize = 14 * ATTRIBUTE_VALUE_BYTES_MAX;

/// What both doors share.
#[derive(Clone)]
pub(crate) struct Receiver {
    store: Store,
    clock: Arc<dyn Clock>,
    access: Arc<Access>,
    observer: Observer,
    budget: Budget,
    limits: ReceiverLimits,
}

/// A request as a door read it.
struct Received {
    signal: Signal,
    encoding: Encoding,
    packing: Packing,
    declared: Option<Declared>,
    body: Bytes,
}

/// A request as it is understood.
struct Understood {
    signal: Signal,
    arrival: Arrival,
    left_out: LeftOut,
}

impl Receiver {
    pub(crate) fn new(
        store: Store,
        callers: &Callers,
        observer: Observer,
        limits: &ReceiverLimits,
    ) -> Self {
        Self {
            store,
            clock: Arc::clone(&callers.clock),
            access: Arc::clone(&callers.access),
            observer,
            budget: Budget::new(limits.memory_bytes),
            limits: limits.clone(),
        }
    }

    /// How full the collector is, 0 to 1.
    fn pressure(&self) -> f64 {
        self.store.fill().max(self.budget.fill())
    }

    /// Tells of a request that was refused as a whole, before its sender is told.
    fn tell(&self, result: &Result<Answer, Refusal>) {
        if let Err(refusal) = result {
            self.observer.refused(refusal);
        }
    }

    /// Reads the request into an arrival and waits until the store has decided and synced.
    async fn accept(
        &self,
        received: Received,
        sender: &Sender,
        mut hold: Hold,
    ) -> Result<Answer, Refusal> {
        let received_us = self.clock.now_us();
        let inline_max = match received.packing {
            Packing::Plain => INLINE_BYTES_MAX,
            Packing::Gzip | Packing::Zstd => INLINE_PACKED_BYTES_MAX,
        };
        let large = received.body.len() > inline_max;
        let read = move || {
            let understood = understand(received, received_us, &mut hold);
            (understood, hold)
        };
        let (understood, hold) = match large {
            true => tokio::task::spawn_blocking(read).await.map_err(broken)?,
            false => read(),
        };
        let Understood {
            signal,
            mut arrival,
            left_out,
        } = understood?;
        self.access.admit(sender, &mut arrival)?;
        arrival.token = sender.number();
        if signal == Signal::Logs {
            return Ok(answer(signal, &arrival.rejected, left_out));
        }
        let (store, observer) = (self.store.clone(), self.observer.clone());
        // A sender that goes away leaves its rows in the queue: what they take is held until they
        // are stored, and counted then, so this goes on without it.
        let stored = tokio::spawn(async move {
            let outcome = store.offer(arrival).await;
            drop(hold);
            if let Ok(outcome) = &outcome {
                observer.stored(outcome, received_us);
            }
            outcome
        });
        let outcome = stored.await.map_err(broken)??;
        Ok(answer(signal, &outcome.rejected, left_out))
    }
}

/// Reads the identity headers, which both doors spell the same.
fn declared(headers: &HeaderMap) -> Result<Option<Declared>, Refusal> {
    identity::from_headers(|name| headers.get(name).and_then(|value| value.to_str().ok()))
        .map_err(|error| Refusal::new(Rejection::Malformed, error.to_string()))
}

fn understand(
    received: Received,
    received_us: i64,
    hold: &mut Hold,
) -> Result<Understood, Refusal> {
    let Received {
        signal,
        encoding,
        packing,
        declared,
        body,
    } = received;
    let body = decode::inflated(packing, body, hold)?;
    let mut arrival = Arrival {
        // Only who has an identity is held to the bytes that were sent under it.
        digest: declared.as_ref().map_or([0; 32], |_| digest(&body)),
        declared,
        token: 0,
        received_us,
        windows: Vec::new(),
        spans: Vec::new(),
        rejected: Rejected::default(),
    };
    let mut left_out = LeftOut::default();
    let body = decode::as_protobuf(signal, encoding, body, hold)?;
    match signal {
        Signal::Metrics => {
            let request: ExportMetricsServiceRequest = decode::message(signal, &body, hold)?;
            let points = intake::check_points(&request)?;
            hold.grow(points * (size_of::<Point>() + ROW_TEXT_BYTES_MAX))?;
            (arrival.windows, arrival.rejected) = intake::from_request(&request);
        }
        Signal::Traces => {
            let request: ExportTraceServiceRequest = decode::message(signal, &body, hold)?;
            let spans = intake::check_spans(&request)?;
            hold.grow(spans * (size_of::<SpanRow>() + ROW_TEXT_BYTES_MAX))?;
            (arrival.spans, arrival.rejected, left_out) = intake::from_traces(&request);
            // The identity is that of a window of metrics.
            arrival.declared = None;
        }
        Signal::Logs => {
            let request: ExportLogsServiceRequest = decode::message(signal, &body, hold)?;
            let scopes = request.resource_logs.iter();
            let scopes = scopes.flat_map(|source| &source.scope_logs);
            let records = scopes.map(|scope| scope.log_records.len()).sum();
            arrival.rejected.add(Rejection::Signal, records);
        }
    }
    Ok(Understood {
        signal,
        arrival,
        left_out,
    })
}

fn answer(signal: Signal, rejected: &Rejected, left_out: LeftOut) -> Answer {
    let mut message = rejected.sentence(signal.things());
    if left_out.content > 0 {
        let separator = if message.is_empty() { "" } else { "; " };
        message = format!(
            "{message}{separator}{} attributes or events with prompts or answers were not stored; \
             switch off the capture of content where it is recorded",
            left_out.content
        );
    }
    Answer {
        rejected: rejected.total(),
        message,
    }
}

/// Names the bytes of a body, so that one identity can be held to one body.
fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

fn broken(error: tokio::task::JoinError) -> Refusal {
    tracing::error!(%error, "a request could not be worked on");
    Refusal::new(
        Rejection::Busy,
        "the collector could not work on it; its log says why",
    )
}
