//! What the device draws when nothing infers. In: power of samples in which nothing ran. Out: its
//! 5th percentile over the last 24 hours. Memory is bounded: one histogram an hour. Pure.

use fathomline_wire::histogram::ExponentialHistogram;

const HOURS: usize = 24;
const HOUR: f64 = 3_600.0;

/// Samples before anything is said.
const SAMPLES_MIN: u64 = 20;

/// Buckets 2.2 % wide.
const SCALE: i32 = 5;

/// Low, because some of what runs beside inference is in the samples.
const QUANTILE: f64 = 0.05;

/// Power by the hour it was seen in, a ring.
#[derive(Debug, Default)]
pub(super) struct Idle {
    hours: Vec<(u64, ExponentialHistogram)>,
    watts: Option<f64>,
    seen: u64,
}

impl Idle {
    /// A sample of so many watts ended at `at` seconds.
    pub(super) fn saw(&mut self, watts: f64, at: f64) {
        let hour = (at.max(0.0) / HOUR) as u64;
        if self.hours.last().is_none_or(|(last, _)| *last != hour) {
            self.hours.push((hour, ExponentialHistogram::new(SCALE)));
            let oldest = hour.saturating_sub(HOURS as u64 - 1);
            self.hours.retain(|(hour, _)| *hour >= oldest);
        }
        if let Some((_, histogram)) = self.hours.last_mut() {
            histogram.record(watts);
        }
        self.seen += 1;
        // The quantile moves slowly and costs a merge of a day.
        if self.watts.is_none() || self.seen.is_multiple_of(100) {
            self.watts = self.quantile();
        }
    }

    /// Watts when idle; `None` before enough samples.
    pub(super) fn watts(&self) -> Option<f64> {
        self.watts
    }

    fn quantile(&self) -> Option<f64> {
        let mut day = ExponentialHistogram::new(SCALE);
        self.hours.iter().for_each(|(_, hour)| day.merge(hour));
        if day.count < SAMPLES_MIN {
            return None;
        }
        day.quantile(QUANTILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_is_low_but_not_the_lowest_and_forgets_after_a_day() {
        let mut idle = Idle::default();
        (0..19).for_each(|n| idle.saw(3.0, f64::from(n)));
        assert_eq!(idle.watts(), None);
        (0..1_000).for_each(|n| idle.saw(3.0 + f64::from(n % 100) / 50.0, f64::from(n)));
        let watts = idle.watts().unwrap();
        assert!((2.95..3.2).contains(&watts), "{watts}");
        // A warmer day later.
        (0..1_000).for_each(|n| idle.saw(6.0, 30.0 * HOUR + f64::from(n)));
        let watts = idle.watts().unwrap();
        assert!((5.8..=6.0).contains(&watts), "{watts}");
        assert!(idle.hours.len() <= HOURS);
    }
}
