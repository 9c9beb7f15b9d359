//! Lanes and neighbours for tests: series that behave as written, a table that keeps everything.

use std::{collections::BTreeSet, sync::Mutex};

use async_trait::async_trait;
use datafusion::arrow::record_batch::RecordBatch;
use fathomline_queries::{
    drift::{Lane, SeriesKey, Summary},
    schema::Table,
};
use fathomline_wire::{histogram::ExponentialHistogram, names};

use super::{
    forward::{ControlRows, RowsError},
    lanes::{Asked, LaneSource, LanesError, SeriesLanes},
};

/// Width of the lanes.
pub(crate) const LANE_US: i64 = 1_000_000;
const DEVICES: u64 = 6;
const RECORDS_A_DEVICE: u64 = 40;

pub(crate) fn key(device_class: &str) -> SeriesKey {
    SeriesKey {
        service: "assistant".into(),
        model: "tiny".into(),
        version: "1".into(),
        variant: "v".into(),
        device_class: device_class.into(),
        metric: names::OUTPUT_SURPRISAL.into(),
    }
}

/// Lanes 1 to `until` of two classes; the kiosks' values are multiplied by `factor` after
/// `shift_after`.
pub(crate) struct ScriptedLanes {
    pub(crate) until: i64,
    pub(crate) shift_after: i64,
    pub(crate) factor: f64,
}

#[async_trait]
impl LaneSource for ScriptedLanes {
    async fn lanes(&self, asked: Asked<'_>) -> Result<SeriesLanes, LanesError> {
        let first = asked.span.from_us.div_euclid(LANE_US) + 1;
        let last = asked.span.to_us.div_euclid(LANE_US).min(self.until);
        let mut lanes = SeriesLanes::new();
        for (class, seed) in [("kiosk", 1), ("panel", 2)] {
            let of = (first.max(1)..=last).map(|number| {
                let shifted = class == "kiosk" && number > self.shift_after;
                lane(seed, number, if shifted { self.factor } else { 1.0 })
            });
            let of: Vec<Lane> = of.collect();
            if !of.is_empty() {
                lanes.insert(key(class), of);
            }
        }
        Ok(lanes)
    }
}

/// Lane `number` of a series: what its devices said, times `factor`.
pub(crate) fn lane(seed: u64, number: i64, factor: f64) -> Lane {
    lane_of((seed, DEVICES), number, factor)
}

/// The same of its first devices only.
fn lane_of((seed, devices): (u64, u64), number: i64, factor: f64) -> Lane {
    let mut histogram = ExponentialHistogram::new(4);
    let count = devices * RECORDS_A_DEVICE;
    for record in 0..count {
        // A skewed value from a hash: the same on every machine and in every order.
        let mut hash = seed << 40 ^ number.unsigned_abs() << 16 ^ record;
        for _ in 0..3 {
            hash = (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        }
        let uniform = (hash >> 11) as f64 / (1u64 << 53) as f64;
        histogram.record(factor * (0.01 + uniform * uniform));
    }
    Lane {
        start_us: (number - 1) * LANE_US,
        end_us: number * LANE_US,
        summary: Summary::Histogram(histogram),
        count,
        device_windows: devices,
        devices,
    }
}

/// Scripted lanes of which some are late: until they have arrived, every second of those holds what
/// two devices said, the others nothing.
pub(crate) struct LateLanes {
    pub(crate) all: ScriptedLanes,
    /// Numbers of kiosks' lanes that are not complete yet.
    pub(crate) missing: Mutex<BTreeSet<i64>>,
    /// The first lane that was asked for since this was emptied.
    pub(crate) first_asked: Mutex<Option<i64>>,
}

impl LateLanes {
    pub(crate) fn new(all: ScriptedLanes, missing: impl IntoIterator<Item = i64>) -> Self {
        Self {
            all,
            missing: Mutex::new(missing.into_iter().collect()),
            first_asked: Mutex::new(None),
        }
    }

    /// What was late has arrived, as far as `numbers` says.
    pub(crate) fn arrive(&self, numbers: impl IntoIterator<Item = i64>) {
        let mut missing = self.missing.lock().unwrap();
        for number in numbers {
            missing.remove(&number);
        }
    }
}

#[async_trait]
impl LaneSource for LateLanes {
    async fn lanes(&self, asked: Asked<'_>) -> Result<SeriesLanes, LanesError> {
        let first = asked.span.from_us.div_euclid(LANE_US) + 1;
        {
            let mut before = self.first_asked.lock().unwrap();
            *before = Some(before.map_or(first, |before| before.min(first)));
        }
        let mut lanes = self.all.lanes(asked).await?;
        let missing = self.missing.lock().unwrap().clone();
        if let Some(kiosks) = lanes.get_mut(&key("kiosk")) {
            let number = |lane: &Lane| lane.end_us / LANE_US;
            kiosks.retain(|lane| number(lane) % 2 == 0 || !missing.contains(&number(lane)));
            for lane in kiosks {
                let shifted = number(lane) > self.all.shift_after;
                let factor = if shifted { self.all.factor } else { 1.0 };
                if missing.contains(&number(lane)) {
                    *lane = lane_of((1, 2), number(lane), factor);
                }
            }
        }
        Ok(lanes)
    }
}

/// Keeps how many rows it was given, and up to which number.
#[derive(Default)]
pub(crate) struct KeptRows(Mutex<(i64, usize)>);

impl KeptRows {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

#[async_trait]
impl ControlRows for KeptRows {
    async fn last_row(&self, _: Table) -> Result<i64, RowsError> {
        Ok(self.0.lock().unwrap().0)
    }

    async fn append(
        &self,
        last_row: i64,
        batches: Vec<(Table, RecordBatch)>,
    ) -> Result<(), RowsError> {
        let rows: usize = batches.iter().map(|(_, batch)| batch.num_rows()).sum();
        let mut kept = self.0.lock().unwrap();
        *kept = (last_row, kept.1 + rows);
        Ok(())
    }

    async fn commit(&self, _: bool) -> Result<(), RowsError> {
        Ok(())
    }
}
