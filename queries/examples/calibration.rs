//! How often the detector pages when nothing is wrong, and how soon when something is, by the
//! shipped code over simulated fleets, with common rules beside it (statistics, section d.6).
//!
//! `cargo run -p fathomline-queries --example calibration [-- RUNS]`. Without a number it does ten
//! runs of everything. README shows what it printed.

#[path = "calibration/rules.rs"]
mod rules;
#[path = "calibration/trial.rs"]
mod trial;
#[path = "calibration/world.rs"]
mod world;

use std::time::Instant;

use rules::RULES;
use trial::{Delays, NullPages, delays, null};
use world::{Kind, Shift};

const RUNS: u64 = 10;

/// A world without drift: its name, what it is like, records a minute, season of its reference.
const QUIET: [(&str, Kind, f64); 10] = [
    ("independent", Kind::Independent, 60.0),
    ("daily cycle", Kind::Diurnal, 60.0),
    ("real", Kind::Real, 60.0),
    ("real, 3 a minute", Kind::Real, 3.0),
    ("harsh", Kind::Harsh, 60.0),
    ("10 devices, correlation 0.3", Kind::Clustered(10), 60.0),
    ("50 devices, correlation 0.3", Kind::Clustered(50), 60.0),
    ("two classes as one, mix 50 to 70 %", Kind::Mixed, 60.0),
    ("a class that grows", Kind::Class(true), 60.0),
    ("a class that shrinks", Kind::Class(false), 60.0),
];

const SHIFTS: [(&str, Shift); 11] = [
    ("mean .1", Shift::Mean(0.1)),
    ("mean .25", Shift::Mean(0.25)),
    ("mean .5", Shift::Mean(0.5)),
    ("mean 1", Shift::Mean(1.0)),
    ("sd x1.25", Shift::Spread(1.25)),
    ("sd x1.5", Shift::Spread(1.5)),
    ("skew 1", Shift::Skew),
    ("2 % at +3", Shift::Part(0.02)),
    ("5 % at +3", Shift::Part(0.05)),
    ("20 % at +3", Shift::Part(0.2)),
    ("ramp .5 in 3 d", Shift::Ramp(0.5)),
];

#[expect(clippy::print_stdout, reason = "this is what the example is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs = match std::env::args().nth(1) {
        Some(text) => text
            .parse()
            .map_err(|_| format!("{text}: write a number of runs"))?,
        None => RUNS,
    };
    let began = Instant::now();
    println!("Pages in 30 days without drift, mean of {runs} runs (720 at most):\n");
    println!("{}", NullPages::header());
    for (name, kind, per_minute) in QUIET {
        let pages = null(kind, per_minute, runs)?;
        println!("{}", pages.row(name));
    }
    for per_minute in [60.0, 3.0] {
        println!("\nMedian delay in hours, {per_minute} inferences a minute, {runs} runs:\n");
        println!("{}", Delays::header(&SHIFTS.map(|(name, _)| name)));
        let found = delays(per_minute, &SHIFTS.map(|(_, shift)| shift), runs)?;
        found.rows().iter().for_each(|row| println!("{row}"));
    }
    println!("\n{} rules beside it, {:.0?}", RULES.len(), began.elapsed());
    Ok(())
}
