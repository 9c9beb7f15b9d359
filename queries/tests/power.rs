//! What `fathomline power` promises, held against simulation: a change as large as it says is seen
//! in time by half of all detectors, a tenth larger by more, a tenth smaller by fewer.
#![allow(clippy::unwrap_used)]

#[path = "../examples/calibration/world.rs"]
#[expect(dead_code, reason = "the report uses more of it")]
mod world;

use fathomline_queries::drift::{Detector, Direction, Policy, Power, Reference};
use world::{DAY, HOUR, Kind, MINUTE_US, Shift, World, key};

/// Share of detectors that page in time after all values moved by so many deviations.
fn seen(world: &World, reference: &Reference, size: f64, minutes: i64, runs: u64) -> f64 {
    let began = 3 * DAY;
    let paged = (0..runs).filter(|run| {
        let mut world = world.again(1_000 + run);
        world.shift = Some((began, Shift::Mean(size)));
        let mut detector = Detector::new(reference, &Policy::default());
        (0..minutes).any(|_| detector.fold(reference, &world.lane()).page)
    });
    paged.count() as f64 / runs as f64
}

#[test]
fn half_of_all_detectors_see_in_time_what_power_says() {
    for (kind, per_minute, hours, runs) in [
        (Kind::Independent, 20.0, 1, 60),
        (Kind::Independent, 3.0, 24, 30),
        (Kind::Clustered(30), 20.0, 24, 30),
    ] {
        let mut world = World::new(kind, per_minute, 11);
        let reference =
            Reference::freeze(key(), &world.lanes(3 * DAY), &Policy::default()).unwrap();
        let policy = Policy::default();
        let power = Power::of(&reference, &policy, per_minute);
        let minutes = hours * HOUR;
        let found = power
            .detectable(minutes * MINUTE_US, Direction::More)
            .unwrap();
        let at = |factor: f64| seen(&world, &reference, factor * found.deviations, minutes, runs);
        let shares = [0.8, 0.9, 1.0, 1.1, 1.2].map(at);
        eprintln!(
            "{kind:?} {per_minute} {hours} h: {:.3} sd, {shares:?}",
            found.deviations
        );
        assert!(shares[0] < 0.5 && shares[4] > 0.5, "{kind:?}: {shares:?}");
    }
}
