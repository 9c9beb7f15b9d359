//! What was observed since the last window closed. In: finished inferences, labels, feedback.
//! Out: one [`Sketch`] a series, taken whole when a window closes. Memory is bounded by the
//! number of variants, operations, labels and buckets, whatever the application does. Never a
//! clock, never IO: whoever holds this room's lock holds it for microseconds.

use std::{collections::BTreeMap, sync::Arc};

use fathomline_wire::{histogram::ExponentialHistogram, limits::VARIANTS_MAX, names};

use crate::{
    model::Model,
    script::Scripts,
    words::{Feedback, FinishReason, Operation},
};

/// A number that every inference may have once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Duration,
    FirstToken,
    PerToken,
    InputTokens,
    OutputTokens,
    OutputSurprisal,
    OutputEntropy,
    OutputUncertainty,
    OutputMargin,
    OutputRepetition,
    InputSurprisal,
}

/// Names of the signals, in their order.
pub(crate) const SIGNALS: [&str; 11] = [
    names::OPERATION_DURATION,
    names::TIME_TO_FIRST_TOKEN,
    names::TIME_PER_OUTPUT_TOKEN,
    names::INPUT_TOKENS,
    names::OUTPUT_TOKENS,
    names::OUTPUT_SURPRISAL,
    names::OUTPUT_ENTROPY,
    names::OUTPUT_UNCERTAINTY,
    names::OUTPUT_MARGIN,
    names::OUTPUT_REPETITION,
    names::INPUT_SURPRISAL,
];

/// Which sketch an inference belongs to. Ordered, so that a window always encodes the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeriesKey {
    pub(crate) variant: usize,
    pub(crate) operation: Operation,
}

/// What one finished inference adds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) finish: FinishReason,
    pub(crate) signals: [Option<f64>; SIGNALS.len()],
}

impl Record {
    pub(crate) fn new(finish: FinishReason) -> Self {
        Self {
            finish,
            signals: [None; SIGNALS.len()],
        }
    }

    pub(crate) fn set(&mut self, signal: Signal, value: Option<f64>) {
        self.signals[signal as usize] = value;
    }
}

/// Everything one series saw since the last window.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sketch {
    pub(crate) signals: [ExponentialHistogram; SIGNALS.len()],
    pub(crate) finish: [u64; FinishReason::ALL.len()],
    pub(crate) feedback: [u64; Feedback::ALL.len()],
    pub(crate) scripts: Scripts,
    /// One count a declared label, and the last for all others.
    pub(crate) labels: Vec<u64>,
}

impl Sketch {
    fn new(labels: usize) -> Self {
        Self {
            signals: SIGNALS.map(|name| ExponentialHistogram::new(scale(name))),
            finish: Default::default(),
            feedback: Default::default(),
            scripts: Scripts::default(),
            labels: vec![0; labels + 1],
        }
    }

    fn add(&mut self, record: &Record) {
        self.finish[record.finish as usize] += 1;
        for (sketch, value) in self.signals.iter_mut().zip(record.signals) {
            // A value that is not finite was never measured; `record` refuses it.
            value.map(|value| sketch.record(value));
        }
    }

    fn merge(&mut self, other: &Self) {
        let pairs = self.signals.iter_mut().zip(&other.signals);
        pairs.for_each(|(ours, theirs)| ours.merge(theirs));
        let ours = self
            .finish
            .iter_mut()
            .chain(&mut self.feedback)
            .chain(&mut self.scripts)
            .chain(&mut self.labels);
        let theirs = other
            .finish
            .iter()
            .chain(&other.feedback)
            .chain(&other.scripts)
            .chain(&other.labels);
        ours.zip(theirs).for_each(|(ours, theirs)| *ours += theirs);
    }
}

/// A model this boot has run, with the attributes its points carry.
#[derive(Debug, PartialEq)]
pub(crate) struct Variant {
    model: Model,
    pub(crate) attributes: Vec<(&'static str, String)>,
}

impl Variant {
    pub(crate) fn new(model: Model) -> Arc<Self> {
        // Once a boot and not once a point: the attributes hold a hash.
        let attributes = model.attributes();
        Arc::new(Self { model, attributes })
    }
}

/// Sketches by series.
pub(crate) type Sketches = BTreeMap<SeriesKey, Sketch>;

/// The open window's sketches, and which variants this boot has seen.
#[derive(Debug)]
pub(crate) struct Meter {
    /// In order of appearance; none is ever removed, so an index stays good for the whole boot.
    variants: Vec<Arc<Variant>>,
    current: usize,
    labels: Vec<String>,
    sketches: Sketches,
}

impl Meter {
    /// `labels` are checked and sorted by whoever built them.
    pub(crate) fn new(model: Model, labels: Vec<String>) -> Self {
        let variants = vec![Variant::new(model)];
        Self {
            variants,
            current: 0,
            labels,
            sketches: Sketches::new(),
        }
    }

    /// Inferences that begin from now on run this model.
    pub(crate) fn switch(&mut self, model: Model) {
        let known = self
            .variants
            .iter()
            .position(|variant| variant.model == model);
        self.current = known.unwrap_or_else(|| {
            if self.variants.len() < VARIANTS_MAX {
                self.variants.push(Variant::new(model));
            } else if self.variants.len() == VARIANTS_MAX {
                self.variants.push(Variant::new(other()));
            }
            self.variants.len() - 1
        });
    }

    /// The series of an inference that begins now.
    pub(crate) fn series(&self, operation: Operation) -> SeriesKey {
        SeriesKey {
            variant: self.current,
            operation,
        }
    }

    pub(crate) fn record(&mut self, key: SeriesKey, record: &Record) {
        self.sketch(key).add(record);
    }

    pub(crate) fn feedback(&mut self, key: SeriesKey, kind: Feedback) {
        self.sketch(key).feedback[kind as usize] += 1;
    }

    /// Counts characters of a prompt by their class.
    pub(crate) fn scripts(&mut self, key: SeriesKey, scripts: &Scripts) {
        let counts = self.sketch(key).scripts.iter_mut().zip(scripts);
        counts.for_each(|(count, more)| *count += more);
    }

    /// Counts a declared label, or `other`; the text itself goes no further.
    pub(crate) fn label(&mut self, key: SeriesKey, label: &str) {
        let declared = self
            .labels
            .binary_search_by(|known| known.as_str().cmp(label));
        let index = declared.unwrap_or(self.labels.len());
        self.sketch(key).labels[index] += 1;
    }

    /// Hands over everything recorded so far and starts again from nothing.
    pub(crate) fn take(&mut self) -> Sketches {
        std::mem::take(&mut self.sketches)
    }

    /// Puts back what could not be kept elsewhere; it goes out with the next window.
    pub(crate) fn restore(&mut self, sketches: Sketches) {
        for (key, sketch) in sketches {
            self.sketch(key).merge(&sketch);
        }
    }

    /// Variants by index, for encoding.
    pub(crate) fn variants(&self) -> &[Arc<Variant>] {
        &self.variants
    }

    fn sketch(&mut self, key: SeriesKey) -> &mut Sketch {
        let labels = self.labels.len();
        self.sketches
            .entry(key)
            .or_insert_with(|| Sketch::new(labels))
    }
}

/// Stands for every variant after the last that has a place.
fn other() -> Model {
    Model::new(names::OTHER, names::OTHER)
}

fn scale(name: &str) -> i32 {
    names::metric(name).map_or(0, |metric| names::pinned_scale(metric.unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter() -> Meter {
        Meter::new(Model::new("m", "1"), vec!["close".into(), "open".into()])
    }

    fn record(value: f64) -> Record {
        let mut record = Record::new(FinishReason::Stop);
        record.set(Signal::OutputSurprisal, Some(value));
        record
    }

    #[test]
    fn every_signal_is_a_distribution_of_the_contract() {
        for name in SIGNALS {
            assert_eq!(names::metric(name).unwrap().kind, names::Kind::Distribution);
        }
        assert_eq!(
            SIGNALS[Signal::OutputSurprisal as usize],
            names::OUTPUT_SURPRISAL
        );
        assert_eq!(
            SIGNALS[Signal::InputSurprisal as usize],
            names::INPUT_SURPRISAL
        );
    }

    #[test]
    fn what_is_taken_is_gone_and_what_is_restored_is_back() {
        let mut meter = meter();
        let key = meter.series(Operation::Chat);
        meter.record(key, &record(1.0));
        meter.label(key, "open");
        let first = meter.take();
        assert!(meter.take().is_empty());
        meter.record(key, &record(2.0));
        meter.feedback(key, Feedback::Wrong);
        meter.restore(first);
        let sketch = &meter.take()[&key];
        assert_eq!(sketch.signals[Signal::OutputSurprisal as usize].count, 2);
        assert_eq!(sketch.finish, [2, 0, 0, 0, 0]);
        assert_eq!(
            (sketch.feedback[5], &sketch.labels[..]),
            (1, &[0, 1, 0][..])
        );
    }

    #[test]
    fn an_undeclared_label_counts_as_other() {
        let mut meter = meter();
        let key = meter.series(Operation::Chat);
        for label in ["open", "a secret", "", "OPEN"] {
            meter.label(key, label);
        }
        assert_eq!(meter.take()[&key].labels, [0, 1, 3]);
    }

    #[test]
    fn variants_past_the_limit_share_one_place() {
        let mut meter = meter();
        for version in 0..100 {
            meter.switch(Model::new("m", version.to_string()));
            let key = meter.series(Operation::Chat);
            meter.record(key, &record(1.0));
        }
        assert_eq!(meter.variants().len(), VARIANTS_MAX + 1);
        assert_eq!(meter.variants()[VARIANTS_MAX].model, other());
        // A known model still finds its own place.
        meter.switch(Model::new("m", "3"));
        assert_eq!(meter.series(Operation::Chat).variant, 3);
        assert_eq!(meter.take().len(), VARIANTS_MAX + 1);
    }

    #[test]
    fn a_value_that_is_not_finite_leaves_no_trace() {
        let mut meter = meter();
        let key = meter.series(Operation::Chat);
        meter.record(key, &record(f64::INFINITY));
        meter.record(key, &record(f64::NAN));
        assert_eq!(
            meter.take()[&key].signals[Signal::OutputSurprisal as usize].count,
            0
        );
    }
}
