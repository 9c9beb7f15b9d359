//! Metrics of the upkeep of tables, in the style of `instruments.rs`.

use fathomline_queries::schema::Table;
use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use super::{
    Built, Compacted,
    instruments::{Label, each},
};

/// Tables that are made of finer ones.
const COARSE: [Table; 3] = [Table::DeviceHours, Table::RollupHours, Table::RollupDays];

#[derive(Debug)]
pub(super) struct UpkeepInstruments {
    compactions: Family<Label, Counter>,
    files_out: Counter,
    files_in: Counter,
    bytes_out: Counter,
    bytes_in: Counter,
    built: Family<Label, Counter>,
    built_rows: Family<Label, Counter>,
    build_took: Histogram,
    retired: Family<Label, Counter>,
    pub(super) vacuumed_bytes: Counter,
    pub(super) failures: Counter,
    took: Histogram,
}

impl Default for UpkeepInstruments {
    fn default() -> Self {
        Self {
            compactions: each("table", Table::ALL.map(Table::name)),
            files_out: Counter::default(),
            files_in: Counter::default(),
            bytes_out: Counter::default(),
            bytes_in: Counter::default(),
            built: each("table", COARSE.map(Table::name)),
            built_rows: each("table", COARSE.map(Table::name)),
            build_took: Histogram::new(exponential_buckets(0.01, 2.0, 16)),
            retired: each("table", Table::ALL.map(Table::name)),
            vacuumed_bytes: Counter::default(),
            failures: Counter::default(),
            // A hundredth of a second to six minutes.
            took: Histogram::new(exponential_buckets(0.01, 2.0, 16)),
        }
    }
}

impl UpkeepInstruments {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "compactions",
            "Times that small files of a table became few, by table",
            self.compactions.clone(),
        );
        self.register_coarse(registry);
        registry.register(
            "retired_partitions",
            "Days that were kept no longer, by table",
            self.retired.clone(),
        );
        let counters = [
            (
                "compaction_files_out",
                "Small files that compaction replaced",
                &self.files_out,
            ),
            (
                "compaction_files_in",
                "Files that compaction put in their place",
                &self.files_in,
            ),
            (
                "upkeep_failures",
                "Pieces of upkeep that failed and are tried again",
                &self.failures,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let bytes = [
            (
                "compaction_out",
                "Size of the files that compaction replaced",
                &self.bytes_out,
            ),
            (
                "compaction_in",
                "Size of the files that compaction put in their place",
                &self.bytes_in,
            ),
            (
                "vacuumed",
                "Size of the files that no table named any more and that were deleted",
                &self.vacuumed_bytes,
            ),
        ];
        for (name, help, counter) in bytes {
            registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
        }
        registry.register_with_unit(
            "compaction",
            "Time to read, sort and write what becomes one file",
            Unit::Seconds,
            self.took.clone(),
        );
    }

    fn register_coarse(&self, registry: &mut Registry) {
        registry.register(
            "rollups_built",
            "Hours and days that were built out of what is finer, by table",
            self.built.clone(),
        );
        registry.register(
            "rollup_rows",
            "Rows of the hours and days that were built, by table",
            self.built_rows.clone(),
        );
        registry.register_with_unit(
            "rollup_build",
            "Time to build one hour or day",
            Unit::Seconds,
            self.build_took.clone(),
        );
    }

    pub(super) fn built(&self, built: Built) {
        let Built {
            table, rows, took, ..
        } = built;
        let label = [("table", table.name())];
        self.built.get_or_create(&label).inc();
        self.built_rows.get_or_create(&label).inc_by(rows);
        self.build_took.observe(took.as_secs_f64());
    }

    pub(super) fn retired(&self, table: Table, days: usize) {
        self.retired
            .get_or_create(&[("table", table.name())])
            .inc_by(days as u64);
    }

    pub(super) fn compacted(&self, compacted: Compacted) {
        let Compacted {
            table,
            files: (files_out, files_in),
            bytes: (bytes_out, bytes_in),
            took,
        } = compacted;
        self.compactions
            .get_or_create(&[("table", table.name())])
            .inc();
        self.files_out.inc_by(files_out as u64);
        self.files_in.inc_by(files_in as u64);
        self.bytes_out.inc_by(bytes_out);
        self.bytes_in.inc_by(bytes_in);
        self.took.observe(took.as_secs_f64());
    }
}
