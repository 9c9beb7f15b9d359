//! Promise 3: counted means once. Arrivals in every order and through every way, and a second
//! ledger that sees only the entries and must end up the same.

use fathomline_queries::rows::DeviceColumns;
use fathomline_wire::identity::Declared;

use super::*;
use crate::intake::Rejected;

const NOW_US: i64 = 1_700_000_000_000_000;

fn columns(start_time: i64, time: i64) -> DeviceColumns {
    DeviceColumns {
        time,
        start_time,
        sender_time: time,
        service: "app".into(),
        environment: None,
        device: "i".into(),
        device_class: String::new(),
        site: None,
        boot: Some("b".into()),
        sequence: None,
        clock: Clock::Ok,
        model: String::new(),
        version: String::new(),
        variant: String::new(),
        quantization: None,
        operation: None,
        provider: None,
        metric: "m".into(),
        unit: "1".into(),
    }
}

fn point(temporality: Temporality, (start, end): (i64, i64), value: i64) -> Point {
    Point {
        stream: 1,
        columns: columns(start, end),
        category: None,
        temporality,
        body: PointBody::Integer(value),
    }
}

fn arrival(sequence: Option<u64>, digest: u8, points: Vec<Point>) -> Arrival {
    let identity = |sequence| Identity {
        installation: "i".into(),
        boot: "b".into(),
        sequence,
    };
    Arrival {
        declared: sequence.map(|sequence| Declared {
            identity: identity(sequence),
            clock_unix_nano: None,
        }),
        digest: [digest; 32],
        received_us: NOW_US,
        windows: vec![Window {
            installation: "i".into(),
            boot: "b".into(),
            sequence,
            points,
        }],
        spans: vec![],
        rejected: Rejected::default(),
    }
}

fn delta(end: i64) -> Vec<Point> {
    vec![point(Temporality::Delta, (end - 10, end), 5)]
}

/// Admits, and checks that the entries alone lead to the same ledger.
fn admit(ledger: &mut Ledger, arrival: Arrival) -> Result<Decision, Refusal> {
    let mut replayed = ledger.clone();
    let decision = ledger.admit(arrival)?;
    decision
        .frame
        .entries
        .iter()
        .for_each(|entry| replayed.apply(entry));
    assert_eq!(&replayed, ledger);
    Ok(decision)
}

#[test]
fn the_same_bytes_ten_times_count_once_and_other_bytes_are_a_conflict() {
    let mut ledger = Ledger::default();
    let first = admit(&mut ledger, arrival(Some(1), 7, delta(NOW_US))).unwrap();
    assert_eq!(first.frame.measurements.len(), 1);
    for _ in 0..9 {
        let again = admit(&mut ledger, arrival(Some(1), 7, delta(NOW_US))).unwrap();
        assert!(again.frame.is_empty());
        assert_eq!(again.outcome.duplicates, 1);
    }
    let refusal = admit(&mut ledger, arrival(Some(1), 8, delta(NOW_US))).unwrap_err();
    assert_eq!(refusal.rejection, Rejection::Conflict);
}

#[test]
fn a_window_counts_once_whichever_way_it_came_first() {
    let relayed = || {
        let mut arrival = arrival(Some(1), 0, delta(NOW_US));
        arrival.declared = None;
        arrival
    };
    for direct_first in [true, false] {
        let mut ledger = Ledger::default();
        let direct = arrival(Some(1), 7, delta(NOW_US));
        let ways = if direct_first {
            [direct, relayed()]
        } else {
            [relayed(), direct]
        };
        let rows: Vec<_> = ways
            .into_iter()
            .map(|arrival| {
                admit(&mut ledger, arrival)
                    .unwrap()
                    .frame
                    .measurements
                    .len()
            })
            .collect();
        assert_eq!(rows, [1, 0], "direct first: {direct_first}");
    }
}

#[test]
fn each_part_of_a_window_counts_once_and_goes_by_one_clock() {
    let mut ledger = Ledger::default();
    let mut sent = |part: Option<u64>, digest| {
        let mut arrival = arrival(Some(7), digest, delta(NOW_US - 3_600_000_000));
        let declared = arrival.declared.as_mut().unwrap();
        // Only the first upload's clock counts, for every part.
        let behind_us = if part.is_none() { 3_600_000_000 } else { 0 };
        declared.clock_unix_nano = Some((NOW_US - behind_us) as u64 * 1_000);
        if let Some(part) = part {
            declared.identity.boot = format!("b:{part}");
        }
        admit(&mut ledger, arrival)
    };
    for (part, digest) in [(None, 1), (Some(2), 2), (Some(3), 3)] {
        let first = sent(part, digest).unwrap().frame.measurements;
        assert_eq!(first.len(), 1, "part {part:?}");
        assert_eq!(first[0].columns.time, NOW_US, "part {part:?}");
        assert_eq!(first[0].columns.boot.as_deref(), Some("b"));
        assert!(sent(part, digest).unwrap().frame.is_empty());
        let refusal = sent(part, 9).unwrap_err();
        assert_eq!(refusal.rejection, Rejection::Conflict);
    }
    let refusal = sent(Some(65), 1).unwrap_err();
    assert_eq!(refusal.rejection, Rejection::Malformed);
}

#[test]
fn headers_that_name_another_device_are_refused() {
    let mut arrival = arrival(Some(1), 7, delta(NOW_US));
    arrival.windows[0].installation = "someone else".into();
    let refusal = admit(&mut Ledger::default(), arrival).unwrap_err();
    assert_eq!(refusal.rejection, Rejection::Malformed);
}

/// Of a foreign sender, in the first microseconds of 1970, when it was received too.
fn early(points: Vec<Point>) -> Arrival {
    Arrival {
        received_us: 100,
        ..arrival(None, 0, points)
    }
}

#[test]
fn a_time_nobody_can_have_measured_spreads_over_no_days() {
    let day = 86_400_000_000;
    let mut ledger = Ledger::default();
    let future = |days: i64| {
        let mut point = point(Temporality::Gauge, (0, 0), 1);
        point.columns = columns(NOW_US + days * day - 5, NOW_US + days * day);
        point
    };
    let points = (1..=9).map(future).collect();
    let decision = admit(&mut ledger, arrival(None, 0, points)).unwrap();
    for row in &decision.frame.measurements {
        let columns = &row.columns;
        assert_eq!((columns.time, columns.clock), (NOW_US, Clock::Unknown));
        assert_eq!(columns.start_time, NOW_US - 5);
        assert!(
            columns.sender_time > NOW_US,
            "what the sender believed stays"
        );
    }
    assert_eq!(decision.frame.measurements.len(), 9);
    let old = vec![future(-31)];
    let decision = admit(&mut ledger, arrival(None, 0, old)).unwrap();
    assert_eq!(decision.outcome.rejected.of(Rejection::TooOld), 1);
}

#[test]
fn a_cumulative_stream_becomes_its_increases_over_a_reset() {
    let mut ledger = Ledger::default();
    let mut increases = Vec::new();
    for (times, total) in [((0, 10), 4), ((0, 20), 9), ((0, 20), 9), ((25, 30), 2)] {
        let points = vec![point(Temporality::Cumulative, times, total)];
        let decision = admit(&mut ledger, early(points)).unwrap();
        for row in decision.frame.measurements {
            increases.push((row.columns.start_time, row.columns.time, row.count.unwrap()));
        }
    }
    assert_eq!(increases, [(0, 10, 4), (10, 20, 5), (25, 30, 2)]);
}

#[test]
fn overlapping_intervals_of_a_foreign_stream_are_rejected() {
    let mut ledger = Ledger::default();
    let one = |times| vec![point(Temporality::Delta, times, 1)];
    admit(&mut ledger, early(one((0, 10)))).unwrap();
    let overlap = admit(&mut ledger, early(one((5, 15)))).unwrap();
    assert_eq!(overlap.outcome.rejected.of(Rejection::Overlap), 1);
    let next = admit(&mut ledger, early(one((10, 20)))).unwrap();
    assert_eq!(next.frame.measurements.len(), 1);
}

#[test]
fn a_clock_two_days_wrong_is_corrected_and_flagged() {
    let two_days = 2 * 86_400_000_000;
    let mut arrival = arrival(Some(1), 7, delta(NOW_US - two_days));
    let clock = (NOW_US - two_days) as u64 * 1000;
    if let Some(declared) = &mut arrival.declared {
        declared.clock_unix_nano = Some(clock);
    }
    let decision = admit(&mut Ledger::default(), arrival).unwrap();
    let columns = &decision.frame.measurements[0].columns;
    assert_eq!((columns.time, columns.clock), (NOW_US, Clock::Corrected));
    assert_eq!(columns.sender_time, NOW_US - two_days);
}
