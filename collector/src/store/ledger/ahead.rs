//! Senders whose clock runs ahead, for a moment or for long: what they sent counts once, also when
//! it is sent again, and says nothing about the times that come after it.

use proptest::prelude::*;

use fathomline_wire::rejection::Rejection;

use super::{
    Ledger,
    tests::{NOW_US, admit, arrival, point, relayed, window_of},
};
use crate::{intake::Temporality, store::Outcome};

const SECOND: i64 = 1_000_000;
const YEARS: i64 = 10 * 365 * 86_400 * SECOND;

/// What one foreign stream makes of its points.
#[derive(Default)]
struct Stream {
    ledger: Ledger,
    /// Start, end and count of each row.
    rows: Vec<(i64, i64, i64)>,
    duplicates: u64,
}

impl Stream {
    /// Sends a point, in seconds from now.
    fn send(&mut self, temporality: Temporality, times: (i64, i64), (value, at): (i64, i64)) {
        let times = (NOW_US + times.0 * SECOND, NOW_US + times.1 * SECOND);
        let mut sent = arrival(None, 0, vec![point(temporality, times, value)]);
        sent.received_us = NOW_US + at * SECOND;
        let decision = admit(&mut self.ledger, sent).unwrap();
        self.duplicates += decision.outcome.duplicates;
        for row in decision.frame.measurements {
            let columns = &row.columns;
            let times = [columns.start_time, columns.time].map(|us| (us - NOW_US) / SECOND);
            self.rows.push((times[0], times[1], row.count.unwrap()));
        }
    }

    fn counted(&self) -> i64 {
        self.rows.iter().map(|(_, _, count)| count).sum()
    }
}

#[test]
fn an_interval_that_ends_in_years_leaves_room_for_those_of_today() {
    let mut stream = Stream::default();
    let mut send = |times, at| stream.send(Temporality::Delta, times, (1, at));
    send((-10, YEARS / SECOND), 0);
    (1..=200).for_each(|n| send((n * 10 - 10, n * 10), n * 10));
    send((-10, YEARS / SECOND), 3_000);
    assert_eq!((stream.rows.len(), stream.duplicates), (201, 1));
}

#[test]
fn hundreds_of_intervals_of_tomorrow_leave_room_for_those_of_today() {
    let mut stream = Stream::default();
    let mut send = |times, at| stream.send(Temporality::Delta, times, (1, at));
    for n in 0..200 {
        let end = 86_400 + n * 10;
        send((end - 10, end), n * 10);
    }
    // The clock was set right.
    (200..400).for_each(|n| send((n * 10 - 10, n * 10), n * 10));
    assert_eq!((stream.rows.len(), stream.duplicates), (400, 0));
}

#[test]
fn an_interval_that_is_sent_again_when_its_time_has_come_counts_once() {
    for at in [1, 100, 200, 86_400] {
        let mut stream = Stream::default();
        stream.send(Temporality::Delta, (110, 120), (1, 0));
        stream.send(Temporality::Delta, (110, 120), (1, at));
        assert_eq!(
            (stream.rows.len(), stream.duplicates),
            (1, 1),
            "after {at} s"
        );
    }
}

#[test]
fn a_total_of_tomorrow_counts_once_and_the_next_of_today_counts_on() {
    let mut stream = Stream::default();
    let mut send = |times, value, at| stream.send(Temporality::Cumulative, times, (value, at));
    let ahead = YEARS / SECOND;
    send((-60, 0), 4, 0);
    send((-60, ahead), 9, 10);
    send((-60, ahead), 9, 15);
    send((-60, 20), 12, 20);
    send((-60, ahead), 9, 25);
    send((-60, 0), 4, 26);
    send((-60, 30), 13, 30);
    let rows = [(-60, 0, 4), (0, 10, 5), (10, 20, 3), (20, 30, 1)];
    assert_eq!((&stream.rows[..], stream.duplicates), (&rows[..], 3));
}

#[test]
fn a_total_of_tomorrow_that_told_nothing_new_is_no_reset_when_its_time_has_come() {
    let mut stream = Stream::default();
    let mut send = |times, value, at| stream.send(Temporality::Cumulative, times, (value, at));
    send((-60, 2), 1, 2);
    send((-60, 105), 1, 4);
    send((-60, 46), 2, 46);
    send((-60, 105), 1, 46);
    assert_eq!((stream.counted(), stream.duplicates), (2, 2));
}

#[test]
fn a_count_that_began_tomorrow_goes_on_beside_the_one_of_today() {
    let mut stream = Stream::default();
    let mut send = |times, value, at| stream.send(Temporality::Cumulative, times, (value, at));
    let day = 86_400;
    send((day, day + 10), 5, 10);
    // Its clock is set right, and it begins again.
    send((15, 20), 3, 20);
    send((day, day + 10), 5, 25);
    send((15, 30), 4, 30);
    assert_eq!((stream.counted(), stream.duplicates), (9, 1));
    // The time has come that it believed in.
    let mut send = |times, value, at| stream.send(Temporality::Cumulative, times, (value, at));
    send((day, day + 10), 5, day + 60);
    send((day, day + 60), 6, day + 60);
    assert_eq!((stream.counted(), stream.duplicates), (10, 2));
}

/// What becomes of pieces of one boot's windows, sent by a relay that lost what tells them apart.
fn pieces(ledger: &mut Ledger, ends: &[(i64, i64)]) -> Vec<Outcome> {
    let outcomes = ends.iter().map(|(end, at)| {
        let mut piece = relayed(window_of("b", 1, NOW_US + end * SECOND));
        piece.windows[0].sequence = None;
        piece.windows[0].points[0].stream = *end as u128;
        piece.received_us = NOW_US + at * SECOND;
        admit(ledger, piece).unwrap().outcome
    });
    outcomes.collect()
}

/// One window of the boot, sent directly.
fn whole(ledger: &mut Ledger, sequence: u64, (end, at): (i64, i64)) {
    let mut window = window_of("b", sequence, NOW_US + end * SECOND);
    window.received_us = NOW_US + at * SECOND;
    assert_eq!(admit(ledger, window).unwrap().outcome.accepted, 1);
}

#[test]
fn a_whole_window_of_tomorrow_swallows_no_piece_of_today() {
    let mut ledger = Ledger::default();
    let ahead = YEARS / SECOND;
    whole(&mut ledger, 1, (0, 0));
    whole(&mut ledger, 2, (ahead, 10));
    let outcomes = pieces(&mut ledger, &[(0, 20), (ahead, 20), (20, 20), (ahead, 30)]);
    let counted = outcomes.iter().map(|o| (o.accepted, o.duplicates));
    // Copies of both whole windows, what came split alone, and a copy again.
    assert_eq!(
        counted.collect::<Vec<_>>(),
        [(0, 1), (0, 1), (1, 0), (0, 1)]
    );
}

#[test]
fn of_many_windows_of_tomorrow_the_earliest_cannot_be_told_and_those_of_today_count() {
    let mut ledger = Ledger::default();
    for n in 1..=70 {
        whole(&mut ledger, n as u64, (86_400 + n * 10, n * 10));
    }
    let ends = [(86_410, 710), (87_100, 710), (715, 715)];
    let outcomes = pieces(&mut ledger, &ends);
    let counted = outcomes
        .iter()
        .map(|o| (o.accepted, o.duplicates, o.rejected.of(Rejection::TooOld)));
    assert_eq!(
        counted.collect::<Vec<_>>(),
        [(0, 0, 1), (0, 1, 0), (1, 0, 0)]
    );
}

#[test]
fn what_a_boot_with_a_clock_of_tomorrow_left_is_no_clone() {
    let mut ledger = Ledger::default();
    let windows = [("a", 1, 0, 0), ("b", 1, 60, 60), ("a", 2, 86_400, 61)];
    for (boot, sequence, end, at) in windows {
        let mut window = window_of(boot, sequence, NOW_US + end * SECOND);
        window.received_us = NOW_US + at * SECOND;
        let decision = admit(&mut ledger, window).unwrap();
        assert_eq!(decision.frame.measurements[0].columns.device, "i", "{boot}");
    }
    assert_eq!(ledger.held().cloned_boots, 0);
}

proptest! {
    #[test]
    fn a_total_counts_once_whatever_the_clock_does(
        steps in proptest::collection::vec((1..100_i64, 0..50_i64, 0..4_usize, 0..20_usize), 1..40)
    ) {
        // No two ends meet: those without an error are even, the others odd and far apart.
        let ahead = [0, 101, 86_401, YEARS / SECOND + 1];
        let mut stream = Stream::default();
        let mut sent: Vec<((i64, i64), i64)> = Vec::new();
        let (mut now, mut total) = (0, 0);
        for (waits, gain, error, again) in steps {
            now += 2 * waits;
            total += gain;
            sent.push(((-60, now + ahead[error]), total));
            let last = sent.len() - 1;
            for at in [last, last.saturating_sub(again), last] {
                let (times, total) = sent[at];
                stream.send(Temporality::Cumulative, times, (total, now));
            }
            prop_assert_eq!(stream.counted(), total);
        }
    }

    #[test]
    fn an_interval_counts_once_whatever_the_clock_does(
        steps in proptest::collection::vec((1..100_i64, 0..4_usize, 0..20_usize), 1..60)
    ) {
        // No two ends meet: those without an error are even, the others odd and far apart.
        let ahead = [0, 101, 86_401, YEARS / SECOND + 1];
        let mut stream = Stream::default();
        let mut sent = Vec::new();
        let mut now = 0;
        for (waits, error, again) in steps {
            now += 2 * waits;
            sent.push(now + ahead[error]);
            let last = sent.len() - 1;
            for at in [last, last.saturating_sub(again)] {
                // A moment each: clocks that jump make intervals overlap.
                stream.send(Temporality::Delta, (sent[at], sent[at]), (1, now));
            }
        }
        let distinct: std::collections::BTreeSet<_> = sent.iter().collect();
        prop_assert_eq!(stream.rows.len(), distinct.len());
    }
}
