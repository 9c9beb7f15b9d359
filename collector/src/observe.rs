//! What the collector says of itself: numbers for `/metrics`, and one log line for each hand-off.
//!
//! In: what other rooms just did, in their own words. Out: OpenMetrics text, or the older
//! Prometheus text for who does not ask for it. Only this room knows Prometheus. Never: a label
//! that a sender chooses (a device, a service, a model): their number has no bound, and
//! `/metrics` is not where devices are looked at. Never a clock: who did something says how long
//! it took.
//!
//! | file | does |
//! |---|---|
//! | `instruments.rs` | every metric with its name, its help and its labels: the one list |
//! | `upkeep.rs` | those of the upkeep of tables |
//! | `doors.rs` | counts what each door answered |

pub(crate) mod doors;
mod instruments;
mod upkeep;

use std::{sync::Arc, time::Duration};

use fathomline_queries::{lake::View, schema::Table};
use prometheus_client::encoding::{prometheus_text, text};

use self::instruments::Instruments;
use crate::{
    clock::{self, SECOND_US},
    intake::Refusal,
    store::{Held, Limits, Outcome},
};

/// Who asks for OpenMetrics says so.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// Collects what the rooms say. Clones share their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observer(Arc<Instruments>);

/// One commit of a log segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commit {
    pub(crate) segment: i64,
    pub(crate) rows: usize,
    pub(crate) took: Duration,
}

/// One hour or day that was built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Built {
    pub(crate) table: Table,
    pub(crate) end_us: i64,
    pub(crate) rows: u64,
    pub(crate) took: Duration,
}

/// One compaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compacted {
    pub(crate) table: Table,
    /// Out and in.
    pub(crate) files: (usize, usize),
    /// Out and in.
    pub(crate) bytes: (u64, u64),
    pub(crate) took: Duration,
}

impl Observer {
    /// A request was refused as a whole.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        let Refusal { rejection, detail } = refusal;
        tracing::debug!(reason = rejection.code(), detail, "request refused");
        self.0.refused(*rejection).inc();
    }

    /// A request was decided upon, and what it brought is durable.
    pub(crate) fn stored(&self, outcome: &Outcome, received_us: i64) {
        let count = &self.0;
        count.accepted.inc_by(outcome.accepted);
        count.spans.inc_by(outcome.spans);
        count.duplicate.inc_by(outcome.duplicates);
        count.baseline.inc_by(outcome.baselines);
        count.late.inc_by(outcome.late);
        count.folded.inc_by(outcome.folded);
        count.clones.inc_by(outcome.clones);
        for (reason, points) in outcome.rejected.iter() {
            count.rejected(reason).inc_by(points);
        }
        if outcome.accepted > 0 {
            let lag_us = (received_us - outcome.newest_us).max(0);
            count.lag.observe(lag_us as f64 / SECOND_US as f64);
        }
        if outcome.clones > 0 {
            tracing::warn!(
                "two boots of one installation are alive at once: its id was copied; each counts as a device of its own from now on, named <installation>~<boot>"
            );
        }
        tracing::debug!(
            accepted = outcome.accepted,
            spans = outcome.spans,
            duplicate = outcome.duplicates,
            baseline = outcome.baselines,
            late = outcome.late,
            folded = outcome.folded,
            rejected = outcome.rejected.sentence("points or spans"),
            "request stored"
        );
    }

    /// An arrival waits for the writer.
    pub(crate) fn queued(&self) {
        self.0.queue.inc();
    }

    /// The writer took an arrival, or there was no room for it.
    pub(crate) fn unqueued(&self) {
        self.0.queue.dec();
    }

    /// The log holds a group of requests.
    pub(crate) fn synced(&self, requests: usize, bytes: u64, took: Duration) {
        self.0.sync.observe(took.as_secs_f64());
        self.0.log_bytes.inc_by(bytes);
        tracing::debug!(requests, bytes, ?took, "log synced");
    }

    /// A segment waits for its commit.
    pub(crate) fn sealed(&self) {
        self.0.segments.inc();
    }

    /// What the ledger holds.
    pub(crate) fn held(&self, held: &Held) {
        self.0.hold(held);
    }

    /// The most of everything that senders may make.
    pub(crate) fn limited(&self, limits: &Limits) {
        self.0.limit(limits);
    }

    /// A segment is in every table that it feeds.
    pub(crate) fn committed(&self, commit: Commit) {
        let Commit {
            segment,
            rows,
            took,
        } = commit;
        self.0.segments.dec();
        self.0.commit.observe(took.as_secs_f64());
        tracing::info!(segment, rows, ?took, "log segment committed");
    }

    pub(crate) fn commit_failed(&self) {
        self.0.commit_failures.inc();
    }

    /// Small files of a table became few.
    pub(crate) fn compacted(&self, compacted: Compacted) {
        let Compacted {
            table,
            files: (files_out, files_in),
            bytes: (bytes_out, bytes_in),
            took,
        } = compacted;
        self.0.upkeep.compacted(compacted);
        tracing::info!(
            table = table.name(),
            files_out,
            files_in,
            bytes_out,
            bytes_in,
            ?took,
            "table compacted"
        );
    }

    /// An hour or day was built out of what is finer.
    pub(crate) fn built(&self, built: Built) {
        let Built {
            table,
            end_us,
            rows,
            took,
        } = built;
        self.0.upkeep.built(built);
        tracing::info!(
            table = table.name(),
            end = clock::rfc3339(end_us),
            rows,
            ?took,
            "rolled up"
        );
    }

    /// Whole days of a table are kept no longer.
    pub(crate) fn retired(&self, table: Table, days: usize, bytes: u64) {
        self.0.upkeep.retired(table, days);
        tracing::info!(table = table.name(), days, bytes, "days retired");
    }

    /// Files that no table names were deleted.
    pub(crate) fn vacuumed(&self, table: Table, files: usize, bytes: u64) {
        self.0.upkeep.vacuumed_bytes.inc_by(bytes);
        tracing::info!(table = table.name(), files, bytes, "table vacuumed");
    }

    pub(crate) fn upkeep_failed(&self) {
        self.0.upkeep.failures.inc();
    }

    /// How many files a table has now.
    pub(crate) fn files(&self, table: Table, files: usize) {
        let files = i64::try_from(files).unwrap_or(i64::MAX);
        self.0.files(table).set(files);
    }

    /// Whether windows are taken in.
    pub(crate) fn accepting(&self, accepting: bool) {
        self.0.accepting.set(accepting.into());
    }

    /// One verdict was reached.
    pub(crate) fn judged(&self, state: &str) {
        self.0.verdict(state);
    }

    /// Late records changed so many verdicts.
    pub(crate) fn revised(&self, verdicts: usize) {
        self.0.revised.inc_by(verdicts as u64);
    }

    /// So many incidents go on.
    pub(crate) fn incidents(&self, open: usize) {
        self.0
            .incidents
            .set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// One attempt to deliver a webhook ended.
    pub(crate) fn delivered(&self, fate: &'static str) {
        self.0.delivery(fate);
    }

    /// Everything, with its content type, as whoever sent `accept` reads it.
    pub(crate) fn page(&self, view: &View, accept: &str) -> Result<Page, std::fmt::Error> {
        for table in Table::ALL {
            let rows = i64::try_from(view.hot_rows(table)).unwrap_or(i64::MAX);
            self.0.hot(table).set(rows);
        }
        let mut body = String::new();
        let registry = self.0.registry();
        let content_type = if accept.contains(OPEN_METRICS) {
            text::encode(&mut body, registry)?;
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        } else {
            prometheus_text::encode(&mut body, registry)?;
            prometheus_text::CONTENT_TYPE
        };
        Ok(Page { content_type, body })
    }
}

/// The answer to a scrape.
pub(crate) struct Page {
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

#[cfg(test)]
mod tests {
    use fathomline_queries::lake::Lake;
    use fathomline_wire::rejection::Rejection;

    use super::*;
    use crate::intake::Rejected;

    fn page(observer: &Observer, accept: &str) -> String {
        let lake = Lake::new([], -1);
        observer.page(&lake.view(), accept).unwrap().body
    }

    #[test]
    fn every_outcome_of_a_request_is_counted_once() {
        let observer = Observer::default();
        let mut rejected = Rejected::default();
        rejected.add(Rejection::Overlap, 3);
        let outcome = Outcome {
            rejected,
            accepted: 10,
            duplicates: 4,
            baselines: 5,
            late: 2,
            newest_us: 5_000_000,
            ..Outcome::default()
        };
        observer.stored(&outcome, 7_000_000);
        observer.refused(&Refusal::new(Rejection::Conflict, ""));
        let page = page(&observer, "");
        for line in [
            "fathomline_points_accepted_total 10",
            "fathomline_points_duplicate_total 4",
            "fathomline_points_baseline_total 5",
            "fathomline_points_late_total 2",
            "fathomline_points_rejected_total{reason=\"overlap\"} 3",
            "fathomline_points_rejected_total{reason=\"scale\"} 0",
            "fathomline_requests_refused_total{reason=\"conflict\"} 1",
            "fathomline_ingest_lag_seconds_sum 2",
        ] {
            let found = page.lines().filter(|found| found.starts_with(line)).count();
            assert_eq!(found, 1, "{line} in\n{page}");
        }
    }

    #[test]
    fn who_asks_for_open_metrics_gets_it() {
        let observer = Observer::default();
        let open = page(
            &observer,
            "application/openmetrics-text;version=1.0.0,*/*;q=0.1",
        );
        assert!(open.ends_with("# EOF\n"));
        assert!(open.contains("# UNIT fathomline_log_sync_seconds seconds\n"));
        let plain = page(&observer, "*/*");
        assert!(!plain.contains("# EOF") && !plain.contains("# UNIT"));
        assert!(plain.contains("# TYPE fathomline_build_info gauge\n"));
    }

    #[test]
    fn no_label_is_chosen_by_a_sender() {
        let observer = Observer::default();
        observer.files(Table::Rollups, 3);
        observer.judged("steady");
        let page = page(&observer, "");
        let allowed = [
            "door", "status", "reason", "table", "state", "result", "of", "le", "version", "format",
        ];
        let labels = page.lines().filter(|line| !line.starts_with('#'));
        let labels = labels.filter_map(|line| line.split_once('{')?.1.split_once('}'));
        for (labels, _) in labels {
            for label in labels.split(',') {
                let name = label.split('=').next().unwrap();
                assert!(allowed.contains(&name), "{label}");
            }
        }
    }
}
