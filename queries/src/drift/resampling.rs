//! How sure a distance is: the same devices, drawn again and again with replacement, because what
//! one device sends is not independent (statistics, section d; Davison and Hinkley 1997, 5.2).
//!
//! In: counts by device. Out: an interval of the distance's root, which is about as likely to be
//! missed on either side, as wide as so few devices demand, and less what chance adds.
//! Its luck is that of the reference's name and of the window, so that the same devices in any
//! order give the same bits.

use super::Counted;
use crate::stats::{NORMAL, psi};

/// How often devices are drawn.
pub(super) const RESAMPLES: u32 = 400;

/// Devices below which an interval says nothing.
pub(super) const DEVICES_MIN: u64 = 5;

/// What luck is made of.
pub(super) struct Seed {
    /// Hash of the reference.
    pub(super) reference: String,
    pub(super) start_us: i64,
    pub(super) end_us: i64,
}

/// splitmix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn of(seed: &Seed) -> Self {
        let digits = seed.reference.get(..16).unwrap_or("0");
        let name = u64::from_str_radix(digits, 16).unwrap_or(0);
        let window = seed.start_us.unsigned_abs().rotate_left(32) ^ seed.end_us.unsigned_abs();
        Self(name ^ window)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }
}

/// Where the PSI of `devices` from the reference's bins lies with 95 % certainty. The devices come
/// in an order that does not depend on how they were read.
pub(super) fn interval(was: &[u64], devices: &[Counted], seed: &Seed) -> (f64, f64) {
    let mut random = Random::of(seed);
    let bins = |times: &[u64]| {
        let mut sum = Counted::default();
        for (device, times) in devices.iter().zip(times) {
            sum.add_times(device, *times);
        }
        sum.bins
    };
    let seen = psi(was, &bins(&vec![1; devices.len()]));
    let mut draw = || {
        let mut times = vec![0; devices.len()];
        (0..devices.len()).for_each(|_| times[random.below(devices.len())] += 1);
        psi(was, &bins(&times))
    };
    let drawn: Vec<f64> = (0..RESAMPLES).map(|_| libm::sqrt(draw())).collect();
    let count = drawn.len() as f64;
    let mean = drawn.iter().sum::<f64>() / count;
    let square = |root: &f64| (root - mean) * (root - mean);
    let variance = drawn.iter().map(square).sum::<f64>() / (count - 1.0);
    let free = devices.len() as f64 - 1.0;
    let wide = student(free) * libm::sqrt(variance * (free + 1.0) / free);
    let middle = 2.0 * libm::sqrt(seen) - mean;
    let squared = |root: f64| root.max(0.0) * root.max(0.0);
    (squared(middle - wide), squared(middle + wide))
}

/// The 97.5 % point of Student's t, to 0.5 % from four degrees of freedom on (Abramowitz and
/// Stegun 1964, 26.7.5).
fn student(free: f64) -> f64 {
    let z = NORMAL;
    let cube = z * z * z;
    let first = (cube + z) / (4.0 * free);
    let second = (5.0 * cube * z * z + 16.0 * cube + 3.0 * z) / (96.0 * free * free);
    z + first + second
}
