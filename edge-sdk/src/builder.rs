//! What an application says at the start. In: options. Out: checked [`Settings`], or an error that
//! names the option. Everything that may ever leave as text is declared here and nowhere else.

mod noising;
mod watching;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use fathomline_wire::{
    identity,
    limits::{LABEL_BYTES_MAX, LABELS_MAX},
};

use crate::{
    budget::DAILY_BYTES_MIN,
    destination::Destination,
    environment,
    error::Error,
    line::Fathomline,
    meter::Plan,
    model::{Model, check_value, state_folder},
    noise,
    projection::{self, COMPONENTS_MAX},
    spool::CAP_BYTES_MIN,
};
pub(crate) use watching::Watching;

/// Default window: one request a minute, a few KiB each.
const WINDOW: Duration = Duration::from_secs(60);

/// Shorter windows would be mostly overhead, longer ones mostly loss when the power goes.
const WINDOWS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(6 * 3600);

/// What a day of windows of that length may cost.
const DAILY_BYTES: u64 = 2 * 1024 * 1024;

/// Where bytes cost money.
const METERED_WINDOW: Duration = Duration::from_secs(30 * 60);
const METERED_BYTES: u64 = 64 * 1024;

/// Default cap of the spool: days of one-minute windows.
const SPOOL_BYTES: u64 = 8 * 1024 * 1024;

/// Options of a line. The model's own are those of [`Model`].
#[derive(Clone, Debug)]
#[must_use = "nothing is observed before `start`"]
pub struct Builder {
    pub(crate) model: Model,
    service: Option<String>,
    service_version: Option<String>,
    pub(crate) destination: Destination,
    installation: Option<String>,
    device_class: Option<String>,
    device_model: Option<String>,
    site: Option<String>,
    environment: Option<String>,
    window: Option<Duration>,
    daily_bytes: Option<u64>,
    spool: Option<PathBuf>,
    spool_bytes: u64,
    pub(crate) energy: bool,
    watts_per_core: Option<f64>,
    noise: Option<noise::Wish>,
    watching: Watching,
    pub(crate) plan: Plan,
}

/// Options that were checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) model: Model,
    pub(crate) service: String,
    pub(crate) service_version: Option<String>,
    pub(crate) destination: Destination,
    pub(crate) installation: Option<String>,
    pub(crate) device_class: Option<String>,
    pub(crate) device_model: Option<String>,
    pub(crate) site: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) window: Duration,
    pub(crate) daily_bytes: Option<u64>,
    pub(crate) spool: PathBuf,
    pub(crate) spool_bytes: u64,
    pub(crate) energy: bool,
    pub(crate) watts_per_core: Option<f64>,
    pub(crate) watching: Watching,
    pub(crate) plan: Plan,
}

/// Passes an option of the model on to it.
macro_rules! model_options {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, value: impl Into<String>) -> Self {
            self.model = self.model.$name(value);
            self
        }
    )*};
}

/// Stores an option that the resource carries.
macro_rules! declared {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        pub fn $name(mut self, value: impl Into<String>) -> Self {
            self.$name = Some(value.into());
            self
        }
    )*};
}

impl Builder {
    pub(crate) fn new(model: Model) -> Self {
        Self {
            model,
            service: None,
            service_version: None,
            destination: Destination::default(),
            installation: None,
            device_class: None,
            device_model: None,
            site: None,
            environment: None,
            window: None,
            daily_bytes: None,
            spool: None,
            spool_bytes: SPOOL_BYTES,
            energy: true,
            watts_per_core: None,
            noise: None,
            watching: Watching::default(),
            plan: Plan::default(),
        }
    }

    /// See [`Model::weights`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn weights(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        self.model = self.model.weights(path)?;
        Ok(self)
    }

    /// See [`Model::weights_in`].
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn weights_in<P: AsRef<Path>>(
        mut self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Self, Error> {
        self.model = self.model.weights_in(paths)?;
        Ok(self)
    }

    /// See [`Model::tokenizer`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn tokenizer(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        self.model = self.model.tokenizer(path)?;
        Ok(self)
    }

    model_options! {
        /// See [`Model::weights_digest`].
        weights_digest,
        /// See [`Model::quantization`].
        quantization,
        /// See [`Model::tokenizer_digest`].
        tokenizer_digest,
        /// See [`Model::sampler`].
        sampler,
        /// See [`Model::backend`].
        backend,
        /// See [`Model::provider`].
        provider
    }

    declared! {
        /// Name of the application; the model's name unless set.
        service,
        /// Version of the application.
        service_version,
        /// Devices that are judged together: `kiosk`, `gateway`.
        device_class,
        /// What kind of hardware: `rpi-5`, never a serial number.
        device_model,
        /// Where the device stands.
        site,
        /// `production`, `staging`, `test`, `development` or your own.
        environment,
        /// Names this installation: 1 to 64 bytes of `[A-Za-z0-9_.:-]`. Random and kept in the
        /// spool folder unless set.
        installation
    }

    /// How long a window is: 100 ms to 6 h, a minute unless set. As the day's bytes run out,
    /// windows grow longer than that.
    pub fn window(mut self, length: Duration) -> Self {
        self.window = Some(length);
        self
    }

    /// Most bytes of body that are sent in a day, 16 KiB at least. As they get fewer windows get
    /// longer than declared; past the last of them counts wait in memory until the day turns, and
    /// a last window in the spool. 2 MiB unless this or [`window`](Self::window) is set; with a
    /// window of your own there is no limit unless you set one. A day is 24 hours of the device's
    /// clock and begins at a time that each installation has for itself. Uploads that fail count
    /// as well; headers, TLS and TCP come on top.
    pub fn daily_bytes(mut self, bytes: u64) -> Self {
        self.daily_bytes = Some(bytes);
        self
    }

    /// For connections that cost money: windows of 30 minutes, at most 64 KiB a day.
    pub fn metered(self) -> Self {
        self.window(METERED_WINDOW).daily_bytes(METERED_BYTES)
    }

    /// Folder of the windows that wait. Each line needs its own. Unless set, a folder named after
    /// the service under `$XDG_STATE_HOME` or `~/.local/state`.
    pub fn spool(mut self, folder: impl Into<PathBuf>) -> Self {
        self.spool = Some(folder.into());
        self
    }

    /// Most bytes the spool may take, 64 KiB at least and 8 MiB unless set. At the cap the oldest
    /// windows are dropped and counted.
    pub fn spool_bytes(mut self, bytes: u64) -> Self {
        self.spool_bytes = bytes;
        self
    }

    /// Labels that outputs may have: at most 64, each 1 to 32 bytes of `[a-z0-9_.-]`.
    pub fn labels<L: Into<String>>(mut self, labels: impl IntoIterator<Item = L>) -> Self {
        self.plan.labels = labels.into_iter().map(Into::into).collect();
        self
    }

    /// Observes nothing: no threads, no files, and every call does its least.
    pub fn disabled(mut self) -> Self {
        self.plan.disabled = true;
        self
    }

    /// Lets operators decide without a new build: applies the file that `FATHOMLINE_CONFIG` names
    /// over what was said so far, and environment variables over the file. `OTEL_SDK_DISABLED=true`
    /// ends it there, with a line that observes nothing. The README lists all variables.
    ///
    /// # Errors
    /// When a value cannot be used; the error names its variable, or its key in the file.
    pub fn from_environment(self) -> Result<Self, Error> {
        environment::apply(self, |name| std::env::var_os(name))
    }

    /// Whether it could start as it is, for as far as options decide that.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.clone().checked().map(drop)
    }

    /// Reads no energy, though a sensor may be there.
    pub fn without_energy(mut self) -> Self {
        self.energy = false;
        self
    }

    /// Where no sensor can be read, estimates energy: processor time of the process times so many
    /// watts for a busy core. Sent as `estimated`; half or double the truth is possible.
    pub fn estimated_watts_per_core(mut self, watts: f64) -> Self {
        self.watts_per_core = Some(watts);
        self
    }

    /// Looks at the logits of one token in `n` only: for large vocabularies on small processors.
    /// Every token unless set; 0 counts as 1.
    pub fn every_nth_token(mut self, n: u32) -> Self {
        self.plan.every_nth_token = n.max(1);
        self
    }

    /// Looks at the prompts of one inference in `n` only; one in 8 unless set, 0 counts as 1.
    pub fn every_nth_prompt(mut self, n: u64) -> Self {
        self.plan.every_nth_prompt = n.max(1);
        self
    }

    /// How many logits the model gives a token. Rows of another length are left out and counted
    /// then, and candle's `sample` refuses them: hidden states look like logits otherwise.
    pub fn vocabulary(mut self, tokens: usize) -> Self {
        self.plan.vocabulary = Some(tokens);
        self
    }

    /// Counts this many random projections, 1 to 16, of every embedding the application gives.
    /// Series of different seeds are never compared, so give all devices the same.
    pub fn projections(mut self, seed: u64, components: usize) -> Self {
        self.plan.projections = Some(projection::Plan { seed, components });
        self
    }

    /// Takes the spool folder and starts to observe.
    ///
    /// # Errors
    /// When an option is invalid, the spool folder cannot be used or is used by another line, or
    /// the system starts no thread. Never because the collector is away.
    pub fn start(self) -> Result<Fathomline, Error> {
        Fathomline::start(self.checked()?)
    }

    pub(crate) fn checked(mut self) -> Result<Settings, Error> {
        self.model.check()?;
        self.check_resource()?;
        self.destination.check()?;
        self.check_windows()?;
        self.check_labels()?;
        self.check_projections()?;
        self.check_watts()?;
        self.check_noise()?;
        self.check_detector()?;
        let service = self.service.unwrap_or_else(|| self.model.name().to_owned());
        Ok(Settings {
            spool: self.spool.unwrap_or_else(|| default_spool(&service)),
            model: self.model,
            service,
            service_version: self.service_version,
            destination: self.destination,
            installation: self.installation,
            device_class: self.device_class,
            device_model: self.device_model,
            site: self.site,
            environment: self.environment,
            window: self.window.unwrap_or(WINDOW),
            // Who chooses a window has chosen its cost.
            daily_bytes: self
                .daily_bytes
                .or(self.window.is_none().then_some(DAILY_BYTES)),
            spool_bytes: self.spool_bytes,
            energy: self.energy,
            watts_per_core: self.watts_per_core,
            watching: self.watching,
            plan: self.plan,
        })
    }

    fn check_resource(&self) -> Result<(), Error> {
        let declared = [
            ("service", &self.service),
            ("service version", &self.service_version),
            ("device class", &self.device_class),
            ("device model", &self.device_model),
            ("site", &self.site),
            ("environment", &self.environment),
        ];
        for (what, value) in declared {
            value
                .iter()
                .try_for_each(|value| check_value(what, value))?;
        }
        let installation = self.installation.as_deref();
        check(
            "installation",
            installation,
            identity::is_identifier,
            "use 1 to 64 bytes of [A-Za-z0-9_.:-]",
        )
    }

    fn check_windows(&self) -> Result<(), Error> {
        if self
            .daily_bytes
            .is_some_and(|bytes| bytes < DAILY_BYTES_MIN)
        {
            let bytes = self.daily_bytes.unwrap_or_default().to_string();
            return Err(invalid("daily bytes", &bytes, "it must be 16384 at least"));
        }
        let window = self.window.unwrap_or(WINDOW);
        if !WINDOWS.contains(&window) {
            let window = format!("{window:?}");
            return Err(invalid("window", &window, "it must be from 100 ms to 6 h"));
        }
        if self.spool_bytes < CAP_BYTES_MIN {
            let bytes = self.spool_bytes.to_string();
            return Err(invalid(
                "spool size",
                &bytes,
                "it must be 65536 bytes at least",
            ));
        }
        Ok(())
    }

    fn check_watts(&self) -> Result<(), Error> {
        let watts = self.watts_per_core.unwrap_or(1.0);
        if watts.is_finite() && watts > 0.0 && watts <= 1_000.0 {
            return Ok(());
        }
        let rule = "give watts of one busy core, above 0 and up to 1000";
        Err(invalid("watts per core", &watts.to_string(), rule))
    }

    fn check_projections(&self) -> Result<(), Error> {
        let components = self.plan.projections.map_or(1, |plan| plan.components);
        if (1..=COMPONENTS_MAX).contains(&components) {
            return Ok(());
        }
        let rule = "give 1 to 16 components";
        Err(invalid("projections", &components.to_string(), rule))
    }

    fn check_labels(&mut self) -> Result<(), Error> {
        let labels = &mut self.plan.labels;
        for label in labels.iter() {
            let rule = "a label has 1 to 32 bytes of [a-z0-9_.-]";
            debug_assert_eq!(LABEL_BYTES_MAX, 32);
            check("label", Some(label), identity::is_label, rule)?;
        }
        labels.sort_unstable();
        labels.dedup();
        if labels.len() > LABELS_MAX {
            let count = labels.len().to_string();
            return Err(invalid("labels", &count, "at most 64 may be declared"));
        }
        Ok(())
    }
}

fn check(
    what: &'static str,
    value: Option<&str>,
    valid: impl Fn(&str) -> bool,
    rule: &'static str,
) -> Result<(), Error> {
    value
        .filter(|value| !valid(value))
        .map_or(Ok(()), |value| Err(invalid(what, value, rule)))
}

fn invalid(what: &'static str, value: &str, rule: &'static str) -> Error {
    Error::Declaration {
        what,
        value: value.to_owned(),
        rule,
    }
}

fn default_spool(service: &str) -> PathBuf {
    // A service's name may be a path elsewhere; here it is one folder.
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "_-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = service.chars().map(safe).collect();
    state_folder().join(name)
}

#[cfg(test)]
mod tests;
