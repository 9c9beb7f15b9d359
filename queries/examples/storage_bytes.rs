//! What a stored row costs, and what it would cost in other encodings.
//!
//! In: nothing, or a number of devices (4). Out: bytes a row of one day's compacted file of
//! `distributions`, by encoding and by column, and of `device_hours`. The same numbers on every
//! machine: `cargo run --example storage_bytes` (no release needed).
//! A device has eight metrics and a window a minute, of about 23 buckets unless `SPREAD` (the width
//! of the values' distribution, 0.25) says otherwise; 0.72 makes about 58.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "an example prints its figures, of rows that it made itself"
)]

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BinaryBuilder, RecordBatch, UInt32Array},
        compute::{SortColumn, lexsort_to_indices, take},
        datatypes::{DataType, Field, Int64Type, Schema},
    },
    parquet::{
        arrow::ArrowWriter,
        basic::{Compression, Encoding, ZstdLevel},
        file::{
            metadata::ParquetMetaData,
            properties::{WriterProperties, WriterPropertiesBuilder},
        },
        schema::types::ColumnPath,
    },
};
use fathomline_queries::{
    rows::{self, Clock, DeviceColumns, Distribution, DistributionRow},
    schema::Table,
};
use fathomline_wire::histogram::ExponentialHistogram;

const MINUTE_US: i64 = 60_000_000;
const METRICS: [(&str, &str, f64); 8] = [
    ("gen_ai.client.operation.duration", "s", 1.2),
    ("gen_ai.server.time_to_first_token", "s", 0.2),
    ("gen_ai.server.time_per_output_token", "s", 0.03),
    ("fathomline.inference.energy", "J", 6.0),
    ("fathomline.output.surprisal", "{nat}", 0.4),
    ("fathomline.output.entropy", "{nat}", 0.8),
    ("fathomline.output.uncertainty", "1", 0.2),
    ("fathomline.output.margin", "1", 0.7),
];

fn main() {
    let devices = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let devices: i64 = devices.unwrap_or(4);
    let spread = std::env::var("SPREAD").ok();
    let spread: f64 = spread.and_then(|text| text.parse().ok()).unwrap_or(0.25);
    let day = sorted(&day(devices, MINUTE_US, (30, spread)));
    let height = day.num_rows();
    let buckets = counted(&day) as f64 / height as f64;
    println!("{devices} devices, {height} rows, {buckets:.1} buckets a row\n");
    println!("bytes a row | distributions, one day, one file");
    let stored = || tuned(WriterProperties::builder(), 3);
    let variants: Vec<(&str, WriterProperties, RecordBatch)> = vec![
        ("as stored", stored().build(), day.clone()),
        (
            "as stored, in order of arrival",
            stored().build(),
            arrival(&day),
        ),
        (
            "zstd 1",
            tuned(WriterProperties::builder(), 1).build(),
            day.clone(),
        ),
        (
            "zstd 6",
            tuned(WriterProperties::builder(), 6).build(),
            day.clone(),
        ),
        (
            "zstd 9",
            tuned(WriterProperties::builder(), 9).build(),
            day.clone(),
        ),
        ("dictionaries everywhere", plain().build(), day.clone()),
        (
            "counts by dictionary",
            counts_by_dictionary(stored()),
            day.clone(),
        ),
        ("row groups of 32k rows", groups(stored(), 32), day.clone()),
        ("row groups of 1M rows", groups(stored(), 1024), day.clone()),
        ("lists packed into bytes", stored().build(), packed(&day)),
    ];
    for (name, properties, batch) in variants {
        let (bytes, _) = written(&batch, properties);
        println!("{:11.2} | {name}", bytes as f64 / height as f64);
    }
    let (bytes, metadata) = written(&day, stored().build());
    println!(
        "\na device-day of minutes: {} bytes",
        bytes as i64 / devices
    );
    println!("\nbytes a row | column");
    for (name, bytes) in columns(&metadata) {
        println!("{:11.2} | {name}", bytes as f64 / height as f64);
    }
    let hours = sorted(&self::day(devices, 60 * MINUTE_US, (1800, spread)));
    let (bytes, _) = written(&hours, stored().build());
    let buckets = counted(&hours) as f64 / hours.num_rows() as f64;
    println!(
        "\nhours: {:.2} bytes a row of {buckets:.1} buckets, {} a device-day",
        bytes as f64 / hours.num_rows() as f64,
        bytes as i64 / devices
    );
}

/// Every window of a day, minute by minute, as they arrive.
fn day(devices: i64, width_us: i64, values: (u64, f64)) -> RecordBatch {
    let began = 20_000 * 1440 * MINUTE_US;
    let mut rows = vec![];
    for step in 0..1440 * MINUTE_US / width_us {
        for device in 0..devices {
            for (number, metric) in METRICS.iter().enumerate() {
                let seed = ((step * devices + device) as u64) << 4 | number as u64;
                let time = began + (step + 1) * width_us;
                rows.push(window(
                    device,
                    time - width_us..time,
                    *metric,
                    (seed, values),
                ));
            }
        }
    }
    rows::distributions(&rows).unwrap()
}

fn window(
    device: i64,
    span: std::ops::Range<i64>,
    (metric, unit, centre): (&str, &str, f64),
    (seed, (values, spread)): (u64, (u64, f64)),
) -> DistributionRow {
    let mut histogram = ExponentialHistogram::new(if matches!(unit, "s" | "J") { 5 } else { 4 });
    // Inferences come in varying numbers.
    for value in 0..values / 2 + mix(seed) % values {
        let normal: f64 = (0..4)
            .map(|part| uniform(seed << 16 | value << 2 | part))
            .sum();
        assert!(histogram.record(centre * (spread * (normal - 2.0)).exp()));
    }
    let text = |text: &str| text.to_owned();
    let jitter = (mix(device as u64) % 1_000_000) as i64;
    DistributionRow {
        columns: DeviceColumns {
            time: span.end + jitter,
            start_time: span.start + jitter,
            sender_time: span.end + jitter,
            service: text("assistant"),
            environment: Some(text("production")),
            device: format!("{:016x}", mix(device as u64)),
            device_class: text(["kiosk", "gateway"][device as usize % 2]),
            site: Some(format!("site-{}", device / 8)),
            boot: Some(format!("{:016x}", mix(device as u64 + 1_000_000))),
            sequence: Some(span.end / (span.end - span.start)),
            clock: Clock::Ok,
            late: false,
            model: text("assistant"),
            version: text("1.4.0"),
            variant: text("0123abcd"),
            quantization: Some(text("q8_0")),
            operation: Some(text("chat")),
            provider: Some(text("candle")),
            metric: text(metric),
            unit: text(unit),
        },
        category: None,
        distribution: Distribution::Exponential(histogram),
    }
}

fn uniform(number: u64) -> f64 {
    (mix(number) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The finaliser of splitmix64.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn sorted(batch: &RecordBatch) -> RecordBatch {
    by(batch, Table::Distributions.order())
}

fn arrival(batch: &RecordBatch) -> RecordBatch {
    by(batch, &["time", "device", "metric"])
}

fn by(batch: &RecordBatch, order: &[&str]) -> RecordBatch {
    let columns: Vec<_> = order
        .iter()
        .map(|name| SortColumn {
            values: Arc::clone(&batch[*name]),
            options: None,
        })
        .collect();
    let order: UInt32Array = lexsort_to_indices(&columns, None).unwrap();
    let columns = batch
        .columns()
        .iter()
        .map(|column| take(column, &order, None).unwrap());
    RecordBatch::try_new(batch.schema(), columns.collect()).unwrap()
}

fn counted(batch: &RecordBatch) -> usize {
    batch["pos_counts"].as_list::<i32>().values().len()
}

/// Both lists of a row as variable-length integers: what only our functions could read.
fn packed(batch: &RecordBatch) -> RecordBatch {
    let pack = |name: &str| -> ArrayRef {
        let lists = batch[name].as_list::<i32>();
        let mut bytes = BinaryBuilder::new();
        for row in 0..lists.len() {
            let mut packed = vec![];
            for count in lists.value(row).as_primitive::<Int64Type>().values() {
                let mut left = count.unsigned_abs();
                while left >= 0x80 {
                    packed.push(left as u8 | 0x80);
                    left >>= 7;
                }
                packed.push(left as u8);
            }
            bytes.append_value(packed);
        }
        Arc::new(bytes.finish())
    };
    let schema = batch.schema();
    let fields = schema
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            name @ ("pos_counts" | "neg_counts") => {
                (Field::new(name, DataType::Binary, true), pack(name))
            }
            name => (Field::clone(field), Arc::clone(&batch[name])),
        });
    let (fields, columns): (Vec<_>, Vec<_>) = fields.unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn plain() -> WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(3).unwrap();
    WriterProperties::builder().set_compression(Compression::ZSTD(level))
}

/// The encodings of the collector's `store/layout.rs`.
fn tuned(builder: WriterPropertiesBuilder, level: i32) -> WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(level).unwrap();
    let mut builder = builder
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(128 * 1024));
    let lists = [
        ["pos_counts", "list", "element"],
        ["neg_counts", "list", "element"],
    ];
    let times = ["time", "start_time", "sender_time"].map(|name| vec![name]);
    let delta = times.into_iter().chain(lists.map(Vec::from));
    let split = ["sum", "min", "max"].map(|name| vec![name]);
    let encoded = delta
        .map(|path| (path, Encoding::DELTA_BINARY_PACKED))
        .chain(split.map(|path| (path, Encoding::BYTE_STREAM_SPLIT)));
    for (path, encoding) in encoded {
        let path = ColumnPath::new(path.into_iter().map(str::to_owned).collect());
        builder = builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, encoding);
    }
    builder
}

fn counts_by_dictionary(builder: WriterPropertiesBuilder) -> WriterProperties {
    let path = ["pos_counts", "list", "element"]
        .map(str::to_owned)
        .to_vec();
    builder
        .set_column_dictionary_enabled(ColumnPath::new(path), true)
        .build()
}

fn groups(builder: WriterPropertiesBuilder, thousands: usize) -> WriterProperties {
    builder
        .set_max_row_group_row_count(Some(thousands * 1024))
        .build()
}

fn written(batch: &RecordBatch, properties: WriterProperties) -> (usize, ParquetMetaData) {
    // The partition's column is in the path, not in the file.
    let kept: Vec<_> = (0..batch.num_columns())
        .filter(|column| batch.schema().field(*column).name() != "date")
        .collect();
    let batch = batch.project(&kept).unwrap();
    let mut file = vec![];
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    let metadata = writer.close().unwrap();
    (file.len(), metadata)
}

fn columns(metadata: &ParquetMetaData) -> Vec<(String, i64)> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for group in metadata.row_groups() {
        for column in group.columns() {
            *sums.entry(column.column_path().string()).or_default() += column.compressed_size();
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, bytes)| -bytes);
    sums
}
