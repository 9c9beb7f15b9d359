//! What one series saw since the last window closed. In: records, labels, feedback, projections.
//! Out: one [`Sketch`], which merges with another in any order. Never grows past the number of
//! signals, labels, components and buckets.

use fathomline_wire::{histogram::ExponentialHistogram, names};

use crate::{
    detector::WATCHED,
    projection::Projections,
    script::Scripts,
    words::{Feedback, FinishReason, Validity},
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
    Energy,
    LoadDuration,
    ProbeDistance,
}

/// Names of the signals, in their order.
pub(crate) const SIGNALS: [&str; 14] = [
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
    names::INFERENCE_ENERGY,
    names::MODEL_LOAD_DURATION,
    names::PROBE_DISTANCE,
];

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

/// One thing that was seen, as a sketch counts it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Observation<'a> {
    Record(&'a Record),
    /// One value of one signal, outside of a record.
    Value(Signal, f64),
    Feedback(Feedback),
    Validity(Validity),
    Scripts(&'a Scripts),
    /// Its place among the declared labels; the one after the last is for all others.
    Label(usize),
    /// One value a component.
    Projections(&'a [f64]),
    /// The detector says that this one of its signals moved.
    Alarm(usize),
    /// A golden probe answered with other tokens.
    ProbeMismatch,
}

/// Everything one series saw since the last window.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sketch {
    pub(crate) signals: [ExponentialHistogram; SIGNALS.len()],
    pub(crate) finish: [u64; FinishReason::ALL.len()],
    pub(crate) feedback: [u64; Feedback::ALL.len()],
    pub(crate) validity: [u64; Validity::ALL.len()],
    pub(crate) scripts: Scripts,
    /// Alarms of the detector by signal.
    pub(crate) alarms: [u64; WATCHED.len()],
    /// Golden probes that answered with other tokens.
    pub(crate) probe_mismatches: [u64; 1],
    /// One count a declared label, and the last for all others.
    pub(crate) labels: Vec<u64>,
    pub(crate) projections: Projections,
}

impl Sketch {
    pub(super) fn new(labels: usize) -> Self {
        Self {
            signals: SIGNALS.map(|name| ExponentialHistogram::new(scale(name))),
            finish: Default::default(),
            feedback: Default::default(),
            validity: Default::default(),
            scripts: Scripts::default(),
            alarms: Default::default(),
            probe_mismatches: Default::default(),
            labels: vec![0; labels + 1],
            projections: Projections::default(),
        }
    }

    pub(super) fn observe(&mut self, seen: Observation<'_>) {
        match seen {
            Observation::Record(record) => self.add(record),
            Observation::Value(signal, value) => {
                self.signals[signal as usize].record(value);
            }
            Observation::Feedback(kind) => self.feedback[kind as usize] += 1,
            Observation::Validity(kind) => self.validity[kind as usize] += 1,
            Observation::Scripts(scripts) => {
                let counts = self.scripts.iter_mut().zip(scripts);
                counts.for_each(|(count, more)| *count += more);
            }
            Observation::Label(index) => self.labels[index] += 1,
            Observation::Projections(values) => self.projections.add(values),
            Observation::Alarm(signal) => self.alarms[signal] += 1,
            Observation::ProbeMismatch => self.probe_mismatches[0] += 1,
        }
    }

    fn add(&mut self, record: &Record) {
        self.finish[record.finish as usize] += 1;
        for (sketch, value) in self.signals.iter_mut().zip(record.signals) {
            // A value that is not finite was never measured; `record` refuses it.
            value.map(|value| sketch.record(value));
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let pairs = self.signals.iter_mut().zip(&other.signals);
        pairs.for_each(|(ours, theirs)| ours.merge(theirs));
        let theirs = other.counters();
        self.counters_mut()
            .zip(theirs)
            .for_each(|(ours, theirs)| *ours += theirs);
        self.projections.merge(&other.projections);
    }

    fn counters(&self) -> impl Iterator<Item = &u64> {
        self.finish
            .iter()
            .chain(&self.feedback)
            .chain(&self.validity)
            .chain(&self.scripts)
            .chain(&self.alarms)
            .chain(&self.probe_mismatches)
            .chain(&self.labels)
    }

    fn counters_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.finish
            .iter_mut()
            .chain(&mut self.feedback)
            .chain(&mut self.validity)
            .chain(&mut self.scripts)
            .chain(&mut self.alarms)
            .chain(&mut self.probe_mismatches)
            .chain(&mut self.labels)
    }
}

fn scale(name: &str) -> i32 {
    names::metric(name).map_or(0, |metric| names::pinned_scale(metric.unit))
}
