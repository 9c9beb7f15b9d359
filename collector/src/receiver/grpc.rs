//! `MetricsService/Export`: OTLP over gRPC.

use axum::http::{HeaderMap, HeaderValue, Response};
use fathomline_wire::{identity, limits::BODY_BYTES_INFLATED_MAX, rejection::Rejection};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
    metrics_service_server::{MetricsService, MetricsServiceServer},
};
use prost::Message;
use tonic::{Request, Status, codec::CompressionEncoding};

use super::{Receiver, caller, digest, reply};
use crate::{intake::Refusal, store::Outcome};

const STATUS_HEADER: &str = "grpc-status";
const OUT_OF_RANGE: &[u8] = b"11";
const RESOURCE_EXHAUSTED: HeaderValue = HeaderValue::from_static("8");

/// The gRPC service with its limits and encodings.
pub(crate) fn service(receiver: Receiver) -> MetricsServiceServer<Receiver> {
    MetricsServiceServer::new(receiver)
        .max_decoding_message_size(BODY_BYTES_INFLATED_MAX)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
}

/// tonic answers a message over the limit with OUT_OF_RANGE, which OTLP exporters retry for ever;
/// the specification wants RESOURCE_EXHAUSTED, which they do not.
pub(crate) fn final_when_too_large<B>(mut response: Response<B>) -> Response<B> {
    correct(response.headers_mut());
    response
}

fn correct(headers: &mut HeaderMap) {
    if headers
        .get(STATUS_HEADER)
        .is_some_and(|status| status.as_bytes() == OUT_OF_RANGE)
    {
        headers.insert(STATUS_HEADER, RESOURCE_EXHAUSTED);
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        let result = self.take(&request).await;
        self.tell(&result);
        match result {
            Ok(outcome) => Ok(tonic::Response::new(reply::to_message(&outcome))),
            Err(refusal) => Err(reply::to_grpc(&refusal)),
        }
    }
}

impl Receiver {
    async fn take(
        &self,
        request: &Request<ExportMetricsServiceRequest>,
    ) -> Result<Outcome, Refusal> {
        let sender = caller::of(request.extensions())?;
        let metadata = request.metadata();
        let declared =
            identity::from_headers(|name| metadata.get(name).and_then(|value| value.to_str().ok()))
                .map_err(|error| Refusal::new(Rejection::Malformed, error.to_string()))?;
        let message = request.get_ref();
        // Fields are encoded in one order, so equal messages have equal digests; only senders
        // with an identity need one.
        let digest = match declared {
            Some(_) => digest(&message.encode_to_vec()),
            None => [0; 32],
        };
        self.accept(&sender, message, declared, digest).await
    }
}
