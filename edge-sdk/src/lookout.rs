//! Where the detector stands. In: readings, left in a shard by whoever finished an inference. Out:
//! alarms, counted in the window that is open. The detector itself costs microseconds a batch, so
//! it never runs on the inference path: an inference only leaves nine numbers under a lock of its
//! shard, and the sampler and the closer fold them, once a second and before a window closes.
//! Readings beyond what a shard holds are left out: a detector needs no more than that a second.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    detector::{Detector, Reading, Tuning, WATCHED},
    meter::{Meter, Record, SeriesKey, Shard, Signal},
    words::FinishReason,
};

/// Readings that wait in one shard.
const WAITING_MAX: usize = 64;

const NANOS_A_DAY: f64 = 86_400e9;

/// Where the watched signals are, in the order of [`WATCHED`]; how an inference ended is the last.
const SIGNALS: [Signal; WATCHED.len() - 1] = [
    Signal::OutputSurprisal,
    Signal::OutputEntropy,
    Signal::OutputUncertainty,
    Signal::OutputMargin,
    Signal::OutputRepetition,
    Signal::InputSurprisal,
    Signal::InputTokens,
    Signal::OutputTokens,
];

/// What waits in one shard, each with the place of its variant.
#[derive(Debug)]
pub(crate) struct Readings(Mutex<Vec<(usize, Reading)>>);

impl Readings {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Vec::with_capacity(WAITING_MAX)))
    }

    /// Leaves a reading, if there is room. Allocates nothing.
    pub(crate) fn leave(&self, variant: usize, record: &Record) {
        let value = |signal: Signal| record.signals[signal as usize].map_or(f32::NAN, |v| v as f32);
        let mut reading = [f32::from(u8::from(!is_answer(record.finish))); WATCHED.len()];
        for (place, signal) in reading.iter_mut().zip(SIGNALS) {
            *place = value(signal);
        }
        let mut waiting = lock(&self.0);
        if waiting.len() < WAITING_MAX {
            waiting.push((variant, reading));
        }
    }
}

fn is_answer(reason: FinishReason) -> bool {
    matches!(reason, FinishReason::Stop | FinishReason::Length)
}

/// The detector of a line.
#[derive(Debug)]
pub(crate) struct Lookout(Mutex<Post>);

#[derive(Debug)]
struct Post {
    detector: Detector,
    /// Takes the place of a shard's readings while they are folded.
    spare: Vec<(usize, Reading)>,
}

impl Lookout {
    /// `kept` is what an earlier boot left; what is damaged is learned again.
    pub(crate) fn new(tuning: Tuning, kept: &[u8]) -> Self {
        let detector = Detector::decode(kept, tuning);
        Self(Mutex::new(Post {
            detector: detector.unwrap_or_else(|| Detector::new(tuning)),
            spare: Vec::with_capacity(WAITING_MAX),
        }))
    }

    /// Folds what waits in the shards. How many alarms that raised; they are counted in the meter.
    pub(crate) fn fold(&self, meter: &Meter, now_unix_nano: u64) -> u64 {
        let now_days = now_unix_nano as f64 / NANOS_A_DAY;
        let mut post = lock(&self.0);
        let Post { detector, spare } = &mut *post;
        let mut raised = 0;
        let variants = meter.variants();
        for (shard, readings) in meter.readings() {
            std::mem::swap(&mut *lock(&readings.0), spare);
            for (variant, reading) in spare.drain(..) {
                let Some(model) = variants.get(variant) else {
                    continue;
                };
                for signal in detector.fold(model.identity, now_days, &reading).iter() {
                    raise(shard, variant, signal);
                    raised += 1;
                }
            }
        }
        raised
    }

    /// How many signals have a reference by now.
    pub(crate) fn watching(&self) -> usize {
        lock(&self.0).detector.watching()
    }

    /// What a restart needs.
    pub(crate) fn kept(&self) -> Vec<u8> {
        lock(&self.0).detector.encode()
    }
}

fn raise(shard: &Shard, variant: usize, signal: usize) {
    let name = WATCHED[signal];
    tracing::warn!(
        signal = name,
        "answers have moved from what this model's first ones were"
    );
    let series = SeriesKey {
        variant,
        operation: None,
    };
    shard.alarm(series, signal);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{meter::Plan, model::Model, words::Operation};

    const TUNING: Tuning = Tuning {
        false_alarms: 1.0,
        inferences: 256,
        days: 0.0,
    };

    fn meter() -> Meter {
        let plan = Plan {
            detector: Some(TUNING),
            ..Plan::default()
        };
        Meter::new(Model::new("m", "1"), plan, None)
    }

    fn infer(meter: &Meter, surprisal: f64) {
        let mut record = Record::new(FinishReason::Stop);
        record.set(Signal::OutputSurprisal, Some(surprisal));
        let series = meter.series(Some(Operation::Chat));
        meter.shard().record(series, &record);
    }

    /// A fixed walk through every value between 1 and 2.
    fn usual(n: u32) -> f64 {
        1.0 + f64::from(n * 37 % 101) / 101.0
    }

    fn alarms(meter: &Meter) -> Vec<u64> {
        let mut sums = vec![0; WATCHED.len()];
        for sketch in meter.take().values() {
            sums.iter_mut()
                .zip(&sketch.alarms)
                .for_each(|(sum, count)| *sum += count);
        }
        sums
    }

    #[test]
    fn a_shift_is_counted_under_its_signal_and_only_there() {
        let (meter, lookout) = (meter(), Lookout::new(TUNING, &[]));
        for n in 0..400 {
            infer(&meter, usual(n));
            assert_eq!(lookout.fold(&meter, 1_000), 0);
        }
        assert_eq!(alarms(&meter), [0; WATCHED.len()]);
        let mut raised = 0;
        for n in 0..400 {
            infer(&meter, 0.5 + usual(n));
            raised += lookout.fold(&meter, 1_000);
        }
        // It is quiet for an hour after the first, and here no time passes.
        assert_eq!(raised, 1);
        assert_eq!(alarms(&meter), [1, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn endings_that_are_no_answers_are_a_signal_too() {
        let (meter, lookout) = (meter(), Lookout::new(TUNING, &[]));
        let end = |reason| {
            let series = meter.series(Some(Operation::Chat));
            meter.shard().record(series, &Record::new(reason));
            lookout.fold(&meter, 1_000)
        };
        let usual = [FinishReason::Stop, FinishReason::Length];
        let learned: u64 = (0..600).map(|n| end(usual[n % 2])).sum();
        let refused: u64 = (0..200)
            .map(|n| end([FinishReason::Refusal, FinishReason::Stop][n % 2]))
            .sum();
        assert_eq!((learned, refused), (0, 1));
        assert_eq!(alarms(&meter), [0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let (meter, lookout) = (meter(), Lookout::new(TUNING, &[]));
        for n in 0..300 {
            infer(&meter, usual(n));
            lookout.fold(&meter, 1_000);
        }
        let kept = lookout.kept();
        assert_eq!(Lookout::new(TUNING, &kept).kept(), kept);
        let fresh = Lookout::new(TUNING, &kept[..kept.len() - 1]);
        assert_eq!(fresh.kept(), Lookout::new(TUNING, &[]).kept());
    }

    #[test]
    fn nobody_who_folds_late_makes_memory_grow() {
        let meter = meter();
        (0..10_000).for_each(|n| infer(&meter, usual(n)));
        let waiting: Vec<usize> = meter.readings().map(|(_, r)| lock(&r.0).len()).collect();
        assert_eq!(waiting.iter().sum::<usize>(), WAITING_MAX);
        let capacity = meter.readings().map(|(_, r)| lock(&r.0).capacity());
        assert!(capacity.into_iter().all(|places| places == WAITING_MAX));
    }

    #[test]
    fn two_models_are_told_apart_by_anything_that_was_declared() {
        let meter = meter();
        for model in [Model::new("m", "2"), Model::new("m", "1").sampler("t=1")] {
            meter.switch(model);
        }
        let identities: std::collections::BTreeSet<u64> =
            meter.variants().iter().map(|v| v.identity).collect();
        assert_eq!(identities.len(), 3);
    }
}
