//! How long one minute of many series takes to judge, on one core: reading what closed from the
//! rollups, and the fold.
//!
//! In: nothing, or a number of series (5000). Out: seconds of each step. The series have forty
//! inferences a minute of twelve devices, one reference each, and eleven minutes are read, as the
//! collector does to notice what came late: `cargo run -p fathomline-queries --example judging`.
#![expect(
    clippy::print_stdout,
    reason = "an example prints its figures, of rows that it made itself"
)]

use std::{error::Error, sync::Arc, time::Instant};

use datafusion::{catalog::TableProvider, datasource::MemTable};
use fathomline_queries::{
    drift::{Detector, Distances, Lane, Policy, Reference, SeriesKey, Summary},
    engine::{Engine, EngineLimits},
    lake::Lake,
    lanes,
    published::Publication,
    rows::{self, Cohort, DeviceSketch, Distribution, RollupRow},
    schema::Table,
    series::Span,
};
use fathomline_wire::histogram::ExponentialHistogram;

const MINUTE_US: i64 = 60_000_000;
const METRIC: &str = "fathomline.output.surprisal";
const INFERENCES: u64 = 40;
const DEVICES: i64 = 12;
/// Minutes that are read: one to judge, ten to look back at.
const READ: i64 = 11;
const REFERENCE: i64 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let series = std::env::args().nth(1);
    let series: u64 = series.map_or(Ok(5_000), |text| text.parse())?;
    let lake = lake(series)?;
    let engine = Engine::new(lake, EngineLimits::default(), Publication::everything())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let began = Instant::now();
    let span = Span {
        width_us: MINUTE_US,
        from_us: 0,
        to_us: READ * MINUTE_US,
    };
    let found = runtime.block_on(lanes::closed(&engine, span, &[METRIC]))?;
    let read = began.elapsed();
    let mut judged: Vec<(Reference, Detector, Lane)> = Vec::new();
    let past: Vec<Lane> = (0..REFERENCE).map(|n| lane(0, n - REFERENCE)).collect();
    for found in found {
        let (key, lane) = found.keyed();
        if lane.end_us == READ * MINUTE_US {
            let reference = Reference::freeze(key, &past, &Policy::default())?;
            let detector = Detector::new(&reference, &Policy::default());
            judged.push((reference, detector, lane));
        }
    }
    let began = Instant::now();
    let mut distances = 0.0;
    for (reference, detector, lane) in &mut judged {
        let verdict = detector.fold(reference, lane);
        let far = Distances::of(reference, lane, verdict.effective_count);
        distances += far.map_or(0.0, |far| far.psi);
    }
    let folded = began.elapsed();
    println!("{} series, {READ} minutes read: {read:.2?}", judged.len());
    println!(
        "judged: {folded:.2?} (mean PSI {:.3})",
        distances / judged.len() as f64
    );
    Ok(())
}

/// Rollups of every series, hot.
fn lake(series: u64) -> Result<Arc<Lake>, Box<dyn Error>> {
    let table = |table: Table| {
        let provider = MemTable::try_new(table.arrow_schema(), vec![vec![]])?;
        let provider: Arc<dyn TableProvider> = Arc::new(provider);
        Ok((table, provider))
    };
    let tables = Table::ALL.into_iter().map(table);
    let tables: Vec<_> = tables.collect::<Result<_, Box<dyn Error>>>()?;
    let lake = Arc::new(Lake::new(tables, -1));
    let row = |number: u64, minute: i64| rollup(number, &lane(number, minute));
    let numbered = (0..READ).flat_map(|minute| (0..series).map(move |of| (of, minute)));
    let rollups: Vec<RollupRow> = numbered.map(|(of, minute)| row(of, minute)).collect();
    lake.push(0, [(Table::Rollups, rows::rollups(&rollups)?)])?;
    Ok(lake)
}

fn rollup(number: u64, lane: &Lane) -> RollupRow {
    let SeriesKey {
        service,
        model,
        version,
        variant,
        device_class,
        metric,
    } = key(number);
    let distribution = match &lane.summary {
        Summary::Histogram(histogram) => Some(Distribution::Exponential(histogram.clone())),
        Summary::Categories(_) => None,
    };
    let hashes = (0..DEVICES).map(|device| device + 1);
    RollupRow {
        time: lane.end_us,
        width_us: MINUTE_US,
        cohort: Cohort {
            service,
            device_class,
            model,
            version,
            variant,
            quantization: None,
            metric,
            unit: "{nat}".into(),
            category: String::new(),
        },
        count: INFERENCES as i64,
        distribution,
        device_windows: DEVICES,
        devices: DeviceSketch::from_hashes(hashes.collect()),
    }
}

fn key(number: u64) -> SeriesKey {
    SeriesKey {
        service: "assistant".into(),
        model: format!("model-{}", number % 50),
        version: "1".into(),
        variant: "v".into(),
        device_class: format!("class-{}", number / 50),
        metric: METRIC.into(),
    }
}

/// A minute of a series: the same values on every machine.
fn lane(series: u64, minute: i64) -> Lane {
    let mut histogram = ExponentialHistogram::new(4);
    for record in 0..INFERENCES {
        let mut hash = series << 40 ^ minute.unsigned_abs() << 16 ^ record;
        for _ in 0..3 {
            hash = (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        }
        let uniform = (hash >> 11) as f64 / (1u64 << 53) as f64;
        histogram.record(0.05 + uniform * uniform);
    }
    Lane {
        start_us: minute * MINUTE_US,
        end_us: (minute + 1) * MINUTE_US,
        count: histogram.count,
        summary: Summary::Histogram(histogram),
        device_windows: DEVICES as u64,
        devices: DEVICES as u64,
    }
}
