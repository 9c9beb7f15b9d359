//! How often the gate is wrong, and how soon it is right, by the shipped code over simulated
//! rollouts, with a test that is looked at every hour beside it (statistics, section e).
//!
//! `cargo run -p fathomline-queries --example gate [-- RUNS]`. Without a number it does 300 runs of
//! each world. `docs/gate.md` shows what it printed.

#[path = "gate/world.rs"]
mod world;

use std::time::Instant;

use fathomline_queries::gate::{Decision, decide};
use world::{STARTED_US, Trial, settings};

const RUNS: u64 = 300;

/// Share of the event with the baseline, and how many times as frequent it is with the candidate.
const WORLDS: [(f64, f64); 12] = [
    (0.05, 1.0),
    (0.05, 1.1),
    (0.05, 1.2),
    (0.05, 1.35),
    (0.05, 1.5),
    (0.05, 2.0),
    (0.01, 1.0),
    (0.01, 1.1),
    (0.01, 1.2),
    (0.01, 1.35),
    (0.01, 1.5),
    (0.01, 2.0),
];

#[derive(Default)]
struct Found {
    rollback_hours: Vec<f64>,
    promote_hours: Vec<f64>,
    refused: u32,
    taken_back: u32,
    naive: u32,
    design_effect: f64,
}

#[expect(clippy::print_stdout, reason = "this is what the example is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs = match std::env::args().nth(1) {
        Some(text) => text
            .parse()
            .map_err(|_| format!("{text}: write a number of runs"))?,
        None => RUNS,
    };
    let began = Instant::now();
    println!(
        "| share, true ratio | rollback (median h) | promote (median h) | later taken back | hold | \
         not comparable | design effect | hourly z-test rolls back |\n|---|---|---|---|---|---|---|---|"
    );
    for (at, (share, ratio)) in WORLDS.into_iter().enumerate() {
        let found = Found::of(
            share,
            ratio,
            at as u64 * 100_000..at as u64 * 100_000 + runs,
        );
        println!("{}", found.row((share, ratio), runs));
    }
    println!("\n{runs} runs each, {:.0?}", began.elapsed());
    Ok(())
}

impl Found {
    fn of(share: f64, ratio: f64, seeds: std::ops::Range<u64>) -> Self {
        let mut found = Self::default();
        let settings = settings();
        for seed in seeds {
            let trial = Trial::new(share, ratio, seed);
            let answer = decide(&trial.rollout, &settings, i64::MAX);
            // What came first: a pipeline acts on it. The gate itself takes a promotion back.
            let hours = |us: i64| (us - STARTED_US) as f64 / 3_600e6;
            match (answer.decision, answer.promoted_us) {
                (_, Some(us)) if answer.decided_us >= Some(us) => {
                    found.promote_hours.push(hours(us));
                    found.taken_back += u32::from(answer.decision == Decision::Rollback);
                }
                (Decision::Rollback, _) => {
                    found.rollback_hours.extend(answer.decided_us.map(hours))
                }
                _ => {}
            }
            let class = &answer.classes[0];
            let comparable = class.comparable.is_some_and(|found| found.comparable);
            found.refused += u32::from(!comparable);
            found.naive += u32::from(trial.naive_rollback());
            let effect = class.signals.first().map(|signal| signal.design_effect);
            found.design_effect += effect.unwrap_or(0.0);
        }
        found
    }

    fn row(&self, (share, ratio): (f64, f64), runs: u64) -> String {
        let part = |count: usize| count as f64 / runs as f64;
        let median = |hours: &[f64]| {
            let mut hours = hours.to_vec();
            hours.sort_by(f64::total_cmp);
            let middle = hours.get(hours.len() / 2);
            middle.map_or_else(String::new, |hours| format!(" ({hours:.1})"))
        };
        let (back, on) = (self.rollback_hours.len(), self.promote_hours.len());
        let judged = runs.saturating_sub(self.refused.into()).max(1);
        format!(
            "| {:.0} %, {ratio} | {:.3}{} | {:.3}{} | {:.3} | {:.3} | {:.3} | {:.2} | {:.2} |",
            100.0 * share,
            part(back),
            median(&self.rollback_hours),
            part(on),
            median(&self.promote_hours),
            part(self.taken_back as usize),
            1.0 - part(back) - part(on),
            part(self.refused as usize),
            self.design_effect / judged as f64,
            part(self.naive as usize),
        )
    }
}
