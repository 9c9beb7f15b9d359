//! A month to back-test: a data folder as the collector leaves it after compaction, with thirty
//! days of minute lanes.
//!
//! In: a folder that does not exist yet, and a number of series (10). Out: its tables; every tenth
//! series moves on the twentieth day. `cargo run -p fathomline-queries --example month -- FOLDER`,
//! then `fathomline backtest --data FOLDER`.

#[path = "goals/fleet.rs"]
#[expect(dead_code, reason = "the goals use more of it")]
mod fleet;

use std::path::PathBuf;

use deltalake_core::writer::{DeltaWriter, RecordBatchWriter};
use fathomline_queries::{
    rows::{self, Cohort, DeviceSketch, Distribution, RollupRow},
    schema::Table,
};
use fathomline_wire::{histogram::ExponentialHistogram, names};
use fleet::{NOON_US, Result, delta_table, mix, normal, properties};

const MINUTE_US: i64 = 60_000_000;
const DAY: i64 = 1_440;
const DAYS: i64 = 30;
/// Inferences a minute, of so many devices.
const INFERENCES: u64 = 40;
const DEVICES: i64 = 12;
/// Signals of one class of devices.
const METRICS: [&str; 5] = [
    names::OUTPUT_SURPRISAL,
    names::OUTPUT_ENTROPY,
    names::OUTPUT_UNCERTAINTY,
    names::TIME_TO_FIRST_TOKEN,
    names::OPERATION_DURATION,
];

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map(PathBuf::from);
    let folder = folder.ok_or("name a folder that does not exist yet")?;
    if folder.exists() {
        return Err(format!("{} exists already; name another", folder.display()).into());
    }
    let series: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    for table in Table::ALL {
        let mut delta = delta_table(&folder, table).await?;
        if table == Table::Rollups {
            let writer = RecordBatchWriter::for_table(&delta)?;
            let mut writer = writer.with_writer_properties(properties()?);
            for day in 0..DAYS {
                writer.write(rows::rollups(&lanes_of(day, series))?).await?;
            }
            writer.flush_and_commit(&mut delta).await?;
        }
    }
    Ok(())
}

/// Lanes of a day as compaction sorts them: by signal, cohort and time.
fn lanes_of(day: i64, series: u64) -> Vec<RollupRow> {
    let mut numbers: Vec<u64> = (0..series).collect();
    numbers.sort_by_key(|number| (metric(*number), number / METRICS.len() as u64));
    let minutes = day * DAY..(day + 1) * DAY;
    let of = |number: u64| minutes.clone().map(move |minute| lane(number, minute));
    numbers.into_iter().flat_map(of).collect()
}

fn metric(number: u64) -> &'static str {
    METRICS[(number % METRICS.len() as u64) as usize]
}

/// One minute of a series.
fn lane(number: u64, minute: i64) -> RollupRow {
    let (metric, seed) = (metric(number), mix(number << 32 ^ minute.unsigned_abs()));
    let unit = names::metric(metric).map_or("1", |metric| metric.unit);
    let moved = number % 10 == 3 && minute >= 20 * DAY;
    let centre = if moved { 1.3 } else { 1.0 };
    let mut histogram = ExponentialHistogram::new(names::pinned_scale(unit));
    for value in 0..INFERENCES / 2 + seed % INFERENCES {
        let spread = 0.5 * normal(seed.wrapping_add(value << 3));
        histogram.record(centre * libm::exp(spread));
    }
    RollupRow {
        time: NOON_US + (minute + 1) * MINUTE_US,
        width_us: MINUTE_US,
        cohort: Cohort {
            service: "assistant".to_owned(),
            device_class: format!("class-{}", number / METRICS.len() as u64),
            model: "slm".to_owned(),
            version: "1".to_owned(),
            variant: "0123abcd".to_owned(),
            quantization: None,
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            category: String::new(),
        },
        count: histogram.count as i64,
        distribution: Some(Distribution::Exponential(histogram)),
        device_windows: DEVICES,
        devices: DeviceSketch::from_hashes((1..=DEVICES).collect()),
    }
}
