//! One inference, as the application runs it. In: tokens, logits, labels, feedback. Out: one
//! record to the meter when it ends, by `finish` or by drop. Never IO, never a panic, never waits
//! for more than the meter's lock; an observation that makes no sense is left out of the means.

mod told;
mod trace;

use std::{sync::Arc, time::Instant};

use told::{Said, Told};

use crate::{
    energy::Ticket,
    logits::LogitStats,
    meter::{Record, SeriesKey, Shard, Signal},
    repetition::Repetition,
    script,
    words::{Feedback, FinishReason, Validity},
};

/// Positions of a prompt that are looked at: enough for its mean, and a bound on what it costs.
pub(crate) const PROMPT_POSITIONS_MAX: u32 = 32;

/// Observes one inference. Timing starts when it is made, so make it before the prompt is run.
///
/// Dropping it ends the inference: as [`Stop`](FinishReason::Stop) when something was generated,
/// as [`Empty`](FinishReason::Empty) when nothing was, and as [`Error`](FinishReason::Error) when
/// sampling failed last or the thread is panicking. [`finish`](Self::finish) says what only the
/// application knows.
#[derive(Debug)]
#[must_use = "dropping an inference ends it: hold it while the model generates"]
pub struct Inference {
    shard: Arc<Shard>,
    series: SeriesKey,
    /// Whether the prompt of this one is looked at.
    samples_prompt: bool,
    /// While joules are attributed to it.
    energy: Option<Ticket>,
    started: Instant,
    first_token: Option<Instant>,
    last_token: Option<Instant>,
    input_tokens: Option<u64>,
    output_tokens: u64,
    input_surprisal: Mean,
    surprisal: Mean,
    entropy: Mean,
    uncertainty: Mean,
    margin: Mean,
    repetition: Repetition,
    told: Told,
    failed: bool,
    ended: bool,
}

/// An inference that has ended, for feedback that comes later. Cheap to clone and to keep.
#[derive(Clone, Debug)]
pub struct Finished {
    shard: Arc<Shard>,
    series: SeriesKey,
    told: Told,
}

impl Finished {
    /// Counts what somebody made of the output, in the window that is open now.
    pub fn feedback(&self, kind: Feedback) {
        if self.told.counts(Said::Feedback) {
            self.shard.feedback(self.series, kind);
        }
    }
}

impl Inference {
    pub(crate) fn begin(shard: &Arc<Shard>, series: SeriesKey) -> Self {
        let started = Instant::now();
        let energy = shard.energy();
        Self {
            energy: energy.map(|energy| energy.begin(series, started)),
            samples_prompt: shard.samples_prompt(),
            shard: Arc::clone(shard),
            series,
            started,
            first_token: None,
            last_token: None,
            input_tokens: None,
            output_tokens: 0,
            input_surprisal: Mean::default(),
            surprisal: Mean::default(),
            entropy: Mean::default(),
            uncertainty: Mean::default(),
            margin: Mean::default(),
            repetition: Repetition::default(),
            told: Told::new(shard.is_noised()),
            failed: false,
            ended: false,
        }
    }

    /// How many tokens the prompt has.
    pub fn prompt_tokens(&mut self, tokens: u64) {
        self.input_tokens = Some(tokens);
    }

    /// Whether the prompt's logits of this inference are looked at: one inference in eight unless
    /// [`Builder::every_nth_prompt`](crate::Builder::every_nth_prompt) says otherwise. Models that
    /// compute logits for the last position only can skip the others when it is false.
    pub fn wants_prompt(&self) -> bool {
        self.samples_prompt
    }

    /// One prompt position: the logits there, and the token that follows in the prompt. Give only
    /// what a user wrote; a template or a system prompt would drown it. Ignored unless
    /// [`wants_prompt`](Self::wants_prompt), and after 32 positions.
    pub fn observe_prompt(&mut self, logits: &[f32], next: u32) {
        if !self.samples_prompt || self.input_surprisal.count >= PROMPT_POSITIONS_MAX {
            return;
        }
        if !self.shard.fits(logits.len()) {
            return;
        }
        if let Some(surprisal) = surprisal(LogitStats::of(logits), logits, next) {
            self.input_surprisal.add(surprisal);
        }
    }

    /// A token was generated. The logits are those it was chosen from, before temperature and
    /// penalties.
    pub fn observe_logits(&mut self, logits: &[f32], chosen: u32) {
        self.chosen(chosen);
        self.observe_row(logits, chosen);
    }

    /// Chooses the likeliest token and observes it, both in one pass. `None` when the logits make
    /// no sense (empty, not a number, all ruled out): nothing was generated then.
    pub fn greedy(&mut self, logits: &[f32]) -> Option<u32> {
        let stats = LogitStats::of(logits);
        self.failed = stats.is_none();
        let stats = stats?;
        self.chosen(stats.likeliest);
        self.add(&stats, stats.surprisal_of_likeliest());
        Some(stats.likeliest)
    }

    /// A token was generated, and nothing is known of it.
    pub fn token(&mut self) {
        self.repetition.miss();
        self.count_token();
    }

    /// The prompt as the user wrote it: its characters are counted by script, and none is kept.
    pub fn prompt_text(&mut self, text: &str) {
        let scripts = script::count(text);
        self.shard.scripts(self.series, &scripts);
    }

    /// A token was generated, and it is this one.
    pub(crate) fn chosen(&mut self, token: u32) {
        self.repetition.add(token);
        self.count_token();
    }

    fn count_token(&mut self) {
        let now = Instant::now();
        self.first_token.get_or_insert(now);
        self.last_token = Some(now);
        self.output_tokens += 1;
        self.failed = false;
    }

    /// Counts a label of the output. Only labels declared at the start have a name on the wire;
    /// any other counts as `other`, and its text goes no further than this call.
    pub fn label(&mut self, label: &str) {
        if self.told.counts(Said::Label) {
            self.shard.label(self.series, label);
        }
    }

    /// Counts what the application's own validator said of the output.
    pub fn validity(&mut self, kind: Validity) {
        if self.told.counts(Said::Validity) {
            self.shard.validity(self.series, kind);
        }
    }

    /// Adds a pooled embedding: its seeded random projections are counted, if
    /// [`Builder::projections`](crate::Builder::projections) asked for any, and nothing of it is
    /// kept.
    pub fn embedding(&mut self, embedding: &[f32]) {
        self.shard.embedding(self.series, embedding);
    }

    /// Counts what somebody made of the output. For later, keep what [`finish`](Self::finish)
    /// returns.
    pub fn feedback(&self, kind: Feedback) {
        if self.told.counts(Said::Feedback) {
            self.shard.feedback(self.series, kind);
        }
    }

    /// Ends the inference.
    pub fn finish(mut self, reason: FinishReason) -> Finished {
        self.end(reason);
        Finished {
            shard: Arc::clone(&self.shard),
            series: self.series,
            told: self.told.clone(),
        }
    }

    /// Whether the token that was counted last is one whose logits are looked at.
    pub(crate) fn samples_token(&self) -> bool {
        let plan = self.shard.plan();
        let every = u64::from(plan.every_nth_token.max(1));
        !plan.disabled && self.output_tokens % every == 1 % every
    }

    /// The statistics of a token that was counted already.
    pub(crate) fn observe_row(&mut self, logits: &[f32], chosen: u32) {
        if !self.samples_token() || !self.shard.fits(logits.len()) {
            return;
        }
        let stats = LogitStats::of(logits);
        if let (Some(stats), Some(surprisal)) = (stats, surprisal(stats, logits, chosen)) {
            self.add(&stats, surprisal);
        }
    }

    #[cfg(feature = "candle")]
    pub(crate) fn prompt_tokens_unless_said(&mut self, tokens: u64) {
        self.input_tokens.get_or_insert(tokens);
    }

    /// How many logits a row must have, if that was declared.
    #[cfg(feature = "candle")]
    pub(crate) fn vocabulary(&self) -> Option<usize> {
        self.shard.plan().vocabulary
    }

    /// The application's sampler failed; if nothing follows, so did the inference.
    #[cfg(feature = "candle")]
    pub(crate) fn sampling_failed(&mut self) {
        self.failed = true;
    }

    fn add(&mut self, stats: &LogitStats, surprisal: f64) {
        self.surprisal.add(surprisal);
        self.entropy.add(stats.entropy);
        self.uncertainty.add(stats.uncertainty);
        self.margin.add(stats.margin);
    }

    fn end(&mut self, reason: FinishReason) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let now = Instant::now();
        if let (Some(energy), Some(ticket)) = (self.shard.energy(), self.energy) {
            energy.end(ticket, now);
        }
        let record = self.record(reason, now);
        self.shard.record(self.series, &record);
        trace::ended(&self.shard, self.series, &record);
    }

    /// What ends up in the window. Failed operations count with their duration and tokens only:
    /// the conventions keep token timings for successes, and half an answer has half a mean.
    fn record(&self, reason: FinishReason, now: Instant) -> Record {
        let seconds = |from: Instant, to: Instant| to.duration_since(from).as_secs_f64();
        let mut record = Record::new(reason);
        record.set(Signal::Duration, Some(seconds(self.started, now)));
        record.set(
            Signal::InputTokens,
            self.input_tokens.map(|tokens| tokens as f64),
        );
        record.set(Signal::OutputTokens, Some(self.output_tokens as f64));
        if reason == FinishReason::Error {
            return record;
        }
        let later = self.output_tokens.saturating_sub(1);
        let first = self.first_token.map(|first| seconds(self.started, first));
        let decode = self.first_token.zip(self.last_token).filter(|_| later > 0);
        let decode = decode.map(|(first, last)| seconds(first, last) / later as f64);
        record.set(Signal::FirstToken, first);
        record.set(Signal::PerToken, decode);
        record.set(Signal::OutputSurprisal, self.surprisal.value());
        record.set(Signal::OutputEntropy, self.entropy.value());
        record.set(Signal::OutputUncertainty, self.uncertainty.value());
        record.set(Signal::OutputMargin, self.margin.value());
        record.set(Signal::OutputRepetition, self.repetition.share());
        record.set(Signal::InputSurprisal, self.input_surprisal.value());
        record
    }

    fn unsaid_reason(&self) -> FinishReason {
        if self.failed || std::thread::panicking() {
            FinishReason::Error
        } else if self.output_tokens == 0 {
            FinishReason::Empty
        } else {
            FinishReason::Stop
        }
    }
}

impl Drop for Inference {
    fn drop(&mut self) {
        self.end(self.unsaid_reason());
    }
}

/// Surprisal of one token of a row; `None` when the row has none or it is infinite.
fn surprisal(stats: Option<LogitStats>, logits: &[f32], token: u32) -> Option<f64> {
    let logit = *logits.get(usize::try_from(token).ok()?)?;
    let surprisal = stats?.surprisal(logit);
    surprisal.is_finite().then_some(surprisal)
}

/// Mean over the tokens of one inference.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count = self.count.saturating_add(1);
    }

    fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

#[cfg(test)]
mod tests;
