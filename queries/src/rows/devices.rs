//! How many devices reported: a mergeable k-minimum-values sketch (Bar-Yossef et al. 2002).
//!
//! In: device ids. Out: the number of distinct ones, exact up to [`DeviceSketch::CAPACITY`] and
//! within about 9 % (one standard error) above. Merging in any order gives the same sketch.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The smallest hashes of the device ids seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSketch {
    smallest: Vec<i64>,
}

impl DeviceSketch {
    /// Hashes kept; as many devices are counted exactly.
    pub const CAPACITY: usize = 128;

    /// A sketch of one device.
    pub fn of(device: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(device.as_bytes()).into();
        let hash = digest
            .iter()
            .take(8)
            .fold(0u64, |hash, byte| hash << 8 | u64::from(*byte));
        // 63 bits, so that every engine can hold it as a signed number.
        Self {
            smallest: vec![(hash >> 1) as i64],
        }
    }

    /// Reads the `devices` column.
    pub fn from_hashes(mut hashes: Vec<i64>) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        hashes.truncate(Self::CAPACITY);
        Self { smallest: hashes }
    }

    /// The `devices` column: ascending hashes.
    pub fn hashes(&self) -> &[i64] {
        &self.smallest
    }

    /// Adds what the other has seen.
    pub fn merge(&mut self, other: &Self) {
        for hash in &other.smallest {
            match self.smallest.binary_search(hash) {
                Ok(_) => {}
                // Both are ascending: what follows is larger still.
                Err(at) if at >= Self::CAPACITY => break,
                Err(at) => self.smallest.insert(at, *hash),
            }
        }
        self.smallest.truncate(Self::CAPACITY);
    }

    /// Distinct devices.
    pub fn count(&self) -> u64 {
        let kept = self.smallest.len();
        match self.smallest.last() {
            Some(largest) if kept == Self::CAPACITY => {
                let share = (*largest as f64 + 1.0) / (i64::MAX as f64);
                ((kept - 1) as f64 / share).round() as u64
            }
            _ => kept as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(devices: std::ops::Range<u32>) -> DeviceSketch {
        devices.fold(DeviceSketch::default(), |mut sketch, device| {
            sketch.merge(&DeviceSketch::of(&format!("device-{device}")));
            sketch
        })
    }

    #[test]
    fn small_fleets_are_counted_exactly_and_merging_is_idempotent() {
        let mut all = seen(0..100);
        all.merge(&seen(50..100));
        assert_eq!(all.count(), 100);
        assert_eq!(all, seen(0..100));
    }

    #[test]
    fn any_order_of_merging_keeps_the_same_hashes() {
        let (mut forward, mut backward) = (seen(0..300), seen(200..600));
        backward.merge(&forward);
        forward.merge(&seen(200..600));
        assert_eq!(forward, backward);
        assert_eq!(forward, seen(0..600));
        assert_eq!(
            forward,
            DeviceSketch::from_hashes(forward.hashes().to_vec())
        );
    }

    #[test]
    fn large_fleets_are_counted_within_three_standard_errors() {
        let count = seen(0..5000).count() as f64;
        assert!(
            (count / 5000.0 - 1.0).abs() < 3.0 / (126f64).sqrt(),
            "{count}"
        );
    }
}
