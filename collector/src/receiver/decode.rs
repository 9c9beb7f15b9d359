//! Bytes to an OTLP request. In: headers and a body nobody has checked. Out: the request, or the
//! refusal that says which claim was false. Never allocates beyond the limits in
//! `fathomline_wire::limits`, whatever the body says about itself.

use std::{borrow::Cow, io::Read};

use axum::http::{HeaderMap, header};
use fathomline_wire::{
    limits::{BODY_BYTES_INFLATED_MAX, BODY_BYTES_MAX},
    rejection::Rejection,
};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;

use crate::intake::Refusal;

/// Refuses a content type other than protobuf before the body is read.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = value
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    match kind {
        Some(kind) if kind.eq_ignore_ascii_case("application/x-protobuf") => Ok(()),
        other => Err(Refusal::new(
            Rejection::Unsupported,
            format!(
                "content type {} is not application/x-protobuf",
                other.unwrap_or("(none)")
            ),
        )),
    }
}

/// Undoes the content encoding.
pub(super) fn inflated<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Refusal> {
    let encoding = headers
        .get(header::CONTENT_ENCODING)
        .map(|value| value.to_str().map(str::to_ascii_lowercase));
    let encoding = encoding.transpose();
    match encoding.as_ref().map(|name| name.as_deref()) {
        Ok(None | Some("identity" | "")) => Ok(Cow::Borrowed(body)),
        Ok(Some("gzip")) => inflate(flate2::read::MultiGzDecoder::new(body), "gzip"),
        Ok(Some("zstd")) => {
            let reader = zstd::stream::read::Decoder::with_buffer(body);
            inflate(reader.map_err(|error| unreadable("zstd", &error))?, "zstd")
        }
        other => {
            let name = other.ok().flatten().unwrap_or("(not text)");
            Err(Refusal::new(
                Rejection::Unsupported,
                format!("content encoding {name} is not gzip, zstd or identity"),
            ))
        }
    }
}

/// Reads the message.
pub(crate) fn metrics_request(body: &[u8]) -> Result<ExportMetricsServiceRequest, Refusal> {
    ExportMetricsServiceRequest::decode(body).map_err(|error| {
        Refusal::new(
            Rejection::Malformed,
            format!(
                "{} bytes are not an ExportMetricsServiceRequest: {error}",
                body.len()
            ),
        )
    })
}

/// The refusal for a body that is too large as it arrives.
pub(super) fn too_large() -> Refusal {
    Refusal::new(
        Rejection::TooLarge,
        format!("the body has more than {BODY_BYTES_MAX} bytes"),
    )
}

fn inflate<'a>(reader: impl Read, encoding: &str) -> Result<Cow<'a, [u8]>, Refusal> {
    let mut inflated = Vec::new();
    // One byte more than allowed tells "exactly full" from "a bomb".
    let mut limited = reader.take(BODY_BYTES_INFLATED_MAX as u64 + 1);
    limited
        .read_to_end(&mut inflated)
        .map_err(|error| unreadable(encoding, &error))?;
    if inflated.len() > BODY_BYTES_INFLATED_MAX {
        return Err(Refusal::new(
            Rejection::TooLarge,
            format!("the {encoding} body inflates to more than {BODY_BYTES_INFLATED_MAX} bytes"),
        ));
    }
    Ok(Cow::Owned(inflated))
}

fn unreadable(encoding: &str, error: &std::io::Error) -> Refusal {
    Refusal::new(
        Rejection::Malformed,
        format!("the body is not {encoding}: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn encoded(name: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_ENCODING, name.parse().unwrap())])
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn an_empty_request_is_read_in_every_encoding() {
        let zstd = zstd::encode_all(&b""[..], 1).unwrap();
        let gzip = gzip(b"");
        let headers = [HeaderMap::new(), encoded("GZIP"), encoded("zstd")];
        for (headers, body) in headers.iter().zip([&b""[..], &gzip, &zstd]) {
            let body = inflated(headers, body).unwrap();
            assert_eq!(metrics_request(&body), Ok(Default::default()));
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![0; BODY_BYTES_INFLATED_MAX + 1]);
        assert!(bomb.len() < BODY_BYTES_INFLATED_MAX / 100);
        let refusal = inflated(&encoded("gzip"), &bomb).unwrap_err();
        assert_eq!(refusal.rejection, Rejection::TooLarge);
    }

    #[test]
    fn truncated_or_foreign_bytes_are_malformed() {
        for body in [&b"\x0a\xff"[..], b"{\"resourceMetrics\":[]}"] {
            let refusal = metrics_request(body).unwrap_err();
            assert_eq!(refusal.rejection, Rejection::Malformed);
        }
        let refusal = inflated(&encoded("gzip"), b"not gzip").unwrap_err();
        assert_eq!(refusal.rejection, Rejection::Malformed);
        let refusal = inflated(&encoded("br"), b"").unwrap_err();
        assert_eq!(refusal.rejection, Rejection::Unsupported);
    }
}
