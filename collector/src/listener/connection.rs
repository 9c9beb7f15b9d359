//! A stream of bytes and its peer. In: an accepted connection. Out: reads and writes, passed on as
//! they are, and who is at the other end.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use webpki::EndEntityCert;

use crate::access::sender::Certified;

/// Begins a URI among a client certificate's names; the one device that may send with it follows.
const DEVICE: &str = "urn:fathomline:device:";

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// What its certificate says, if it had to show one.
    pub(crate) certified: Option<Arc<Certified>>,
}

/// An open connection.
pub(crate) struct Connection {
    stream: Stream,
    peer: Peer,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    pub(super) fn plain(stream: TcpStream, address: SocketAddr) -> Self {
        Self {
            stream: Stream::Plain(stream),
            peer: Peer {
                address,
                certified: None,
            },
        }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, address: SocketAddr) -> Self {
        let chain = stream.get_ref().1.peer_certificates();
        let certified = chain.and_then(<[_]>::first).map(certified).map(Arc::new);
        Self {
            stream: Stream::Tls(Box::new(stream)),
            peer: Peer { address, certified },
        }
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    fn reader(self: Pin<&mut Self>) -> Pin<&mut (dyn AsyncRead + Send + Unpin)> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream),
            Stream::Tls(stream) => Pin::new(&mut **stream),
        }
    }

    fn writer(self: Pin<&mut Self>) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream),
            Stream::Tls(stream) => Pin::new(&mut **stream),
        }
    }
}

/// What a certificate says that the handshake has found good.
fn certified(certificate: &CertificateDer<'_>) -> Certified {
    let parsed = EndEntityCert::try_from(certificate).ok();
    let device = parsed.as_ref().and_then(|certificate| {
        let mut names = certificate.valid_uri_names();
        names.find_map(|name| name.strip_prefix(DEVICE))
    });
    Certified {
        device: device.map(str::to_owned),
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reader().poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_shutdown(context)
    }
}
