//! What an operator may choose. Owns the defaults and their reasons.

use serde::{Deserialize, Serialize};

const MICROS_PER_30_DAYS: f64 = 30.0 * 86_400.0 * 1e6;

/// How strict judging is; frozen into a detector's state when it starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Series the budget of false pages is shared by: configured, not a count of the living, so
    /// that another series arriving changes no score.
    pub series_budget: u32,
    /// False pages in 30 days, over all series together.
    pub false_pages_per_30_days: f64,
    /// Width of a lane, microseconds.
    pub lane_us: i64,
    /// Records a reference needs; below that its shares are guesses.
    pub min_records: u64,
    /// Lanes a reference needs; below that its noise is a guess.
    pub min_blocks: u32,
    /// Lanes a page needs at least: one freak lane cannot page.
    pub min_windows: u32,
    /// Lanes that are also judged together, beside each by itself; 1 for none.
    pub long_lanes: u32,
    /// After a page a series does not page again for so long, microseconds.
    pub mute_us: i64,
    /// Records the last `min_windows` lanes must hold together to be called steady.
    pub min_current_records: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            series_budget: 1000,
            false_pages_per_30_days: 1.0,
            lane_us: 60_000_000,
            min_records: 3000,
            min_blocks: 20,
            min_windows: 3,
            long_lanes: 60,
            mute_us: 3_600_000_000,
            min_current_records: 30,
        }
    }
}

impl Policy {
    /// Evidence a page needs at windows of `lanes` lanes: `A = (windows in 30 days) * S * W / B`
    /// (statistics, section d.4), where the `W` widths that a series is judged at share its part of
    /// the budget.
    pub fn page_threshold(&self, lanes: u32) -> f64 {
        let window_us = self.lane_us as f64 * f64::from(lanes.max(1));
        let windows = MICROS_PER_30_DAYS / window_us;
        let widths = if self.long_lanes > 1 { 2.0 } else { 1.0 };
        windows * f64::from(self.series_budget) * widths / self.false_pages_per_30_days
    }
}
