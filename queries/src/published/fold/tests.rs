//! No sum or difference of what is published tells of fewer devices than asked for.

use std::collections::{BTreeMap, BTreeSet};

use fathomline_wire::names::{OUTPUT_LABEL, OUTPUT_SURPRISAL};
use proptest::prelude::*;

use super::*;
use crate::{
    examples::{LANE_US, counter, distribution},
    rows::{self, DistributionRow, MeasurementRow},
};

/// A device and the cohort that it is in while the lane lasts.
#[derive(Clone, Debug)]
struct Member {
    device: usize,
    lane: i64,
    model: u8,
    version: u8,
    class: u8,
    bounds: u8,
}

fn fleet() -> impl Strategy<Value = Vec<Member>> {
    let member = (0..24usize, 0..3i64, 0..2u8, 0..3u8, 0..3u8, 0..2u8);
    let member = member.prop_map(|(device, lane, model, version, class, bounds)| Member {
        device,
        lane,
        model,
        version,
        class,
        bounds,
    });
    prop::collection::vec(member, 1..60).prop_map(|members| {
        // One cohort a device and lane, so that a count tells who is in it.
        let places: BTreeMap<_, _> = members
            .into_iter()
            .map(|member| ((member.device, member.lane), member))
            .collect();
        places.into_values().collect()
    })
}

/// What each member sends: one label so often that sums of them name who sent them, and one value.
fn sent(member: &Member) -> (Vec<DistributionRow>, Vec<MeasurementRow>) {
    let time = (member.lane + 1) * LANE_US;
    let device = format!("device-{}", member.device);
    let name = |columns: &mut rows::DeviceColumns| {
        columns.model = format!("model-{}", member.model);
        columns.version = format!("{}", member.version);
        columns.device_class = format!("class-{}", member.class);
    };
    let label = if member.device.is_multiple_of(2) {
        "even"
    } else {
        "odd"
    };
    let mut label = counter(&device, time, OUTPUT_LABEL, label);
    label.count = Some(1 << member.device);
    name(&mut label.columns);
    let mut value = distribution(&device, time, &[1.0]);
    name(&mut value.columns);
    if member.bounds == 1 {
        let explicit = fathomline_wire::histogram::ExplicitHistogram {
            bounds: vec![1.0],
            counts: vec![1, 0],
            count: 1,
            sum: None,
            min: None,
            max: None,
        };
        value.distribution = Distribution::Explicit(explicit);
    }
    (vec![value], vec![label])
}

/// Each device's rows as an increment of its own, as if every one had its own log segment.
fn stored(fleet: &[Member]) -> Vec<RollupRow> {
    let increments = fleet.iter().map(|member| {
        let (distributions, measurements) = sent(member);
        rows::rollup(&distributions, &measurements, LANE_US)
    });
    increments.flatten().collect()
}

fn fold(rows: Vec<RollupRow>, min_devices: usize) -> Vec<RollupRow> {
    let mut fold = Fold::new(min_devices);
    rows.into_iter().for_each(|row| fold.add(row));
    fold.finish()
}

/// Who is in each published cell, read back from its counts alone.
fn cells(rows: &[RollupRow]) -> BTreeMap<(i64, String, Name), BTreeSet<usize>> {
    let mut counts: BTreeMap<_, i64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.cohort.metric == OUTPUT_LABEL) {
        let name = Name {
            version: row.cohort.version.clone(),
            variant: row.cohort.variant.clone(),
            device_class: row.cohort.device_class.clone(),
        };
        *counts
            .entry((row.time, row.cohort.model.clone(), name))
            .or_default() += row.count;
    }
    let members = |count: i64| (0..24).filter(|device| count >> device & 1 == 1).collect();
    counts
        .into_iter()
        .map(|(cell, count)| (cell, members(count)))
        .collect()
}

proptest! {
    /// Published cells of a lane share no device and hold enough of them each, so a combination of
    /// them with any weights is either nothing or tells of a whole cell. What is left out is in
    /// none of them.
    #[test]
    fn no_combination_of_published_cells_isolates_too_few_devices(
        fleet in fleet(),
        min_devices in 2..7usize,
    ) {
        let published = fold(stored(&fleet), min_devices);
        for row in &published {
            prop_assert!(row.devices.hashes().len() >= min_devices);
        }
        let cells = cells(&published);
        let mut seen: BTreeMap<i64, BTreeSet<usize>> = BTreeMap::new();
        for ((lane, ..), members) in &cells {
            prop_assert!(members.len() >= min_devices, "{members:?}");
            let seen = seen.entry(*lane).or_default();
            for member in members {
                prop_assert!(seen.insert(*member), "device {member} is in two cells");
            }
        }
        // Fewer of each lane and model are missing than would be shown.
        for lane in 1..=3i64 {
            for model in 0..2u8 {
                let is = |m: &&Member| m.model == model && m.lane + 1 == lane;
                let all: BTreeSet<_> = fleet.iter().filter(is).map(|m| m.device).collect();
                let none = BTreeSet::new();
                let shown = seen.get(&(lane * LANE_US)).unwrap_or(&none);
                prop_assert!(all.difference(shown).count() < min_devices);
            }
        }
    }

    /// Values of other bounds do not add up, and are not told apart where too few have them.
    #[test]
    fn values_are_published_of_enough_devices_or_not_at_all(
        fleet in fleet(),
        min_devices in 2..7usize,
    ) {
        let published = fold(stored(&fleet), min_devices);
        for row in published.iter().filter(|row| row.cohort.metric == OUTPUT_SURPRISAL) {
            // Every device sent one value.
            prop_assert!(row.count >= min_devices as i64);
            prop_assert_eq!(row.devices.hashes().len() as i64, row.count);
        }
    }

    /// The order in which rows come changes nothing.
    #[test]
    fn the_fold_is_a_function_of_the_rows(fleet in fleet()) {
        let mut turned = stored(&fleet);
        turned.reverse();
        prop_assert_eq!(fold(stored(&fleet), 3), fold(turned, 3));
    }
}

#[test]
fn a_large_group_stays_and_small_ones_go_together_or_not_at_all() {
    let member = |device, version, class| Member {
        device,
        lane: 0,
        model: 0,
        version,
        class,
        bounds: 0,
    };
    let mut fleet: Vec<_> = (0..5).map(|device| member(device, 1, 0)).collect();
    fleet.push(member(5, 2, 0));
    fleet.push(member(6, 2, 1));
    let named = |rows: &[RollupRow]| {
        let cells = cells(rows).into_iter();
        let named = cells.map(|((_, _, name), members)| (name.version, members.len()));
        named.collect::<Vec<_>>()
    };
    assert_eq!(named(&fold(stored(&fleet), 3)), [("1".to_owned(), 5)]);
    fleet.push(member(7, 3, 2));
    let expected = [("1".to_owned(), 5), (OTHER.to_owned(), 3)];
    assert_eq!(named(&fold(stored(&fleet), 3)), expected);
}

#[test]
fn no_category_tells_who_is_in_it() {
    let fleet: Vec<_> = (0..5)
        .map(|device| Member {
            device,
            lane: 0,
            model: 0,
            version: 0,
            class: 0,
            bounds: 0,
        })
        .collect();
    let published = fold(stored(&fleet), 5);
    let labels: Vec<_> = published
        .iter()
        .filter(|row| row.cohort.metric == OUTPUT_LABEL)
        .collect();
    assert_eq!(labels.len(), 2);
    assert!(labels.iter().all(|row| row.devices.count() == 5));
    assert!(labels.iter().all(|row| row.device_windows == 3));
}
