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

pub(crate) use sketch::{Record, SIGNALS, Signal, Sketch};

use crate::{
    detector::Tuning,
    energy::Energy,
    lookout::Readings,
    model::Model,
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
        }
    }
}

/// The open window's sketches, and which variants this boot has seen.
#[derive(Debug)]
pub(crate) struct Meter {
    /// In order of appearance; none is ever removed, so an index stays good for the whole boot.
    variants: Mutex<Vec<Arc<Variant>>>,
    current: AtomicUsize,
    shards: [Arc<Shard>; SHARDS],
    energy: Option<Arc<Energy>>,
}

/// Where the inferences of some threads are recorded. On cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Shard {
    plan: Arc<Plan>,
    energy: Option<Arc<Energy>>,
    begun: AtomicU64,
    ended: AtomicU64,
    /// Rows that were no logits of the declared vocabulary.
    misfits: AtomicU64,
    sketches: Mutex<Sketches>,
    /// For the detector, if there is one.
    readings: Option<Readings>,
}

impl Meter {
    /// With `energy`, inferences say when they begin and end.
    pub(crate) fn new(model: Model, plan: Plan, energy: Option<Energy>) -> Self {
        let plan = Arc::new(plan);
        let energy = energy.map(Arc::new);
        Self {
            variants: Mutex::new(vec![Variant::new(model)]),
            current: AtomicUsize::new(0),
            shards: std::array::from_fn(|_| {
                Arc::new(Shard {
                    plan: Arc::clone(&plan),
                    energy: energy.clone(),
                    begun: AtomicU64::new(0),
                    ended: AtomicU64::new(0),
                    misfits: AtomicU64::new(0),
                    sketches: Mutex::default(),
                    readings: plan.detector.map(|_| Readings::new()),
                })
            }),
            energy,
        }
    }

    /// Whether nothing is observed at all.
    pub(crate) fn is_disabled(&self) -> bool {
        self.shards[0].plan.disabled
    }

    /// Inferences that begin from now on run this model.
    pub(crate) fn switch(&self, model: Model) {
        let mut variants = lock(&self.variants);
        let known = variants.iter().position(|variant| variant.model == model);
        let current = known.unwrap_or_else(|| {
            if variants.len() < VARIANTS_MAX {
                variants.push(Variant::new(model));
            } else if variants.len() == VARIANTS_MAX {
                variants.push(Variant::new(other()));
            }
            variants.len() - 1
        });
        self.current.store(current, Ordering::Relaxed);
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

    pub(crate) fn record(&self, key: SeriesKey, record: &Record) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.with(key, |sketch| sketch.add(record));
        if let Some(readings) = self.readings.as_ref().filter(|_| !self.plan.disabled) {
            readings.leave(key.variant, record);
        }
    }

    /// The detector says that a signal moved.
    pub(crate) fn alarm(&self, key: SeriesKey, signal: usize) {
        self.with(key, |sketch| sketch.alarms[signal] += 1);
    }

    /// A golden probe answered with other tokens.
    pub(crate) fn probe_mismatch(&self, key: SeriesKey) {
        self.with(key, |sketch| sketch.probe_mismatches[0] += 1);
    }

    /// One value of one signal, outside of a record.
    pub(crate) fn value(&self, key: SeriesKey, signal: Signal, value: f64) {
        self.with(key, |sketch| {
            sketch.signals[signal as usize].record(value);
        });
    }

    pub(crate) fn feedback(&self, key: SeriesKey, kind: Feedback) {
        self.with(key, |sketch| sketch.feedback[kind as usize] += 1);
    }

    pub(crate) fn validity(&self, key: SeriesKey, kind: Validity) {
        self.with(key, |sketch| sketch.validity[kind as usize] += 1);
    }

    /// Counts characters of a prompt by their class.
    pub(crate) fn scripts(&self, key: SeriesKey, scripts: &Scripts) {
        self.with(key, |sketch| {
            let counts = sketch.scripts.iter_mut().zip(scripts);
            counts.for_each(|(count, more)| *count += more);
        });
    }

    /// Counts a declared label, or `other`; the text itself goes no further.
    pub(crate) fn label(&self, key: SeriesKey, label: &str) {
        let labels = &self.plan.labels;
        let declared = labels.binary_search_by(|known| known.as_str().cmp(label));
        let index = declared.unwrap_or(labels.len());
        self.with(key, |sketch| sketch.labels[index] += 1);
    }

    /// Adds an embedding's projections, if the line takes any.
    pub(crate) fn embedding(&self, key: SeriesKey, embedding: &[f32]) {
        let projected = self
            .plan
            .projections
            .and_then(|plan| plan.project(embedding));
        if let Some(values) = projected {
            self.with(key, |sketch| sketch.projections.add(&values));
        }
    }

    fn with(&self, key: SeriesKey, change: impl FnOnce(&mut Sketch)) {
        if self.plan.disabled {
            return;
        }
        let labels = self.plan.labels.len();
        let mut sketches = lock(&self.sketches);
        change(sketches.entry(key).or_insert_with(|| Sketch::new(labels)));
    }
}

fn merge_into(all: &mut Sketches, more: Sketches) {
    for (key, sketch) in more {
        match all.entry(key) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(sketch);
            }
            std::collections::btree_map::Entry::Occupied(mut place) => {
                place.get_mut().merge(&sketch);
            }
        }
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
