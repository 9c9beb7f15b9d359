//! Which spans were counted. In: spans of anyone, in any order. Out: those that were not counted
//! before, with times that can be trusted. Memory is bounded whatever arrives: the identifiers of
//! the last 65,536 spans at least. A span that is sent again after so many others counts again;
//! exporters repeat within minutes.

use std::collections::BTreeSet;

use fathomline_queries::rows::{Clock, SpanRow};
use fathomline_wire::rejection::Rejection;
use serde::{Deserialize, Serialize};

use super::{BOOTS_REMEMBERED_US, Case, Entry, Ledger, times::FUTURE_MAX_US};

/// Spans of one generation; two generations are remembered.
const GENERATION: usize = 65_536;

/// Identifiers of spans, newest generation first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Spans {
    newest: BTreeSet<u64>,
    before: BTreeSet<u64>,
}

impl Spans {
    fn contains(&self, key: u64) -> bool {
        self.newest.contains(&key) || self.before.contains(&key)
    }

    pub(super) fn insert(&mut self, key: u64) {
        if self.newest.len() >= GENERATION {
            self.before = std::mem::take(&mut self.newest);
        }
        self.newest.insert(key);
    }
}

impl Ledger {
    /// Decides about each span by itself: one trace comes in parts, from several senders.
    pub(super) fn admit_spans(&mut self, spans: Vec<SpanRow>, case: &mut Case<'_>) {
        let received_us = case.received_us;
        for mut span in spans {
            if received_us - span.time > BOOTS_REMEMBERED_US {
                case.decision.outcome.rejected.add(Rejection::TooOld, 1);
                continue;
            }
            let key = key(&span);
            if self.spans.contains(key) {
                case.decision.outcome.duplicates += 1;
                continue;
            }
            self.remember(Entry::Span(key), case);
            correct_time(&mut span, received_us);
            case.decision.outcome.spans += 1;
            case.decision.frame.spans.push(span);
        }
    }
}

/// Trace and span identifiers are random, so 64 of their 192 bits tell spans apart.
fn key(span: &SpanRow) -> u64 {
    let trace = (span.trace_id ^ (span.trace_id >> 64)) as u64;
    trace.rotate_left(32) ^ span.span_id
}

/// A span cannot have ended later than now; what its sender believed stays beside it.
fn correct_time(span: &mut SpanRow, received_us: i64) {
    let ahead_us = span.time.saturating_sub(received_us);
    if ahead_us > FUTURE_MAX_US {
        span.time = received_us;
        span.start_time = span.start_time.saturating_sub(ahead_us);
        span.clock = Clock::Unknown;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_the_last_spans_are_known() {
        let mut spans = Spans::default();
        for key in 0..5 * GENERATION as u64 {
            spans.insert(key);
        }
        assert!(spans.newest.len() + spans.before.len() <= 2 * GENERATION);
        let last = 5 * GENERATION as u64 - 1;
        assert!(spans.contains(last) && spans.contains(last - GENERATION as u64));
        assert!(!spans.contains(0));
    }
}
