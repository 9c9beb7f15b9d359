//! Golden probes: fixed prompts whose answer is known, so that a damaged model shows before users
//! see it. In: logits and tokens of a run that the application makes while nobody waits. Out: a
//! distance from the golden run, and whether the tokens are the same. Owns the goldens, frozen from
//! a model's first run or shipped with the application. Never generates, never keeps a prompt or
//! an answer (a digest and projections of logits only), and never counts a run as an inference.

mod golden;
mod rounds;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fathomline_wire::identity::is_label;

pub(crate) use golden::Goldens;
use golden::{Run, Running};
use rounds::{Now, Rounds};

use crate::{
    error::Error,
    line::Shared,
    meter::{SeriesKey, Signal},
    model::Model,
};

/// Goldens of so many variants are kept, the newest ones.
const VARIANTS_KEPT: usize = 4;

/// Probes of one model; a probe takes seconds of an idle device, not its day.
const PROBES_MAX: usize = 16;

/// One run of a golden probe: a fixed prompt, a fixed seed, run while the device is idle.
///
/// Give it every row of logits and the token chosen from it, then [`finish`](Self::finish).
/// Dropping it unfinished forgets the run.
#[must_use = "a probe compares nothing before `finish`"]
pub struct Probe {
    shared: Arc<Shared>,
    series: SeriesKey,
    name: String,
    running: Running,
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Probe {
    pub(crate) fn begin(shared: &Arc<Shared>, name: &str) -> Result<Self, Error> {
        if !is_label(name) {
            return Err(Error::Declaration {
                what: "probe",
                value: name.to_owned(),
                rule: "a probe's name has 1 to 32 bytes of [a-z0-9_.-]",
            });
        }
        Ok(Self {
            shared: Arc::clone(shared),
            series: shared.meter.series(None),
            name: name.to_owned(),
            running: Running::default(),
        })
    }

    /// A token was generated. The logits are those it was chosen from, before temperature and
    /// penalties. Tokens count however many there are, logits of the first 64.
    pub fn observe_logits(&mut self, logits: &[f32], token: u32) {
        self.running.add(logits, token);
    }

    /// Compares the run with its golden and counts the outcome.
    ///
    /// The distance is the root mean square change of the logits over their spread, averaged over
    /// tokens (unit 1): 0 for the same bits, little for another processor's rounding (1e-7 in a
    /// small model), about 1 and more for another answer. `None` when there was nothing to compare
    /// with: this run is the golden now, unless its logits make no sense.
    pub fn finish(self) -> Option<f64> {
        let meter = &self.shared.meter;
        if meter.plan().disabled {
            return None;
        }
        let variants = meter.variants();
        let model = variants.get(self.series.variant)?.model();
        let now = self.shared.unix_seconds();
        let run = self.running.end();
        let outcome = self.shared.probes.judge(model, &self.name, run, now)?;
        let shard = meter.shard();
        shard.value(self.series, Signal::ProbeDistance, outcome.distance);
        if !outcome.same_answer {
            shard.probe_mismatch(self.series);
            self.shared.tally.probe_mismatched();
        }
        Some(outcome.distance)
    }
}

impl Shared {
    /// See [`Fathomline::probe_due`](crate::Fathomline::probe_due).
    pub(crate) fn is_probe_due(&self, name: &str) -> bool {
        if self.meter.plan().disabled || !is_label(name) {
            return false;
        }
        let variants = self.meter.variants();
        let current = variants.get(self.meter.series(None).variant);
        let last = current.and_then(|variant| self.probes.last_run(variant.model(), name));
        let now = Now {
            instant: Instant::now(),
            unix: self.unix_seconds(),
            on_battery: self.surroundings.on_battery(),
        };
        let (begun, ended) = self.meter.activity();
        self.probes.rounds.saw(begun, ended, now.instant);
        self.probes.rounds.is_due(last, now)
    }

    /// See [`Fathomline::goldens`](crate::Fathomline::goldens).
    pub(crate) fn goldens(&self) -> String {
        let variants = self.meter.variants();
        let current = variants.get(self.meter.series(None).variant);
        current.map_or_else(String::new, |variant| {
            self.probes.shippable(variant.model())
        })
    }

    fn unix_seconds(&self) -> u64 {
        self.clock.unix_nano() / 1_000_000_000
    }
}

/// What a run has in common with its golden.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) distance: f64,
    pub(crate) same_answer: bool,
}

/// The goldens of a line.
#[derive(Debug)]
pub(crate) struct Probes {
    pub(crate) rounds: Rounds,
    shipped: Vec<Goldens>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Newest last.
    goldens: Vec<Goldens>,
    changed: bool,
}

impl Probes {
    /// `kept` is what an earlier boot left; what cannot be read is frozen again.
    pub(crate) fn new(every: Duration, shipped: Vec<Goldens>, kept: &[u8]) -> Self {
        Self {
            rounds: Rounds::new(every),
            shipped,
            kept: Mutex::new(Kept {
                goldens: golden::parse_all(kept).unwrap_or_default(),
                changed: false,
            }),
        }
    }

    /// What to keep, if it changed since the last call.
    pub(crate) fn take_changed(&self) -> Option<String> {
        let mut kept = self.lock();
        std::mem::take(&mut kept.changed).then(|| golden::print_all(&kept.goldens))
    }

    /// The goldens frozen for a model, as a file that can be shipped.
    pub(crate) fn shippable(&self, model: &Model) -> String {
        let kept = self.lock();
        let of_model = kept.goldens.iter().find(|golden| golden.is_variant(model));
        of_model.map_or_else(|| Goldens::of(model).print(), Goldens::print)
    }

    /// When a probe of this model last ran, in seconds since the Unix epoch.
    pub(crate) fn last_run(&self, model: &Model, name: &str) -> Option<u64> {
        let kept = self.lock();
        let of_model = kept
            .goldens
            .iter()
            .find(|golden| golden.is_variant(model))?;
        of_model.ran.get(name).copied()
    }

    /// Compares a run with what was shipped or, if nothing was, with what was frozen. `None` when
    /// this run was the first.
    pub(crate) fn judge(
        &self,
        model: &Model,
        name: &str,
        run: Run,
        now_unix: u64,
    ) -> Option<Outcome> {
        let shipped = self.shipped.iter().filter(|golden| golden.is_model(model));
        let shipped = shipped
            .filter_map(|golden| golden.probes.get(name))
            .next_back();
        let mut kept = self.lock();
        let ours = kept.of(model)?;
        if ours.ran.len() >= PROBES_MAX && !ours.ran.contains_key(name) {
            tracing::warn!(
                name,
                "probe left out: a model has {PROBES_MAX} probes at most"
            );
            return None;
        }
        ours.ran.insert(name.to_owned(), now_unix);
        let golden = shipped.or_else(|| ours.probes.get(name));
        if let Some(golden) = golden {
            return run.against(golden);
        }
        // A model that answers nonsense at its first run is no model for later ones.
        if run.is_sound() {
            ours.probes.insert(name.to_owned(), run);
        } else {
            tracing::warn!(
                name,
                "probe not frozen: its logits are no numbers, or there are none"
            );
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The goldens of a variant, empty ones if it is new. What they hold is about to change.
    fn of(&mut self, model: &Model) -> Option<&mut Goldens> {
        self.changed = true;
        if !self.goldens.iter().any(|golden| golden.is_variant(model)) {
            if self.goldens.len() >= VARIANTS_KEPT {
                self.goldens.remove(0);
            }
            self.goldens.push(Goldens::of(model));
        }
        self.goldens
            .iter_mut()
            .find(|golden| golden.is_variant(model))
    }
}

#[cfg(test)]
mod tests;
