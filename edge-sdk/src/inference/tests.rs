//! What one inference adds to the open window.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{line::Fathomline, words::Operation};

/// A line that never sends and never closes a window while the test looks.
fn line(folder: &std::path::Path) -> Fathomline {
    let builder = Fathomline::builder("m", "1")
        .spool(folder)
        .endpoint("http://127.0.0.1:1");
    builder.window(Duration::from_secs(3600)).start().unwrap()
}

fn value(record: &Record, signal: Signal) -> Option<f64> {
    record.signals[signal as usize]
}

#[test]
fn a_record_holds_means_over_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let line = line(folder.path());
    let mut op = line.operation(Operation::Chat);
    op.prompt_tokens(2);
    op.observe_prompt(&[0.0, 0.0], 1);
    // Probabilities 1/2, 1/2, and then 3/4, 1/4.
    op.observe_logits(&[0.0, 0.0], 0);
    op.observe_logits(&[3f32.ln(), 0.0], 1);
    let record = op.record(FinishReason::Stop, Instant::now());
    let near = |signal, wanted: f64| {
        let found = value(&record, signal).unwrap();
        assert!(
            (found - wanted).abs() < 1e-6,
            "{signal:?}: {found} is not {wanted}"
        );
    };
    let ln = f64::ln;
    near(Signal::OutputSurprisal, (ln(2.0) + ln(4.0)) / 2.0);
    near(
        Signal::OutputEntropy,
        (ln(2.0) + ln(4.0) - 0.75 * ln(3.0)) / 2.0,
    );
    near(Signal::OutputUncertainty, (0.5 + 0.25) / 2.0);
    near(Signal::OutputMargin, (0.0 + 0.5) / 2.0);
    near(Signal::InputSurprisal, ln(2.0));
    near(Signal::InputTokens, 2.0);
    near(Signal::OutputTokens, 2.0);
}

#[test]
fn phases_add_up_to_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let line = line(folder.path());
    let mut op = line.operation(Operation::Chat);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(20));
        op.token();
    }
    let record = op.record(FinishReason::Stop, op.last_token.unwrap());
    let [whole, first, each] = [Signal::Duration, Signal::FirstToken, Signal::PerToken]
        .map(|signal| value(&record, signal).unwrap());
    assert!(first >= 0.02 && each >= 0.02);
    assert!((first + 2.0 * each - whole).abs() < 1e-9);
}

#[test]
fn a_failed_inference_has_a_duration_and_tokens_only() {
    let folder = tempfile::tempdir().unwrap();
    let line = line(folder.path());
    let mut op = line.operation(Operation::Chat);
    op.observe_logits(&[0.0, 1.0], 0);
    op.observe_logits(&[0.0, 1.0], 0);
    let record = op.record(FinishReason::Error, Instant::now());
    let some: Vec<_> = record.signals.iter().map(Option::is_some).collect();
    let mut wanted = [false; crate::meter::SIGNALS.len()];
    wanted[Signal::Duration as usize] = true;
    wanted[Signal::OutputTokens as usize] = true;
    assert_eq!(some, wanted);
}

#[test]
fn a_loop_shows_as_repetition_and_unnamed_tokens_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let line = line(folder.path());
    let mut op = line.operation(Operation::Chat);
    (0..9).for_each(|token| op.observe_logits(&[0.0, 1.0], token % 2));
    let record = op.record(FinishReason::Stop, Instant::now());
    let share = value(&record, Signal::OutputRepetition).unwrap();
    assert!((share - 4.0 / 6.0).abs() < 1e-12, "{share}");
    op.token();
    let record = op.record(FinishReason::Stop, Instant::now());
    assert_eq!(value(&record, Signal::OutputRepetition), None);
}

#[test]
fn logits_without_sense_are_a_token_without_statistics() {
    let folder = tempfile::tempdir().unwrap();
    let line = line(folder.path());
    let mut op = line.operation(Operation::Chat);
    op.observe_logits(&[], 0);
    op.observe_logits(&[f32::NAN, 0.0], 1);
    op.observe_logits(&[0.0, 1.0], 7);
    op.observe_logits(&[0.0, f32::NEG_INFINITY], 1);
    op.observe_prompt(&[0.0], 1);
    assert_eq!(op.output_tokens, 4);
    let record = op.record(FinishReason::Stop, Instant::now());
    assert_eq!(value(&record, Signal::OutputSurprisal), None);
    assert_eq!(value(&record, Signal::InputSurprisal), None);
}

#[test]
fn greedy_takes_the_first_of_the_likeliest() {
    let folder = tempfile::tempdir().unwrap();
    let line = line(folder.path());
    let mut op = line.operation(Operation::Chat);
    assert_eq!(op.greedy(&[0.0, 2.0, 2.0]), Some(1));
    assert_eq!((op.output_tokens, op.surprisal.count), (1, 1));
    assert_eq!(op.greedy(&[f32::NAN]), None);
    assert_eq!(
        (op.output_tokens, op.unsaid_reason()),
        (1, FinishReason::Error)
    );
}

#[test]
fn dropping_ends_once_with_the_reason_that_fits() {
    let folder = tempfile::tempdir().unwrap();
    let line = line(folder.path());
    drop(line.operation(Operation::Chat));
    let mut op = line.operation(Operation::Chat);
    op.token();
    drop(op);
    line.operation(Operation::Chat)
        .finish(FinishReason::Refusal);
    let mut op = line.operation(Operation::Chat);
    op.greedy(&[]);
    drop(op);
    let shared = Arc::clone(&line.shared);
    let panicked = std::thread::spawn(move || {
        let series = shared.meter.series(Some(Operation::Chat));
        let mut op = Inference::begin(shared.meter.shard(), series);
        op.token();
        std::panic::resume_unwind(Box::new("as if the model panicked"));
    });
    panicked.join().unwrap_err();
    let sketches = line.shared.meter.take();
    let finish = sketches.values().next().unwrap().finish;
    // stop, length, error, refusal, empty
    assert_eq!(finish, [1, 0, 2, 1, 1]);
}

#[test]
fn one_token_in_three_is_looked_at_and_every_token_counted() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Fathomline::builder("m", "1").spool(folder.path());
    let line = builder.every_nth_token(3).start().unwrap();
    let mut op = line.operation(Operation::Chat);
    for token in 0..7 {
        op.observe_logits(&[0.0; 8], token);
    }
    assert_eq!((op.output_tokens, op.entropy.count), (7, 3));
}

#[test]
fn one_prompt_in_eight_is_looked_at_and_32_positions_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let line = line(folder.path());
    let looked_at = (0..16).map(|_| {
        let mut op = line.operation(Operation::Chat);
        (0..40).for_each(|_| op.observe_prompt(&[0.0, 0.0], 1));
        assert_eq!(op.wants_prompt(), op.input_surprisal.count > 0);
        op.input_surprisal.count
    });
    let looked_at: Vec<_> = looked_at.filter(|count| *count > 0).collect();
    assert_eq!(looked_at, [32, 32]);
}

#[test]
fn hidden_states_are_not_taken_for_logits() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Fathomline::builder("m", "1").spool(folder.path());
    let line = builder.vocabulary(8).start().unwrap();
    let mut op = line.operation(Operation::Chat);
    op.observe_logits(&[0.0; 4], 1);
    op.observe_prompt(&[0.0; 16], 1);
    assert_eq!((op.output_tokens, op.entropy.count), (1, 0));
    op.observe_logits(&[0.0; 8], 1);
    assert_eq!((op.output_tokens, op.entropy.count), (2, 1));
    assert_eq!(line.health().rows_misfit, 2);
}

#[test]
fn what_the_application_adds_is_counted_where_it_belongs() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Fathomline::builder("m", "1").spool(folder.path());
    let line = builder.projections(7, 2).start().unwrap();
    line.model_loaded(Duration::from_millis(250));
    let mut op = line.operation(Operation::Embeddings);
    op.validity(crate::words::Validity::InvalidSchema);
    op.embedding(&[1.0, -2.0, 0.5]);
    op.embedding(&[f32::NAN]);
    drop(op);
    let sketches = line.shared.meter.take();
    let load = &sketches[&line.shared.meter.series(None)];
    assert_eq!(load.signals[Signal::LoadDuration as usize].sum, 0.25);
    let sketch = &sketches[&line.shared.meter.series(Some(Operation::Embeddings))];
    assert_eq!(sketch.validity, [0, 0, 1, 0]);
    let counts = sketch.projections.components.iter().map(|c| c.count);
    assert_eq!(counts.collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn an_inference_may_move_to_another_thread() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    is_send::<Inference>();
    is_send::<Finished>();
    is_send::<Fathomline>();
    is_sync::<Fathomline>();
}
