//! Where connections come in, in the clear or under TLS. In: an address, and certificates if the
//! configuration names some. Out: connections whose handshake is done, with what their peer proved.
//! A peer that is slow to shake hands keeps nobody else waiting.
//!
//! | file | does |
//! |---|---|
//! | `certificates.rs` | files to a TLS configuration, and again when they change |
//! | `connection.rs` | a stream of bytes and its peer |
//! | `rest.rs` | what a request's body still holds when it is answered |
//! | `connections.rs` | accepts, serves and ends connections, within their limits |

pub(crate) mod certificates;
mod connection;
pub(crate) mod connections;
mod rest;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use certificates::Certificates;
pub(crate) use connection::{Connection, Peer};

/// Longest handshake; a far device on a bad line takes a second or two.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Handshakes at once. Past it new connections wait in the system's queue.
const HANDSHAKES_MAX: usize = 1_024;

/// How long to wait when the system has no room for another connection.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// An open address.
pub(crate) struct Listener {
    tcp: TcpListener,
    certificates: Option<Arc<Certificates>>,
    handshakes: JoinSet<Option<Connection>>,
}

impl Listener {
    /// Opens an address.
    pub(crate) async fn bind(
        address: SocketAddr,
        certificates: Option<Arc<Certificates>>,
    ) -> io::Result<Self> {
        Ok(Self {
            tcp: TcpListener::bind(address).await?,
            certificates,
            handshakes: JoinSet::new(),
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    async fn next(&mut self) -> Connection {
        loop {
            let room = self.handshakes.len() < HANDSHAKES_MAX;
            tokio::select! {
                accepted = self.tcp.accept(), if room => {
                    if let Some(connection) = self.begin(accepted).await {
                        return connection;
                    }
                }
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
            }
        }
    }

    /// A connection, if it needs no handshake.
    async fn begin(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) -> Option<Connection> {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            // Its peer has gone already.
            Err(error) if is_of_one_peer(&error) => return None,
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                sleep(FULL_PAUSE).await;
                return None;
            }
        };
        // Replies are small and must not wait for more; where that fails they only come later.
        let _ = stream.set_nodelay(true);
        let Some(certificates) = &self.certificates else {
            return Some(Connection::plain(stream, address));
        };
        let acceptor = certificates.acceptor();
        self.handshakes.spawn(async move {
            match timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => Some(Connection::tls(stream, address)),
                Ok(Err(error)) => {
                    tracing::debug!(%error, peer = %address.ip(), "a TLS handshake failed");
                    None
                }
                Err(_) => None,
            }
        });
        None
    }
}

fn is_of_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
