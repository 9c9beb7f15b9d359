//! An inference's end as an event of `tracing`, for applications that keep logs or traces of their
//! own. In: the record. Out: one event of level debug under `fathomline_edge::inference`: numbers
//! and words of fixed lists, never a text. Costs one comparison while nobody listens.

use tracing::Level;

use crate::meter::{Record, SeriesKey, Shard, Signal};

const TARGET: &str = "fathomline_edge::inference";

pub(super) fn ended(shard: &Shard, series: SeriesKey, record: &Record) {
    if !tracing::enabled!(target: TARGET, Level::DEBUG) {
        return;
    }
    let value = |signal: Signal| record.signals[signal as usize];
    let variant = shard.variant(series.variant);
    tracing::event!(
        target: TARGET,
        Level::DEBUG,
        operation = series.operation.map(|operation| operation.name()),
        variant = variant.as_deref(),
        finish_reason = record.finish.name(),
        duration_seconds = value(Signal::Duration),
        first_token_seconds = value(Signal::FirstToken),
        per_token_seconds = value(Signal::PerToken),
        input_tokens = value(Signal::InputTokens),
        output_tokens = value(Signal::OutputTokens),
        output_surprisal_nats = value(Signal::OutputSurprisal),
        output_entropy_nats = value(Signal::OutputEntropy),
        "inference ended"
    );
}

#[cfg(test)]
mod tests {
    use std::{
        fmt::Debug,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span,
    };

    use super::*;
    use crate::{
        line::Fathomline,
        words::{FinishReason, Operation, Validity},
    };

    /// Keeps the fields of every event under our target.
    #[derive(Clone, Default)]
    struct Listener(Arc<Mutex<Vec<String>>>);

    impl Subscriber for Listener {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == TARGET
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut fields = Fields(String::new());
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    struct Fields(String);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0 += &format!("{}={value:?};", field.name());
        }
    }

    #[test]
    fn an_end_is_an_event_of_numbers_and_no_text() {
        let folder = tempfile::tempdir().unwrap();
        let line = Fathomline::builder("m", "1")
            .spool(folder.path())
            .endpoint("http://127.0.0.1:1")
            .window(Duration::from_secs(3600))
            .start()
            .unwrap();
        let infer = || {
            let mut op = line.operation(Operation::Chat);
            op.prompt_text("canary-7f3a");
            op.prompt_tokens(3);
            op.observe_logits(&[0.0, 0.0], 1);
            op.label("canary-7f3a");
            op.validity(Validity::Valid);
            op.finish(FinishReason::Length);
        };
        let listener = Listener::default();
        infer();
        tracing::subscriber::with_default(listener.clone(), infer);
        let events = listener.0.lock().unwrap();
        let [event] = &events[..] else {
            panic!("{events:?}");
        };
        let variants = line.shared.meter.variants();
        let variant = variants[0].name();
        for wanted in [
            "operation=\"chat\";",
            &format!("variant={variant:?};"),
            "finish_reason=\"length\";",
            "input_tokens=3.0;",
            "output_tokens=1.0;",
            "output_entropy_nats=0.69",
            "duration_seconds=",
        ] {
            assert!(event.contains(wanted), "{wanted} is not in {event}");
        }
        assert!(!event.contains("canary"), "{event}");
    }
}
