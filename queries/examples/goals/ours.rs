//! The questions of the goals, asked of the shipped engine, and raw values through the shipped
//! statistics. In: the data folder. Out: answers with what they cost.

use std::{
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

use datafusion::{
    arrow::{array::AsArray, datatypes::Float64Type},
    parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
};
use fathomline_queries::{
    engine::{Engine, EngineLimits, committed},
    published::Publication,
    stats::{Aligned, BINS, bin, ks, psi, reference_cuts},
};
use fathomline_wire::histogram::ExponentialHistogram;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    compare::PSI_LIMIT,
    fleet::{COLUMNS, HOUR_US, METRIC, NOON_US, Result},
};

const MERGE: &str = "histogram_merge(sum, min, max, scale, zero_count, zero_threshold, \
                     pos_offset, pos_counts, neg_offset, neg_counts)";
/// Resolution of the sketches of raw values: buckets 2.2 % wide, as for durations.
const RAW_SCALE: i32 = 5;
/// Times the root of `(n + m) / (n m)`: a distance that chance exceeds once in twenty.
const KS_AT_5_PERCENT: f64 = 1.358;

/// One answer and its cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Who answered.
    pub(crate) who: String,
    /// What was asked.
    pub(crate) question: String,
    /// Seconds.
    pub(crate) wall: f64,
    /// Seconds of all cores.
    pub(crate) cpu: f64,
    /// The answer: rows of what is compared.
    pub(crate) rows: Vec<Vec<Value>>,
}

/// A question by name.
pub(crate) struct Asked {
    pub(crate) name: &'static str,
    pub(crate) sql: String,
}

/// Merging (G4) and drift (G5). How many values lie at or below a power of two is exact at every
/// scale, so it can be compared with whoever merged the same buckets.
pub(crate) fn questions() -> [Asked; 4] {
    let below = |bound: f64| format!("CAST(round(histogram_cdf(h, {bound}) * n) AS BIGINT)");
    let all = [0.03125, 0.25, 1.0, 4.0].map(below).join(", ");
    let middle = (NOON_US - 360 * HOUR_US) / 1_000_000;
    let halves = format!(
        "{MERGE} FILTER (WHERE time <= to_timestamp({middle})) AS reference, \
         {MERGE} FILTER (WHERE time > to_timestamp({middle})) AS current"
    );
    [
        Asked {
            name: "G4 merge by model, version, metric",
            sql: format!(
                "SELECT model, version, metric, n, {all} FROM (SELECT model, version, metric, \
                 sum(count) AS n, {MERGE} AS h FROM distributions GROUP BY 1, 2, 3) \
                 ORDER BY 1, 2, 3"
            ),
        },
        Asked {
            name: "G4 merge of one metric by device",
            sql: format!(
                "SELECT device, n, {} FROM (SELECT device, sum(count) AS n, {MERGE} AS h FROM \
                 distributions WHERE metric = '{METRIC}' GROUP BY 1) ORDER BY 1",
                below(0.25)
            ),
        },
        Asked {
            name: "G5 drift of each device, 30 days",
            sql: format!(
                "SELECT device, drift_psi(reference, current) FROM (SELECT device, {halves} FROM \
                 device_hours WHERE metric = '{METRIC}' GROUP BY 1) ORDER BY 1"
            ),
        },
        Asked {
            name: "G5 drift of the fleet, 30 days",
            sql: format!(
                "SELECT 'fleet', drift_psi(reference, current) FROM (SELECT {halves} FROM rollups \
                 WHERE metric = '{METRIC}' AND width_us = {HOUR_US})"
            ),
        },
    ]
}

/// The engine as the collector makes it, but for its limits of time and rows.
pub(crate) async fn engine(folder: &Path) -> Result<Engine> {
    let limits = EngineLimits {
        deadline: Duration::from_secs(600),
        rows_max: 20_000,
        ..EngineLimits::default()
    };
    Ok(committed::open(folder, limits, Publication::everything()).await?)
}

pub(crate) async fn ask(engine: &Engine, asked: &Asked) -> Result<Figure> {
    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    let answer = engine.query_outside(&asked.sql).await?;
    Ok(Figure {
        who: "fathomline".into(),
        question: asked.name.into(),
        wall: began.elapsed().as_secs_f64(),
        cpu: cpu_seconds()? - cpu,
        rows: answer.rows,
    })
}

/// Raw values (G6): read, sketched, compared. A column's PSI on evidently's bins, and whether our
/// PSI and Kolmogorov and Smirnov see drift.
pub(crate) fn raw(folder: &Path) -> Result<Figure> {
    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    let sketches = |name: &str| sketches(&folder.join("raw").join(name));
    let (reference, current) = (sketches("reference.parquet")?, sketches("current.parquet")?);
    let compare = |(at, (reference, current)): (usize, (_, _))| {
        let (psi, moved) = (
            psi_of_equal_widths(reference, current),
            moved(reference, current),
        );
        vec![
            json!(format!("c{at}")),
            json!(psi),
            json!(moved.0),
            json!(moved.1),
        ]
    };
    let rows = reference
        .iter()
        .zip(&current)
        .enumerate()
        .map(compare)
        .collect();
    Ok(Figure {
        who: "fathomline".into(),
        question: "G6 raw values".into(),
        wall: began.elapsed().as_secs_f64(),
        cpu: cpu_seconds()? - cpu,
        rows,
    })
}

/// Whether our PSI, on bins of equal reference counts, and Kolmogorov and Smirnov see drift.
fn moved(reference: &ExponentialHistogram, current: &ExponentialHistogram) -> (bool, bool) {
    let aligned = Aligned::of(reference, current);
    let cuts = reference_cuts(&aligned.reference, BINS);
    let psi = psi(
        &bin(&aligned.reference, &cuts),
        &bin(&aligned.current, &cuts),
    );
    let records = (reference.count as f64, current.count as f64);
    let by_chance = KS_AT_5_PERCENT * ((records.0 + records.1) / (records.0 * records.1)).sqrt();
    let far = ks(&aligned.reference, &aligned.current);
    (psi >= PSI_LIMIT, far > by_chance)
}

/// PSI as evidently has it: Sturges' number of bins of equal width, empty ones filled up a little.
fn psi_of_equal_widths(reference: &ExponentialHistogram, current: &ExponentialHistogram) -> f64 {
    let (low, high) = (
        reference.min.min(current.min),
        reference.max.max(current.max),
    );
    let bins = (((reference.count + current.count) as f64).log2() + 1.0).ceil();
    let shares = |of: &ExponentialHistogram| -> Vec<f64> {
        let edge = |at: usize| low + (high - low) * at as f64 / bins;
        let records = of.count as f64;
        let below = |at: usize| (of.cdf(edge(at)).unwrap_or(0.0) * records).round();
        let ends = (1..bins as usize).map(below).chain([records]);
        let mut so_far = 0.0;
        let shares = ends.map(|end| (end - std::mem::replace(&mut so_far, end)) / records);
        filled(shares.collect())
    };
    let pairs = shares(reference).into_iter().zip(shares(current));
    pairs.map(|(r, c)| (r - c) * (r / c).ln()).sum()
}

fn filled(shares: Vec<f64>) -> Vec<f64> {
    let some = shares.iter().copied().filter(|share| *share > 0.0);
    let least = some.fold(1.0, f64::min);
    let little = if least <= 1e-4 { least / 1e6 } else { 1e-4 };
    let fill = |share: f64| if share > 0.0 { share } else { little };
    shares.into_iter().map(fill).collect()
}

fn sketches(file: &Path) -> Result<Vec<ExponentialHistogram>> {
    let mut sketches = vec![ExponentialHistogram::new(RAW_SCALE); COLUMNS];
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
    for batch in reader.with_batch_size(8192).build()? {
        let batch = batch?;
        for (sketch, column) in sketches.iter_mut().zip(batch.columns()) {
            let values = column.as_primitive::<Float64Type>().values();
            for value in values {
                sketch.record(*value);
            }
        }
    }
    Ok(sketches)
}

/// User and system time of this process, from the kernel's hundredths of a second.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<f64>);
    let ticks: f64 = ticks.sum::<std::result::Result<f64, _>>()?;
    Ok(ticks / 100.0)
}
