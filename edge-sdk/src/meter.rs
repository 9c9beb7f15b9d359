//! What was observed since the last window closed. In: finished inferences, labels, feedback.
//! Out: one [`Sketch`] a series, taken whole when a window closes. Memory is bounded by the
//! number of variants, operations, labels and buckets, whatever the application does. Never a
//! clock, never IO: whoever holds a lock of this room holds it for microseconds.
//!
//! Threads record into shards of their own, so that two that infer at once share no cache line;
//! a closing window merges the shards, in their order.

mod sketch;

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use fathomline_wire::{limits::VARIANTS_MAX, names};

pub(crate) use sketch::{Observation, Record, SIGNALS, Signal, Sketch};

#[cfg(feature = "otel-bridge")]
use crate::bridge::{Bridge, Instruments};
use crate::{
    detector::Tuning,
    energy::Energy,
    lookout::Readings,
    model::Model,
    noise::{Register, Terms},
    projection,
    script::Scripts,
    words::{Feedback, Operation, Validity},
};

/// More threads than this share shards: memory is bounded, and the lock is short.
const SHARDS: usize = 4;

/// Which sketch an inference belongs to. Ordered, so that a window always encodes the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeriesKey {
    pub(crate) variant: usize,
    /// `None` for what is about the model and no request, such as its loading.
    pub(crate) operation: Option<Operation>,
}

/// A model this boot has run, with the attributes its points carry.
#[derive(Debug, PartialEq)]
pub(crate) struct Variant {
    model: Model,
    pub(crate) attributes: Vec<(&'static str, String)>,
    /// Tells models apart across restarts; never zero.
    pub(crate) identity: u64,
}

impl Variant {
    pub(crate) fn new(model: Model) -> Arc<Self> {
        // Once a boot and not once a point: the attributes hold a hash.
        let attributes = model.attributes();
        let texts = attributes
            .iter()
            .flat_map(|(_, text)| [text.as_str(), "\n"]);
        // FNV-1a: nobody gains anything by a collision.
        let identity = texts
            .flat_map(str::bytes)
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Arc::new(Self {
            model,
            attributes,
            identity: identity.max(1),
        })
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// The short hash, or `other`.
    pub(crate) fn name(&self) -> &str {
        let mut attributes = self.attributes.iter();
        let found = attributes.find(|(key, _)| *key == names::MODEL_VARIANT);
        found.map_or(names::OTHER, |(_, value)| value)
    }
}

/// Sketches by series.
pub(crate) type Sketches = BTreeMap<SeriesKey, Sketch>;

/// What a line decided at its start about what inferences observe.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Checked and sorted by whoever built them.
    pub(crate) labels: Vec<String>,
    /// Logits of one token in so many are looked at.
    pub(crate) every_nth_token: u32,
    /// Prompts of one inference in so many are looked at.
    pub(crate) every_nth_prompt: u64,
    pub(crate) projections: Option<projection::Plan>,
    /// What is watched for on the device, if anything.
    pub(crate) detector: Option<Tuning>,
    /// Nothing is observed at all.
    pub(crate) disabled: bool,
    /// Logits of one row, if that was declared.
    pub(crate) vocabulary: Option<usize>,
    /// Terms of noise: cells are counted then, and nothing else of an inference.
    pub(crate) noise: Option<Terms>,
    /// The application's own, if they are to be used instead of the spool.
    #[cfg(feature = "otel-bridge")]
    pub(crate) instruments: Option<Arc<Instruments>>,
}

impl Plan {
    /// Whether there are no windows: nothing is observed, or the application's own pipeline has it.
    pub(crate) fn keeps_nothing(&self) -> bool {
        #[cfg(feature = "otel-bridge")]
        if self.instruments.is_some() {
            return true;
        }
        self.disabled
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            labels: Vec::new(),
            every_nth_token: 1,
            every_nth_prompt: 8,
            projections: None,
            detector: None,
            disabled: false,
            vocabulary: None,
            noise: None,
            #[cfg(feature = "otel-bridge")]
            instruments: None,
        }
    }
}

/// The open window's sketches, and which variants this boot has seen.
#[derive(Debug)]
pub(crate) struct Meter {
    /// In order of appearance; none is ever removed, so an index stays good for the whole boot.
    variants: Arc<Mutex<Vec<Arc<Variant>>>>,
    current: AtomicUsize,
    shards: [Arc<Shard>; SHARDS],
    register: Option<Arc<Register>>,
    energy: Option<Arc<Energy>>,
    #[cfg(feature = "otel-bridge")]
    bridge: Option<Arc<Bridge>>,
}

/// Where the inferences of some threads are recorded. On cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Shard {
    plan: Arc<Plan>,
    variants: Arc<Mutex<Vec<Arc<Variant>>>>,
    register: Option<Arc<Register>>,
    energy: Option<Arc<Energy>>,
    begun: AtomicU64,
    ended: AtomicU64,
    /// Rows that were no logits of the declared vocabulary.
    misfits: AtomicU64,
    sketches: Mutex<Sketches>,
    #[cfg(feature = "otel-bridge")]
    bridge: Option<Arc<Bridge>>,
    /// For the detector, if there is one.
    readings: Option<Readings>,
}

impl Meter {
    /// With `energy`, inferences say when they begin and end.
    pub(crate) fn new(model: Model, plan: Plan, energy: Option<Energy>) -> Self {
        let plan = Arc::new(plan);
        let energy = energy.map(Arc::new);
        #[cfg(feature = "otel-bridge")]
        let bridge = {
            let reading = energy.as_ref().map(|energy| energy.reading());
            let instruments = plan.instruments.as_ref();
            instruments.map(|instruments| Arc::new(Bridge::new(instruments, reading)))
        };
        let noise = plan.noise.clone().filter(|_| !plan.disabled);
        let register = noise.map(Register::new).map(Arc::new);
        let variants = Arc::default();
        let meter = Self {
            variants: Arc::clone(&variants),
            current: AtomicUsize::new(0),
            shards: std::array::from_fn(|_| {
                Arc::new(Shard {
                    plan: Arc::clone(&plan),
                    variants: Arc::clone(&variants),
                    register: register.clone(),
                    energy: energy.clone(),
                    begun: AtomicU64::new(0),
                    ended: AtomicU64::new(0),
                    misfits: AtomicU64::new(0),
                    sketches: Mutex::default(),
                    #[cfg(feature = "otel-bridge")]
                    bridge: bridge.clone(),
                    readings: plan.detector.map(|_| Readings::new()),
                })
            }),
            register,
            energy,
            #[cfg(feature = "otel-bridge")]
            bridge,
        };
        meter.switch(model);
        meter
    }

    /// What the line decided about observing.
    pub(crate) fn plan(&self) -> &Plan {
        &self.shards[0].plan
    }

    /// Inferences that begin from now on run this model.
    pub(crate) fn switch(&self, model: Model) {
        let mut variants = lock(&self.variants);
        let known = variants.iter().position(|variant| variant.model == model);
        let current = known.unwrap_or_else(|| {
            if variants.len() < VARIANTS_MAX {
                self.declare(&mut variants, model);
            } else if variants.len() == VARIANTS_MAX {
                self.declare(&mut variants, other());
            }
            variants.len() - 1
        });
        self.current.store(current, Ordering::Relaxed);
    }

    fn declare(&self, variants: &mut Vec<Arc<Variant>>, model: Model) {
        let variant = Variant::new(model);
        #[cfg(feature = "otel-bridge")]
        if let Some(bridge) = &self.bridge {
            bridge.declare(&variant);
        }
        variants.push(variant);
    }

    /// The series of an inference that begins now.
    pub(crate) fn series(&self, operation: Option<Operation>) -> SeriesKey {
        SeriesKey {
            variant: self.current.load(Ordering::Relaxed),
            operation,
        }
    }

    /// The calling thread's shard.
    pub(crate) fn shard(&self) -> &Arc<Shard> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
        }
        let thread = THREAD.get().unwrap_or_else(|| {
            let next = THREADS.fetch_add(1, Ordering::Relaxed);
            THREAD.set(Some(next));
            next
        });
        &self.shards[thread % SHARDS]
    }

    /// Who used which joules, if they are read.
    pub(crate) fn energy(&self) -> Option<&Energy> {
        self.energy.as_deref()
    }

    /// Counts of cells, if they go with noise.
    pub(crate) fn register(&self) -> Option<&Register> {
        self.register.as_deref()
    }

    /// What waits for the detector, with the shard it waits in.
    pub(crate) fn readings(&self) -> impl Iterator<Item = (&Shard, &Readings)> {
        let shards = self.shards.iter();
        shards.filter_map(|shard| Some((&**shard, shard.readings.as_ref()?)))
    }

    /// How many inferences have begun, and how many have ended.
    pub(crate) fn activity(&self) -> (u64, u64) {
        let sum = |count: fn(&Shard) -> &AtomicU64| {
            let counts = self.shards.iter();
            counts
                .map(|shard| count(shard).load(Ordering::Relaxed))
                .sum()
        };
        (sum(|shard| &shard.begun), sum(|shard| &shard.ended))
    }

    /// Hands over everything recorded so far and starts again from nothing.
    pub(crate) fn take(&self) -> Sketches {
        let mut all = Sketches::new();
        for shard in &self.shards {
            merge_into(&mut all, std::mem::take(&mut *lock(&shard.sketches)));
        }
        all
    }

    /// Puts back what could not be kept elsewhere; it goes out with the next window.
    pub(crate) fn restore(&self, sketches: Sketches) {
        merge_into(&mut lock(&self.shard().sketches), sketches);
    }

    /// Rows left out because they did not fit the declared vocabulary.
    pub(crate) fn misfits(&self) -> u64 {
        let misfits = self
            .shards
            .iter()
            .map(|shard| shard.misfits.load(Ordering::Relaxed));
        misfits.sum()
    }

    /// Variants by index, for encoding.
    pub(crate) fn variants(&self) -> Vec<Arc<Variant>> {
        lock(&self.variants).clone()
    }
}

impl Shard {
    /// What the line decided about observing.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Who used which joules, if they are read.
    pub(crate) fn energy(&self) -> Option<&Energy> {
        self.energy.as_deref()
    }

    /// Whether counts go with noise.
    pub(crate) fn is_noised(&self) -> bool {
        self.register.is_some()
    }

    /// Name of a variant by its index.
    pub(crate) fn variant(&self, index: usize) -> Option<String> {
        let variants = lock(&self.variants);
        variants.get(index).map(|variant| variant.name().to_owned())
    }

    /// Whether the inference that begins now is one whose prompt is looked at.
    pub(crate) fn samples_prompt(&self) -> bool {
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        !self.plan.disabled && begun.is_multiple_of(self.plan.every_nth_prompt.max(1))
    }

    /// Whether a row has the declared number of logits; said when it first has not.
    pub(crate) fn fits(&self, logits: usize) -> bool {
        let Some(vocabulary) = self.plan.vocabulary.filter(|wanted| *wanted != logits) else {
            return true;
        };
        if self.misfits.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                logits,
                vocabulary,
                "rows are left out: they are not as long as the vocabulary; hidden states instead \
                 of logits look like this, the causal language model's type gives logits"
            );
        }
        false
    }

    /// Counts it: in the open window, among the cells that go with noise, or on the application's
    /// own instruments.
    pub(crate) fn observe(&self, key: SeriesKey, seen: Observation<'_>) {
        if self.plan.disabled {
            return;
        }
        #[cfg(feature = "otel-bridge")]
        if let Some(bridge) = &self.bridge {
            bridge.observe(&self.plan, key, seen);
            return;
        }
        if let Some(register) = &self.register {
            return register.observe(key.variant, seen);
        }
        let labels = self.plan.labels.len();
        let mut sketches = lock(&self.sketches);
        let sketch = sketches.entry(key).or_insert_with(|| Sketch::new(labels));
        sketch.observe(seen);
    }

    pub(crate) fn record(&self, key: SeriesKey, record: &Record) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.observe(key, Observation::Record(record));
        if let Some(readings) = self.readings.as_ref().filter(|_| !self.plan.disabled) {
            readings.leave(key.variant, record);
        }
    }

    /// The detector says that a signal moved.
    pub(crate) fn alarm(&self, key: SeriesKey, signal: usize) {
        self.observe(key, Observation::Alarm(signal));
    }

    /// A golden probe answered with other tokens.
    pub(crate) fn probe_mismatch(&self, key: SeriesKey) {
        self.observe(key, Observation::ProbeMismatch);
    }

    /// One value of one signal, outside of a record.
    pub(crate) fn value(&self, key: SeriesKey, signal: Signal, value: f64) {
        self.observe(key, Observation::Value(signal, value));
    }

    pub(crate) fn feedback(&self, key: SeriesKey, kind: Feedback) {
        self.observe(key, Observation::Feedback(kind));
    }

    pub(crate) fn validity(&self, key: SeriesKey, kind: Validity) {
        self.observe(key, Observation::Validity(kind));
    }

    /// Counts characters of a prompt by their class.
    pub(crate) fn scripts(&self, key: SeriesKey, scripts: &Scripts) {
        self.observe(key, Observation::Scripts(scripts));
    }

    /// Counts a declared label, or `other`; the text itself goes no further.
    pub(crate) fn label(&self, key: SeriesKey, label: &str) {
        let labels = &self.plan.labels;
        let declared = labels.binary_search_by(|known| known.as_str().cmp(label));
        let index = declared.unwrap_or(labels.len());
        self.observe(key, Observation::Label(index));
    }

    /// Adds an embedding's projections, if the line takes any.
    pub(crate) fn embedding(&self, key: SeriesKey, embedding: &[f32]) {
        let plan = self.plan.projections.filter(|_| self.register.is_none());
        let projected = plan.and_then(|plan| plan.project(embedding));
        if let Some(values) = projected {
            self.observe(key, Observation::Projections(&values));
        }
    }
}

fn merge_into(all: &mut Sketches, more: Sketches) {
    for (key, sketch) in more {
        all.entry(key)
            .and_modify(|known| known.merge(&sketch))
            .or_insert(sketch);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stands for every variant after the last that has a place.
fn other() -> Model {
    Model::new(names::OTHER, names::OTHER)
}

#[cfg(test)]
mod tests;
