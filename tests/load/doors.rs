//! Kept connections to the collector's two OTLP doors, and to a peer's. In: an encoded request.
//! Out: its answer. One connection carries one request at a time, as a device does. Never: decides
//! what to retry.

use std::time::Duration;

use anyhow::Context;
use bytes::{Buf, BufMut, Bytes};
use fathomline_wire::names;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{AsciiMetadataKey, AsciiMetadataValue},
    transport::{Channel, Endpoint},
};

use crate::{clock::now_us, deck::Card};

/// Longest wait for one answer; longer is an error like a lost connection.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Where OTLP is received.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    Http(String),
    Grpc(String),
    /// Of Prometheus, beside which the collector is measured.
    RemoteWrite(String),
}

/// What became of one attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Durable, all of it.
    Stored,
    /// Not now; send the same again.
    Busy,
    /// The connection is gone; nobody knows. Send the same again.
    Lost,
    /// Final: the collector refuses what it must take.
    Refused(String),
}

pub(crate) enum Connection {
    Http(SendRequest<Full<Bytes>>, String),
    Grpc(tonic::client::Grpc<Channel>),
    RemoteWrite(SendRequest<Full<Bytes>>, String),
}

impl Door {
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        match self {
            Self::Http(address) => Ok(Connection::Http(http(address).await?, address.clone())),
            Self::RemoteWrite(address) => Ok(Connection::RemoteWrite(
                http(address).await?,
                address.clone(),
            )),
            Self::Grpc(address) => {
                let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
                let channel = endpoint.tcp_nodelay(true).connect().await?;
                Ok(Connection::Grpc(tonic::client::Grpc::new(channel)))
            }
        }
    }
}

async fn http(address: &str) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end is seen by the sender.
    tokio::spawn(connection);
    Ok(sender)
}

impl Connection {
    pub(crate) async fn send(&mut self, card: &Card) -> anyhow::Result<Answer> {
        let answer = async {
            match self {
                Self::Http(sender, address) => over_http(sender, address, card).await,
                Self::RemoteWrite(sender, address) => {
                    let request = hyper::Request::post("/api/v1/write")
                        .header("host", &*address)
                        .header("content-type", "application/x-protobuf")
                        .header("content-encoding", "snappy")
                        .header("x-prometheus-remote-write-version", "0.1.0");
                    let request = request.body(Full::new(card.body.clone()))?;
                    post(sender, request).await
                }
                Self::Grpc(client) => over_grpc(client, card).await,
            }
        };
        match tokio::time::timeout(ANSWER_LIMIT, answer).await {
            Ok(answer) => answer,
            Err(_) => Ok(Answer::Lost),
        }
    }
}

/// Identity headers of a device; none for what a relay sends.
fn headers(card: &Card) -> Vec<(&'static str, String)> {
    card.identity.as_ref().map_or_else(Vec::new, |identity| {
        vec![
            (names::HEADER_INSTALLATION, identity.installation.clone()),
            (names::HEADER_BOOT, identity.boot.clone()),
            (names::HEADER_SEQUENCE, identity.sequence.to_string()),
            (names::HEADER_CLOCK, (now_us() * 1000).to_string()),
        ]
    })
}

async fn over_http(
    sender: &mut SendRequest<Full<Bytes>>,
    address: &str,
    card: &Card,
) -> anyhow::Result<Answer> {
    let mut request = hyper::Request::post("/v1/metrics")
        .header("host", address)
        .header("content-type", "application/x-protobuf");
    for (name, value) in headers(card) {
        request = request.header(name, value);
    }
    post(sender, request.body(Full::new(card.body.clone()))?).await
}

async fn post(
    sender: &mut SendRequest<Full<Bytes>>,
    request: hyper::Request<Full<Bytes>>,
) -> anyhow::Result<Answer> {
    if sender.ready().await.is_err() {
        return Ok(Answer::Lost);
    }
    let Ok(response) = sender.send_request(request).await else {
        return Ok(Answer::Lost);
    };
    let status = response.status().as_u16();
    let Ok(body) = response.into_body().collect().await else {
        return Ok(Answer::Lost);
    };
    let body = body.to_bytes();
    Ok(match status {
        200 | 204 if body.is_empty() => Answer::Stored,
        429 | 502 | 503 | 504 => Answer::Busy,
        _ => Answer::Refused(format!("{status}: {}", String::from_utf8_lossy(&body))),
    })
}

async fn over_grpc(
    client: &mut tonic::client::Grpc<Channel>,
    card: &Card,
) -> anyhow::Result<Answer> {
    let mut request = tonic::Request::new(card.body.clone());
    for (name, value) in headers(card) {
        let name = AsciiMetadataKey::from_static(name);
        let value = AsciiMetadataValue::try_from(value).context("a header that is no text")?;
        request.metadata_mut().insert(name, value);
    }
    if client.ready().await.is_err() {
        return Ok(Answer::Lost);
    }
    let path = hyper::http::uri::PathAndQuery::from_static(
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    );
    Ok(match client.unary(request, path, Encoded).await {
        Ok(response) if response.get_ref().is_empty() => Answer::Stored,
        Ok(response) => Answer::Refused(String::from_utf8_lossy(response.get_ref()).into_owned()),
        Err(status) if status.code() == Code::Unavailable && !is_of_transport(&status) => {
            Answer::Busy
        }
        Err(status) if is_of_transport(&status) => Answer::Lost,
        Err(status) => Answer::Refused(status.to_string()),
    })
}

/// Whether the connection failed, rather than the collector having said so.
fn is_of_transport(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// Messages that are bytes already.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
