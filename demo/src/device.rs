//! One device: an assistant on a wall, with Fathomline's three lines around its own candle loop.
//! In: what people near it say, and versions to install. Out: answers, feedback, and whatever the
//! SDK sends. Owns a thread, a spool folder and an installation id; shares nothing with other
//! devices but weights in memory.

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use candle_transformers::generation::{LogitsProcessor, Sampling};
use fathomline_edge::{Fathomline, Feedback, FinishReason, Inference, Operation};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    fleet::{Class, Sent, Street},
    grammar::Grammar,
    model::{END, Model},
    release::Release,
};

/// The application's name on the wire, and its service's.
pub(crate) const MODEL: &str = "assistant";
pub(crate) const SERVICE: &str = "maintenance";
/// A window of the demo; a real fleet's is a minute.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);
/// No action is this long: a model that rambles on is cut short.
const ACTION_BYTES_MAX: usize = 48;
/// What a stopping device may still need to send its windows, on a machine with other work. Nobody
/// waits longer than the sending takes.
const SEND_LIMIT: Duration = Duration::from_secs(60);
const SEND_PAUSE: Duration = Duration::from_millis(50);

/// What makes a device.
pub(crate) struct Order {
    pub(crate) class: Class,
    /// Number within the class, from 1.
    pub(crate) number: usize,
    pub(crate) seed: u64,
    /// Base URL of the collector's OTLP/HTTP door.
    pub(crate) endpoint: String,
    /// Folder of its own.
    pub(crate) spool: PathBuf,
    /// What it runs first, and what it is to run from then on.
    pub(crate) release: Arc<Release>,
    pub(crate) updates: mpsc::Receiver<Arc<Release>>,
    /// Mean pause from one request to the next.
    pub(crate) pause: Duration,
}

/// A device that is switched on.
pub(crate) struct Device {
    order: Order,
    line: Fathomline,
    model: Model,
    sampler: LogitsProcessor,
    grammar: Arc<Grammar>,
    street: Arc<Street>,
    rng: StdRng,
    /// By lines of versions that it no longer runs.
    sent: Sent,
}

impl Device {
    pub(crate) fn start(order: Order, grammar: Arc<Grammar>, street: Arc<Street>) -> Result<Self> {
        Ok(Self {
            line: line(&order)?,
            model: model(&order),
            sampler: LogitsProcessor::from_sampling(order.seed, Sampling::ArgMax),
            grammar,
            street,
            rng: StdRng::seed_from_u64(order.seed),
            sent: Sent::default(),
            order,
        })
    }

    /// Answers people until the street is closed, then sends what is left.
    pub(crate) fn run(mut self) -> Result<Sent> {
        let pause = self.order.pause;
        // A random start, so that a fleet switched on at once does not answer in step.
        let mut next = Instant::now() + pause.mul_f64(self.rng.random_range(0.0..1.0));
        while self.street.is_open() {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            if let Ok(release) = self.order.updates.try_recv()
                && release.version != self.order.release.version
            {
                self = self.updated(release)?;
            }
            self.answer_someone()?;
            next += self
                .street
                .pause(pause)
                .mul_f64(self.rng.random_range(0.5..1.5));
            // Whoever could not be answered in time has walked on.
            next = next.max(Instant::now());
        }
        Ok(self.shut_down().1)
    }

    /// Installs a release as an application does: one line ends, another begins.
    fn updated(self, release: Arc<Release>) -> Result<Self> {
        let (grammar, street, rng) = (
            Arc::clone(&self.grammar),
            Arc::clone(&self.street),
            self.rng.clone(),
        );
        let (order, sent) = self.shut_down();
        let device = Self::start(Order { release, ..order }, grammar, street)?;
        Ok(Self {
            rng,
            sent,
            ..device
        })
    }

    /// A line that shuts down tries each window once; one that is up tries again.
    fn shut_down(self) -> (Order, Sent) {
        let began = Instant::now();
        while self.line.health().windows_waiting > 0 && began.elapsed() < SEND_LIMIT {
            thread::sleep(SEND_PAUSE);
        }
        let health = self.line.shutdown(SEND_LIMIT);
        let mut sent = self.sent;
        sent.windows_stored += health.windows_stored;
        sent.windows_lost +=
            health.windows_waiting + health.windows_refused + health.windows_dropped;
        (self.order, sent)
    }

    fn answer_someone(&mut self) -> Result<()> {
        let utterance = self.grammar.speak(self.street.share(), &mut self.rng);
        let mut op = self.line.operation(Operation::Chat);
        let (action, reason) = self.answer(&mut op, &utterance.request)?;
        // The building knows what was meant: whoever asked says so.
        let right = action == utterance.action.as_bytes();
        let feedback = if right {
            Feedback::Correct
        } else {
            Feedback::Wrong
        };
        op.feedback(feedback);
        op.finish(reason);
        self.street.count();
        Ok(())
    }

    /// The application's own loop.
    fn answer(&mut self, op: &mut Inference, request: &str) -> Result<(Vec<u8>, FinishReason)> {
        let mut prompt = request.as_bytes().to_vec();
        prompt.push(END);
        let tokens: Vec<u32> = prompt.iter().map(|byte| u32::from(*byte)).collect();
        self.model.forget();
        let mut logits = self.model.forward(&prompt)?;
        op.prompt_logits(&logits, &tokens);
        let mut action = vec![];
        while action.len() < ACTION_BYTES_MAX.min(self.model.room()) {
            let token = op.sample(&mut self.sampler, &logits)?;
            let byte = u8::try_from(token).context("the model has 256 tokens, one a byte")?;
            if byte == END {
                return Ok((action, FinishReason::Stop));
            }
            action.push(byte);
            logits = self.model.forward(&[byte])?;
        }
        Ok((action, FinishReason::Length))
    }
}

/// Fathomline's line of a device, for the release that it runs.
fn line(order: &Order) -> Result<Fathomline> {
    let Class { name, quantization } = order.class;
    let id = format!("{name}-{:02}", order.number);
    let release = &order.release;
    Fathomline::builder(MODEL, &release.version)
        .weights(&release.form(quantization).weights)?
        .quantization(quantization.name())
        .sampler("greedy")
        .backend("cpu")
        .service(SERVICE)
        .device_class(name)
        .installation(&id)
        .environment("demo")
        .endpoint(&order.endpoint)
        .spool(&order.spool)
        .window(WINDOW)
        // Its day lasts minutes: one prompt in eight would not fill a reference.
        .every_nth_prompt(1)
        .start()
        .with_context(|| format!("cannot start device {id}"))
}

fn model(order: &Order) -> Model {
    order.release.form(order.class.quantization).model.clone()
}
