//! The data of the goals, the same bits on every machine.
//!
//! In: a folder and a share of the goals' size. Out: a data folder as the collector leaves it after
//! compaction (Delta tables, sorted, row groups of 131,072 rows), raw values beside it in `raw/`,
//! and what was counted.

use std::{error::Error, fs::File, path::Path, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray},
        compute::cast,
    },
    parquet::{
        arrow::ArrowWriter,
        basic::{Compression, Encoding, ZstdLevel},
        file::properties::WriterProperties,
        schema::types::ColumnPath,
    },
};
use deltalake_core::{
    DeltaTable, ensure_table_uri,
    writer::{DeltaWriter, RecordBatchWriter},
};
use fathomline_queries::{
    rows::{self, Clock, DeviceColumns, Distribution, DistributionRow},
    schema::{PARTITION, Table},
};
use fathomline_wire::histogram::ExponentialHistogram;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

const MINUTE_US: i64 = 60_000_000;
pub(crate) const HOUR_US: i64 = 60 * MINUTE_US;
/// Noon of some day, so that hours before it and minutes after it fall into whole days.
pub(crate) const NOON_US: i64 = 20_000 * 24 * HOUR_US + 12 * HOUR_US;
const ROW_GROUP: usize = 128 << 10;
/// Metric, scale, centre: the eight that a device sends.
const METRICS: [(&str, i32, f64); 8] = [
    ("fathomline.inference.energy", 5, 6.0),
    ("fathomline.output.entropy", 4, 0.8),
    ("fathomline.output.margin", 4, 0.7),
    ("fathomline.output.surprisal", 4, 0.4),
    ("fathomline.output.uncertainty", 4, 0.2),
    ("gen_ai.client.operation.duration", 5, 1.2),
    ("gen_ai.server.time_per_output_token", 5, 0.03),
    ("gen_ai.server.time_to_first_token", 5, 0.2),
];
/// The metric of the questions about one.
pub(crate) const METRIC: &str = METRICS[7].0;
/// Raw columns a file.
pub(crate) const COLUMNS: usize = 10;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Devices: 10,000 are the goals'.
    pub(crate) devices: u64,
    /// Minutes of all metrics: 250, which makes 20 million points.
    pub(crate) minutes: i64,
    /// Hours of one metric: 720.
    pub(crate) hours: i64,
    /// Raw values a column: 1,000,000.
    pub(crate) values: usize,
}

impl Size {
    /// A share of the goals' size: fewer devices and values, as many minutes and hours.
    pub(crate) fn of(share: f64) -> Self {
        Self {
            devices: (10_000.0 * share).ceil() as u64,
            minutes: 250,
            hours: 720,
            values: (1e6 * share).ceil() as usize,
        }
    }
}

/// What the files hold, counted while they were made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) rows: u64,
    pub(crate) records: u64,
    pub(crate) buckets: u64,
}

/// Writes everything; gives what points and device hours hold.
pub(crate) async fn write(folder: &Path, size: Size) -> Result<(Counted, Counted)> {
    let points = METRICS.iter().flat_map(|metric| {
        let device = move |device| (0..size.minutes).map(move |minute| (device, minute));
        let of = (0..size.devices).flat_map(device);
        of.map(move |(device, minute)| {
            let end = NOON_US + (minute + 1) * MINUTE_US;
            row(device, (end - MINUTE_US, end), *metric, 30)
        })
    });
    let points = write_rows(folder, Table::Distributions, points).await?;
    let metric = METRICS[7];
    let hour = |device| {
        move |hour: i64| {
            let end = NOON_US + (hour + 1 - size.hours) * HOUR_US;
            row(device, (end - HOUR_US, end), metric, 60)
        }
    };
    let hours = (0..size.devices).flat_map(|device| (0..size.hours).map(hour(device)));
    let hours = write_rows(folder, Table::DeviceHours, hours).await?;
    write_fleet(folder, size, metric).await?;
    for table in [
        Table::Measurements,
        Table::Spans,
        Table::Verdicts,
        Table::Events,
    ] {
        delta_table(folder, table).await?;
    }
    for (name, moved) in [("reference", 0.0), ("current", 1.0)] {
        write_raw(&folder.join("raw"), name, size.values, moved)?;
    }
    Ok((points, hours))
}

/// The lanes of an hour of all devices together, as the watcher reads them.
async fn write_fleet(folder: &Path, size: Size, metric: (&str, i32, f64)) -> Result<()> {
    let together = |hour: i64| {
        let end = NOON_US + (hour + 1 - size.hours) * HOUR_US;
        let one = |device| row(device, (end - HOUR_US, end), metric, 60);
        (0..size.devices).map(one).reduce(|mut sum, row| {
            if let (Distribution::Exponential(sum), Distribution::Exponential(row)) =
                (&mut sum.distribution, &row.distribution)
            {
                sum.merge(row);
            }
            sum
        })
    };
    let hours: Vec<_> = (0..size.hours).filter_map(together).collect();
    let rollups = rows::rollups(&rows::rollup(&hours, &[], HOUR_US))?;
    let mut table = delta_table(folder, Table::Rollups).await?;
    let mut writer = RecordBatchWriter::for_table(&table)?;
    writer.write(rollups).await?;
    writer.flush_and_commit(&mut table).await?;
    Ok(())
}

async fn write_rows(
    folder: &Path,
    table: Table,
    mut rows: impl Iterator<Item = DistributionRow>,
) -> Result<Counted> {
    let mut delta = delta_table(folder, table).await?;
    let writer = RecordBatchWriter::for_table(&delta)?;
    let mut writer = writer.with_writer_properties(properties()?);
    let mut counted = Counted::default();
    loop {
        let some: Vec<_> = rows.by_ref().take(ROW_GROUP).collect();
        if some.is_empty() {
            break;
        }
        for row in &some {
            counted.rows += 1;
            counted.records += row.distribution.count();
            if let Distribution::Exponential(histogram) = &row.distribution {
                counted.buckets += histogram.positive.counts.len() as u64;
            }
        }
        writer
            .write(shaped(&rows::distributions(&some)?, table)?)
            .await?;
    }
    writer.flush_and_commit(&mut delta).await?;
    Ok(counted)
}

/// Device rows in the columns of `table`: hours say how many windows they hold, and no category.
fn shaped(batch: &RecordBatch, table: Table) -> Result<RecordBatch> {
    let schema = table.arrow_schema();
    let column = |name: &str| -> ArrayRef {
        match (table, name) {
            (Table::DeviceHours, "category") => {
                Arc::new(StringArray::from(vec![""; batch.num_rows()]))
            }
            (_, "width_us") => Arc::new(Int64Array::from(vec![HOUR_US; batch.num_rows()])),
            (_, "device_windows") => Arc::new(Int64Array::from(vec![60; batch.num_rows()])),
            _ => Arc::clone(&batch[name]),
        }
    };
    let columns = schema
        .fields()
        .iter()
        .map(|field| cast(&column(field.name()), field.data_type()));
    let columns = columns.collect::<std::result::Result<_, _>>()?;
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// One window of one device.
fn row(device: u64, span: (i64, i64), metric: (&str, i32, f64), values: u64) -> DistributionRow {
    let (metric, scale, centre) = metric;
    let seed =
        mix(device << 40 ^ (span.1 / MINUTE_US) as u64 ^ mix(scale as u64 + metric.len() as u64));
    let mut histogram = ExponentialHistogram::new(scale);
    // One device in ten answers more slowly in the second half of the hours.
    let slow = device % 10 == 3 && span.1 - span.0 == HOUR_US && span.1 > NOON_US - 360 * HOUR_US;
    let centre = if slow { centre * 1.3 } else { centre };
    for value in 0..values / 2 + seed % values {
        histogram.record(centre * (0.3 * normal(seed.wrapping_add(value << 3))).exp());
    }
    let text = str::to_owned;
    let columns = DeviceColumns {
        time: span.1,
        start_time: span.0,
        sender_time: span.1,
        service: text("assistant"),
        environment: None,
        device: format!("device-{device:07}"),
        device_class: text("kiosk"),
        site: None,
        boot: Some(format!("{:016x}", mix(device))),
        sequence: Some(span.1 / MINUTE_US),
        clock: Clock::Ok,
        late: false,
        model: format!("slm-{}", device % 6),
        version: format!("1.{}.0", device / 6 % 4),
        variant: text("0123abcd"),
        quantization: None,
        operation: Some(text("chat")),
        provider: Some(text("candle")),
        metric: text(metric),
        unit: text(if scale == 5 { "s" } else { "1" }),
    };
    let distribution = Distribution::Exponential(histogram);
    DistributionRow {
        columns,
        category: None,
        distribution,
    }
}

/// Ten columns of raw values; every second one moves, each by another distance.
fn write_raw(folder: &Path, name: &str, values: usize, moved: f64) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let column = |column: usize| -> (String, ArrayRef) {
        let shift = if column % 2 == 1 {
            0.05 * column as f64 * moved
        } else {
            0.0
        };
        let seed = mix(column as u64 ^ (moved as u64) << 32);
        let value = |at: usize| (0.5 * normal(seed.wrapping_add((at as u64) << 3)) + shift).exp();
        let values: Float64Array = (0..values).map(|at| Some(value(at))).collect();
        (format!("c{column}"), Arc::new(values))
    };
    let batch = RecordBatch::try_from_iter((0..COLUMNS).map(column))?;
    let file = File::create(folder.join(format!("{name}.parquet")))?;
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

pub(crate) async fn delta_table(folder: &Path, table: Table) -> Result<DeltaTable> {
    let path = folder.join("tables").join(table.name());
    std::fs::create_dir_all(&path)?;
    let url = ensure_table_uri(path.to_string_lossy())?;
    let created = DeltaTable::try_from_url(url).await?.create();
    let created = created
        .with_columns(table.delta_fields())
        .with_partition_columns([PARTITION]);
    Ok(created.await?)
}

/// The encodings of the collector's `store/layout.rs`.
pub(crate) fn properties() -> Result<WriterProperties> {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_row_count(Some(ROW_GROUP));
    let deltas = [
        "time",
        "start_time",
        "sender_time",
        "pos_counts.list.element",
        "neg_counts.list.element",
    ];
    let splits = ["sum", "min", "max"];
    let encoded = deltas
        .map(|path| (path, Encoding::DELTA_BINARY_PACKED))
        .into_iter()
        .chain(splits.map(|path| (path, Encoding::BYTE_STREAM_SPLIT)));
    for (path, encoding) in encoded {
        let path = ColumnPath::new(path.split('.').map(str::to_owned).collect());
        builder = builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, encoding);
    }
    Ok(builder.build())
}

/// About normal: the sum of four uniform numbers, to mean 0 and deviation 1.
pub(crate) fn normal(seed: u64) -> f64 {
    let uniform = |part: u64| (mix(seed.wrapping_add(part)) >> 11) as f64 / (1_u64 << 53) as f64;
    ((0..4).map(uniform).sum::<f64>() - 2.0) * 1.732_050_8
}

/// The finaliser of splitmix64.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
