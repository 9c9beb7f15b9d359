//! A sequential detector that fits on the device. In: what finished inferences measured, one
//! reading each, and how much time has passed. Out: alarms, no more of them by chance in a month
//! than was asked for. Owns one reference, which it learns from a model's first inferences and
//! then leaves alone: slow drift must not be learned. Never a clock, IO, or memory that grows; the
//! whole state is less than 4 KiB, and the same readings give the same bits across restarts.
//!
//! Each signal is watched at five thresholds. "One value in twenty should be above this one": a
//! bet on more than that and one on less win whenever the share moves by more than a tolerance.
//! The bets are likelihood ratios, restarted whenever they fall below their stake (an e-CUSUM), so
//! the mean of a signal's bets reaches `level` at most once in `level` batches if nothing moved
//! (Shin, Ramdas and Rinaldo 2024). The level comes from the alarms a month that are allowed and
//! from the batches a month that are seen. That inferences depend on each other (sessions, hours
//! of the day) is measured while learning, and takes weight from every batch.

mod evidence;
mod kept;
mod watch;

use watch::{Pace, Watch};

/// What is watched, by the last words of the metrics; an alarm carries one of them.
pub(crate) const WATCHED: [&str; 9] = [
    "surprisal",
    "entropy",
    "uncertainty",
    "margin",
    "repetition",
    "input.surprisal",
    "input_tokens",
    "output_tokens",
    "finish",
];

/// What one inference measured, in the order of [`WATCHED`]; not a number where it did not.
pub(crate) type Reading = [f32; WATCHED.len()];

/// Most bytes of the state, in memory and in the file that keeps it.
pub(crate) const STATE_BYTES_MAX: usize = 4096;
const _: () = assert!(size_of::<Detector>() <= STATE_BYTES_MAX);

/// Days of the month that false alarms are counted in.
const MONTH_DAYS: f64 = 30.0;

/// Even a device that may be wrong every day wants more than luck before it says so.
const LEVEL_MIN: f64 = 20.0;

/// A signal that has alarmed is quiet for an hour; if the shift lasts, it alarms again.
const QUIET_DAYS: f64 = 1.0 / 24.0;

/// A device that was off, or whose clock was set, has seen one day and not a year.
const STEP_DAYS_MAX: f64 = 1.0;

/// Weight of the last day in the usual number of batches a day.
const DAY_WEIGHT: f64 = 1.0 / 7.0;

/// Readings of another model in a row until that one is learned. An application that takes turns
/// between models is watched on the first of them.
const READINGS_TO_SWITCH: u32 = 64;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tuning {
    /// False alarms that are allowed in 30 days, all signals together. Above zero.
    pub(crate) false_alarms: f64,
    /// Values of a signal that its reference takes at least.
    pub(crate) inferences: u32,
    /// A reference takes whole multiples of so many days, so that it has seen each hour and
    /// each day of the week equally often. Zero for no such rule.
    pub(crate) days: f64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            false_alarms: 1.0,
            inferences: 2_048,
            days: 7.0,
        }
    }
}

/// The state of all signals of one model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Detector {
    tuning: Tuning,
    /// Which model the reference is of; none yet at zero.
    model: u64,
    /// Readings of another one since the last of this.
    foreign: u32,
    /// Time as the caller tells it, and time that passed while watching.
    now_days: f64,
    elapsed_days: f64,
    /// Whole days of the elapsed ones.
    day: u32,
    batches_today: u32,
    batches_daily: f64,
    watches: [Watch; WATCHED.len()],
    quiet_until: [f64; WATCHED.len()],
}

/// Signals that moved, one bit each, in the order of [`WATCHED`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alarms(u16);

impl Alarms {
    /// Their places in [`WATCHED`].
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..WATCHED.len()).filter(move |signal| self.0 >> signal & 1 == 1)
    }
}

impl Detector {
    pub(crate) fn new(tuning: Tuning) -> Self {
        Self {
            tuning,
            model: 0,
            foreign: 0,
            now_days: f64::NAN,
            elapsed_days: 0.0,
            day: 0,
            batches_today: 0,
            batches_daily: 0.0,
            watches: std::array::from_fn(|_| Watch::default()),
            quiet_until: [0.0; WATCHED.len()],
        }
    }

    /// Takes the reading of one inference of `model` (any number that tells models apart, not
    /// zero). `now_days` may be off by years, and may run backwards; only steps of it count.
    pub(crate) fn fold(&mut self, model: u64, now_days: f64, reading: &Reading) -> Alarms {
        if !self.follows(model) {
            return Alarms::default();
        }
        self.pass(now_days);
        let mut alarms = Alarms::default();
        for (signal, value) in reading.iter().enumerate() {
            if value.is_finite() && self.take(signal, *value) {
                alarms.0 |= 1 << signal;
            }
        }
        alarms
    }

    /// How many signals have a reference and are watched.
    pub(crate) fn watching(&self) -> usize {
        let frozen = self.watches.iter().filter(|watch| watch.is_frozen());
        frozen.count()
    }

    /// Whether the reading is one of the watched model; the reference of a model that is gone
    /// makes place for the one that came.
    fn follows(&mut self, model: u64) -> bool {
        if self.model == 0 {
            self.model = model;
        }
        if self.model == model {
            self.foreign = 0;
            return true;
        }
        self.foreign += 1;
        if self.foreign < READINGS_TO_SWITCH {
            return false;
        }
        *self = Self {
            model,
            ..Self::new(self.tuning)
        };
        true
    }

    fn pass(&mut self, now_days: f64) {
        let step = now_days - self.now_days;
        self.now_days = now_days;
        // The first step is not a number, and no time.
        if step > 0.0 {
            self.elapsed_days += step.min(STEP_DAYS_MAX);
        }
        if self.elapsed_days < f64::from(self.day) + 1.0 {
            return;
        }
        let today = f64::from(std::mem::take(&mut self.batches_today));
        let usual = if self.day == 0 {
            today
        } else {
            self.batches_daily
        };
        self.batches_daily = usual + (today - usual) * DAY_WEIGHT;
        self.day += 1;
    }

    /// Whether a value ends a batch that raises an alarm.
    fn take(&mut self, signal: usize, value: f32) -> bool {
        let pace = Pace {
            inferences: self.tuning.inferences,
            days: self.tuning.days,
            elapsed_days: self.elapsed_days,
        };
        let watch = &mut self.watches[signal];
        let Some(batch) = watch.take(value, pace) else {
            return false;
        };
        self.batches_today = self.batches_today.saturating_add(1);
        if self.elapsed_days < self.quiet_until[signal] {
            return false;
        }
        let level = self.level();
        let alarm = self.watches[signal].judge(&batch, level);
        if alarm {
            self.quiet_until[signal] = self.elapsed_days + QUIET_DAYS;
        }
        alarm
    }

    /// Evidence for an alarm. Signals share one level: rates of false alarms add up, however much
    /// the signals depend on each other.
    fn level(&self) -> f64 {
        let daily = self.batches_daily.max(f64::from(self.batches_today));
        (daily * MONTH_DAYS / self.tuning.false_alarms).max(LEVEL_MIN)
    }
}

#[cfg(test)]
mod tests;
