//! The receiver's entrance for bytes from outside: a body of OTLP/JSON. In: bytes nobody vouches
//! for. Out: what they become, or a panic where a promise breaks.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;

use super::message::{METRICS, json, weight};

/// Enough for every input; a body has the limit of bodies.
const BYTES_MAX: usize = 1 << 24;

/// The protobuf that a JSON of metrics becomes, if it is one: then its memory can be told, it
/// decodes, and it decodes to what it was.
pub(crate) fn metrics(bytes: &[u8]) -> Option<Vec<u8>> {
    let written = json::to_protobuf(&METRICS, bytes, BYTES_MAX).ok()?;
    assert!(
        weight::decoded(&METRICS, &written).is_ok(),
        "its memory is not told"
    );
    let request = ExportMetricsServiceRequest::decode(written.as_slice());
    let request = request.unwrap_or_else(|error| panic!("not protobuf: {error}"));
    let again = ExportMetricsServiceRequest::decode(request.encode_to_vec().as_slice());
    // What is no number is not equal to itself.
    let spelt = |request: &ExportMetricsServiceRequest| format!("{request:?}");
    assert!(
        again.is_ok_and(|again| spelt(&again) == spelt(&request)),
        "it is another message"
    );
    Some(written)
}

/// How the specification spells a request.
#[cfg(test)]
pub(crate) fn spelt(request: &ExportMetricsServiceRequest) -> Vec<u8> {
    super::message::spelling::spelt(request)
        .to_string()
        .into_bytes()
}
