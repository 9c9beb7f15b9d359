//! Incidents of random series: whatever their devices did, parts add up. In: breakdowns by the
//! shipped code. Out: what holds of them. Never: stored rows.

use std::collections::BTreeMap;

use fathomline_wire::{histogram::ExponentialHistogram, names};
use proptest::prelude::*;

use super::*;
use crate::drift::{Lane, Part, Policy, Reference, Summary, Window};

fn key(class: &str, version: &str, metric: &str) -> SeriesKey {
    SeriesKey {
        service: "assistant".into(),
        model: "tiny".into(),
        version: version.into(),
        variant: "v".into(),
        device_class: class.into(),
        metric: metric.into(),
    }
}

/// Values around `middle` that spread by a factor of `spread` either way.
fn values(middle: f64, spread: f64, count: u32) -> Summary {
    let mut histogram = ExponentialHistogram::new(4);
    for number in 0..count {
        let place = 2.0 * f64::from(number) / f64::from(count) - 1.0;
        assert!(histogram.record(middle * spread.powf(place)));
    }
    Summary::Histogram(histogram)
}

fn kinds(wrong: u32, count: u32) -> Summary {
    let counts = [("right", count - wrong), ("wrong", wrong)];
    let counts = counts.map(|(kind, count)| (kind.to_owned(), u64::from(count)));
    Summary::Categories(BTreeMap::from(counts))
}

/// What one device did: where, and how far its values moved.
type Device = (usize, f64);

const SITES: [&str; 4] = ["", "bern", "oslo", "rome"];

/// A series taken apart: what its devices did is held against what they did before, at sites that
/// the reference knows or not.
fn apart(key: &SeriesKey, devices: &[Device], knows_sites: bool) -> Option<Breakdown> {
    let categories = key.metric == names::FEEDBACK;
    let summary = |moved: f64| match categories {
        true => kinds(10 + (20.0 * moved) as u32, 100),
        false => values(moved.exp(), 3.0, 100),
    };
    let lane = |number: i64| {
        let summary = summary(0.0);
        Lane {
            start_us: number * 60,
            end_us: (number + 1) * 60,
            count: summary.count(),
            summary,
            device_windows: 9,
            devices: 9,
        }
    };
    let lanes: Vec<Lane> = (0..60).map(lane).collect();
    let policy = Policy {
        lane_us: 60,
        ..Policy::default()
    };
    let mut reference = Reference::freeze(key.clone(), &lanes, &policy).unwrap();
    let part = |(number, (site, moved)): (usize, &Device)| Part {
        device: number.to_string(),
        site: SITES[*site].to_owned(),
        end_us: 3_600,
        summary: summary(*moved),
    };
    let parts: Vec<Part> = devices.iter().enumerate().map(part).collect();
    if knows_sites {
        let before = devices.iter().map(|(site, _)| (*site, 0.0));
        let before: Vec<Device> = before.collect();
        let parts: Vec<Part> = before.iter().enumerate().map(part).collect();
        reference = reference.with_devices(&parts, 5);
    }
    let window = Window {
        start_us: 3_600,
        end_us: 4_200,
        stream: Some(0),
        min_devices: 5,
    };
    Breakdown::of(&reference, &parts, window)
}

/// Series of one model, with their devices, and whether their references know sites.
fn series() -> impl Strategy<Value = Vec<(SeriesKey, Vec<Device>, bool)>> {
    let metrics = [
        names::OUTPUT_SURPRISAL,
        names::OUTPUT_ENTROPY,
        names::FEEDBACK,
    ];
    let class = prop::sample::select(vec!["kiosk", "panel", "phone"]);
    let version = prop::sample::select(vec!["1", "2"]);
    let metric = prop::sample::select(metrics.to_vec());
    let device = (0..SITES.len(), 0.0_f64..2.0);
    let devices = prop::collection::vec(device, 1..12);
    let one = (class, version, metric, devices, any::<bool>());
    let keyed = one.prop_map(|(class, version, metric, devices, knows)| {
        (key(class, version, metric), devices, knows)
    });
    prop::collection::vec(keyed, 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn contributors_of_each_kind_add_up_to_the_score(series in series(), most in 1_usize..8) {
        let each: Vec<_> = series
            .iter()
            .map(|(key, devices, knows)| (key, apart(key, devices, *knows)))
            .collect();
        let incident = Incident::of(each.iter().map(|(key, apart)| (*key, apart.as_ref())));
        let distances = each.iter().filter_map(|(_, apart)| apart.as_ref()?.psi_debiased);
        let whole: f64 = distances.sum();
        prop_assert!((incident.score - whole).abs() <= 1e-9 * whole.max(1.0));
        prop_assert_eq!(incident.series as usize, each.len());
        for kind in ContributorKind::ALL {
            let ranked = incident.ranked(kind, most);
            let sum: f64 = ranked.iter().map(|part| part.part).sum();
            let off = (sum - incident.score).abs();
            prop_assert!(off <= 0.01 * incident.score, "{kind:?}: {sum} of {}", incident.score);
            prop_assert!(ranked.len() <= most);
            let known = ranked.iter().take(most - 1).map(|part| -part.part);
            prop_assert!(known.is_sorted());
        }
    }
}

#[test]
fn what_moved_is_named_first_and_what_is_not_told_is_counted() {
    let (kiosk, panel) = (
        key("kiosk", "1", names::OUTPUT_SURPRISAL),
        key("panel", "1", names::OUTPUT_SURPRISAL),
    );
    let reporting = key("kiosk", "1", crate::drift::DEVICES_REPORTING);
    let devices = |moved: f64| -> Vec<Device> {
        let at = |number: usize| (1 + number / 5, if number < 5 { moved } else { 0.0 });
        (0..10).map(at).collect()
    };
    let (far, near) = (
        apart(&kiosk, &devices(1.5), true).unwrap(),
        apart(&panel, &devices(0.7), true).unwrap(),
    );
    let series = [
        (&reporting, None),
        (&panel, Some(&near)),
        (&kiosk, Some(&far)),
    ];
    let incident = Incident::of(series);
    assert_eq!((incident.series, incident.untold), (2, 1));
    let first = |kind| incident.ranked(kind, 9).remove(0);
    assert_eq!(first(ContributorKind::Class).name, "kiosk");
    assert_eq!(first(ContributorKind::Site).name, "site bern");
    let version = first(ContributorKind::Version);
    assert_eq!((version.series, version.part), (2, incident.score));
    let bin = first(ContributorKind::Bin);
    assert_eq!(bin.metric.as_deref(), Some(names::OUTPUT_SURPRISAL));
    let reversed = series.into_iter().rev();
    assert_eq!(Incident::of(reversed), incident, "to the bit, in any order");
}
