//! A small model with its weights in the open: damage any of them, and see what a probe says.

use std::{fs, path::Path};

use super::*;
use crate::{
    Builder, Fathomline,
    words::{FinishReason, Operation},
};

const VOCABULARY: usize = 32;
const WIDTH: usize = 8;
const TOKENS: usize = 24;

/// A shutdown is done as soon as the last window is on disk, and never takes this long.
const PLENTY: Duration = Duration::from_secs(30);

/// Embeds a token and its place, mixes once, and looks for the likeliest next token. What weights
/// there are is all in one array.
#[derive(Clone)]
struct Tiny {
    weights: Vec<f32>,
}

impl Tiny {
    fn new() -> Self {
        let count = WIDTH * (VOCABULARY + WIDTH + VOCABULARY);
        let mut state = 7u64;
        let weights = (0..count).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 24) as f32) * 2.0 - 1.0
        });
        Self {
            weights: weights.collect(),
        }
    }

    fn logits(&self, token: u32, position: usize) -> Vec<f32> {
        let (embedding, rest) = self.weights.split_at(WIDTH * VOCABULARY);
        let (mix, head) = rest.split_at(WIDTH * WIDTH);
        let row = &embedding[token as usize * WIDTH..][..WIDTH];
        let place = (position as f32 * 0.7).sin();
        let times = |matrix: &[f32], vector: &[f32]| -> Vec<f32> {
            let rows = matrix.chunks(WIDTH);
            rows.map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum())
                .collect()
        };
        let mixed: Vec<f32> = times(mix, row).iter().map(|x| (x + place).tanh()).collect();
        times(head, &mixed)
    }

    /// A greedy answer to a fixed prompt, shown to a probe.
    fn answer(&self, mut show: impl FnMut(&[f32], u32)) -> Vec<u32> {
        let mut answer = vec![3u32];
        for position in 0..TOKENS {
            let logits = self.logits(answer[position], position);
            let better = |a: usize, b: usize| if logits[b] > logits[a] { b } else { a };
            let chosen = (0..VOCABULARY).reduce(better).unwrap() as u32;
            show(&logits, chosen);
            answer.push(chosen);
        }
        answer
    }

    fn run(&self) -> Run {
        let mut running = Running::default();
        self.answer(|logits, token| running.add(logits, token));
        running.end()
    }

    fn flipped(&self, byte: usize, mask: u8) -> Self {
        let mut flipped = self.clone();
        let mut bytes = flipped.weights[byte / 4].to_le_bytes();
        bytes[byte % 4] ^= mask;
        flipped.weights[byte / 4] = f32::from_le_bytes(bytes);
        flipped
    }

    fn probe(&self, line: &Fathomline) -> Option<f64> {
        let mut probe = line.probe("capital").unwrap();
        self.answer(|logits, token| probe.observe_logits(logits, token));
        probe.finish()
    }
}

fn builder(spool: &Path) -> Builder {
    Fathomline::builder("tiny", "1")
        .spool(spool)
        .endpoint("http://127.0.0.1:1")
        .without_energy()
}

/// Everything a line has written into its folder.
fn files(folder: &Path) -> Vec<u8> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .flat_map(|file| fs::read(file.path()).unwrap())
        .collect()
}

#[test]
fn the_same_weights_are_at_distance_zero() {
    let golden = Tiny::new().run();
    let outcome = Tiny::new().run().against(&golden).unwrap();
    assert_eq!((outcome.distance, outcome.same_answer), (0.0, true));
}

/// Every byte of every weight, each bit flipped in turn. Whatever reaches a logit is seen.
#[test]
fn a_flipped_weight_byte_is_seen_whenever_a_single_logit_differs() {
    let model = Tiny::new();
    let golden = model.run();
    let rows = |model: &Tiny| {
        let mut rows: Vec<Vec<u32>> = vec![];
        model.answer(|logits, _| rows.push(logits.iter().map(|x| x.to_bits()).collect()));
        rows
    };
    let whole = rows(&model);
    let (mut seen, mut answers, mut silent) = (0, 0, 0);
    for byte in 0..model.weights.len() * 4 {
        let damaged = model.flipped(byte, 1 << (byte % 8));
        if rows(&damaged) == whole {
            silent += 1;
            continue;
        }
        let outcome = damaged.run().against(&golden).unwrap();
        assert!(outcome.distance > 0.0, "byte {byte}");
        seen += 1;
        answers += usize::from(!outcome.same_answer);
    }
    eprintln!("{seen} flips seen, {answers} by other tokens; {silent} reach no logit of the probe");
    assert!(seen > silent && answers > 0);
}

/// The same products, added in another order and with more digits, as other processors do.
#[test]
fn another_processors_rounding_is_a_millionth_away() {
    let model = Tiny::new();
    let golden = model.run();
    let (_, head) = model.weights.split_at(WIDTH * (VOCABULARY + WIDTH));
    let (embedding, rest) = model.weights.split_at(WIDTH * VOCABULARY);
    let mut running = Running::default();
    let answer = model.answer(|_, _| {});
    let pairs = answer.iter().zip(&answer[1..]).enumerate();
    for (position, (token, chosen)) in pairs {
        let times = |matrix: &[f32], vector: &[f64]| -> Vec<f64> {
            let product = |(a, b): (&f32, &f64)| f64::from(*a) * b;
            let rows = matrix.chunks(WIDTH);
            rows.map(|row| row.iter().zip(vector).rev().map(product).sum())
                .collect()
        };
        let row = &embedding[*token as usize * WIDTH..][..WIDTH];
        let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        let place = f64::from((position as f32 * 0.7).sin());
        let mixed = times(&rest[..WIDTH * WIDTH], &row);
        let mixed: Vec<f64> = mixed.iter().map(|x| (x + place).tanh()).collect();
        let logits: Vec<f32> = times(head, &mixed).iter().map(|x| *x as f32).collect();
        running.add(&logits, *chosen);
    }
    let outcome = running.end().against(&golden).unwrap();
    eprintln!("another rounding: {outcome:?}");
    assert!(outcome.same_answer);
    assert!(outcome.distance > 0.0 && outcome.distance < 1e-5);
}

#[test]
fn the_distance_is_the_change_of_the_logits_in_units_of_their_spread() {
    let row = |scale: f32| -> Vec<f32> {
        let logit = |n: u32| (n.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e6 - 8.0;
        let noise = |n: u32| (n.wrapping_mul(1_640_531_527) >> 8) as f32 / 1e6 - 8.0;
        (0..5_000).map(|n| logit(n) + scale * noise(n)).collect()
    };
    let run = |scale| {
        let mut running = Running::default();
        (0..20).for_each(|_| running.add(&row(scale), 1));
        running.end()
    };
    for scale in [0.001, 0.01, 0.1, 1.0] {
        let outcome = run(scale).against(&run(0.0)).unwrap();
        let ratio = outcome.distance / f64::from(scale);
        assert!((0.4..2.5).contains(&ratio), "{scale}: {outcome:?}");
        assert!(outcome.same_answer);
    }
}

#[test]
fn the_first_run_freezes_and_a_restart_remembers() {
    let spool = tempfile::tempdir().unwrap();
    let line = builder(spool.path()).start().unwrap();
    let model = Tiny::new();
    assert_eq!(model.probe(&line), None);
    assert_eq!(model.probe(&line), Some(0.0));
    assert_eq!(line.shutdown(PLENTY).probes_mismatched, 0);

    let line = builder(spool.path()).start().unwrap();
    assert_eq!(model.probe(&line), Some(0.0));
    let damaged = model.flipped(WIDTH * VOCABULARY * 4 + 3, 0x40);
    assert!(damaged.probe(&line).unwrap() > 0.1);
    assert_eq!(line.health().probes_mismatched, 1);
    // Another model has another golden.
    line.switch_model(Model::new("tiny", "2")).unwrap();
    assert_eq!(damaged.probe(&line), None);
    assert_eq!(damaged.probe(&line), Some(0.0));
}

#[test]
fn a_shipped_golden_catches_the_one_device_that_was_damaged_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("golden.json");
    let trusted = builder(&folder.path().join("trusted")).start().unwrap();
    let model = Tiny::new();
    model.probe(&trusted);
    fs::write(&path, trusted.goldens()).unwrap();

    let damaged = model.flipped(WIDTH * VOCABULARY * 4 + 2, 0x40);
    for (name, model, is_whole) in [("whole", model, true), ("damaged", damaged, false)] {
        // The damaged file has another digest, so the device runs another variant.
        let line = builder(&folder.path().join(name)).weights_digest(name);
        let line = line.golden(&path).unwrap().start().unwrap();
        let distance = model.probe(&line).unwrap();
        eprintln!("{name}: distance {distance}");
        assert_eq!(distance == 0.0, is_whole, "{name}");
    }
}

#[test]
fn neither_prompt_nor_answer_is_kept_and_no_inference_is_counted() {
    let spool = tempfile::tempdir().unwrap();
    let line = builder(spool.path()).start().unwrap();
    let model = Tiny::new();
    model.probe(&line);
    model.probe(&line);
    let sketches = line.shared.meter.take();
    let sketch = &sketches[&line.shared.meter.series(None)];
    assert_eq!(sketches.len(), 1, "no operation has a series");
    assert_eq!(sketch.signals[Signal::ProbeDistance as usize].count, 1);
    assert_eq!(sketch.signals[Signal::Duration as usize].count, 0);
    assert_eq!(sketch.finish, [0; FinishReason::ALL.len()]);
    let (goldens, answer) = (line.goldens(), model.answer(|_, _| {}));
    line.shutdown(PLENTY);
    let kept = files(spool.path());
    assert!(kept.windows(6).any(|window| window == b"\"tiny\""), "found");
    // Neither as numbers in a row nor as text.
    let numbers: Vec<u8> = answer[1..5].iter().flat_map(|t| t.to_le_bytes()).collect();
    assert!(!kept.windows(16).any(|window| window == &numbers[..]));
    let text = answer[1..5]
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(",");
    assert!(!goldens.contains(&text) && !String::from_utf8_lossy(&kept).contains(&text));
}

#[test]
fn nonsense_freezes_no_golden_and_is_far_from_one() {
    let spool = tempfile::tempdir().unwrap();
    let line = builder(spool.path()).start().unwrap();
    let nonsense = || {
        let mut probe = line.probe("capital").unwrap();
        probe.observe_logits(&[f32::NAN; VOCABULARY], 0);
        probe.finish()
    };
    assert_eq!(nonsense(), None);
    assert_eq!(nonsense(), None, "not frozen");
    assert_eq!(line.probe("capital").unwrap().finish(), None);
    assert_eq!(Tiny::new().probe(&line), None, "this one is frozen");
    assert!(nonsense().unwrap() > 0.1);
    assert_eq!(line.health().probes_mismatched, 1);
    assert_eq!(Tiny::new().probe(&line), Some(0.0));
}

#[test]
fn names_and_numbers_of_probes_are_bounded() {
    let spool = tempfile::tempdir().unwrap();
    let line = builder(spool.path()).start().unwrap();
    for name in ["", "What is the capital?", &"x".repeat(33)] {
        let error = line.probe(name).unwrap_err().to_string();
        assert!(error.starts_with("cannot declare probe"), "{error}");
        assert!(!line.probe_due(name));
    }
    for version in 0..10 {
        let model = Model::new("tiny", version.to_string());
        line.switch_model(model).unwrap();
        for number in 0..40 {
            let mut probe = line.probe(&format!("p{number}")).unwrap();
            probe.observe_logits(&[1.0, 2.0], 1);
            assert_eq!(probe.finish(), None);
        }
    }
    let kept = line.shared.probes.lock();
    assert_eq!(kept.goldens.len(), VARIANTS_KEPT);
    assert!(kept.goldens.iter().all(|g| g.probes.len() == PROBES_MAX));
}

#[test]
fn damaged_goldens_are_frozen_again() {
    let spool = tempfile::tempdir().unwrap();
    let model = Tiny::new();
    let line = builder(spool.path()).start().unwrap();
    model.probe(&line);
    line.shutdown(PLENTY);
    let path = spool.path().join("probes");
    let kept = fs::read(&path).unwrap();
    fs::write(&path, &kept[..kept.len() - 1]).unwrap();
    let line = builder(spool.path()).start().unwrap();
    assert_eq!(model.probe(&line), None);
    assert_eq!(model.probe(&line), Some(0.0));
}

#[test]
fn a_line_that_was_just_started_or_just_used_asks_for_no_probe() {
    let spool = tempfile::tempdir().unwrap();
    let line = builder(spool.path()).start().unwrap();
    assert!(!line.probe_due("capital"));
    drop(line.operation(Operation::Chat));
    assert!(!line.probe_due("capital"));
    assert_eq!(line.shared.meter.activity(), (1, 1));
}
