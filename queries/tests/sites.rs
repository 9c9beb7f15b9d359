//! What a change is made of: a mix of sites that moves is composition and never drift, whatever it
//! does to shares; parts add up; intervals are those of the devices.
#![allow(clippy::unwrap_used)]

#[path = "../examples/calibration/sites.rs"]
mod fleet;
#[path = "../examples/calibration/world.rs"]
#[expect(dead_code, reason = "the report uses more of it")]
mod world;

use fathomline_queries::drift::{
    Breakdown, Detector, Explained, Part, Reference, VerdictState, Window,
};
use fathomline_wire::histogram::ExponentialHistogram;
use fleet::{Coverage, Fleet, Parts, REFERENCE, as_parts, policy, window};
use world::MINUTE_US;

fn reference_of(fleet: &mut Fleet) -> Reference {
    let reference = fleet.reference().unwrap();
    reference.check().unwrap();
    reference
}

/// Judges minutes as the watcher does: what is about to page is taken apart first.
fn judge(fleet: &mut Fleet, reference: &Reference, minutes: i64) -> Judged {
    let mut detector = Detector::new(reference, &policy());
    let mut judged = Judged::default();
    let mut seen: Vec<Parts> = Vec::new();
    for number in REFERENCE..REFERENCE + minutes {
        let mut parts = Parts::new();
        let lane = fleet.minute(number, &mut parts);
        seen.push(parts);
        let mut verdict = detector.fold(reference, &lane);
        if let Some(window) = detector.window(&verdict, 5) {
            let lanes = ((window.end_us - window.start_us) / MINUTE_US) as usize;
            let mut merged = Parts::new();
            for parts in &seen[seen.len().saturating_sub(lanes)..] {
                for (place, histogram) in parts {
                    let sum = merged.entry(*place);
                    sum.or_insert_with(|| ExponentialHistogram::new(3))
                        .merge(histogram);
                }
            }
            let breakdown = Breakdown::of(reference, &as_parts(&merged, 0), window).unwrap();
            detector.take_apart(&mut verdict, breakdown.clone());
            judged.apart.push(breakdown);
        }
        judged.pages += u64::from(verdict.page);
        judged.drifting += u64::from(verdict.state == VerdictState::Drifting);
        judged.undecided += u64::from(verdict.state == VerdictState::Undecided);
    }
    judged
}

#[derive(Default)]
struct Judged {
    pages: u64,
    drifting: u64,
    undecided: u64,
    apart: Vec<Breakdown>,
}

#[test]
fn a_mix_of_sites_that_moves_from_50_to_70_percent_never_drifts_and_is_composition() {
    let (mut apart, mut within, mut composition) = (0, 0.0, 0.0);
    for seed in 0..40 {
        let mut fleet = Fleet::new(seed, &[("bern", 0.5, 0.0), ("oslo", 0.5, 2.0)]);
        let reference = reference_of(&mut fleet);
        fleet.sites = vec![("bern", 0.3, 0.0), ("oslo", 0.7, 2.0)];
        let judged = judge(&mut fleet, &reference, 240);
        assert_eq!((judged.pages, judged.drifting), (0, 0), "seed {seed}");
        for breakdown in &judged.apart {
            assert_eq!(breakdown.explained(), Explained::Composition);
            let mix = breakdown.mix.unwrap();
            assert!(
                mix.composition.abs() > 0.05 && mix.within.abs() < mix.allowed,
                "{mix:?}"
            );
            assert!((mix.within + mix.composition - mix.change).abs() < 1e-12);
        }
        apart += u64::from(!judged.apart.is_empty());
        let first = judged.apart[0].mix.unwrap();
        within += first.within / 40.0;
        composition += first.composition / 40.0;
    }
    assert_eq!(apart, 40, "each was about to page");
    eprintln!("{within} within sites, {composition} by their mix");
    assert!(
        within.abs() < composition.abs() / 10.0,
        "{within} of {composition}"
    );
}

#[test]
fn what_happens_within_sites_pages_with_and_without_another_mix() {
    for (seed, mix) in (0..10).flat_map(|seed| [(seed, 0.5), (seed, 0.7)]) {
        let mut fleet = Fleet::new(seed, &[("bern", 0.5, 0.0), ("oslo", 0.5, 2.0)]);
        let reference = reference_of(&mut fleet);
        fleet.sites = vec![("bern", 1.0 - mix, 1.0), ("oslo", mix, 3.0)];
        let judged = judge(&mut fleet, &reference, 60);
        assert_eq!(judged.pages, 1, "seed {seed}, mix {mix}");
        let mix = judged.apart[0].mix.unwrap();
        assert!(mix.within.abs() > mix.allowed, "{mix:?}");
    }
}

#[test]
fn a_site_that_is_new_or_gone_is_composition_and_a_fleet_that_moved_is_undecided() {
    let mut fleet = Fleet::new(
        3,
        &[("bern", 0.4, 0.0), ("oslo", 0.4, 0.0), ("rome", 0.2, 2.0)],
    );
    let reference = reference_of(&mut fleet);
    fleet.sites = vec![("bern", 0.35, 0.0), ("oslo", 0.35, 0.0), ("wien", 0.3, 4.0)];
    let judged = judge(&mut fleet, &reference, 120);
    assert_eq!((judged.pages, judged.undecided), (0, 0));
    let mix = judged.apart[0].mix.unwrap();
    assert_eq!((mix.new, mix.gone), (1, 1));
    assert!((mix.covered - 0.8).abs() < 0.02, "{mix:?}");
    fleet.sites = vec![("rome", 0.3, 2.0), ("wien", 0.7, 4.0)];
    let judged = judge(&mut fleet, &reference, 120);
    assert_eq!(judged.pages, 0);
    assert!(judged.undecided > 100);
    assert_eq!(judged.apart[0].explained(), Explained::OtherSites);
}

/// A window of an hour, taken apart.
fn apart(fleet: &mut Fleet, reference: &Reference) -> Breakdown {
    let mut parts = Parts::new();
    (0..60).for_each(|n| drop(fleet.minute(REFERENCE + n, &mut parts)));
    Breakdown::of(reference, &as_parts(&parts, 0), window()).unwrap()
}

#[test]
fn parts_of_sites_and_bins_add_up_to_the_distance() {
    for seed in 0..10 {
        let mut fleet = Fleet::new(seed, &[("bern", 0.6, 0.0), ("oslo", 0.4, 1.0)]);
        let reference = reference_of(&mut fleet);
        fleet.sites = vec![("bern", 0.3, 0.8), ("oslo", 0.5, 1.0), ("rome", 0.2, 0.0)];
        let breakdown = apart(&mut fleet, &reference);
        let whole = breakdown.psi_debiased.unwrap();
        let sites: f64 = breakdown.sites.iter().map(|site| site.part).sum();
        let bins: f64 = breakdown.bins.iter().map(|bin| bin.part).sum();
        assert!(whole > 0.02, "{whole}");
        assert!((sites / whole - 1.0).abs() < 0.01, "{sites} of {whole}");
        assert!((bins / whole - 1.0).abs() < 0.01, "{bins} of {whole}");
        assert_eq!(breakdown.sites.len(), 3);
        let shares: f64 = breakdown.sites.iter().map(|site| site.share).sum();
        assert!((shares - 1.0).abs() < 1e-9);
    }
}

#[test]
fn sites_of_few_devices_are_told_together_with_others() {
    let mut fleet = Fleet::new(5, &[("bern", 0.6, 0.0), ("oslo", 0.4, 1.0)]);
    let reference = reference_of(&mut fleet);
    let mut parts = Parts::new();
    (0..60).for_each(|n| drop(fleet.minute(REFERENCE + n, &mut parts)));
    parts.retain(|(site, device), _| *site == "bern" || *device < 2);
    let whole = as_parts(&parts, 0);
    let told = Breakdown::of(&reference, &whole, window()).unwrap();
    let names: Vec<&str> = told.sites.iter().map(|site| site.site.as_str()).collect();
    assert_eq!(
        names,
        ["*"],
        "oslo has two devices, and bern would tell of them"
    );
    let all = Window {
        min_devices: 1,
        ..window()
    };
    assert_eq!(
        Breakdown::of(&reference, &whole, all).unwrap().sites.len(),
        2
    );
}

#[test]
fn the_same_devices_in_any_order_give_the_same_bits() {
    let mut fleet = Fleet::new(6, &[("bern", 0.5, 0.0), ("oslo", 0.5, 1.0)]);
    fleet.spread = 0.3;
    let reference = reference_of(&mut fleet);
    fleet.sites = vec![("bern", 0.5, 1.0), ("oslo", 0.5, 2.0)];
    let mut parts = Parts::new();
    (0..60).for_each(|n| drop(fleet.minute(REFERENCE + n, &mut parts)));
    let forward = as_parts(&parts, 0);
    let backward: Vec<Part> = forward.iter().rev().cloned().collect();
    let apart = |parts: &[Part]| Breakdown::of(&reference, parts, window()).unwrap();
    let json = |breakdown: &Breakdown| serde_json::to_string(breakdown).unwrap();
    let first = apart(&forward);
    assert_eq!(json(&first), json(&apart(&backward)));
    assert_eq!(json(&first), json(&apart(&forward)), "on repeat");
    let (low, high) = first.interval.unwrap();
    let bits = [low, high, first.psi_debiased.unwrap()].map(f64::to_bits);
    assert_eq!(bits, GOLDEN, "intervals changed");
    let few = apart(&forward[..4]);
    assert_eq!((few.interval, few.resamples), (None, 0), "four devices");
}

const GOLDEN: [u64; 3] = [
    4603171122922452740,
    4607010663764579475,
    4604876176583822227,
];

#[test]
fn intervals_hold_what_the_devices_would_show_in_the_long_run() {
    let trials = 200;
    for world in [0, 1, 4] {
        let world = &fleet::WORLDS[world];
        let Coverage { held, below, above } = world.coverage(trials).unwrap();
        let told = format!(
            "{}: {held} of {trials}, {below} below, {above} above",
            world.name
        );
        eprintln!("{told}");
        let share = held as f64 / trials as f64;
        assert!((0.93..=0.97).contains(&share), "{told}");
    }
}
