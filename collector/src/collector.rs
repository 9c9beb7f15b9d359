//! Wiring only: builds the rooms, connects them, and takes them down in order.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, middleware};
use fathomline_dashboard::Dashboard;
use fathomline_queries::engine::Engine;
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    task::JoinHandle,
};

use crate::{
    access::{
        Access,
        origin::{self, HostRules},
    },
    alert::{AlertSettings, Alerts},
    api::{self, ApiState},
    clock::{Clock, SystemClock},
    config::Config,
    control::Control,
    database::Database,
    pages::Pages,
    receiver::{self, Receiver, connections},
    store::{self, Folder, Store, StoreError},
    watch::{Parts, WatchSettings, Watcher, lanes::LaneSource, tables::EngineLanes},
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
    /// The system does not say where we listen.
    #[error("cannot tell which address was opened: {0}")]
    Address(io::Error),
    /// The data folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A room other than the store cannot be opened; the message says which and what to do.
    #[error(transparent)]
    Room(Box<dyn std::error::Error + Send + Sync>),
}

impl StartError {
    fn room(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Room(Box::new(error))
    }
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
    /// Doors, watcher and deliveries: everything that hands rows to the store, or reads them.
    tasks: Vec<JoinHandle<()>>,
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
        let address = |listener: &TcpListener| listener.local_addr().map_err(StartError::Address);
        let (http_at, otlp_http_at, otlp_grpc_at) =
            (address(&http)?, address(&otlp_http)?, address(&otlp_grpc)?);
        let Rooms {
            store,
            drained,
            pages,
            watcher,
            alerts,
            wake,
        } = Rooms::open(&config, http_at, otlp_http_at).await?;
        let limits = &config.receiver;
        let receiver = Receiver::new(store, Arc::new(SystemClock), limits);
        let (stop, stopping) = watch::channel(false);
        let serve_otlp = |listener, router| {
            let served = connections::serve(listener, router, limits.clone(), stopping.clone());
            tokio::spawn(served)
        };
        let tasks = vec![
            serve_http(http, pages, stopping.clone()),
            serve_otlp(otlp_http, receiver::http::router(receiver.clone())),
            serve_otlp(otlp_grpc, receiver::grpc::router(receiver)),
            tokio::spawn(watcher.run(stopping.clone())),
            tokio::spawn(alerts.run(wake, stopping)),
        ];
        Ok(Running {
            http: http_at,
            otlp_http: otlp_http_at,
            otlp_grpc: otlp_grpc_at,
            stop,
            tasks,
            drained,
        })
    }
}

/// The rooms behind the doors, connected.
struct Rooms {
    store: Store,
    drained: JoinHandle<()>,
    /// Dashboard and API, with their guards.
    pages: Router,
    watcher: Watcher,
    alerts: Alerts,
    wake: Arc<Notify>,
}

impl Rooms {
    async fn open(
        config: &Config,
        http: SocketAddr,
        otlp_http: SocketAddr,
    ) -> Result<Self, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        // The folder's lock comes first: whoever holds it may touch the rest.
        let folder = Folder::open(&config.data)?;
        let access = Arc::new(Access::open(&config.data).map_err(StartError::room)?);
        let database = Database::open(&config.data).map_err(StartError::room)?;
        let alerts = Alerts::new(&config.alert, &database, &clock).map_err(StartError::room)?;
        let opened = store::open(folder, config.store.clone()).await?;
        let engine = Engine::new(opened.lake, config.sql).map_err(StartError::room)?;
        let engine = Arc::new(engine);
        let lanes: Arc<dyn LaneSource> = Arc::new(EngineLanes(Arc::clone(&engine)));
        let settings = WatchSettings {
            dashboard_url: Some(public_url(config, http)),
            ..config.watch.clone()
        };
        let control = Control::new(
            database.clone(),
            Arc::clone(&lanes),
            Arc::clone(&clock),
            &settings,
        );
        let dashboard = Dashboard {
            engine: Arc::clone(&engine),
            control: Arc::new(Pages {
                access: Arc::clone(&access),
                clock: Arc::clone(&clock),
                database: database.clone(),
            }),
            lane_us: settings.cadence.lane_us,
            lateness_us: settings.cadence.lateness_us,
            otlp_url: format!("http://{otlp_http}"),
        };
        let api = ApiState {
            access,
            control: Arc::new(control),
            database: database.clone(),
            engine,
            store: opened.health,
        };
        let doors = api::router(api).merge(fathomline_dashboard::router(dashboard));
        let wake = Arc::new(Notify::new());
        let mut watcher = Watcher::new(Parts {
            settings,
            database,
            lanes,
            rows: Arc::new(opened.control),
            clock,
            endpoints: names(&config.alert),
            wake: Arc::clone(&wake),
        });
        watcher.remember().await;
        Ok(Self {
            store: opened.store,
            drained: opened.drained,
            pages: guarded(doors, &config.hosts),
            watcher,
            alerts,
            wake,
        })
    }
}

/// Host and Origin are checked before anything else looks at a request.
fn guarded(router: Router, hosts: &[String]) -> Router {
    let rules = Arc::new(HostRules::new(hosts));
    router.layer(middleware::from_fn_with_state(rules, origin::check))
}

fn public_url(config: &Config, http: SocketAddr) -> String {
    let given = config.public_url.clone();
    given.unwrap_or_else(|| format!("http://{http}"))
}

fn names(alert: &AlertSettings) -> Vec<String> {
    let endpoints = alert.endpoints.iter();
    endpoints.map(|endpoint| endpoint.name.clone()).collect()
}

impl Running {
    /// Closes the doors and returns once everything acknowledged is committed.
    pub async fn drain(self) {
        // Nobody listening means that the doors are closed already.
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
        let _ = self.drained.await;
    }
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
