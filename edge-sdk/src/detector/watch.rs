//! One signal: from its first value to an alarm. In: values, one at a time. Out: batches, and
//! whether one of them is too much. Goes through three stages and never back: sample values for
//! thresholds, count how many are above them and how much that varies, then watch. Pure.

use super::evidence::{self, BETS, Expected};

/// Thresholds of a signal.
pub(super) const STREAMS: usize = 5;

/// Values of a batch. Small enough to be quick, large enough that nothing is computed most times.
pub(super) const BATCH: u32 = 16;

/// Values that thresholds are chosen from, spread over the first quarter of the reference.
pub(super) const SAMPLES: usize = 64;

/// Places in the sorted samples: near 5, 25, 50, 75 and 95 %. The true shares are counted
/// afterwards, so that how near does not matter.
const RANKS: [usize; STREAMS] = [3, 16, 32, 48, 60];

/// Blocks whose variation is measured, in batches: sessions show in the small ones, hours of the
/// day in the large ones.
pub(super) const BLOCKS: [u32; 5] = [1, 8, 64, 512, 4_096];

/// A variance from fewer blocks than this says nothing.
const BLOCKS_MIN: u32 = 8;

/// Smallest move of a share worth an alarm, in standard deviations of a single value, and
/// outright.
const TOLERANCE: f64 = 0.05;
const TOLERANCE_MIN: f64 = 0.01;

/// Standard errors that the reference itself may be wrong by.
const ERRORS: f64 = 3.0;

/// An alarm takes this many batches at least, so that one freak batch is none.
const BATCHES_MIN: f64 = 3.0;

/// When a reference is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) inferences: u32,
    pub(super) days: f64,
    pub(super) elapsed_days: f64,
}

/// How many values of a batch were above each threshold.
pub(super) type Batch = [u8; STREAMS];

/// One signal.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Watch {
    pub(super) filled: u32,
    pub(super) batch: Batch,
    pub(super) stage: Stage,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    Sample(Sample),
    Count(Count),
    Guard(Guard),
}

impl Default for Stage {
    fn default() -> Self {
        Self::Sample(Sample::default())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) seen: u32,
    pub(super) values: [f32; SAMPLES],
}

/// Counts over thresholds that are fixed by now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Count {
    pub(super) thresholds: [f32; STREAMS],
    pub(super) began_days: f64,
    /// Multiples of the days of the reference that have passed.
    pub(super) rounds: u32,
    pub(super) batches: u32,
    pub(super) above: [u32; STREAMS],
    /// By block length: values above in the block that is not full, squares over full ones.
    pub(super) open: [[u32; STREAMS]; BLOCKS.len()],
    pub(super) squares: [[u64; STREAMS]; BLOCKS.len()],
}

/// The frozen reference, and what was bet against it so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Guard {
    pub(super) thresholds: [f32; STREAMS],
    pub(super) shares: [f32; STREAMS],
    pub(super) tolerances: [f32; STREAMS],
    /// Independent values that a batch is worth.
    pub(super) weight: f32,
    /// Logarithms of what the bets are worth.
    pub(super) bets: [[f32; BETS]; STREAMS],
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            seen: 0,
            values: [0.0; SAMPLES],
        }
    }
}

impl Watch {
    /// Adds a value. A batch when it is full.
    pub(super) fn take(&mut self, value: f32, pace: Pace) -> Option<Batch> {
        self.filled += 1;
        match &mut self.stage {
            Stage::Sample(sample) => {
                if let Some(thresholds) = sample.take(value, pace) {
                    *self = Self::counting(thresholds, pace);
                    return None;
                }
            }
            Stage::Count(Count { thresholds, .. }) | Stage::Guard(Guard { thresholds, .. }) => {
                let above = self.batch.iter_mut().zip(thresholds.iter());
                above.for_each(|(count, threshold)| *count += u8::from(value > *threshold));
            }
        }
        if self.filled < BATCH {
            return None;
        }
        self.filled = 0;
        let batch = std::mem::take(&mut self.batch);
        if let Stage::Count(count) = &mut self.stage {
            count.add(&batch);
            if count.is_complete(pace) {
                self.stage = Stage::Guard(count.freeze());
            }
        }
        Some(batch)
    }

    /// Bets on a batch. Whether what was won is worth `level`; then all bets start again.
    pub(super) fn judge(&mut self, batch: &Batch, level: f64) -> bool {
        match &mut self.stage {
            Stage::Guard(guard) => guard.judge(batch, level),
            Stage::Sample(_) | Stage::Count(_) => false,
        }
    }

    pub(super) fn is_frozen(&self) -> bool {
        matches!(self.stage, Stage::Guard(_))
    }

    fn counting(thresholds: [f32; STREAMS], pace: Pace) -> Self {
        let count = Count {
            thresholds,
            began_days: pace.elapsed_days,
            ..Count::default()
        };
        Self {
            stage: Stage::Count(count),
            ..Self::default()
        }
    }
}

impl Sample {
    /// Thresholds once there are enough values.
    fn take(&mut self, value: f32, pace: Pace) -> Option<[f32; STREAMS]> {
        let samples = SAMPLES as u32;
        let stride = (pace.inferences / 4 / samples).max(1);
        if self.seen.is_multiple_of(stride)
            && let Some(place) = self.values.get_mut((self.seen / stride) as usize)
        {
            *place = value;
        }
        self.seen += 1;
        if self.seen < stride * samples {
            return None;
        }
        self.values.sort_unstable_by(f32::total_cmp);
        Some(RANKS.map(|rank| self.values[rank]))
    }
}

impl Count {
    fn add(&mut self, batch: &Batch) {
        self.batches = self.batches.saturating_add(1);
        for (above, count) in self.above.iter_mut().zip(batch) {
            *above = above.saturating_add(u32::from(*count));
        }
        let blocks = BLOCKS.iter().zip(&mut self.open).zip(&mut self.squares);
        for ((length, open), squares) in blocks {
            let full = self.batches.is_multiple_of(*length);
            for ((open, square), count) in open.iter_mut().zip(squares).zip(batch) {
                *open += u32::from(*count);
                if full {
                    *square = square.saturating_add(u64::from(*open) * u64::from(*open));
                    *open = 0;
                }
            }
        }
    }

    /// After enough values, at the end of a whole number of rounds.
    fn is_complete(&mut self, pace: Pace) -> bool {
        let passed = (pace.elapsed_days - self.began_days) / pace.days;
        let before = self.rounds;
        if pace.days > 0.0 {
            self.rounds = passed as u32;
        }
        let sampled = pace.inferences / 4;
        self.batches * BATCH + sampled >= pace.inferences
            && (pace.days <= 0.0 || self.rounds > before)
    }

    fn freeze(&self) -> Guard {
        let values = f64::from(self.batches) * f64::from(BATCH);
        let shares = self
            .above
            .map(|above| (f64::from(above) + 0.5) / (values + 1.0));
        // The noisiest threshold speaks for all: near the ends there is little to measure it by.
        let design_effect = (0..STREAMS)
            .map(|stream| self.design_effect(stream, shares[stream]))
            .fold(1.0, f64::max);
        let error = ERRORS * (design_effect / values).sqrt();
        let tolerance = |share: f64| {
            let deviation = (share * (1.0 - share)).sqrt();
            (deviation * error.max(TOLERANCE)).max(TOLERANCE_MIN) as f32
        };
        Guard {
            thresholds: self.thresholds,
            shares: shares.map(|share| share as f32),
            tolerances: shares.map(tolerance),
            weight: (f64::from(BATCH) / design_effect) as f32,
            bets: Default::default(),
        }
    }

    /// How many times as much the share varies from block to block as that of independent values
    /// would, at the block length where that is worst.
    fn design_effect(&self, stream: usize, share: f64) -> f64 {
        let of = |block: usize| {
            let length = BLOCKS[block];
            let blocks = self.batches / length;
            let n = f64::from(blocks);
            let sum = f64::from(self.above[stream] - self.open[block][stream]);
            let variance = (self.squares[block][stream] as f64 - sum * sum / n) / (n - 1.0);
            let independent = f64::from(length * BATCH) * share * (1.0 - share);
            (blocks >= BLOCKS_MIN).then(|| variance / independent)
        };
        (0..BLOCKS.len()).filter_map(of).fold(1.0, f64::max)
    }
}

impl Guard {
    fn judge(&mut self, batch: &Batch, level: f64) -> bool {
        let bets = (STREAMS * BETS) as f64;
        let most = (level * bets).ln() / BATCHES_MIN;
        let mut worth = 0.0;
        for (stream, logs) in self.bets.iter_mut().enumerate() {
            let expected = Expected {
                share: self.shares[stream].into(),
                tolerance: self.tolerances[stream].into(),
            };
            let seen = f64::from(batch[stream]) / f64::from(BATCH);
            let steps = evidence::steps(expected, seen, self.weight.into());
            for (log, step) in logs.iter_mut().zip(steps) {
                *log = (f64::from(log.max(0.0)) + step.min(most)) as f32;
                worth += f64::from(*log).exp();
            }
        }
        let alarm = worth / bets >= level;
        if alarm {
            self.bets = Default::default();
        }
        alarm
    }
}
