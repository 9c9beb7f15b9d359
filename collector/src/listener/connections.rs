//! Connections of every door. In: a listener and a router. Out: connections that are served,
//! and closed when they have been silent for too long or the collector stops. Bounded in number:
//! beyond that, new ones wait in the system's queue until another ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tower::ServiceExt;

use super::{Connection, Listener, rest};

/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;

/// How long a connection that was told to end may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the peers of one door may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// Connections. Beyond it, new ones wait in the system's queue.
    pub(crate) connections_max: usize,
    /// How long a connection may stay without a request: also the time for a request's head.
    pub(crate) idle_timeout: Duration,
}

/// Serves `router` until `stopping` says so, then waits for requests that are under way.
pub(crate) async fn serve(
    mut listener: Listener,
    router: Router,
    limits: ConnectionLimits,
    stopping: watch::Receiver<bool>,
) {
    let open = Arc::new(Semaphore::new(limits.connections_max));
    let mut stop = stopping.clone();
    loop {
        let next = async {
            let place = open.clone().acquire_owned().await;
            (place, listener.next().await)
        };
        let (place, connected) = tokio::select! {
            next = next => next,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (router, limits, stop) = (router.clone(), limits, stopping.clone());
        tokio::spawn(async move {
            connection(connected, router, limits, stop).await;
            drop(place);
        });
    }
    drop(listener);
    let all = u32::try_from(limits.connections_max).unwrap_or(u32::MAX);
    // An error would mean that the semaphore was closed, which nobody does.
    let _ = open.acquire_many(all).await;
}

/// Serves one connection, whatever carries it.
async fn connection(
    connected: Connection,
    router: Router,
    limits: ConnectionLimits,
    mut stopping: watch::Receiver<bool>,
) {
    let peer = ConnectInfo(connected.peer().clone());
    let requests = Arc::new(Requests::default());
    let counted = requests.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let request = rest::keep_reading(request);
        let (router, one) = (router.clone(), UnderWay::new(&counted));
        async move {
            let answer = router.oneshot(request).await;
            drop(one);
            answer
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(limits.idle_timeout / 2);
    let connection = builder.serve_connection(TokioIo::new(connected), service);
    let mut connection = std::pin::pin!(connection);
    // First a polite end, which lets requests finish, then the end.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = silence(&requests, limits.idle_timeout) => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection.as_mut() => {}
        () = silence(&requests, GOODBYE) => {}
    }
}

/// Requests of one connection.
#[derive(Default)]
struct Requests {
    begun: AtomicUsize,
    under_way: AtomicUsize,
}

/// One request, from its head to its answer, also if nobody waits for that any more.
struct UnderWay(Arc<Requests>);

impl UnderWay {
    fn new(requests: &Arc<Requests>) -> Self {
        requests.begun.fetch_add(1, Ordering::Relaxed);
        requests.under_way.fetch_add(1, Ordering::Relaxed);
        Self(requests.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ends once there was no request for `long`, looked at four times in it.
async fn silence(requests: &Requests, long: Duration) {
    let mut since = Instant::now();
    let mut seen = requests.begun.load(Ordering::Relaxed);
    while since.elapsed() < long {
        tokio::time::sleep(long / 4).await;
        let begun = requests.begun.load(Ordering::Relaxed);
        if begun != seen || requests.under_way.load(Ordering::Relaxed) > 0 {
            (since, seen) = (Instant::now(), begun);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    /// A door that says no before it has read anything.
    async fn busy() -> (std::net::SocketAddr, watch::Sender<bool>) {
        let address = ([127, 0, 0, 1], 0).into();
        let listener = Listener::bind(address, None).await.unwrap();
        let address = listener.address().unwrap();
        let (stop, stopping) = watch::channel(false);
        let router = Router::new().fallback(|| async { StatusCode::SERVICE_UNAVAILABLE });
        let limits = ConnectionLimits {
            connections_max: 4,
            idle_timeout: Duration::from_secs(20),
        };
        tokio::spawn(serve(listener, router, limits, stopping));
        (address, stop)
    }

    #[tokio::test]
    async fn who_is_refused_while_it_writes_can_write_all_and_read_why() {
        let (address, _stop) = busy().await;
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let body = vec![7; 4 << 20];
            let head = format!(
                "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            // Long enough for an answer that waits for nothing.
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream.write_all(&body).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 503");
            // And send the next on the same connection.
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await.unwrap();
            assert!(rest.contains("HTTP/1.1 503"), "{rest}");
        }
    }

    #[tokio::test]
    async fn who_never_stops_writing_is_cut_off() {
        let (address, _stop) = busy().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let writes = async { while stream.write_all(&[7; 1 << 16]).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(20), writes)
            .await
            .unwrap();
    }
}
