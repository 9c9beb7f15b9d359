//! Versions of made-up devices that differ among themselves. Errors are counted over many worlds,
//! so an interval that forgets devices would be found out.

use fathomline_wire::histogram::ExponentialHistogram;

use super::*;
use crate::drift::{Lane, Policy, SeriesKey, Summary};

/// splitmix64 (Steele, Lea, Flood 2014).
struct Luck(u64);

impl Luck {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ bits >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn values(luck: &mut Luck, count: u32, factor: f64) -> Summary {
    let mut histogram = ExponentialHistogram::new(4);
    for _ in 0..count {
        let value = factor * (0.01 + luck.uniform() * luck.uniform());
        assert!(histogram.record(value));
    }
    Summary::Histogram(histogram)
}

fn reference() -> Reference {
    let key = SeriesKey {
        service: "s".into(),
        model: "m".into(),
        version: "1".into(),
        variant: "v".into(),
        device_class: "c".into(),
        metric: "x".into(),
    };
    let mut luck = Luck(1);
    let lane = |number: i64| Lane {
        start_us: number,
        end_us: number + 1,
        summary: values(&mut luck, 200, 1.0),
        count: 200,
        device_windows: 4,
        devices: 4,
    };
    let lanes: Vec<Lane> = (0..40).map(lane).collect();
    Reference::freeze(key, &lanes, &Policy::default()).unwrap()
}

/// Devices whose values are `factor` times the reference's, each its own share of `spread` off.
fn devices(luck: &mut Luck, name: &str, count: u32, (factor, spread): (f64, f64)) -> Vec<Part> {
    let part = |number: u32| {
        let own = factor * (1.0 + spread * (luck.uniform() - 0.5));
        let records = 100 + (luck.uniform() * 200.0) as u32;
        Part {
            device: format!("{name}-{number}"),
            site: String::new(),
            end_us: 1,
            summary: values(luck, records, own),
        }
    };
    (0..count).map(part).collect()
}

/// The stream that counts what is beyond the p95 of the reference.
fn beyond(reference: &Reference) -> String {
    let mut streams = reference.streams().iter().map(|(s, _)| s.to_string());
    streams.find(|stream| stream.contains("p95")).unwrap()
}

fn compare(reference: &Reference, error: f64, old: &[Part], new: &[Part]) -> Option<Comparison> {
    let stream = beyond(reference);
    let moved = MovedShare {
        reference,
        stream: &stream,
        direction: Direction::More,
        error,
    };
    Comparison::of(moved, old, new)
}

#[test]
fn a_version_that_is_no_better_is_called_better_no_oftener_than_said() {
    const WORLDS: u32 = 600;
    let reference = reference();
    for error in [0.025, 0.1] {
        let mut luck = Luck(7);
        let mut better = 0;
        for _ in 0..WORLDS {
            let old = devices(&mut luck, "old", 9, (1.6, 0.6));
            let new = devices(&mut luck, "new", 4, (1.6, 0.6));
            let found = compare(&reference, error, &old, &new).unwrap();
            better += u32::from(found.is_better());
        }
        let expected = f64::from(WORLDS) * error;
        let most = expected + 3.0 * libm::sqrt(expected * (1.0 - error));
        assert!(
            f64::from(better) <= most,
            "{better} of {WORLDS}, {most} at most"
        );
        assert!(
            better > 0,
            "an interval that is never wrong says too little"
        );
    }
}

#[test]
fn a_version_that_came_back_is_better_and_says_by_how_much() {
    let reference = reference();
    let mut luck = Luck(3);
    let old = devices(&mut luck, "old", 9, (1.6, 0.2));
    let new = devices(&mut luck, "new", 4, (1.0, 0.2));
    let found = compare(&reference, 0.025, &old, &new).unwrap();
    assert!(found.is_better(), "{found:?}");
    assert!(found.interval.0 < found.gain && found.gain < found.interval.1);
    assert!(
        (found.new.share - found.expected_share).abs() < 0.03,
        "{found:?}"
    );
    assert_eq!((found.old.devices, found.new.devices), (9, 4));
    let worse = compare(&reference, 0.025, &new, &old).unwrap();
    assert!(!worse.is_better() && worse.gain < 0.0);
}

#[test]
fn the_order_of_parts_changes_no_bit_and_few_devices_say_nothing() {
    let reference = reference();
    let mut luck = Luck(5);
    let old = devices(&mut luck, "old", 9, (1.6, 0.6));
    let mut new = devices(&mut luck, "new", 4, (1.0, 0.6));
    let found = compare(&reference, 0.01, &old, &new).unwrap();
    let (mut turned, mut two) = (old.clone(), new.clone());
    turned.reverse();
    new.reverse();
    assert_eq!(compare(&reference, 0.01, &turned, &new).unwrap(), found);
    two.truncate(2);
    assert_eq!(compare(&reference, 0.01, &old, &two), None);
    let moved = MovedShare {
        reference: &reference,
        stream: "no such stream",
        direction: Direction::More,
        error: 0.01,
    };
    assert_eq!(Comparison::of(moved, &old, &new), None);
}
