//! Terms, counting, releasing: what a day may tell, whatever an application and a clock do.

use proptest::prelude::*;

use super::{
    sampler::{
        Bits,
        tests::{Seeded, vectors},
    },
    *,
};
use crate::{
    meter::{Record, Signal},
    words::FinishReason,
};

const HOUR: u64 = 3_600 * 1_000_000_000;

fn wish(epsilon: f64, inferences: u32) -> Wish {
    Wish {
        epsilon_per_day: epsilon,
        inferences_per_day: inferences,
        metrics: DEFAULT_METRICS.map(str::to_owned).to_vec(),
    }
}

fn terms(epsilon: f64, inferences: u32) -> Terms {
    wish(epsilon, inferences).terms(&[]).unwrap()
}

fn inference(surprisal: f64) -> Record {
    let mut record = Record::new(FinishReason::Stop);
    record.set(Signal::OutputSurprisal, Some(surprisal));
    record.set(Signal::Duration, Some(1.5));
    record
}

/// Bits by which every draw is zero.
struct Quiet(usize);

impl Bits for Quiet {
    fn word(&mut self) -> Option<u64> {
        // A low part of 0 that passes, a high part that ends in the second round, a plus.
        self.0 += 1;
        Some([0, 0, 0, 1, 0][(self.0 - 1) % 5])
    }
}

#[test]
fn epsilon_is_shared_as_the_accounting_says() {
    for case in vectors()["accounting"].as_array().unwrap() {
        let cell = case["eps0"].as_f64().unwrap();
        let metrics = case["metrics"].as_u64().unwrap() as usize;
        let events = case["events_per_device_day"].as_u64().unwrap() as u32;
        let all: Vec<String> = SIGNALS[..metrics].iter().map(|s| (*s).to_owned()).collect();
        let wish = Wish {
            epsilon_per_day: case["eps_device_day_group"].as_f64().unwrap(),
            inferences_per_day: events,
            metrics: all,
        };
        let terms = wish.terms(&[]).unwrap();
        let close = |found: u64, key: &str| {
            let wanted = case[key].as_f64().unwrap();
            assert!(
                (epsilon(found) / wanted - 1.0).abs() < 1e-4,
                "{key} {found}"
            );
        };
        close(terms.cell_millionths.into(), "eps0");
        assert!(epsilon(terms.cell_millionths.into()) <= cell + 1e-12);
        close(terms.inference_millionths(), "eps_event");
        close(terms.day_millionths(), "eps_device_day_group");
    }
}

#[test]
fn what_cannot_be_kept_is_refused_with_its_reason() {
    let refused = |wish: Wish| wish.terms(&[]).unwrap_err().1;
    for epsilon in [0.0, -1.0, f64::NAN, 1e-9] {
        assert!(refused(wish(epsilon, 10)).contains("at least a millionth"));
    }
    assert!(refused(wish(1.0, 0)).contains("millionth"));
    assert!(refused(wish(1e9, 10)).contains("no noise"));
    for name in [names::INPUT_SCRIPT, names::MODEL_LOAD_DURATION, "canary"] {
        let mut wish = wish(10.0, 10);
        wish.metrics.push(name.to_owned());
        assert!(refused(wish).contains("noise is for"), "{name}");
    }
    let mut nothing = wish(1.0, 1);
    nothing.metrics.clear();
    assert!(refused(nothing).contains("millionth"));
}

#[test]
fn labels_are_cells_and_each_metric_counts_once() {
    let mut wish = wish(10.0, 10);
    wish.metrics = vec![names::OUTPUT_LABEL.to_owned(); 3];
    let terms = wish.terms(&["close".into(), "open".into()]).unwrap();
    assert_eq!(terms.metrics.len(), 1);
    assert_eq!(terms.metrics[0].cells, ["close", "open", "other"]);
}

proptest! {
    #[test]
    fn no_terms_promise_more_than_was_asked(
        epsilon in 0.001f64..1_000.0,
        inferences in 1u32..100_000,
    ) {
        if let Ok(terms) = wish(epsilon, inferences).terms(&[]) {
            prop_assert!(super::epsilon(terms.day_millionths()) <= epsilon);
        }
    }
}

#[test]
fn no_more_inferences_count_than_are_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let register = Register::new(terms(60.0, 5));
    let mut releases = Releases::open(folder.path(), &register, HOUR);
    (0..9).for_each(|_| register.record(0, &inference(1.0)));
    let release = releases.release(2 * HOUR, &register, 1, &mut Quiet(0));
    let exact = release.unwrap().tables.remove(0);
    // Of nine inferences five: one cell each of duration, surprisal and finish.
    let totals: Vec<i64> = exact.iter().map(|cells| cells.iter().sum()).collect();
    assert_eq!(totals, [5, 0, 5, 0, 0, 5]);
    assert_eq!(exact[2].iter().filter(|count| **count > 0).count(), 1);
    // The day is spent: nothing of what follows counts, before a restart and after.
    register.record(0, &inference(1.0));
    let counted = |releases: &mut Releases, hour, register: &Register| {
        let release = releases.release(hour * HOUR, register, 1, &mut Quiet(0));
        let tables = release.unwrap().tables;
        tables.iter().flatten().flatten().sum::<i64>()
    };
    assert_eq!(counted(&mut releases, 3, &register), 0);
    let register = Register::new(terms(60.0, 5));
    let mut releases = Releases::open(folder.path(), &register, 4 * HOUR);
    register.record(0, &inference(1.0));
    assert_eq!(counted(&mut releases, 5, &register), 0);
    // The first release of the next day opens it.
    assert_eq!(counted(&mut releases, 24, &register), 0);
    register.record(0, &inference(1.0));
    assert_eq!(counted(&mut releases, 25, &register), 3);
}

#[test]
fn every_cell_of_every_variant_is_there_and_noised_when_nothing_happened() {
    let folder = tempfile::tempdir().unwrap();
    let register = Register::new(terms(0.6, 10));
    let mut releases = Releases::open(folder.path(), &register, HOUR);
    let release = releases.release(2 * HOUR, &register, 3, &mut Seeded(1));
    let release = release.unwrap();
    assert_eq!(
        (release.start_unix_nano, release.end_unix_nano),
        (HOUR, 2 * HOUR)
    );
    assert_eq!(release.tables.len(), 3);
    for table in &release.tables {
        for (cells, metric) in table.iter().zip(&register.terms().metrics) {
            assert_eq!(cells.len(), metric.cells.len());
        }
    }
    let cells: Vec<i64> = release.tables.into_iter().flatten().flatten().collect();
    // At an epsilon of 0.01 a cell is zero once in two hundred times.
    let zero = cells.iter().filter(|count| **count == 0).count();
    assert!(zero < cells.len() / 20, "{zero} of {}", cells.len());
    assert!(cells.iter().any(|count| *count < 0));
}

#[test]
fn a_release_comes_when_the_hour_turns_or_the_line_ends() {
    let folder = tempfile::tempdir().unwrap();
    let register = Register::new(terms(60.0, 5));
    let mut releases = Releases::open(folder.path(), &register, HOUR + 5);
    let window = |end_unix_nano| crate::windows::Window {
        sequence: 1,
        start_unix_nano: 0,
        end_unix_nano,
    };
    let mut at = |end, ends| {
        let release = releases.with_window(&window(end), ends, &register, 1);
        release.map(|release| (release.start_unix_nano, release.end_unix_nano))
    };
    assert_eq!(at(HOUR + 6, false), None);
    assert_eq!(at(2 * HOUR - 1, false), None);
    assert_eq!(at(2 * HOUR + 7, false), Some((HOUR + 5, 2 * HOUR + 7)));
    assert_eq!(at(2 * HOUR + 8, false), None);
    assert_eq!(at(2 * HOUR + 9, true), Some((2 * HOUR + 7, 2 * HOUR + 9)));
}

#[test]
fn what_cannot_be_noted_as_spent_is_not_released() {
    let folder = tempfile::tempdir().unwrap();
    let register = Register::new(terms(60.0, 5));
    let missing = folder.path().join("missing");
    let mut releases = Releases::open(&missing, &register, HOUR);
    register.record(0, &inference(1.0));
    let release = releases.release(2 * HOUR, &register, 1, &mut Quiet(0));
    let cells = release.unwrap().tables.into_iter().flatten().flatten();
    assert_eq!(cells.sum::<i64>(), 0);
}

proptest! {
    // Each release waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_day_tells_of_more_inferences_than_declared(
        steps in prop::collection::vec((0u64..90, 0usize..12, any::<bool>()), 1..60),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut register = Register::new(terms(60.0, 10));
        let mut releases = Releases::open(folder.path(), &register, 0);
        let mut told = std::collections::BTreeMap::<u64, i64>::new();
        // Hours in any order: the clock jumps, also between two starts.
        for (hour, inferences, restarts) in steps {
            if restarts {
                register = Register::new(terms(60.0, 10));
                releases = Releases::open(folder.path(), &register, hour * HOUR);
            }
            (0..inferences).for_each(|_| register.record(0, &inference(1.0)));
            let release = releases.release(hour * HOUR, &register, 1, &mut Quiet(0));
            let surprisal: i64 = release.unwrap().tables[0][2].iter().sum();
            *told.entry(hour / 24).or_default() += surprisal;
            prop_assert!(told.values().all(|told| *told <= 10), "{told:?}");
        }
    }
}

#[test]
fn releases_of_a_fleet_add_up_within_the_published_bound() {
    const DEVICES: u64 = 40;
    const HOURS: u64 = 24;
    // Six metrics at one inference an hour and epsilon 0.5 a cell: a case of the vectors.
    let terms = terms(0.5 * 6.0 * 24.0, 24);
    assert_eq!(terms.cell_millionths, 500_000);
    let case = &vectors()["geometric"][1];
    let variance = case["variance"].as_f64().unwrap();
    let mut merged: Vec<i64> = Vec::new();
    for device in 0..DEVICES {
        let folder = tempfile::tempdir().unwrap();
        let register = Register::new(terms.clone());
        let mut releases = Releases::open(folder.path(), &register, 0);
        let mut bits = Seeded(device);
        for hour in 1..=HOURS {
            register.record(0, &inference(1.0));
            // The last is a new day's.
            let at = (hour * HOUR).min(24 * HOUR - 1);
            let release = releases.release(at, &register, 1, &mut bits).unwrap();
            let cells = release.tables.into_iter().flatten().flatten();
            merged.resize(terms.metrics.iter().map(|m| m.cells.len()).sum(), 0);
            merged
                .iter_mut()
                .zip(cells)
                .for_each(|(sum, cell)| *sum += cell);
        }
    }
    let releases = (DEVICES * HOURS) as f64;
    let spread = (releases * variance).sqrt();
    let full: Vec<i64> = merged.iter().copied().filter(|n| *n > 400).collect();
    // Duration, surprisal and finish: one full cell each.
    assert_eq!(full.len(), 3, "{merged:?}");
    for cell in &merged {
        let exact = if *cell > 400 { releases } else { 0.0 };
        let error = (*cell as f64 - exact).abs();
        assert!(error < 4.5 * spread, "{error} of {spread}");
    }
    // Negative sums stay: cut off at zero they would be biased.
    assert!(merged.iter().any(|cell| *cell < 0));
    let errors = merged.iter().filter(|cell| **cell <= 400);
    let squares: f64 = errors.clone().map(|cell| (*cell as f64).powi(2)).sum();
    let ratio = squares / errors.count() as f64 / (releases * variance);
    assert!((0.6..1.5).contains(&ratio), "{ratio}");
}
