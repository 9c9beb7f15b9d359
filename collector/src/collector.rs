//! Wiring only: builds the rooms, connects them, and takes them down in order.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, routing::get};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tower::ServiceBuilder;

use crate::{
    clock::{Clock, SystemClock},
    config::Config,
    receiver::{self, Receiver},
    store::{self, Folder, Opened, StoreError},
};

/// Why a collector does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken or not ours.
    #[error(
        "cannot listen on {address} for {door}: {source}; stop what uses it or choose another with {flag}"
    )]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What it is for.
        door: &'static str,
        /// What the system said.
        source: io::Error,
        /// The flag that moves it.
        flag: &'static str,
    },
    /// Reachable from elsewhere without authentication.
    #[error(
        "refusing to listen on {0}: anyone who reaches it could read and write; listen on a loopback address, or insist with --insecure"
    )]
    Exposed(SocketAddr),
    /// The data folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The collector, as a recipe.
#[derive(Debug)]
pub struct Collector;

/// A collector at work.
#[derive(Debug)]
pub struct Running {
    /// Where dashboard and API listen.
    pub http: SocketAddr,
    /// Where OTLP over HTTP listens.
    pub otlp_http: SocketAddr,
    /// Where OTLP over gRPC listens.
    pub otlp_grpc: SocketAddr,
    stop: watch::Sender<bool>,
    doors: Vec<JoinHandle<()>>,
    drained: JoinHandle<()>,
}

impl Collector {
    /// Opens the data folder, replays its log and opens the doors.
    ///
    /// # Errors
    /// When an address or the data folder cannot be used; nothing is left half open.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let http = listen(config.http, "dashboard and API", "--http", &config).await?;
        let otlp_http = listen(config.otlp_http, "OTLP/HTTP", "--otlp-http", &config).await?;
        let otlp_grpc = listen(config.otlp_grpc, "OTLP/gRPC", "--otlp-grpc", &config).await?;
        let addresses = [&http, &otlp_http, &otlp_grpc].map(|listener| {
            listener
                .local_addr()
                .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)))
        });
        let folder = Folder::open(&config.data)?;
        let Opened { store, drained, .. } = store::open(folder, config.store.clone()).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let receiver = Receiver::new(store, clock);
        let (stop, stopping) = watch::channel(false);
        let doors = vec![
            serve_http(http, health(), stopping.clone()),
            serve_http(
                otlp_http,
                receiver::http::router(receiver.clone()),
                stopping.clone(),
            ),
            serve_grpc(otlp_grpc, receiver, stopping),
        ];
        let [http, otlp_http, otlp_grpc] = addresses;
        Ok(Running {
            http,
            otlp_http,
            otlp_grpc,
            stop,
            doors,
            drained,
        })
    }
}

impl Running {
    /// Closes the doors and returns once everything acknowledged is committed.
    pub async fn drain(self) {
        // Nobody listening means that the doors are closed already.
        let _ = self.stop.send(true);
        for door in self.doors {
            let _ = door.await;
        }
        let _ = self.drained.await;
    }
}

fn health() -> Router {
    // Doors open only after replay, so whoever gets through finds a collector that is ready.
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ready\n" }))
}

async fn listen(
    address: SocketAddr,
    door: &'static str,
    flag: &'static str,
    config: &Config,
) -> Result<TcpListener, StartError> {
    if !address.ip().is_loopback() && !config.insecure {
        return Err(StartError::Exposed(address));
    }
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen {
            address,
            door,
            source,
            flag,
        })
}

fn serve_http(
    listener: TcpListener,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let stopped = async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        if let Err(error) = axum::serve(listener, router)
            .with_graceful_shutdown(stopped)
            .await
        {
            tracing::error!(%error, "a door closed by itself");
        }
    })
}

fn serve_grpc(
    listener: TcpListener,
    receiver: Receiver,
    mut stopping: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let layer = ServiceBuilder::new()
            .map_response(receiver::grpc::final_when_too_large)
            .into_inner();
        let served = tonic::transport::Server::builder()
            .layer(layer)
            .add_service(receiver::grpc::service(receiver))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            })
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "a door closed by itself");
        }
    })
}
