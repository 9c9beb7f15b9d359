//! Wiring only: builds the rooms, connects them, and takes them down in order.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, middleware};
use fathomline_dashboard::Dashboard;
use fathomline_queries::{
    engine::Engine,
    lake::Lake,
    published::{Lanes, Publication},
};
use futures::future::BoxFuture;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use crate::{
    access::{
        Access,
        enrol::{self, Enrolling},
        limit::{self, Limit},
        origin::{self, HostRules},
    },
    alert::{
        Alerts,
        desk::Desk,
        duty::{Duty, Standing},
        signature::SecretError,
    },
    api::{self, ApiState},
    clock::{Clock, SystemClock},
    config::Config,
    control::{Control, References},
    database::{Database, erasures, references},
    doors::Doors,
    erasing::Erasing,
    listener::{
        Listener,
        connections::{self, ConnectionLimits},
    },
    observe::{
        Observer,
        doors::{self, Door},
    },
    pages::Pages,
    receiver::{
        self, Receiver,
        caller::{self, Callers},
    },
    retraining::{Judging, Retraining, Telling},
    rollout::Rollouts,
    store::{
        self, Folder, Store, StoreError, StoreSettings, Upkeep,
        erase::{Erased, Eraser},
    },
    watch::{
        Parts, WatchSettings, Watcher, apart::TakingApart, lanes::LaneSource, tables::EngineLanes,
    },
};

/// What readers of pages and API may hold: people and programs, not a fleet.
const OF_READERS: ConnectionLimits = ConnectionLimits {
    connections_max: 1024,
    idle_timeout: Duration::from_secs(120),
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
        "refusing to listen on {address}: anyone who reaches it could {deed}; set {section}.require_token = true, name {section}.tls.client_ca, listen on a loopback address, or insist with --insecure"
    )]
    Exposed {
        /// Which address.
        address: SocketAddr,
        /// What anyone could do there.
        deed: &'static str,
        /// The section of the configuration that closes it.
        section: &'static str,
    },
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

impl From<SecretError> for StartError {
    fn from(error: SecretError) -> Self {
        Self::room(error)
    }
}

impl StartError {
    pub(crate) fn room(error: impl std::error::Error + Send + Sync + 'static) -> Self {
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
    /// Whether dashboard and API, and both OTLP doors, speak TLS.
    tls: (bool, bool),
    stop: watch::Sender<bool>,
    /// Doors, watcher and deliveries: everything that hands rows to the store, or reads them.
    tasks: Vec<JoinHandle<()>>,
    drained: JoinHandle<()>,
}

impl Collector {
    /// Opens the data folder, replays its log and opens the doors.
    ///
    /// Boxed, because an async function is compiled where it is awaited: whoever embeds a collector
    /// would compile all of it again.
    ///
    /// # Errors
    /// When an address or the data folder cannot be used; nothing is left half open.
    pub fn start(config: Config) -> BoxFuture<'static, Result<Running, StartError>> {
        Box::pin(Self::started(config))
    }

    async fn started(config: Config) -> Result<Running, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let Doors {
            http,
            otlp_http,
            otlp_grpc,
            certificates,
        } = Doors::open(&config, clock.now_us()).await?;
        let address = |listener: &Listener| listener.address().map_err(StartError::Address);
        let (http_at, otlp_http_at, otlp_grpc_at) =
            (address(&http)?, address(&otlp_http)?, address(&otlp_grpc)?);
        let observer = Observer::default();
        let door = |name| door_of(name, &observer);
        let Rooms {
            access,
            database,
            store,
            drained,
            pages,
            watcher,
            rollouts,
            alerts,
            wake,
            retraining,
            upkeep,
            eraser,
        } = Rooms::open(&config, (http_at, otlp_http_at), &observer).await?;
        let callers = Callers {
            access: Arc::clone(&access),
            clock: Arc::clone(&clock),
        };
        let erasing = Erasing::new(&database, &access, eraser, &clock);
        let limits = &config.receiver;
        let receiver = Receiver::new(store, &callers, observer.clone(), limits);
        let otlp = for_devices(receiver.clone(), &callers, database);
        let otlp = counted(otlp, door("otlp_http"));
        let calls = for_calls(receiver, callers, door("otlp_grpc"));
        let pages = counted(pages, door("http"));
        let (stop, stopping) = watch::channel(false);
        let serve = |listener, router, limits| {
            let served = connections::serve(listener, router, limits, stopping.clone());
            tokio::spawn(served)
        };
        let mut tasks = vec![
            tokio::spawn(upkeep.run(Arc::clone(&clock), stopping.clone())),
            serve(http, pages, OF_READERS),
            serve(otlp_http, otlp, limits.connections),
            serve(otlp_grpc, calls, limits.connections),
            tokio::spawn(watcher.run(stopping.clone())),
            tokio::spawn(rollouts.run(stopping.clone())),
            tokio::spawn(erasing.run(stopping.clone())),
            tokio::spawn(alerts.run(wake, stopping.clone())),
            tokio::spawn(retraining.run(look_every(&config), stopping.clone())),
        ];
        for certificates in certificates {
            let following = certificates.follow(Arc::clone(&clock), stopping.clone());
            tasks.push(tokio::spawn(following));
        }
        tasks.push(tokio::spawn(async move { access.follow(stopping).await }));
        Ok(Running {
            http: http_at,
            otlp_http: otlp_http_at,
            otlp_grpc: otlp_grpc_at,
            tls: (config.http_tls.is_some(), config.otlp_tls.is_some()),
            stop,
            tasks,
            drained,
        })
    }
}

/// The rooms behind the doors, connected.
struct Rooms {
    access: Arc<Access>,
    database: Database,
    store: Store,
    drained: JoinHandle<()>,
    /// Dashboard and API, with their guards.
    pages: Router,
    watcher: Watcher,
    rollouts: Rollouts,
    alerts: Alerts,
    wake: Arc<Notify>,
    retraining: Retraining,
    upkeep: Upkeep,
    eraser: Eraser,
}

/// What the configuration says of alerts.
fn standing(config: &Config) -> Standing {
    Standing {
        rules: Arc::clone(&config.alert.rules),
        maintenance: Arc::clone(&config.alert.maintenance),
        lane_us: config.watch.cadence.lane_us,
        false_pages: config.watch.policy.false_pages_per_30_days,
    }
}

fn watch_settings(config: &Config, http: SocketAddr) -> WatchSettings {
    WatchSettings {
        dashboard_url: Some(public_url(config, http)),
        rules: Arc::clone(&config.alert.rules),
        ..config.watch.clone()
    }
}

impl Rooms {
    async fn open(
        config: &Config,
        (http, otlp_http): (SocketAddr, SocketAddr),
        observer: &Observer,
    ) -> Result<Self, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        // The folder's lock comes first: whoever holds it may touch the rest.
        let folder = Folder::open(&config.data)?;
        let database = Database::open(&config.data).map_err(StartError::room)?;
        check_retention(config, &database).await?;
        let access = open_access(config, &database).await?;
        let alerts =
            Alerts::new(&config.alert, &database, &clock, observer).map_err(StartError::room)?;
        let opened = open_store(folder, config, &database, observer).await?;
        let (stored, engine) = engines(opened.lake, config, &clock)?;
        let settings = watch_settings(config, http);
        let (rollouts, lanes, apart) = readers(config, stored, &database, &clock);
        let control = control(&database, &lanes, &clock, &settings);
        let (desk, duty) = desks(config, &database, &clock, &alerts);
        let wake = Arc::new(Notify::new());
        let retraining = Retraining::new(
            config.retraining.clone(),
            (database.clone(), Arc::clone(&clock)),
            judging(&settings, &lanes),
            (telling(config, &alerts, http), Arc::clone(&wake)),
        )?;
        let shown = (&desk, &duty, &retraining, &rollouts);
        let pages = pages(&access, &clock, control.references(), shown, apart);
        let dashboard = dashboard(config, otlp_http, &engine, pages);
        let api = ApiState {
            access: Arc::clone(&access),
            references: control.references(),
            retraining: retraining.clone(),
            rollouts: rollouts.clone(),
            control: Arc::new(control),
            desk,
            duty,
            database: database.clone(),
            engine,
            store: opened.health,
            observer: observer.clone(),
        };
        let doors = api::router(api).merge(fathomline_dashboard::router(dashboard));
        let doors = limited(doors, &access, &clock);
        let mut watcher = Watcher::new(Parts {
            settings,
            database: database.clone(),
            lanes,
            rows: Arc::new(opened.control),
            earliest: opened.earliest,
            clock,
            pager: alerts.pager(),
            wake: Arc::clone(&wake),
            observer: observer.clone(),
        });
        watcher.remember().await;
        Ok(Self {
            access,
            database,
            store: opened.store,
            drained: opened.drained,
            pages: guarded(doors, &config.hosts),
            watcher,
            rollouts,
            alerts,
            wake,
            retraining,
            upkeep: opened.upkeep,
            eraser: opened.eraser,
        })
    }
}

/// Who may do what, by what the database says now.
async fn open_access(config: &Config, database: &Database) -> Result<Arc<Access>, StartError> {
    let access = Access::open(&config.data, database.clone(), config.access);
    let access = access.map_err(StartError::room)?;
    access.refresh().await.map_err(StartError::room)?;
    Ok(Arc::new(access))
}

/// Where operators look after deliveries, and after incidents.
fn desks(
    config: &Config,
    database: &Database,
    clock: &Arc<dyn Clock>,
    alerts: &Alerts,
) -> (Desk, Duty) {
    let (kept, clock) = (database.clone(), Arc::clone(clock));
    (
        Desk::new(kept.clone(), Arc::clone(&clock), alerts.known()),
        Duty::new(kept, clock, standing(config)),
    )
}

/// What the pages read, and whom they ask.
fn dashboard(
    config: &Config,
    otlp_http: SocketAddr,
    engine: &Arc<Engine>,
    pages: Arc<Pages>,
) -> Dashboard {
    Dashboard {
        engine: Arc::clone(engine),
        control: pages,
        lane_us: config.watch.cadence.lane_us,
        lateness_us: config.watch.cadence.lateness_us,
        prices: Arc::new(config.cost.clone()),
        otlp_url: format!("{}://{otlp_http}", scheme(config.otlp_tls.is_some())),
    }
}

/// What the pages ask.
fn pages(
    access: &Arc<Access>,
    clock: &Arc<dyn Clock>,
    references: References,
    (desk, duty, retraining, rollouts): (&Desk, &Duty, &Retraining, &Rollouts),
    apart: TakingApart,
) -> Arc<Pages> {
    Arc::new(Pages {
        access: Arc::clone(access),
        clock: Arc::clone(clock),
        references,
        desk: desk.clone(),
        duty: duty.clone(),
        retraining: retraining.clone(),
        rollouts: rollouts.clone(),
        apart,
    })
}

/// The gate, the detectors and what takes series apart, which read what is stored.
fn readers(
    config: &Config,
    stored: Arc<Engine>,
    database: &Database,
    clock: &Arc<dyn Clock>,
) -> (Rollouts, Arc<dyn LaneSource>, TakingApart) {
    let rollouts = Rollouts::new(
        Arc::clone(&stored),
        database.clone(),
        Arc::clone(clock),
        (config.watch.cadence, config.gate.clone()),
    );
    let lanes: Arc<dyn LaneSource> = Arc::new(EngineLanes(stored));
    let apart = TakingApart::new(&lanes, clock, &config.watch);
    (rollouts, lanes, apart)
}

fn control(
    database: &Database,
    lanes: &Arc<dyn LaneSource>,
    clock: &Arc<dyn Clock>,
    settings: &WatchSettings,
) -> Control {
    let (lanes, clock) = (Arc::clone(lanes), Arc::clone(clock));
    Control::new(database.clone(), lanes, clock, settings)
}

fn door_of(name: &'static str, observer: &Observer) -> Door {
    Door {
        name,
        observer: observer.clone(),
    }
}

/// Lanes that a reference was made from are kept at least as long as it spans.
async fn check_retention(config: &Config, database: &Database) -> Result<(), StartError> {
    let span = database.transact(references::longest_span_us).await;
    let span_us = span.map_err(StartError::room)?;
    let retention = config.store.upkeep.retention;
    retention.covers(span_us).map_err(StartError::room)
}

/// The store, which knows from the first row on of whom nothing is kept.
async fn open_store(
    folder: Folder,
    config: &Config,
    database: &Database,
    observer: &Observer,
) -> Result<store::Opened, StartError> {
    let erased = database.transact(|t| erasures::since(t, 0)).await;
    let settings = StoreSettings {
        erased: Erased::new(erased.map_err(StartError::room)?),
        ..config.store.clone()
    };
    Ok(store::open(folder, settings, observer.clone()).await?)
}

/// The engine of the detectors, which read what is stored, and that of every door, which reads what
/// is published.
fn engines(
    lake: Arc<Lake>,
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<Engine>, Arc<Engine>), StartError> {
    let engine = |publication| {
        let engine = Engine::new(Arc::clone(&lake), config.sql, publication);
        engine.map(Arc::new).map_err(StartError::room)
    };
    let stored = engine(Publication::everything())?;
    Ok((stored, engine(publication(config, clock))?))
}

/// Outputs of lanes that take nothing more, as the watcher closes them.
fn publication(config: &Config, clock: &Arc<dyn Clock>) -> Publication {
    let (cadence, clock) = (config.watch.cadence, Arc::clone(clock));
    let closed = move || cadence.closed_until(clock.now_us());
    let lanes = Lanes::of_width(cadence.lane_us, Arc::new(closed));
    Publication::of_groups(config.watch.min_devices, lanes)
}

/// Host and Origin are checked before anything else looks at a request.
fn guarded(router: Router, hosts: &[String]) -> Router {
    let rules = Arc::new(HostRules::new(hosts));
    router.layer(middleware::from_fn_with_state(rules, origin::check))
}

/// What devices find behind OTLP/HTTP: the receiver, and enrolment.
fn for_devices(receiver: Receiver, callers: &Callers, database: Database) -> Router {
    let enrolling = Enrolling {
        access: Arc::clone(&callers.access),
        database,
        clock: Arc::clone(&callers.clock),
    };
    let known = middleware::from_fn_with_state(callers.clone(), caller::over_http);
    receiver::http::router(receiver)
        .merge(enrol::router(enrolling))
        .layer(known)
}

/// What devices find behind OTLP/gRPC.
fn for_calls(receiver: Receiver, callers: Callers, door: Door) -> Router {
    receiver::grpc::router(receiver)
        .layer(middleware::from_fn_with_state(callers, caller::over_grpc))
        .layer(middleware::from_fn_with_state(door, doors::count_grpc))
}

/// Whoever guesses tokens is asked to wait.
fn limited(router: Router, access: &Arc<Access>, clock: &Arc<dyn Clock>) -> Router {
    let limit = Limit {
        access: Arc::clone(access),
        clock: Arc::clone(clock),
    };
    router.layer(middleware::from_fn_with_state(limit, limit::check))
}

/// Answers of a door are counted, refusals by its guards among them.
fn counted(router: Router, door: Door) -> Router {
    router.layer(middleware::from_fn_with_state(door, doors::count))
}

fn public_url(config: &Config, http: SocketAddr) -> String {
    let given = config.public_url.clone();
    given.unwrap_or_else(|| format!("{}://{http}", scheme(config.http_tls.is_some())))
}

fn judging(settings: &WatchSettings, lanes: &Arc<dyn LaneSource>) -> Judging {
    Judging {
        cadence: settings.cadence,
        min_devices: settings.min_devices,
        lanes: Arc::clone(lanes),
    }
}

fn telling(config: &Config, alerts: &Alerts, http: SocketAddr) -> Telling {
    Telling {
        pager: alerts.pager(),
        base_url: public_url(config, http),
    }
}

/// With every lane something may stand that did not, within bounds.
fn look_every(config: &Config) -> Duration {
    let lane = Duration::from_micros(config.watch.cadence.lane_us.unsigned_abs());
    lane.clamp(Duration::from_secs(1), Duration::from_secs(15))
}

impl Running {
    /// The URLs of dashboard, OTLP over HTTP and OTLP over gRPC.
    pub fn urls(&self) -> [String; 3] {
        let (http, otlp) = self.tls;
        [
            format!("{}://{}", scheme(http), self.http),
            format!("{}://{}", scheme(otlp), self.otlp_http),
            format!("{}://{}", scheme(otlp), self.otlp_grpc),
        ]
    }

    /// Closes the doors and returns once everything acknowledged is committed.
    pub fn drain(self) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // Nobody listening means that the doors are closed already.
            let _ = self.stop.send(true);
            for task in self.tasks {
                let _ = task.await;
            }
            let _ = self.drained.await;
        })
    }
}

/// How a door is written in a URL.
fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}
