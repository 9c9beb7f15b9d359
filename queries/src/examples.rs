//! Rows and tables for tests: one device, one window, Delta tables in a temporary folder.

use std::{path::Path, sync::Arc};

use datafusion::{arrow::record_batch::RecordBatch, catalog::TableProvider, datasource::MemTable};
use deltalake_core::{
    DeltaTable, ensure_table_uri,
    writer::{DeltaWriter, RecordBatchWriter},
};
use fathomline_wire::{
    histogram::ExponentialHistogram,
    names::{OUTPUT_SURPRISAL, pinned_scale},
};

use crate::{
    engine::{Engine, EngineLimits},
    lake::Lake,
    published::Publication,
    rows::{
        self, Clock, DeviceColumns, Distribution, DistributionRow, MeasurementKind, MeasurementRow,
        SpanKind, SpanRow, SpanStatus,
    },
    schema::{PARTITION, Table},
};

/// Width of the lanes of [`engine_over`].
pub(crate) const LANE_US: i64 = 5_000_000;

pub(crate) fn device_columns() -> DeviceColumns {
    DeviceColumns {
        time: 5_000_000,
        start_time: 4_000_000,
        sender_time: 5_000_000,
        service: "assistant".into(),
        environment: None,
        device: "device-1".into(),
        device_class: "kiosk".into(),
        site: None,
        boot: Some("boot-1".into()),
        sequence: Some(1),
        clock: Clock::Ok,
        late: false,
        model: "assistant".into(),
        version: "1.4.0".into(),
        variant: "0123abcd".into(),
        quantization: None,
        operation: Some("chat".into()),
        provider: Some("candle".into()),
        metric: OUTPUT_SURPRISAL.into(),
        unit: "{nat}".into(),
    }
}

/// One operation of a foreign SDK that took a second.
pub(crate) fn span() -> SpanRow {
    let text = || Some("chat".to_owned());
    SpanRow {
        time: 5_000_000,
        start_time: 4_000_000,
        sender_time: 5_000_000,
        service: "assistant".into(),
        environment: None,
        device: "device-1".into(),
        device_class: "kiosk".into(),
        site: None,
        boot: None,
        clock: Clock::Ok,
        trace_id: 1,
        span_id: 2,
        parent_span_id: Some(3),
        kind: SpanKind::Client,
        status: SpanStatus::Unset,
        error_type: None,
        operation: text(),
        provider: text(),
        model: "assistant".into(),
        response_model: None,
        version: String::new(),
        variant: String::new(),
        quantization: None,
        finish_reasons: Some("stop".into()),
        input_tokens: Some(3),
        output_tokens: Some(5),
        max_tokens: None,
        temperature: Some(0.5),
        top_p: None,
    }
}

pub(crate) fn histogram(values: &[f64]) -> ExponentialHistogram {
    let mut histogram = ExponentialHistogram::new(pinned_scale("{nat}"));
    for value in values {
        assert!(histogram.record(*value));
    }
    histogram
}

/// One window of one device.
pub(crate) fn distribution(device: &str, time: i64, values: &[f64]) -> DistributionRow {
    DistributionRow {
        columns: DeviceColumns {
            time,
            device: device.into(),
            ..device_columns()
        },
        category: None,
        distribution: Distribution::Exponential(histogram(values)),
    }
}

/// A new empty table where the collector would make it.
pub(crate) async fn delta_table(folder: &Path, table: Table) -> DeltaTable {
    let path = folder.join("tables").join(table.name());
    std::fs::create_dir_all(&path).unwrap();
    let url = ensure_table_uri(path.to_str().unwrap()).unwrap();
    let created = DeltaTable::try_from_url(url).await.unwrap().create();
    created
        .with_columns(table.delta_fields())
        .with_partition_columns([PARTITION])
        .await
        .unwrap()
}

pub(crate) async fn append(table: &mut DeltaTable, batch: RecordBatch) {
    let mut writer = RecordBatchWriter::for_table(table).unwrap();
    writer.write(batch).await.unwrap();
    writer.flush_and_commit(table).await.unwrap();
}

/// An empty lake of all tables, in memory.
pub(crate) fn empty_lake() -> Arc<Lake> {
    let table = |table: Table| {
        let provider = MemTable::try_new(table.arrow_schema(), vec![vec![]]).unwrap();
        (table, Arc::new(provider) as Arc<dyn TableProvider>)
    };
    Arc::new(Lake::new(Table::ALL.map(table), -1))
}

/// An engine over a lake that holds the device rows and their rollups, hot.
pub(crate) fn engine_over(
    distributions: &[DistributionRow],
    measurements: &[MeasurementRow],
) -> Engine {
    let lake = empty_lake();
    let rollups = rows::rollup(distributions, measurements, LANE_US);
    let batches = [
        (
            Table::Distributions,
            rows::distributions(distributions).unwrap(),
        ),
        (
            Table::Measurements,
            rows::measurements(measurements).unwrap(),
        ),
        (Table::Rollups, rows::rollups(&rollups).unwrap()),
    ];
    lake.push(0, batches).unwrap();
    Engine::new(lake, EngineLimits::default(), Publication::everything()).unwrap()
}

/// One count of one category.
pub(crate) fn counter(device: &str, time: i64, metric: &str, category: &str) -> MeasurementRow {
    let columns = DeviceColumns {
        time,
        device: device.into(),
        metric: metric.into(),
        unit: "{feedback}".into(),
        ..device_columns()
    };
    let category = Some(category.into());
    MeasurementRow {
        columns,
        category,
        kind: MeasurementKind::Delta,
        count: Some(1),
        value: None,
    }
}
