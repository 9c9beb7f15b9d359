//! Every metric of the collector: the one list of names, helps and labels.
//!
//! Labels have few values, all known here; each is there from the start, so that a rate over it
//! exists before the first event.

use fathomline_queries::schema::{FORMAT_VERSION, Table};
use fathomline_wire::rejection::Rejection;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};

use super::upkeep::UpkeepInstruments;
use crate::store::{Held, Limits};

/// One label with one of few values.
pub(super) type Label = [(&'static str, &'static str); 1];

/// What one door answered.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Answer {
    pub(super) door: &'static str,
    pub(super) status: u16,
}

/// What the ledger holds, and how much it may.
const HELD: [&str; 9] = [
    "devices",
    "boots",
    "cloned_boots",
    "missing_windows",
    "streams",
    "services",
    "cohorts",
    "metrics",
    "categories",
];
const LIMITED: [&str; 5] = ["devices", "services", "cohorts", "metrics", "categories"];
const VERDICTS: [&str; 3] = ["steady", "drifting", "undecided"];
const DELIVERIES: [&str; 5] = ["delivered", "retried", "given_up", "stopped", "overtaken"];

#[derive(Debug)]
pub(super) struct Instruments {
    registry: Registry,
    pub(super) requests: Family<Answer, Counter>,
    refused: Family<Label, Counter>,
    rejected: Family<Label, Counter>,
    pub(super) accepted: Counter,
    pub(super) spans: Counter,
    pub(super) duplicate: Counter,
    pub(super) baseline: Counter,
    pub(super) late: Counter,
    pub(super) folded: Counter,
    pub(super) clones: Counter,
    pub(super) lag: Histogram,
    pub(super) queue: Gauge,
    pub(super) sync: Histogram,
    pub(super) log_bytes: Counter,
    pub(super) segments: Gauge,
    pub(super) commit: Histogram,
    pub(super) commit_failures: Counter,
    pub(super) upkeep: UpkeepInstruments,
    files: Family<Label, Gauge>,
    hot: Family<Label, Gauge>,
    pub(super) accepting: Gauge,
    held: Family<Label, Gauge>,
    held_bytes: Gauge,
    limits: Family<Label, Gauge>,
    limit_bytes: Gauge,
    verdicts: Family<Label, Counter>,
    pub(super) revised: Counter,
    pub(super) incidents: Gauge,
    deliveries: Family<Label, Counter>,
}

impl Default for Instruments {
    fn default() -> Self {
        // Half a millisecond to 16 seconds.
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let mut new = Self {
            registry: Registry::default(),
            requests: Family::default(),
            refused: each("reason", Rejection::ALL.map(Rejection::code)),
            rejected: each("reason", Rejection::ALL.map(Rejection::code)),
            accepted: Counter::default(),
            spans: Counter::default(),
            duplicate: Counter::default(),
            baseline: Counter::default(),
            late: Counter::default(),
            folded: Counter::default(),
            clones: Counter::default(),
            // A quarter of a second to 12 days.
            lag: Histogram::new(exponential_buckets(0.25, 4.0, 12)),
            queue: Gauge::default(),
            sync: seconds(),
            log_bytes: Counter::default(),
            segments: Gauge::default(),
            commit: seconds(),
            commit_failures: Counter::default(),
            upkeep: UpkeepInstruments::default(),
            files: each("table", Table::ALL.map(Table::name)),
            hot: each("table", Table::ALL.map(Table::name)),
            accepting: Gauge::default(),
            held: each("of", HELD),
            held_bytes: Gauge::default(),
            limits: each("of", LIMITED),
            limit_bytes: Gauge::default(),
            verdicts: each("state", VERDICTS),
            revised: Counter::default(),
            incidents: Gauge::default(),
            deliveries: each("result", DELIVERIES),
        };
        new.accepting.set(1);
        new.registry = new.registered();
        new
    }
}

/// One metric for each value of a label.
pub(super) fn each<M: Default, const N: usize>(
    label: &'static str,
    values: [&'static str; N],
) -> Family<Label, M> {
    let family = Family::default();
    for value in values {
        drop(family.get_or_create(&[(label, value)]));
    }
    family
}

impl Instruments {
    fn registered(&self) -> Registry {
        let mut registry = Registry::with_prefix("fathomline");
        let build = Info::new([
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("format", FORMAT_VERSION.to_string()),
        ]);
        registry.register("build", "Which collector this is", build);
        self.register_doors(&mut registry);
        self.register_points(&mut registry);
        self.register_log(&mut registry);
        self.register_tables(&mut registry);
        self.upkeep.register(&mut registry);
        self.register_ledger(&mut registry);
        registry
    }

    fn register_doors(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Requests answered, by door and status; those of gRPC by its own codes",
            self.requests.clone(),
        );
        registry.register(
            "requests_refused",
            "OTLP requests refused as a whole, by reason",
            self.refused.clone(),
        );
        registry.register(
            "verdicts",
            "Verdicts reached, by state",
            self.verdicts.clone(),
        );
        registry.register(
            "verdicts_revised",
            "Verdicts that late records changed",
            self.revised.clone(),
        );
        registry.register(
            "incidents_open",
            "Incidents that go on, as of the last lane that was judged",
            self.incidents.clone(),
        );
        registry.register(
            "webhook_attempts",
            "Attempts to deliver a webhook, by what became of it",
            self.deliveries.clone(),
        );
    }

    fn register_points(&self, registry: &mut Registry) {
        let points = [
            ("points_accepted", "Points that became rows", &self.accepted),
            ("spans_accepted", "Spans that became rows", &self.spans),
            (
                "points_duplicate",
                "Points that were counted before",
                &self.duplicate,
            ),
            (
                "points_baseline",
                "Cumulative points that count nothing yet: their total began at an unknown time, more than 30 days ago, or with other buckets",
                &self.baseline,
            ),
            (
                "points_late",
                "Accepted points whose lane had closed before they came",
                &self.late,
            ),
            (
                "points_folded",
                "Accepted points that count as other, because there are too many cohorts or categories",
                &self.folded,
            ),
            (
                "installations_cloned",
                "Times that two boots of one installation turned out to be alive at once",
                &self.clones,
            ),
        ];
        for (name, help, counter) in points {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            "points_rejected",
            "Points rejected, by reason; overlap among them",
            self.rejected.clone(),
        );
        registry.register_with_unit(
            "ingest_lag",
            "From the end of a request's newest accepted point to its receipt",
            Unit::Seconds,
            self.lag.clone(),
        );
    }

    fn register_log(&self, registry: &mut Registry) {
        registry.register(
            "queue_depth",
            "Requests that wait for the writer",
            self.queue.clone(),
        );
        registry.register_with_unit(
            "log_sync",
            "Time to append and sync one group of requests",
            Unit::Seconds,
            self.sync.clone(),
        );
        registry.register_with_unit(
            "log_written",
            "Bytes appended to the log",
            Unit::Bytes,
            self.log_bytes.clone(),
        );
        registry.register(
            "log_segments_waiting",
            "Sealed log segments that wait for their commit",
            self.segments.clone(),
        );
        registry.register(
            "store_accepting",
            "1 while the log is written, 0 on a full disk, and from a failed sync until a restart",
            self.accepting.clone(),
        );
    }

    fn register_tables(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "commit",
            "Time to commit one log segment to every table it feeds",
            Unit::Seconds,
            self.commit.clone(),
        );
        registry.register(
            "commit_failures",
            "Attempts to commit a log segment that failed and are repeated",
            self.commit_failures.clone(),
        );
        registry.register("table_files", "Live files, by table", self.files.clone());
        registry.register(
            "table_rows_hot",
            "Rows that are acknowledged and not committed yet, by table",
            self.hot.clone(),
        );
    }

    fn register_ledger(&self, registry: &mut Registry) {
        registry.register(
            "ledger_entries",
            "What is remembered in order to count once and to bound what senders make; as of the last sealed segment",
            self.held.clone(),
        );
        registry.register(
            "ledger_entries_limit",
            "How much may be remembered",
            self.limits.clone(),
        );
        registry.register_with_unit(
            "ledger_streams",
            "Memory of the streams that are told apart by their intervals, estimated",
            Unit::Bytes,
            self.held_bytes.clone(),
        );
        registry.register_with_unit(
            "ledger_streams_limit",
            "How much memory streams may take",
            Unit::Bytes,
            self.limit_bytes.clone(),
        );
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) fn refused(&self, reason: Rejection) -> Counter {
        self.refused
            .get_or_create_owned(&[("reason", reason.code())])
    }

    pub(super) fn rejected(&self, reason: Rejection) -> Counter {
        self.rejected
            .get_or_create_owned(&[("reason", reason.code())])
    }

    pub(super) fn files(&self, table: Table) -> Gauge {
        self.files.get_or_create_owned(&[("table", table.name())])
    }

    pub(super) fn hot(&self, table: Table) -> Gauge {
        self.hot.get_or_create_owned(&[("table", table.name())])
    }

    /// Counts a verdict of a state that is known.
    pub(super) fn verdict(&self, state: &str) {
        if let Some(state) = VERDICTS.into_iter().find(|known| *known == state) {
            self.verdicts.get_or_create(&[("state", state)]).inc();
        }
    }

    pub(super) fn delivery(&self, result: &'static str) {
        self.deliveries.get_or_create(&[("result", result)]).inc();
    }

    pub(super) fn hold(&self, held: &Held) {
        let [services, cohorts, metrics, categories] = held.names.map(|(_, names)| names);
        let missing = usize::try_from(held.missing_windows).unwrap_or(usize::MAX);
        let numbers = [
            held.devices,
            held.boots,
            held.cloned_boots,
            missing,
            held.streams,
            services,
            cohorts,
            metrics,
            categories,
        ];
        for (of, number) in HELD.into_iter().zip(numbers) {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            self.held.get_or_create(&[("of", of)]).set(number);
        }
        let bytes = i64::try_from(held.stream_bytes).unwrap_or(i64::MAX);
        self.held_bytes.set(bytes);
    }

    pub(super) fn limit(&self, limits: &Limits) {
        let numbers = [
            limits.devices,
            limits.services,
            limits.cohorts,
            limits.metrics,
            limits.categories,
        ];
        for (of, number) in LIMITED.into_iter().zip(numbers) {
            self.limits.get_or_create(&[("of", of)]).set(number.into());
        }
        let bytes = i64::try_from(limits.stream_bytes).unwrap_or(i64::MAX);
        self.limit_bytes.set(bytes);
    }
}
