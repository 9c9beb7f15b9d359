//! Worlds to try the detector in: a device that infers so many times a day, in sessions, with a
//! daily cycle, and from some moment on with something wrong. The same seed gives the same world.

use super::{Alarms, Detector, Reading, Tuning, WATCHED};

/// A device and what happens to it. Sizes of effects are in standard deviations of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) per_day: u32,
    /// Inferences in a row that share half of their variance.
    pub(super) session: u32,
    /// Amplitude of the daily cycle.
    pub(super) daily: f64,
    /// How much weekends differ.
    pub(super) weekend: f64,
    pub(super) seed: u64,
}

/// What goes wrong, with all signals but the token counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wrong {
    Nothing,
    /// The mean moves.
    Mean(f64),
    /// The spread is multiplied.
    Spread(f64),
    /// A share of the values is three standard deviations up.
    Tail(f64),
}

pub(super) struct Device {
    world: World,
    pub(super) detector: Detector,
    random: u64,
    inferences: u64,
    sessions: Reading,
}

impl Device {
    pub(super) fn new(world: World, tuning: Tuning) -> Self {
        Self {
            world,
            detector: Detector::new(tuning),
            random: world.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            inferences: 0,
            sessions: [0.0; WATCHED.len()],
        }
    }

    pub(super) fn days(&self) -> f64 {
        self.inferences as f64 / f64::from(self.world.per_day)
    }

    /// One inference, and what the detector says to it.
    pub(super) fn infer(&mut self, wrong: Wrong) -> Alarms {
        let reading = self.reading(wrong);
        let now = 20_000.0 + self.days();
        self.inferences += 1;
        self.detector.fold(7, now, &reading)
    }

    /// Until every signal has its reference.
    pub(super) fn learn(&mut self) {
        while self.detector.watching() < WATCHED.len() {
            assert_eq!(self.infer(Wrong::Nothing), Alarms::default());
            assert!(self.inferences < 1_000_000, "never done learning");
        }
    }

    pub(super) fn reading(&mut self, wrong: Wrong) -> Reading {
        if self.inferences.is_multiple_of(self.world.session.into()) {
            self.sessions = std::array::from_fn(|_| self.normal() as f32);
        }
        let cycle = self.world.daily * (self.days() * std::f64::consts::TAU).sin();
        let weekend = if self.days() % 7.0 >= 5.0 {
            self.world.weekend
        } else {
            0.0
        };
        // Signals of one answer move together.
        let answer = self.normal();
        std::array::from_fn(|signal| {
            let session = f64::from(self.sessions[signal]);
            let own = 0.6 * answer + 0.8 * self.normal();
            let value = if self.world.session > 1 {
                (session + own) * std::f64::consts::FRAC_1_SQRT_2
            } else {
                own
            };
            let moved = if signal < 6 {
                self.moved(value, wrong)
            } else {
                value
            };
            spelt(signal, moved + cycle + weekend, self.inferences)
        })
    }

    fn moved(&mut self, value: f64, wrong: Wrong) -> f64 {
        match wrong {
            Wrong::Nothing => value,
            Wrong::Mean(by) => value + by,
            Wrong::Spread(by) => value * by,
            Wrong::Tail(share) if self.uniform() < share => value + 3.0,
            Wrong::Tail(_) => value,
        }
    }

    fn uniform(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (self.uniform() * std::f64::consts::TAU).cos()
    }
}

/// As the real signals look: means of nats, shares with a heap at zero, whole tokens, and prompts
/// that are looked at every other time.
fn spelt(signal: usize, value: f64, inference: u64) -> f32 {
    let value = match WATCHED[signal] {
        "repetition" => (0.1 * value - 0.05).clamp(0.0, 1.0),
        "uncertainty" | "margin" => 1.0 / (1.0 + (-value).exp()),
        "input_tokens" | "output_tokens" => (40.0 * (0.5 * value).exp()).round(),
        "input.surprisal" if inference % 2 == 1 => f64::NAN,
        // One in twenty fails.
        "finish" => f64::from(value > 1.64),
        _ => (0.4 * value).exp(),
    };
    value as f32
}
