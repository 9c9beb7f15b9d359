//! One window whatever the number of threads, models and labels.

use fathomline_wire::histogram::ExponentialHistogram;
use proptest::prelude::*;

use super::*;
use crate::words::FinishReason;

fn meter() -> Meter {
    let plan = Plan {
        labels: vec!["close".into(), "open".into()],
        ..Plan::default()
    };
    Meter::new(Model::new("m", "1"), plan, None)
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
    assert_eq!(SIGNALS[Signal::Energy as usize], names::INFERENCE_ENERGY);
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
    let meter = meter();
    let key = meter.series(Some(Operation::Chat));
    meter.shard().record(key, &record(1.0));
    meter.shard().label(key, "open");
    let first = meter.take();
    assert!(meter.take().is_empty());
    meter.shard().record(key, &record(2.0));
    meter.shard().feedback(key, Feedback::Wrong);
    meter.restore(first);
    let sketch = &meter.take()[&key];
    assert_eq!(sketch.signals[Signal::OutputSurprisal as usize].count, 2);
    assert_eq!(sketch.finish, [2, 0, 0, 0, 0]);
    assert_eq!(
        (sketch.feedback[5], &sketch.labels[..]),
        (1, &[0, 1, 0][..])
    );
}

/// What one thread does, step by step.
#[derive(Clone, Copy, Debug)]
enum Step {
    Record(u32),
    Label,
    Feedback,
    /// Closes a window, as the closer does at any moment.
    Take,
    /// Takes a window and puts it back, as when the disk is full.
    Restore,
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        6 => (1u32..4_096).prop_map(Step::Record),
        2 => Just(Step::Label),
        2 => Just(Step::Feedback),
        1 => Just(Step::Take),
        1 => Just(Step::Restore),
    ];
    prop::collection::vec(prop::collection::vec(step, 1..60), 1..9)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_interleaving_of_threads_gives_exact_totals(threads in steps()) {
        let meter = meter();
        let key = meter.series(Some(Operation::Chat));
        let closed = Mutex::new(Sketches::new());
        let walk = |step: &Step| match step {
            Step::Record(value) => meter.shard().record(key, &record(f64::from(*value))),
            Step::Label => meter.shard().label(key, "open"),
            Step::Feedback => meter.shard().feedback(key, Feedback::Wrong),
            Step::Take => merge_into(&mut lock(&closed), meter.take()),
            Step::Restore => meter.restore(meter.take()),
        };
        std::thread::scope(|scope| {
            for steps in &threads {
                scope.spawn(move || steps.iter().for_each(walk));
            }
        });
        merge_into(&mut lock(&closed), meter.take());
        let mut all = lock(&closed);
        let sketch = all.entry(key).or_insert_with(|| Sketch::new(2));
        let steps: Vec<Step> = threads.into_iter().flatten().collect();
        let count = |wanted: fn(&Step) -> bool| steps.iter().filter(|s| wanted(s)).count() as u64;
        let mut expected = ExponentialHistogram::new(4);
        for step in &steps {
            if let Step::Record(value) = step {
                expected.record(f64::from(*value));
            }
        }
        let surprisal = &sketch.signals[Signal::OutputSurprisal as usize];
        prop_assert!(surprisal.agrees_with(&expected), "{surprisal:?} {expected:?}");
        prop_assert_eq!(sketch.finish[0], expected.count);
        prop_assert_eq!(sketch.labels[1], count(|step| matches!(step, Step::Label)));
        prop_assert_eq!(sketch.feedback[5], count(|step| matches!(step, Step::Feedback)));
    }
}

#[test]
fn an_undeclared_label_counts_as_other() {
    let meter = meter();
    let key = meter.series(Some(Operation::Chat));
    for label in ["open", "a secret", "", "OPEN"] {
        meter.shard().label(key, label);
    }
    assert_eq!(meter.take()[&key].labels, [0, 1, 3]);
}

#[test]
fn variants_past_the_limit_share_one_place() {
    let meter = meter();
    for version in 0..100 {
        meter.switch(Model::new("m", version.to_string()));
        let key = meter.series(Some(Operation::Chat));
        meter.shard().record(key, &record(1.0));
    }
    assert_eq!(meter.variants().len(), VARIANTS_MAX + 1);
    assert_eq!(meter.variants()[VARIANTS_MAX].model, other());
    // A known model still finds its own place.
    meter.switch(Model::new("m", "3"));
    assert_eq!(meter.series(Some(Operation::Chat)).variant, 3);
    assert_eq!(meter.take().len(), VARIANTS_MAX + 1);
}

#[test]
fn a_value_that_is_not_finite_leaves_no_trace() {
    let meter = meter();
    let key = meter.series(Some(Operation::Chat));
    meter.shard().record(key, &record(f64::INFINITY));
    meter.shard().record(key, &record(f64::NAN));
    assert_eq!(
        meter.take()[&key].signals[Signal::OutputSurprisal as usize].count,
        0
    );
}

#[test]
fn threads_that_record_at_once_lose_and_repeat_nothing() {
    let meter = meter();
    let key = meter.series(Some(Operation::Chat));
    let mut taken = Sketches::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..7u32)
            .map(|thread| {
                let meter = &meter;
                scope.spawn(move || {
                    for value in 0..1_000 {
                        let value = f64::from(thread * 1_000 + value + 1);
                        meter.shard().record(key, &record(value));
                    }
                })
            })
            .collect();
        // Windows that close meanwhile take what there is.
        while threads.iter().any(|thread| !thread.is_finished()) {
            merge_into(&mut taken, meter.take());
        }
    });
    merge_into(&mut taken, meter.take());
    let sketch = &taken[&key].signals[Signal::OutputSurprisal as usize];
    assert_eq!(
        (sketch.count, sketch.min, sketch.max),
        (7_000, 1.0, 7_000.0)
    );
    assert!((sketch.sum - 24_503_500.0).abs() < 1e-6);
    assert_eq!(taken[&key].finish[0], 7_000);
}
