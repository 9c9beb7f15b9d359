//! What one token costs: the statistics of a row of logits against a plain loop over the same row,
//! in one run, as a ratio. Run it with
//! `cargo bench -p fathomline-edge --no-default-features --bench logits`.
//! Last figures, two shared cores of an x86-64 server with AVX2 and FMA, 2026-11-24: 1.0 times at
//! 256 logits (worked on in 64 bits), 15.0 at 32,000 (11.5 us), 15.2 at 152,000 (53.9 us).
//! With five times as much work as cores beside it: 1.0, 15.1 (14.2 us), 15.3 (66.3 us).

use std::{hint::black_box, time::Instant};

use fathomline_edge::LogitStats;

/// Measurements of one row, of which the fastest counts: short ones and many, so that some fall
/// between what else the machine does, whichever side is slower.
const TRIES: usize = 600;

/// Entropy and the rest as anyone would write them first: 64-bit exponentials, one after another.
fn plain(logits: &[f32]) -> (f64, f64, f64) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut total, mut weighted, mut second) = (0.0, 0.0, f32::NEG_INFINITY);
    for logit in logits {
        let below = f64::from(logit - largest);
        let share = below.exp();
        total += share;
        weighted += below * share;
        if *logit < largest && *logit > second {
            second = *logit;
        }
    }
    let margin = (1.0 - f64::from(second - largest).exp()) / total;
    (total.ln() - weighted / total, 1.0 - 1.0 / total, margin)
}

/// Seconds a row, the fastest of several tries.
fn seconds(mut work: impl FnMut()) -> f64 {
    let tries = (0..TRIES).map(|_| {
        let began = Instant::now();
        work();
        began.elapsed().as_secs_f64()
    });
    tries.fold(f64::INFINITY, f64::min)
}

#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
fn main() {
    println!("vocabulary  plain loop  statistics  ratio  entropy differs by");
    for vocabulary in [256, 32_000, 152_000] {
        let logit = |n: usize| ((n * 2_654_435_761) % 10_007) as f32 / 500.0;
        let logits: Vec<f32> = (0..vocabulary).map(logit).collect();
        let entropy = LogitStats::of(&logits).map_or(f64::NAN, |stats| stats.entropy);
        let difference = (entropy - plain(&logits).0).abs();
        let theirs = seconds(|| {
            black_box(plain(black_box(&logits)));
        });
        let ours = seconds(|| {
            black_box(LogitStats::of(black_box(&logits)));
        });
        println!(
            "{vocabulary:>10}  {:>7.1} us  {:>7.1} us  {:>5.1}  {difference:.1e} nat",
            theirs * 1e6,
            ours * 1e6,
            theirs / ours
        );
    }
}
