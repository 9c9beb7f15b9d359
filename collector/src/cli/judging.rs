//! What commands share that judge: the budget of false pages, and of how few devices is told.

use anyhow::bail;
use clap::Args;
use fathomline_queries::{drift::Policy, published::MIN_DEVICES};

#[derive(Debug, Args)]
pub(super) struct Judging {
    /// Series that share the budget of false pages.
    #[arg(long, default_value_t = Policy::default().series_budget,
          value_parser = clap::value_parser!(u32).range(1..))]
    series_budget: u32,
    /// False pages in 30 days, over all series.
    #[arg(long, default_value_t = Policy::default().false_pages_per_30_days)]
    false_pages_per_30_days: f64,
    /// Devices that outputs are told of.
    #[arg(long, value_name = "NUMBER", default_value_t = MIN_DEVICES)]
    pub(super) min_devices: u32,
}

impl Judging {
    /// Refuses what no threshold follows from.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if !(self.false_pages_per_30_days.is_finite() && self.false_pages_per_30_days > 0.0) {
            bail!("cannot use --false-pages-per-30-days: write a number above 0");
        }
        Ok(())
    }

    pub(super) fn policy(&self, lane_us: i64) -> Policy {
        Policy {
            lane_us,
            series_budget: self.series_budget,
            false_pages_per_30_days: self.false_pages_per_30_days,
            ..Policy::default()
        }
    }
}
