//! The store's entrances for bytes from outside: admission, and the log as it lies on a disk. In:
//! arrivals and bytes nobody vouches for. Out: nothing, or a panic where a promise breaks.

use fathomline_queries::schema::Table;

use super::{
    frame::Frame,
    ledger::{Ledger, Rules},
    wal,
};
use crate::intake::{Arrival, Rejected, Window};

const LANE_US: i64 = 60_000_000;

/// Of a sender without headers or token.
fn arrival(windows: Vec<Window>, rejected: Rejected) -> Arrival {
    Arrival {
        declared: None,
        token: 0,
        digest: [0; 32],
        received_us: 1_700_000_000_000_000,
        windows,
        spans: vec![],
        rejected,
    }
}

/// Admits twice: what counted once does not count again, the entries alone lead to the same ledger,
/// the log gives back what it was given, and every row fits its table.
pub(crate) fn count(windows: Vec<Window>, rejected: Rejected) {
    let arrival = arrival(windows, rejected);
    let rules = Rules {
        lane_us: LANE_US,
        ..Rules::default()
    };
    let (mut ledger, mut replayed) = (Ledger::default(), Ledger::default());
    let Ok(first) = ledger.admit(arrival.clone(), &rules) else {
        return;
    };
    first.frame.entries.iter().for_each(|e| replayed.apply(e));
    assert!(replayed == ledger, "a replay leads elsewhere");
    let bytes = first.frame.encode().unwrap_or_default();
    let again = Frame::decode(&bytes).ok();
    assert!(again.as_ref() == Some(&first.frame), "the log forgets");
    let batches = first.frame.batches(LANE_US);
    let batches = batches.unwrap_or_else(|error| panic!("rows do not fit: {error}"));
    let of = |table| {
        let found = batches.iter().find(|(found, _)| *found == table);
        found.map_or(0, |(_, batch)| batch.num_rows())
    };
    let rows = of(Table::Distributions) + of(Table::Measurements);
    assert_eq!(rows as u64, first.outcome.accepted, "rows are lost");
    if let Ok(second) = ledger.admit(arrival, &rules) {
        assert_eq!(second.outcome.accepted, 0, "counted twice");
    }
}

/// Reads a segment: only whole frames come out, and what is kept of it reads the same again.
pub(crate) fn read_segment(bytes: &[u8]) {
    let found = wal::frames(bytes);
    let kept = wal::framed(&found.frames);
    let again = wal::frames(&kept);
    assert_eq!(again.frames, found.frames, "a repair changes frames");
    assert!(!again.torn && again.damaged == 0, "a repair needs another");
}

/// Reads one frame's payload.
pub(crate) fn read_frame(bytes: &[u8]) {
    let Ok(frame) = Frame::decode(bytes) else {
        return;
    };
    let mut ledger = Ledger::default();
    frame.entries.iter().for_each(|entry| ledger.apply(entry));
    ledger.forget();
    // Rows that no sender can cause may fail to become a batch, and may not panic.
    drop(frame.batches(LANE_US));
}

#[cfg(test)]
pub(crate) fn segment(payloads: &[Vec<u8>]) -> Vec<u8> {
    wal::framed(payloads)
}

/// A frame as the log holds it, of windows without headers.
#[cfg(test)]
pub(crate) fn frame_of(windows: Vec<Window>) -> Vec<u8> {
    let rejected = Rejected::default();
    let decision = Ledger::default()
        .admit(arrival(windows, rejected), &Rules::default())
        .unwrap();
    decision.frame.encode().unwrap()
}
