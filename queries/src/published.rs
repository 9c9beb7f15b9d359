//! What may be shown: the tables as every door sees them.
//!
//! In: stored tables of one view. Out: the same tables, in which what came in, what a model made of
//! it and what people said of that is shown only for at least `min_devices` devices together.
//! Speed, volume, energy and health stay visible per device.
//!
//! | table | what is published |
//! |---|---|
//! | `distributions`, `measurements` | rows of metrics that are shown per device, no others |
//! | `device_hours`, `rollup_hours`, `rollup_days` | likewise: an hour less its lanes would tell of the devices that were too few for one of these |
//! | `spans` | every row, without how its output ended |
//! | `rollups` | those metrics as they are; the others folded (`published/fold.rs`), once their lane has closed |
//! | `verdicts`, `events` | as they are: who judges leaves out what is not to be told |
//!
//! An [`Engine`](crate::engine::Engine) cannot be made without saying which; there is no other way
//! to the tables. Not promised: what somebody can guess who knows the devices, who makes devices
//! up, or who asks again after late rows arrived (`docs/privacy.md`).

mod filters;
mod fold;
mod gate;
mod table;

use std::{fmt, sync::Arc};

use fathomline_wire::names;

use self::table::{Published, Rule};
use crate::{
    lake::{Snapshot, View},
    rows::DeviceSketch,
    schema::{Table, column},
};

/// Devices that a group needs unless the operator says otherwise.
pub const MIN_DEVICES: u32 = 5;

/// Most devices that can be asked for: up to so many, sketches count exactly.
pub const MIN_DEVICES_MAX: u32 = DeviceSketch::CAPACITY as u32;

/// Says up to which lane end lanes have closed, microseconds.
pub type Closed = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Lanes whose outputs are shown. Of lanes of one width: a wider lane less the narrower ones in it
/// would tell of the devices that were too few for one of these.
#[derive(Clone)]
pub struct Lanes {
    width_us: Option<i64>,
    closed: Closed,
}

impl Lanes {
    /// Lanes of `width_us` that `closed` says have ended and take nothing more: while one is open,
    /// the difference between two looks would be a single device's.
    pub fn of_width(width_us: i64, closed: Closed) -> Self {
        Self {
            width_us: Some(width_us),
            closed,
        }
    }

    /// Every lane that is stored, for whoever can read the files anyway.
    pub fn every() -> Self {
        Self {
            width_us: None,
            closed: Arc::new(|| i64::MAX),
        }
    }
}

/// What an engine shows.
#[derive(Clone)]
pub struct Publication {
    min_devices: u32,
    lanes: Lanes,
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Publication({})", self.min_devices)
    }
}

impl Publication {
    /// What is stored, as it is: for judging, and for the operator who asks for it.
    pub fn everything() -> Self {
        Self::of_groups(1, Lanes::every())
    }

    /// Outputs of groups of at least `min_devices` devices, at most [`MIN_DEVICES_MAX`], in
    /// `lanes`. One device is a group of one, so 1 shows everything.
    pub fn of_groups(min_devices: u32, lanes: Lanes) -> Self {
        Self {
            min_devices: min_devices.clamp(1, MIN_DEVICES_MAX),
            lanes,
        }
    }

    /// Devices that a group needs.
    pub fn min_devices(&self) -> u32 {
        self.min_devices
    }

    /// Whether anything is left out or folded.
    pub fn folds(&self) -> bool {
        self.min_devices > 1
    }

    /// The tables of `view`, published.
    pub(crate) fn tables(&self, view: &View) -> Vec<Snapshot> {
        let stored = view.tables();
        if !self.folds() {
            return stored;
        }
        let lanes = gate::Lanes {
            width_us: self.lanes.width_us,
            closed_us: (self.lanes.closed)(),
        };
        let published = stored.into_iter().map(|(table, stored)| {
            let rule = match table {
                Table::Distributions
                | Table::Measurements
                | Table::DeviceHours
                | Table::RollupHours
                | Table::RollupDays => Rule::Metrics,
                Table::Spans => Rule::Masked(&[column::FINISH_REASONS]),
                Table::Rollups => Rule::Folded {
                    min_devices: self.min_devices as usize,
                    lanes,
                },
                Table::Verdicts | Table::Events => return (table, stored),
            };
            (table, Arc::new(Published::new(stored, rule)) as _)
        });
        published.collect()
    }
}

/// Whether numbers of `metric` from a group of `devices` may be shown where `min_devices` are
/// asked for.
pub fn shows(min_devices: u32, metric: &str, devices: u64) -> bool {
    names::shown_per_device(metric) || devices >= u64::from(min_devices)
}

/// Devices that a group needs for its numbers of `metric` to be shown where `min_devices` are asked
/// for: one where those of single devices are.
pub fn devices_needed(min_devices: u32, metric: &str) -> u32 {
    match shows(min_devices, metric, 1) {
        true => 1,
        false => min_devices,
    }
}

#[cfg(test)]
mod tests;
