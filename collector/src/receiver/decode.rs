//! Bytes to an OTLP message. In: what headers say of a body, and the body nobody has checked. Out:
//! the message, or the refusal that says which claim was false. Never allocates what the budget
//! has not given, whatever the body says about itself.

use std::io::Read;

use axum::http::{HeaderMap, HeaderName, header};
use bytes::Bytes;
use fathomline_wire::{limits::BODY_BYTES_INFLATED_MAX, rejection::Rejection};
use prost::Message;

use super::{
    budget::Hold,
    message::{json, weight},
    signal::Signal,
};
use crate::intake::Refusal;

/// What is inflated between two looks at the limits.
const CHUNK_BYTES: usize = 64 << 10;

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Encoding {
    /// The value of `content-type`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// Reads `content-type`; anything that is neither is refused before the body is read.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let value = headers.get(header::CONTENT_TYPE);
        let value = value.and_then(|value| value.to_str().ok());
        let kind = value.and_then(|value| value.split(';').next());
        let kind = kind.map(str::trim);
        let named = |encoding: &Self| kind.is_some_and(|k| k.eq_ignore_ascii_case(encoding.name()));
        let known = [Self::Protobuf, Self::Json].into_iter().find(named);
        known.ok_or_else(|| {
            let detail = format!(
                "content type {} is not application/x-protobuf or application/json",
                kind.unwrap_or("(none)")
            );
            Refusal::new(Rejection::Unsupported, detail)
        })
    }
}

impl Packing {
    /// Reads `content-encoding`, or `grpc-encoding`.
    pub(super) fn of(headers: &HeaderMap, name: &HeaderName) -> Result<Self, Refusal> {
        let value = headers.get(name).map(|value| value.to_str());
        let value = value.transpose().unwrap_or(Some("(not text)"));
        match value.map(str::to_ascii_lowercase).as_deref() {
            None | Some("identity" | "") => Ok(Self::Plain),
            Some("gzip") => Ok(Self::Gzip),
            Some("zstd") => Ok(Self::Zstd),
            Some(other) => Err(Refusal::new(
                Rejection::Unsupported,
                format!("content encoding {other} is not gzip, zstd or identity"),
            )),
        }
    }
}

/// Undoes the packing.
pub(super) fn inflated(packing: Packing, body: Bytes, hold: &mut Hold) -> Result<Bytes, Refusal> {
    match packing {
        Packing::Plain => Ok(body),
        Packing::Gzip => inflate(flate2::read::MultiGzDecoder::new(&*body), "gzip", hold),
        Packing::Zstd => {
            let reader = zstd::stream::read::Decoder::with_buffer(&*body);
            let reader = reader.map_err(|error| unreadable("zstd", &error))?;
            inflate(reader, "zstd", hold)
        }
    }
}

fn inflate(mut reader: impl Read, name: &str, hold: &mut Hold) -> Result<Bytes, Refusal> {
    let mut inflated = Vec::new();
    loop {
        // A buffer that grows doubles.
        hold.grow(2 * CHUNK_BYTES)?;
        let read = (&mut reader)
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut inflated)
            .map_err(|error| unreadable(name, &error))?;
        if inflated.len() > BODY_BYTES_INFLATED_MAX {
            let detail =
                format!("the {name} body inflates to more than {BODY_BYTES_INFLATED_MAX} bytes");
            return Err(Refusal::new(Rejection::TooLarge, detail));
        }
        if read < CHUNK_BYTES {
            return Ok(inflated.into());
        }
    }
}

/// The bytes of the message as protobuf has them, whichever way they came.
pub(super) fn as_protobuf(
    signal: Signal,
    encoding: Encoding,
    body: Bytes,
    hold: &mut Hold,
) -> Result<Bytes, Refusal> {
    if encoding == Encoding::Protobuf {
        return Ok(body);
    }
    // `{}` is two bytes and becomes seven at most; the buffer doubles.
    hold.grow(4 * body.len())?;
    json::to_protobuf(signal.message(), &body, BODY_BYTES_INFLATED_MAX)
        .map(Bytes::from)
        .map_err(|error| {
            let detail = format!(
                "{} bytes are not an {} in OTLP/JSON: {error}",
                body.len(),
                signal.request()
            );
            Refusal::new(Rejection::Malformed, detail)
        })
}

/// Reads the message, once there is memory for it.
pub(super) fn message<M: Message + Default>(
    signal: Signal,
    body: &[u8],
    hold: &mut Hold,
) -> Result<M, Refusal> {
    let malformed = |reason: String| {
        let detail = format!(
            "{} bytes are not an {}: {reason}",
            body.len(),
            signal.request()
        );
        Refusal::new(Rejection::Malformed, detail)
    };
    let weight = weight::decoded(signal.message(), body)
        .map_err(|_| malformed("a field ends beyond them, or begins with nonsense".into()))?;
    hold.grow(weight)?;
    M::decode(body).map_err(|error| malformed(error.to_string()))
}

fn unreadable(name: &str, error: &std::io::Error) -> Refusal {
    let detail = format!("the body is not {name}: {error}");
    Refusal::new(Rejection::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

    use super::*;
    use crate::receiver::budget::Budget;

    fn hold() -> Hold {
        Budget::new(1 << 30).admit().unwrap()
    }

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    fn read(body: &[u8]) -> Result<ExportMetricsServiceRequest, Refusal> {
        message(Signal::Metrics, body, &mut hold())
    }

    #[test]
    fn an_empty_request_is_read_in_every_packing() {
        let zstd = zstd::encode_all(&b""[..], 1).unwrap().into();
        let packed = [
            (Packing::Plain, Bytes::new()),
            (Packing::Gzip, gzip(b"")),
            (Packing::Zstd, zstd),
        ];
        for (packing, body) in packed {
            let body = inflated(packing, body, &mut hold()).unwrap();
            assert_eq!(read(&body), Ok(Default::default()));
        }
        let json = as_protobuf(Signal::Metrics, Encoding::Json, "{}".into(), &mut hold());
        assert_eq!(json.unwrap(), Bytes::new());
    }

    #[test]
    fn claims_of_headers_are_read_as_http_spells_them() {
        let of = |value| Encoding::of(&headers(header::CONTENT_TYPE, value));
        assert_eq!(of("Application/JSON; charset=utf-8"), Ok(Encoding::Json));
        assert_eq!(of("application/x-protobuf"), Ok(Encoding::Protobuf));
        assert_eq!(
            of("text/plain").unwrap_err().rejection,
            Rejection::Unsupported
        );
        let of = |value| {
            let name = header::CONTENT_ENCODING;
            Packing::of(&headers(name.clone(), value), &name)
        };
        assert_eq!(of("GZIP"), Ok(Packing::Gzip));
        assert_eq!(of("br").unwrap_err().rejection, Rejection::Unsupported);
    }

    #[test]
    fn a_bomb_stops_at_the_limit_and_at_the_budget() {
        let bomb = gzip(&vec![0; BODY_BYTES_INFLATED_MAX + 1]);
        assert!(bomb.len() < BODY_BYTES_INFLATED_MAX / 100);
        let refusal = inflated(Packing::Gzip, bomb.clone(), &mut hold()).unwrap_err();
        assert_eq!(refusal.rejection, Rejection::TooLarge);
        let mut small = Budget::new(1 << 20).admit().unwrap();
        let refusal = inflated(Packing::Gzip, bomb, &mut small).unwrap_err();
        assert!(refusal.detail.contains("1 MiB"), "{refusal:?}");
    }

    #[test]
    fn truncated_or_foreign_bytes_are_malformed() {
        for body in [&b"\x0a\xff"[..], b"{\"resourceMetrics\":[]}"] {
            let refusal = read(body).unwrap_err();
            assert_eq!(refusal.rejection, Rejection::Malformed);
        }
        let refusal = inflated(Packing::Gzip, "not gzip".into(), &mut hold()).unwrap_err();
        assert_eq!(refusal.rejection, Rejection::Malformed);
    }
}
