//! A line: everything that belongs to one observed application. In: settings. Out: inferences to
//! observe, and three threads that close windows, send them and look at the device. Owns start
//! and end; the work is done in the rooms. No global state: a program may hold as many lines as
//! it likes.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fathomline_wire::names;

use crate::{
    bell::Bell,
    budget::Budget,
    builder::{Builder, Settings},
    clock::Clock,
    closer,
    energy::{self, Energy},
    error::Error,
    inference::Inference,
    installation,
    lookout::Lookout,
    meter::{Meter, Signal},
    model::Model,
    noise::Releases,
    otlp::{EnergyReading, Envelope},
    probe::{Probe, Probes},
    queue::Queue,
    sampler::{self, Surroundings},
    sender,
    words::Operation,
};

/// Stacks of the background threads: a TLS handshake without optimisation fits with room to spare.
const STACK_BYTES: usize = 512 * 1024;

/// How long a dropped line may take to send what it has. The rest waits in the spool.
const DROP_LIMIT: Duration = Duration::from_millis(500);

/// The handle an application holds while it runs a model.
///
/// Dropping it closes the last window and tries for half a second to send what waits;
/// [`shutdown`](Self::shutdown) does the same with a limit of your own.
#[derive(Debug)]
pub struct Fathomline {
    pub(crate) shared: Arc<Shared>,
    ended: bool,
}

/// How a line is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Windows in the spool that the collector has not acknowledged.
    pub windows_waiting: u64,
    /// Their bytes.
    pub bytes_waiting: u64,
    /// Windows acknowledged since the start.
    pub windows_stored: u64,
    /// Windows refused for good since the start, kept aside in the spool folder.
    pub windows_refused: u64,
    /// Windows lost since the start, because the spool was full or damaged.
    pub windows_dropped: u64,
    /// Windows that became part of a neighbour since the start, because the spool was full:
    /// nothing is lost but resolution in time.
    pub windows_merged: u64,
    /// Those of the waiting windows that are in memory, because the spool folder cannot be
    /// written: a restart would lose them.
    pub windows_in_memory: u64,
    /// Points that the collector rejected from windows it stored.
    pub points_rejected: u64,
    /// HTTP status of the collector's last reply; none when it was not reached the last time.
    pub last_status: Option<u16>,
    /// Rows of logits left out since the start, because they were not as long as the declared
    /// vocabulary.
    pub rows_misfit: u64,
    /// Alarms of the detector since the start.
    pub alarms: u64,
    /// Signals of which the detector has learned what is usual, 9 at most. It is silent about the
    /// others.
    pub signals_watched: u64,
    /// Golden probes that answered with other tokens, since the start.
    pub probes_mismatched: u64,
}

/// What the threads and the inferences of a line share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) meter: Meter,
    /// Held across IO, so never by an inference. `None` once the line has ended.
    spool: Mutex<Option<Queue>>,
    pub(crate) envelope: Envelope,
    pub(crate) bell: Bell,
    pub(crate) budget: Budget,
    pub(crate) surroundings: Surroundings,
    pub(crate) lookout: Option<Lookout>,
    pub(crate) probes: Probes,
    pub(crate) tally: Tally,
}

impl Shared {
    /// Waits for whoever uses the spool, so never on the inference path.
    pub(crate) fn spool(&self) -> MutexGuard<'_, Option<Queue>> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act` on the spool, unless the line has given it up.
    pub(crate) fn with_spool<T>(&self, act: impl FnOnce(&mut Queue) -> T) -> Option<T> {
        self.spool().as_mut().map(act)
    }
}

/// Counts of the sender.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    stored: AtomicU64,
    refused: AtomicU64,
    points_rejected: AtomicU64,
    alarms: AtomicU64,
    probes_mismatched: AtomicU64,
    /// Zero when there was none.
    last_status: AtomicU16,
}

impl Tally {
    /// The collector replied, or was not reached.
    pub(crate) fn replied(&self, status: Option<u16>) {
        let status = status.unwrap_or_default();
        self.last_status.store(status, Ordering::Relaxed);
    }

    fn last_status(&self) -> Option<u16> {
        let status = self.last_status.load(Ordering::Relaxed);
        (status > 0).then_some(status)
    }

    pub(crate) fn stored(&self) {
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    /// Points of a stored window were not taken.
    pub(crate) fn rejected(&self, points_rejected: u64) {
        self.points_rejected
            .fetch_add(points_rejected, Ordering::Relaxed);
    }

    /// A golden probe answered with other tokens.
    pub(crate) fn probe_mismatched(&self) {
        self.probes_mismatched.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// About once a second: whether somebody infers, and what the detector makes of it.
    pub(crate) fn look(&self, now: Instant) {
        let (begun, ended) = self.meter.activity();
        self.probes.rounds.saw(begun, ended, now);
        self.fold();
    }

    /// Shows the detector what was finished since the last time.
    pub(crate) fn fold(&self) {
        if let Some(lookout) = &self.lookout {
            let raised = lookout.fold(&self.meter, self.clock.unix_nano());
            self.tally.alarms.fetch_add(raised, Ordering::Relaxed);
        }
    }
}

impl Fathomline {
    /// Declares the model by the name and version people know it under.
    pub fn builder(model: impl Into<String>, version: impl Into<String>) -> Builder {
        Builder::new(Model::new(model, version))
    }

    pub(crate) fn start(settings: Settings) -> Result<Self, Error> {
        let boot = installation::random()?;
        let spool = if settings.plan.keeps_nothing() {
            None
        } else {
            Some(Queue::open(&settings, &boot)?)
        };
        let installation = spool.as_ref().map_or(boot.as_str(), Queue::installation);
        let installation = installation.to_owned();
        let root = Path::new("/");
        let found = (settings.energy && !settings.plan.disabled)
            .then(|| {
                let gpu = settings.model.may_run_on_gpu();
                energy::find(root, settings.watts_per_core, gpu)
            })
            .flatten();
        let energy = found.map(Energy::new);
        let reading = energy.as_ref().map(Energy::reading);
        let envelope = envelope(&settings, &installation, &boot, reading);
        let (lookout, probes) = watched(&settings, spool.as_ref());
        let clock = Clock::start();
        let shared = Arc::new(Shared {
            clock,
            budget: Budget::open(
                &settings.spool,
                &installation,
                settings.daily_bytes,
                settings.window,
                clock.unix_nano(),
            ),
            meter: Meter::new(settings.model, settings.plan, energy),
            spool: Mutex::new(spool),
            envelope,
            bell: Bell::default(),
            surroundings: Surroundings::new(root),
            lookout,
            probes,
            tally: Tally::default(),
        });
        // From here on a failure drops the line, which stops the thread that did start.
        let line = Self {
            shared: Arc::clone(&shared),
            ended: false,
        };
        let windowless = shared.meter.plan().keeps_nothing();
        if shared.meter.energy().is_some() || shared.lookout.is_some() || !windowless {
            let sampling = Arc::clone(&shared);
            spawn("fathomline-sampler", move || sampler::run(&sampling))?;
        }
        if windowless {
            shared.bell.closed();
            shared.bell.drained();
            return Ok(line);
        }
        let (sending, destination) = (Arc::clone(&shared), settings.destination);
        spawn("fathomline-sender", move || {
            sender::run(&sending, &destination, settings.window);
        })?;
        let register = shared.meter.register();
        let releases =
            register.map(|register| Releases::open(&settings.spool, register, clock.unix_nano()));
        spawn("fathomline-closer", move || {
            closer::run(&shared, settings.window, releases)
        })?;
        Ok(line)
    }

    /// Begins to observe one inference of the current model.
    pub fn operation(&self, operation: Operation) -> Inference {
        let meter = &self.shared.meter;
        Inference::begin(meter.shard(), meter.series(Some(operation)))
    }

    /// The current model took so long to load.
    pub fn model_loaded(&self, took: Duration) {
        let meter = &self.shared.meter;
        let (series, seconds) = (meter.series(None), took.as_secs_f64());
        meter.shard().value(series, Signal::LoadDuration, seconds);
    }

    /// Inferences that begin from now on run `model`; running ones stay with theirs.
    ///
    /// At most 16 models are told apart while a process runs; later ones count as `other`.
    ///
    /// # Errors
    /// When the declaration holds a value that the contract does not carry.
    pub fn switch_model(&self, model: Model) -> Result<(), Error> {
        model.check()?;
        self.shared.meter.switch(model);
        Ok(())
    }

    /// Begins a run of a golden probe of the current model, under a name of your own: 1 to 32
    /// bytes of `[a-z0-9_.-]`, at most 16 of them. The prompt, the seed and the generation are
    /// yours, and must be the same each time. A run counts as no inference.
    ///
    /// # Errors
    /// When the name has another form.
    pub fn probe(&self, name: &str) -> Result<Probe, Error> {
        Probe::begin(&self.shared, name)
    }

    /// Whether this is a good time to run a probe: nothing was inferred for a minute, the device
    /// is not known to run on battery, and the probe has not run for a day or what
    /// [`Builder::probe_every`] says.
    pub fn probe_due(&self, name: &str) -> bool {
        self.shared.is_probe_due(name)
    }

    /// What probes of the current model answered first, for [`Builder::golden`] on every device:
    /// digests and projections, and neither prompts nor answers.
    pub fn goldens(&self) -> String {
        self.shared.goldens()
    }

    /// How the line is doing. Reads what the spool knows, so it may wait for the disk: not for
    /// the inference path.
    pub fn health(&self) -> Health {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &self.shared.tally;
        let spool = self.shared.spool();
        let spool = spool.as_ref();
        Health {
            windows_waiting: spool.map_or(0, Queue::windows),
            bytes_waiting: spool.map_or(0, Queue::bytes),
            windows_stored: count(&tally.stored),
            windows_refused: count(&tally.refused),
            windows_dropped: spool.map_or(0, Queue::dropped),
            windows_merged: spool.map_or(0, Queue::merged),
            windows_in_memory: spool.map_or(0, Queue::windows_in_memory),
            points_rejected: count(&tally.points_rejected),
            last_status: tally.last_status(),
            rows_misfit: self.shared.meter.misfits(),
            alarms: count(&tally.alarms),
            signals_watched: self.shared.lookout.as_ref().map_or(0, Lookout::watching) as u64,
            probes_mismatched: count(&tally.probes_mismatched),
        }
    }

    /// Closes the last window, sends what waits for at most `limit`, and says how it went. What
    /// was not sent stays in the spool for the next start. Keeping the last window has half a
    /// second however short `limit` is, and takes milliseconds of it.
    pub fn shutdown(mut self, limit: Duration) -> Health {
        self.end(limit)
    }

    fn end(&mut self, limit: Duration) -> Health {
        self.ended = true;
        let now = Instant::now();
        let deadline = now
            .checked_add(limit)
            .unwrap_or(now + Duration::from_secs(u32::MAX.into()));
        self.shared.bell.close(deadline);
        // Whoever has no time to send still wants to keep: that takes milliseconds.
        self.shared
            .bell
            .wait_until_closed(deadline.max(now + DROP_LIMIT));
        self.shared.bell.wait_until_drained(deadline);
        if self.shared.meter.plan().keeps_nothing() {
            // No closer does it: what the last inferences used, and what the detector makes of
            // them.
            sampler::sample_energy(&self.shared.meter);
            self.shared.fold();
        }
        let health = self.health();
        // Frees the folder for the next line, even if an upload is still under way: what it will
        // be told is not noted, and the window is sent again, which counts once.
        self.shared.spool().take();
        health
    }
}

impl Drop for Fathomline {
    fn drop(&mut self) {
        if !self.ended {
            self.end(DROP_LIMIT);
        }
    }
}

fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES);
    thread
        .spawn(run)
        .map(drop)
        .map_err(|source| Error::Thread { name, source })
}

fn envelope(
    settings: &Settings,
    installation: &str,
    boot: &str,
    energy: Option<EnergyReading>,
) -> Envelope {
    Envelope {
        resource: resource(settings, Some(installation), boot),
        labels: settings.plan.labels.clone(),
        projections: settings.plan.projections,
        energy,
        noise: settings.plan.noise.clone(),
        scope_version: env!("CARGO_PKG_VERSION"),
    }
}

/// What watches on the device, with what earlier boots have learned.
fn watched(settings: &Settings, spool: Option<&Queue>) -> (Option<Lookout>, Probes) {
    let kept = |name| spool.map(|spool| spool.kept(name)).unwrap_or_default();
    let watched_for = settings.plan.detector.filter(|_| !settings.plan.disabled);
    let lookout = watched_for.map(|tuning| Lookout::new(tuning, &kept("detector")));
    let watching = &settings.watching;
    let goldens = watching.goldens.clone();
    let probes = Probes::new(watching.probe_every, goldens, &kept("probes"));
    (lookout, probes)
}

/// Attributes of the installation. They do not change while the process runs: a change would be
/// a new series in every relay and store.
pub(crate) fn resource(
    settings: &Settings,
    installation: Option<&str>,
    boot: &str,
) -> Vec<(&'static str, String)> {
    let installation = installation.map(str::to_owned);
    let always = [
        (names::SERVICE_NAME, settings.service.clone()),
        (names::SERVICE_INSTANCE_ID, boot.to_owned()),
        (names::HOST_ARCH, std::env::consts::ARCH.to_owned()),
        (names::OS_TYPE, std::env::consts::OS.to_owned()),
    ];
    let declared = [
        (names::DEVICE_ID, &installation),
        (names::SERVICE_VERSION, &settings.service_version),
        (names::DEVICE_MODEL_IDENTIFIER, &settings.device_model),
        (names::ENVIRONMENT, &settings.environment),
        (names::DEVICE_CLASS, &settings.device_class),
        (names::SITE, &settings.site),
    ];
    let declared = declared
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.clone()?)));
    always.into_iter().chain(declared).collect()
}
