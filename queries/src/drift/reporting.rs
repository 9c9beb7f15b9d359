//! How many devices report, as a series of its own: devices that crash send nothing, and what the
//! others send looks as it always did.
//!
//! In: lanes of a cohort's metrics. Out: lanes that count devices. A reference knows how many there
//! are; against it a lane says how many of those report and how many are silent.

use std::{borrow::Cow, collections::BTreeMap};

use super::{Lane, Reference, SeriesKey, Stream, Summary};

/// The series' metric. No device sends it.
pub const DEVICES_REPORTING: &str = "fathomline.devices.reporting";

const REPORTING: &str = "reporting";
const SILENT: &str = "silent";

/// Lanes of every cohort's devices, from those of all its metrics: the most devices that any of
/// them counted.
pub fn devices_reporting(lanes: &BTreeMap<SeriesKey, Vec<Lane>>) -> BTreeMap<SeriesKey, Vec<Lane>> {
    let mut cohorts: BTreeMap<SeriesKey, BTreeMap<i64, Lane>> = BTreeMap::new();
    for (key, lanes) in lanes {
        let key = SeriesKey {
            metric: DEVICES_REPORTING.to_owned(),
            ..key.clone()
        };
        let cohort = cohorts.entry(key).or_default();
        for lane in lanes {
            let counted = counted(lane, lane.devices);
            let known = cohort.entry(lane.end_us).or_insert_with(|| counted.clone());
            if known.devices < counted.devices {
                *known = counted;
            }
        }
    }
    let ordered =
        |(key, lanes): (SeriesKey, BTreeMap<i64, Lane>)| (key, lanes.into_values().collect());
    cohorts.into_iter().map(ordered).collect()
}

/// A lane of the same cohort in which no device reported.
pub fn nobody_reporting(start_us: i64, end_us: i64) -> Lane {
    Lane {
        start_us,
        end_us,
        summary: Summary::Categories(BTreeMap::new()),
        count: 0,
        device_windows: 0,
        devices: 0,
    }
}

/// What a reference is made of: lanes that all count the same devices, the most of any of them.
/// Lanes of other series are left as they are.
pub(super) fn of_known<'a>(key: &SeriesKey, lanes: &'a [Lane]) -> Cow<'a, [Lane]> {
    if key.metric != DEVICES_REPORTING {
        return Cow::Borrowed(lanes);
    }
    let known = lanes.iter().map(|lane| lane.devices).max().unwrap_or(0);
    let counted = lanes.iter().map(|lane| among(lane, known));
    Cow::Owned(counted.collect())
}

/// Whether a bet is held: of devices only the one that fewer report. A fleet that grows, or in
/// which for once nobody is silent, is no drift.
pub(super) fn is_held(reference: &Reference, stream: &Stream, more: bool) -> bool {
    let reporting = matches!(stream, Stream::Category { name } if name == REPORTING);
    reference.key().metric != DEVICES_REPORTING || (reporting && !more)
}

/// What is judged: a lane among the devices that the reference knows.
pub(super) fn against<'a>(reference: &Reference, lane: &'a Lane) -> Cow<'a, Lane> {
    if reference.key().metric != DEVICES_REPORTING {
        return Cow::Borrowed(lane);
    }
    Cow::Owned(among(lane, reference.devices()))
}

fn among(lane: &Lane, known: u64) -> Lane {
    let reporting = lane.devices.min(known);
    let kinds = [(REPORTING, reporting), (SILENT, known - reporting)];
    let kinds = kinds.map(|(kind, count)| (kind.to_owned(), count));
    Lane {
        summary: Summary::Categories(kinds.into()),
        count: known,
        ..*lane
    }
}

fn counted(lane: &Lane, devices: u64) -> Lane {
    Lane {
        summary: Summary::Categories([(REPORTING.to_owned(), devices)].into()),
        count: devices,
        ..*lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::{Detector, Policy};

    fn key(metric: &str) -> SeriesKey {
        SeriesKey {
            service: "s".into(),
            model: "m".into(),
            version: "1".into(),
            variant: "v".into(),
            device_class: "kiosk".into(),
            metric: metric.into(),
        }
    }

    fn lane(number: i64, devices: u64) -> Lane {
        Lane {
            start_us: number * 60,
            end_us: (number + 1) * 60,
            devices,
            ..nobody_reporting(0, 0)
        }
    }

    /// A hundred minutes in which 37 to 40 devices report.
    fn reference() -> Reference {
        let past: Vec<Lane> = (0..100).map(|n| lane(n, 40 - n as u64 * 7 % 4)).collect();
        let policy = Policy {
            lane_us: 60,
            ..Policy::default()
        };
        Reference::freeze(key(DEVICES_REPORTING), &past, &policy).unwrap()
    }

    fn paged(devices: impl Fn(u64) -> u64) -> Option<i64> {
        let reference = reference();
        let policy = Policy {
            lane_us: 60,
            ..Policy::default()
        };
        let mut detector = Detector::new(&reference, &policy);
        (100..160).find(|n| {
            let lane = lane(*n, devices(n.unsigned_abs()));
            detector.fold(&reference, &lane).page
        })
    }

    #[test]
    fn devices_that_fall_silent_are_seen_even_if_nobody_is_left() {
        assert!(paged(|_| 20).is_some_and(|lane| lane < 110));
        assert!(paged(|_| 0).is_some_and(|lane| lane < 106));
    }

    #[test]
    fn the_usual_number_and_a_larger_one_are_no_drift() {
        assert_eq!(paged(|n| 40 - n * 7 % 4), None);
        assert_eq!(paged(|_| 80), None);
    }

    #[test]
    fn the_most_that_any_metric_counted_report() {
        let lanes = [("a", 3), ("b", 5)]
            .map(|(metric, devices)| (key(metric), vec![lane(0, devices), lane(1, 8 - devices)]));
        let found = devices_reporting(&lanes.into());
        let counts: Vec<u64> = found[&key(DEVICES_REPORTING)]
            .iter()
            .map(|l| l.count)
            .collect();
        assert_eq!((found.len(), counts), (1, vec![5, 5]));
    }
}
