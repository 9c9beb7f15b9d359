//! Promise 3: counted means once. Arrivals in every order and through every way, and a second
//! ledger that sees only the entries and must end up the same.

use fathomline_queries::rows::{Clock, DeviceColumns};
use fathomline_wire::identity::{self, Declared};

use super::{keys::device_key, *};
use crate::intake::{Point, PointBody, Rejected, Temporality};

pub(super) const NOW_US: i64 = 1_700_000_000_000_000;

pub(super) const RULES: Rules = Rules {
    limits: Limits {
        devices: 100,
        services: 20,
        cohorts: 20,
        metrics: 20,
        categories: 20,
        stream_bytes: 1 << 20,
    },
    lane_us: 60_000_000,
    lateness_us: 120_000_000,
};

pub(super) fn columns(start_time: i64, time: i64) -> DeviceColumns {
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
        late: false,
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

pub(super) fn point(temporality: Temporality, (start, end): (i64, i64), value: i64) -> Point {
    Point {
        stream: 1,
        columns: columns(start, end),
        category: None,
        temporality,
        body: PointBody::Integer(value),
    }
}

pub(super) fn arrival(sequence: Option<u64>, digest: u8, points: Vec<Point>) -> Arrival {
    let identity = |sequence| Identity {
        installation: "i".into(),
        boot: "b".into(),
        sequence,
    };
    Arrival {
        token: 0,
        declared: sequence.map(|sequence| Declared {
            identity: identity(sequence),
            is_part: false,
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

pub(super) fn delta(end: i64) -> Vec<Point> {
    vec![point(Temporality::Delta, (end - 10, end), 5)]
}

/// Admits, and checks that the entries alone lead to the same ledger.
pub(super) fn admit(ledger: &mut Ledger, arrival: Arrival) -> Result<Decision, Refusal> {
    let mut replayed = ledger.clone();
    let decision = ledger.admit(arrival, &RULES)?;
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
        declared.is_part = true;
        // No two parts hold points of one stream.
        arrival.windows[0].points[0].stream = digest.into();
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

/// A window of a boot, measured in the ten seconds before `end`.
pub(super) fn window_of(boot: &str, sequence: u64, end: i64) -> Arrival {
    let mut arrival = arrival(Some(sequence), sequence as u8, delta(end));
    let declared = arrival.declared.as_mut().unwrap();
    declared.identity.boot = boot.into();
    boot.clone_into(&mut arrival.windows[0].boot);
    arrival.received_us = end;
    arrival
}

pub(super) fn relayed(mut arrival: Arrival) -> Arrival {
    arrival.declared = None;
    arrival
}

fn devices(decision: &Decision) -> Vec<&str> {
    let rows = decision.frame.measurements.iter();
    rows.map(|row| row.columns.device.as_str()).collect()
}

#[test]
fn two_boots_alive_at_once_are_flagged_and_count_apart() {
    let mut ledger = Ledger::default();
    let second = 1_000_000;
    let mut sent = |boot: &str, sequence, end| {
        let decision = admit(&mut ledger, window_of(boot, sequence, end)).unwrap();
        (devices(&decision)[0].to_owned(), decision.outcome.clones)
    };
    assert_eq!(sent("a", 1, NOW_US), ("i".into(), 0));
    assert_eq!(sent("b", 1, NOW_US + 10 * second), ("i".into(), 0));
    let (a, clones) = sent("a", 2, NOW_US + 20 * second);
    assert_eq!(clones, 1);
    let (b, clones) = sent("b", 2, NOW_US + 20 * second);
    assert_eq!(clones, 0, "told once");
    assert!(a.starts_with("i~") && b.starts_with("i~") && a != b);
    assert_eq!(identity::installation_of(&a), "i");
    assert_eq!(ledger.held().cloned_boots, 2);
}

#[test]
fn an_erased_device_is_forgotten_and_others_are_not() {
    let mut ledger = Ledger::default();
    let mut relayed = window_of("a", 1, NOW_US);
    relayed.declared = None;
    admit(&mut ledger, relayed).unwrap();
    let held = ledger.held();
    assert_eq!((held.devices, held.streams), (1, 1));
    ledger.erase(&crate::database::erasures::digest_of("another"));
    assert_eq!(ledger.held(), held);
    ledger.erase(&crate::database::erasures::digest_of("i~0a1b2c3d"));
    let held = ledger.held();
    assert_eq!((held.devices, held.streams, held.stream_bytes), (0, 0, 0));
}

#[test]
fn a_restart_that_first_sends_what_the_boot_before_left_is_no_clone() {
    let mut ledger = Ledger::default();
    let second = 1_000_000;
    for (boot, sequence, end) in [("a", 1, 0), ("b", 1, 60), ("a", 2, 10), ("a:2", 2, 10)] {
        let mut arrival = window_of("a", sequence, NOW_US + end * second);
        boot[..1].clone_into(&mut arrival.windows[0].boot);
        let declared = arrival.declared.as_mut().unwrap();
        boot.clone_into(&mut declared.identity.boot);
        declared.is_part = boot.contains(':');
        arrival.received_us = NOW_US + 60 * second;
        let decision = admit(&mut ledger, arrival).unwrap();
        assert_eq!(devices(&decision), ["i"], "{boot}");
    }
    assert_eq!(ledger.held().cloned_boots, 0);
}

#[test]
fn a_part_counts_once_whichever_way_it_and_its_boot_come() {
    let part = |number: u64, stream| {
        let mut arrival = arrival(Some(7), number as u8, delta(NOW_US));
        arrival.windows[0].points[0].stream = stream;
        let declared = arrival.declared.as_mut().unwrap();
        declared.is_part = true;
        if number > 1 {
            declared.identity.boot = format!("b:{number}");
            // Only the first part says which window it is.
            arrival.windows[0].sequence = None;
        }
        arrival
    };
    let count = |ways: &[Arrival]| {
        let mut ledger = Ledger::default();
        admit(&mut ledger, window_of("b", 6, NOW_US - 60_000_000)).unwrap();
        let rows = ways.iter().map(|arrival| {
            let decision = admit(&mut ledger, arrival.clone()).unwrap();
            decision.frame.measurements.len()
        });
        let rows = rows.sum::<usize>();
        assert_eq!(ledger.held().missing_windows, 0, "no false gaps");
        rows
    };
    let (first, second) = (|| part(1, 10), || part(2, 11));
    assert_eq!(count(&[first(), second(), relayed(second())]), 2);
    assert_eq!(count(&[first(), relayed(second()), second()]), 2);
    assert_eq!(count(&[relayed(second()), first(), relayed(first())]), 2);
    assert_eq!(count(&[relayed(first()), second(), first()]), 2);
    // The window before was counted whole: a relay's piece of it is a copy.
    let mut piece = relayed(window_of("b", 6, NOW_US - 60_000_000));
    piece.windows[0].sequence = None;
    piece.windows[0].points[0].stream = 12;
    assert_eq!(count(&[piece, first()]), 1);
}

#[test]
fn boots_of_which_only_parts_came_have_no_gaps() {
    let mut ledger = Ledger::default();
    for sequence in [3, 90] {
        let mut arrival = arrival(Some(sequence), 1, delta(NOW_US + sequence as i64));
        let declared = arrival.declared.as_mut().unwrap();
        declared.identity.boot = "b:2".into();
        declared.is_part = true;
        arrival.windows[0].points[0].columns.start_time = NOW_US + sequence as i64;
        admit(&mut ledger, arrival).unwrap();
    }
    let held = ledger.held();
    assert_eq!((held.boots, held.missing_windows), (1, 0));
}

#[test]
fn what_was_silent_for_thirty_days_is_forgotten_and_a_replay_forgets_the_same() {
    let day = 86_400_000_000;
    let mut live = Ledger::default();
    let mut segments = Vec::new();
    for segment in 0..5 {
        let now = NOW_US + segment * 20 * day;
        let mut entries = Vec::new();
        for stream in 0..3 {
            let end = now + 10 * i64::try_from(stream).unwrap();
            let mut arrival = relayed(window_of("b", 1, end));
            arrival.windows[0].sequence = None;
            arrival.windows[0].installation = format!("foreign {segment}");
            arrival.windows[0].points[0].stream = stream + 100 * segment as u128;
            entries.extend(admit(&mut live, arrival).unwrap().frame.entries);
        }
        let mut direct = window_of(&format!("boot-{segment}"), 1, now);
        direct.windows[0].installation = format!("i-{segment}");
        let declared = direct.declared.as_mut().unwrap();
        declared.identity.installation = format!("i-{segment}");
        entries.extend(admit(&mut live, direct).unwrap().frame.entries);
        (0..20).for_each(|_| live.forget());
        segments.push(entries);
    }
    let held = live.held();
    // Of the last two segments; the others are 40 days old and more.
    assert_eq!((held.streams, held.boots, held.devices), (6, 2, 4));
    let mut replayed = Ledger::default();
    for entries in segments {
        entries.iter().for_each(|entry| replayed.apply(entry));
        (0..20).for_each(|_| replayed.forget());
    }
    assert_eq!(replayed, live);
    let bytes = postcard::to_stdvec(&live).unwrap();
    assert_eq!(postcard::from_bytes::<Ledger>(&bytes).unwrap(), live);
}

#[test]
fn a_moment_in_which_our_own_clock_is_a_month_ahead_makes_nothing_count_again() {
    let mut ledger = Ledger::default();
    let month = 31 * 86_400_000_000;
    let send = |ledger: &mut Ledger, sequence, received_us| {
        let mut arrival = window_of("b", sequence, NOW_US);
        arrival.received_us = received_us;
        admit(ledger, arrival).unwrap().outcome
    };
    assert_eq!(send(&mut ledger, 1, NOW_US).duplicates, 0);
    ledger.forget();
    assert_eq!(send(&mut ledger, 2, NOW_US + month).duplicates, 0);
    ledger.forget();
    for sequence in [1, 2] {
        let again = send(&mut ledger, sequence, NOW_US + 1_000_000);
        assert!(again.duplicates > 0, "window {sequence} counts again");
        ledger.forget();
    }
    // Where it stays, what was silent for so long is forgotten, a day at each look.
    send(&mut ledger, 3, NOW_US + 2 * month);
    (0..70).for_each(|_| ledger.forget());
    assert_eq!(ledger.held().boots, 1);
}

#[test]
fn a_device_that_restarts_for_ever_is_bounded_and_still_counts_once() {
    let mut ledger = Ledger::default();
    let minute = 60_000_000;
    let boots = devices::BOOTS_MAX as i64 + 10;
    for boot in 0..boots {
        let arrival = window_of(&format!("boot-{boot}"), 1, NOW_US + boot * minute);
        assert_eq!(ledger.admit(arrival, &RULES).unwrap().outcome.accepted, 1);
    }
    assert_eq!(ledger.held().boots, devices::BOOTS_MAX);
    let refusal = admit(&mut ledger, window_of("boot-0", 1, NOW_US)).unwrap_err();
    assert_eq!(refusal.rejection, Rejection::TooOld);
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
fn a_clock_that_was_never_set_loses_nothing_and_is_not_believed() {
    let mut ledger = Ledger::default();
    let since_1970 = 40_000_000;
    let mut arrival = arrival(Some(1), 7, delta(since_1970));
    // Uploaded by the next boot, whose clock is right.
    let clock = NOW_US as u64 * 1_000;
    arrival.declared.as_mut().unwrap().clock_unix_nano = Some(clock);
    let decision = admit(&mut ledger, arrival.clone()).unwrap();
    let columns = &decision.frame.measurements[0].columns;
    assert_eq!((columns.time, columns.clock), (NOW_US, Clock::Unknown));
    assert_eq!(columns.time - columns.start_time, 10);
    assert_eq!(columns.sender_time, since_1970);
    assert!(admit(&mut ledger, arrival).unwrap().frame.is_empty());
}

#[test]
fn a_window_that_comes_after_its_lane_closed_is_kept_and_marked() {
    let mut ledger = Ledger::default();
    let hour = 3_600_000_000;
    for (sequence, age, late) in [(1, hour, true), (2, 60_000_000, false)] {
        let mut arrival = arrival(Some(sequence), 7, delta(NOW_US - age));
        arrival.received_us = NOW_US;
        let decision = admit(&mut ledger, arrival).unwrap();
        assert_eq!(decision.frame.measurements[0].columns.late, late);
        assert_eq!(decision.outcome.late, u64::from(late));
    }
}

#[test]
fn noised_counts_are_kept_as_they_came_below_zero_too() {
    let mut ledger = Ledger::default();
    let cells = [("0:-8", -7), ("0:-7", 0), ("0:-6", 12)];
    let points = cells.map(|(cell, value)| {
        let mut point = point(Temporality::Delta, (NOW_US - 3_600_000_000, NOW_US), value);
        point.columns.metric = "fathomline.output.surprisal.noised".into();
        point.category = Some(cell.into());
        point
    });
    let decision = admit(&mut ledger, arrival(Some(1), 7, points.into())).unwrap();
    let rows = decision.frame.measurements.iter();
    let kept: Vec<_> = rows
        .map(|row| (row.category.as_deref().unwrap(), row.count.unwrap()))
        .collect();
    assert_eq!(kept, cells);
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

/// Memory of this process.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
#[ignore = "measures this process: `cargo test --workspace --lib -- --ignored memory_of --nocapture`"]
fn memory_of_what_is_remembered() {
    let (devices, streams) = (200_000, 20_000);
    let before = resident_bytes();
    let mut ledger = Ledger::default();
    let mut contact = Contact {
        digest: Some(7),
        offset_us: 0,
        seen_us: NOW_US,
        end_us: NOW_US,
        by_stream: false,
    };
    for device in 0..devices {
        for sequence in 1..=3 {
            contact.digest = Some(sequence);
            let place = Place {
                device: device_key(&format!("device {device}")),
                boot: device,
                of: device,
                sequence,
            };
            let token = 0;
            ledger.apply(&Entry::Window {
                place,
                contact,
                token,
            });
        }
    }
    let of_devices = resident_bytes() - before;
    let before = resident_bytes();
    for stream in 0..streams {
        for n in 0..64 {
            let (start, end) = (n * 10, n * 10 + 10);
            ledger.apply(&Entry::Point {
                stream: device_key(&format!("stream {stream}")),
                device: 1,
                token: 0,
                seen_us: NOW_US,
                counted: streams::Counted::Interval { start, end },
            });
        }
    }
    let of_streams = resident_bytes() - before;
    let encoded = postcard::to_stdvec(&ledger).unwrap().len();
    eprintln!(
        "{} bytes a device, {} bytes a full stream (estimated {}), {encoded} bytes in a checkpoint",
        of_devices / devices,
        of_streams / streams,
        ledger.held().stream_bytes / streams,
    );
}
