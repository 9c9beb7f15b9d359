//! The detector in worlds where nothing is wrong and in worlds where something is; what it costs,
//! and what survives a restart. Every world is seeded.

#[path = "worlds.rs"]
mod worlds;

use proptest::prelude::*;

use super::*;
use worlds::{Device, World, Wrong};

const IID: World = World {
    per_day: 200,
    session: 1,
    daily: 0.0,
    weekend: 0.0,
    seed: 0,
};

const SESSIONS: World = World { session: 5, ..IID };

const DAILY: World = World {
    session: 5,
    daily: 0.25,
    ..IID
};

/// Alarms by signal of so many devices, each in a month after its reference is complete.
fn alarms_of_months(world: World, months: u64, tuning: Tuning) -> [u32; WATCHED.len()] {
    let mut alarms = [0; WATCHED.len()];
    for seed in 1..=months {
        let mut device = Device::new(World { seed, ..world }, tuning);
        device.learn();
        let end = device.days() + MONTH_DAYS;
        while device.days() < end {
            let raised = device.infer(Wrong::Nothing);
            raised.iter().for_each(|signal| alarms[signal] += 1);
        }
    }
    alarms
}

/// Inferences from the change to the first alarm of a device, half of the devices being quicker.
fn median_delay(world: World, wrong: Wrong) -> u64 {
    let delay = |seed| {
        let mut device = Device::new(World { seed, ..world }, Tuning::default());
        device.learn();
        (1..50_000).find(|_| device.infer(wrong) != Alarms::default())
    };
    let mut delays: Vec<u64> = (100..115)
        .map(|seed| delay(seed).unwrap_or(u64::MAX))
        .collect();
    delays.sort_unstable();
    delays[delays.len() / 2]
}

/// More inferences a day than the reference has, and a cycle that is easily felt.
const BUSY: World = World {
    per_day: 3_000,
    session: 5,
    daily: 0.4,
    weekend: 0.0,
    seed: 0,
};

#[test]
fn where_nothing_is_wrong_alarms_keep_to_their_budget() {
    for (name, world, months, false_alarms) in [
        ("iid", IID, 100, 1.0),
        ("sessions", SESSIONS, 100, 1.0),
        ("sessions", SESSIONS, 50, 0.1),
        ("daily", DAILY, 100, 1.0),
        ("daily", DAILY, 50, 0.1),
        ("busy", BUSY, 8, 1.0),
    ] {
        let tuning = Tuning {
            false_alarms,
            ..Tuning::default()
        };
        let alarms = alarms_of_months(world, months, tuning);
        let sum: u32 = alarms.iter().sum();
        eprintln!("{name}: {sum} false alarms in {months} device-months at {false_alarms} each");
        eprintln!("  by signal: {alarms:?}");
        assert!(f64::from(sum) <= false_alarms * months as f64, "{name}");
    }
}

/// Why a reference takes a week: one of a day knows no weekend.
#[test]
fn a_reference_of_a_week_has_seen_a_weekend() {
    let world = World {
        per_day: 1_000,
        weekend: 0.5,
        ..SESSIONS
    };
    let day = Tuning {
        days: 1.0,
        ..Tuning::default()
    };
    let of_a_week = alarms_of_months(world, 10, Tuning::default());
    let of_a_day = alarms_of_months(world, 10, day);
    eprintln!("in 10 device-months, reference of a day: {of_a_day:?}, of a week: {of_a_week:?}");
    assert!(of_a_week.iter().sum::<u32>() <= 10);
    assert!(of_a_day.iter().sum::<u32>() > 10);
}

/// Why the reference measures noise: without it the same months are full of alarms, so the test
/// above can fail.
#[test]
fn taking_dependent_inferences_for_independent_ones_breaks_the_budget() {
    let mut alarms = 0;
    for seed in 1..=10 {
        let mut device = Device::new(World { seed, ..SESSIONS }, Tuning::default());
        device.learn();
        for watch in &mut device.detector.watches {
            if let watch::Stage::Guard(guard) = &mut watch.stage {
                guard.weight = watch::BATCH as f32;
                guard.tolerances = [0.0; watch::STREAMS];
            }
        }
        let end = device.days() + MONTH_DAYS;
        while device.days() < end {
            alarms += device.infer(Wrong::Nothing).iter().count();
        }
    }
    eprintln!("without a noise model: {alarms} false alarms in 10 device-months of 1");
    assert!(alarms > 10);
}

#[test]
fn where_something_is_wrong_an_alarm_comes_within_days() {
    for (wrong, most) in [
        (Wrong::Mean(1.0), 400),
        (Wrong::Mean(0.5), 2_000),
        (Wrong::Spread(1.5), 2_000),
        (Wrong::Tail(0.2), 1_000),
    ] {
        for (name, world) in [("iid", IID), ("sessions", SESSIONS), ("daily", DAILY)] {
            let delay = median_delay(world, wrong);
            eprintln!("{wrong:?}, {name}: alarm after {delay} inferences (median of 15 devices)");
            assert!(delay <= most, "{wrong:?} in {world:?}");
        }
    }
}

#[test]
fn all_signals_together_take_four_kibibytes_at_most_in_every_stage() {
    let mut device = Device::new(SESSIONS, Tuning::default());
    let mut largest = 0;
    while device.detector.watching() < WATCHED.len() {
        device.infer(Wrong::Nothing);
        largest = largest.max(device.detector.encode().len());
    }
    largest = largest.max(device.detector.encode().len());
    let memory = size_of::<Detector>();
    eprintln!("{memory} bytes in memory, {largest} at most in the file");
    assert!(largest <= STATE_BYTES_MAX && memory <= STATE_BYTES_MAX);
}

#[test]
fn a_restart_at_any_time_leaves_the_same_bits() {
    let mut through = Device::new(SESSIONS, Tuning::default());
    let mut restarted = Device::new(SESSIONS, Tuning::default());
    let mut alarms = (vec![], vec![]);
    for inference in 0..12_000 {
        let wrong = if inference < 10_000 {
            Wrong::Nothing
        } else {
            Wrong::Mean(1.0)
        };
        alarms.0.push(through.infer(wrong));
        alarms.1.push(restarted.infer(wrong));
        if inference % 97 == 0 {
            let kept = restarted.detector.encode();
            restarted.detector = Detector::decode(&kept, Tuning::default()).unwrap();
            assert_eq!(kept, through.detector.encode());
        }
    }
    assert_eq!(through.detector.encode(), restarted.detector.encode());
    assert_eq!(alarms.0, alarms.1);
    assert!(alarms.0.iter().any(|alarms| *alarms != Alarms::default()));
}

#[test]
fn another_model_is_learned_again_and_never_an_alarm() {
    let mut device = Device::new(IID, Tuning::default());
    device.learn();
    let now = 30_000.0;
    for inference in 0..5_000 {
        let reading = device.reading(Wrong::Mean(5.0));
        let alarms = device.detector.fold(8, now, &reading);
        assert_eq!(alarms, Alarms::default(), "inference {inference}");
    }
    assert_eq!(device.detector.model, 8);
    assert_eq!(
        device.detector.watching(),
        0,
        "no day has passed for a reference"
    );
}

#[test]
fn an_application_that_takes_turns_is_watched_on_its_first_model() {
    let mut device = Device::new(IID, Tuning::default());
    device.learn();
    for _ in 0..2_000 {
        assert_eq!(device.infer(Wrong::Nothing), Alarms::default());
        let other = device.reading(Wrong::Mean(5.0));
        let now = 20_000.0 + device.days();
        assert_eq!(device.detector.fold(8, now, &other), Alarms::default());
    }
    let first = (0..2_000).find(|_| device.infer(Wrong::Mean(1.0)) != Alarms::default());
    assert!(first.is_some());
}

#[test]
fn a_shift_that_stays_alarms_again_but_not_within_the_hour() {
    let mut device = Device::new(IID, Tuning::default());
    device.learn();
    let mut last = [f64::NEG_INFINITY; WATCHED.len()];
    let mut alarms = 0;
    for _ in 0..6_000 {
        let now = device.detector.elapsed_days;
        for signal in device.infer(Wrong::Mean(1.0)).iter() {
            assert!(now - last[signal] >= QUIET_DAYS - 0.01);
            last[signal] = now;
            alarms += 1;
        }
    }
    assert!(alarms > WATCHED.len(), "{alarms}");
}

#[test]
fn a_clock_that_jumps_makes_neither_alarms_nor_references() {
    let mut device = Device::new(IID, Tuning::default());
    for jump in [20_000.0, 0.0, f64::NAN, f64::INFINITY, -1e300, 25_000.0] {
        let reading = device.reading(Wrong::Nothing);
        device.detector.fold(7, jump, &reading);
    }
    assert!(device.detector.elapsed_days <= 3.0 * STEP_DAYS_MAX);
    device.learn();
}

#[test]
fn a_reference_of_another_size_is_learned_again_and_another_budget_applies_at_once() {
    let mut device = Device::new(IID, Tuning::default());
    device.learn();
    let kept = device.detector.encode();
    let larger = Tuning {
        inferences: 4_096,
        ..Tuning::default()
    };
    assert!(Detector::decode(&kept, larger).is_none());
    let stricter = Tuning {
        false_alarms: 0.01,
        ..Tuning::default()
    };
    let strict = Detector::decode(&kept, stricter).unwrap();
    assert_eq!(strict.watching(), WATCHED.len());
    assert!(strict.level() > 50.0 * device.detector.level());
}

proptest! {
    #[test]
    fn damage_is_never_taken_for_a_state(place in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut kept = Detector::new(Tuning::default()).encode();
        let place = place.index(kept.len());
        prop_assert!(Detector::decode(&kept[..place], Tuning::default()).is_none());
        kept[place] ^= 1 << bit;
        prop_assert!(Detector::decode(&kept, Tuning::default()).is_none());
    }

    #[test]
    fn no_reading_panics_or_leaves_a_state_that_cannot_be_kept(
        values in prop::collection::vec(any::<f32>(), 0..2_000),
        days in prop::collection::vec(any::<f64>(), 1..20),
    ) {
        let tuning = Tuning { inferences: 100, days: 0.0, ..Tuning::default() };
        let mut detector = Detector::new(tuning);
        for (index, value) in values.iter().enumerate() {
            let now = days[index % days.len()];
            let _ = detector.fold(1 + u64::from(index % 500 > 400), now, &[*value; WATCHED.len()]);
        }
        let kept = detector.encode();
        let back = Detector::decode(&kept, tuning).map(|back| back.encode());
        prop_assert_eq!(back, Some(kept));
    }
}
