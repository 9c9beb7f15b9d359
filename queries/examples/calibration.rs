//! How often the detector pages when nothing is wrong, and how soon when something is, by the
//! shipped code over simulated fleets, with common rules beside it (statistics, section d.6).
//!
//! `cargo run -p fathomline-queries --example calibration [-- RUNS [pages|delays|intervals]]`.
//! Without a number it does ten runs of everything, and fifty times as many intervals. README
//! shows what it printed.

#[path = "calibration/rules.rs"]
mod rules;
#[path = "calibration/sites.rs"]
mod sites;
#[path = "calibration/trial.rs"]
mod trial;
#[path = "calibration/world.rs"]
mod world;

use std::time::Instant;

use fathomline_queries::drift::Shortfall;
use sites::{Coverage, WORLDS};
use trial::{NullPages, delays};
use world::{Kind, Shift};

const RUNS: u64 = 10;
/// An interval is made a thousand times faster than a month.
const INTERVALS_A_RUN: u64 = 50;

/// A world without drift: its name, what it is like, records a minute.
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

/// Inferences a minute, and the hours at which things go wrong, run by run. At night there is a
/// fifth of the traffic and a change takes as much longer to be seen, so they are the hours that
/// the simulation of statistics, section d.6, drew.
const CHANGES: [(f64, [i64; 10]); 2] = [
    (60.0, [3, 19, 2, 6, 22, 15, 5, 11, 5, 5]),
    (3.0, [18, 14, 1, 11, 8, 18, 5, 10, 17, 18]),
];

#[expect(clippy::print_stdout, reason = "this is what the example is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs = match std::env::args().nth(1) {
        Some(text) => text
            .parse()
            .map_err(|_| format!("{text}: write a number of runs"))?,
        None => RUNS,
    };
    let part = std::env::args().nth(2);
    let (pages, changes, intervals): (_, &[_], _) = match part.as_deref() {
        None => (true, &CHANGES, true),
        Some("pages") => (true, &[], false),
        Some("delays") => (false, &CHANGES, false),
        Some("intervals") => (false, &[], true),
        Some(text) => {
            return Err(format!("{text}: write pages, delays or intervals, or nothing").into());
        }
    };
    let began = Instant::now();
    if pages {
        println!("Pages in 30 days without drift, mean of {runs} runs (720 at most):\n");
        let pages = NullPages::of(&QUIET, runs)?;
        pages.rows().iter().for_each(|row| println!("{row}"));
    }
    for (per_minute, hours) in changes {
        println!("\nMedian delay in hours, {per_minute} inferences a minute, {runs} runs:\n");
        let found = delays((*per_minute, *hours), &SHIFTS.map(|(_, shift)| shift), runs)?;
        let rows = found.rows(&SHIFTS.map(|(name, _)| name));
        rows.iter().for_each(|row| println!("{row}"));
    }
    if intervals {
        print_intervals(INTERVALS_A_RUN * runs)?;
    }
    println!("\n{:.0?}", began.elapsed());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is what the example is for")]
fn print_intervals(trials: u64) -> Result<(), Shortfall> {
    println!("\nIntervals that hold what such devices show in the long run, of {trials}:\n");
    println!("| world | hold | lie below | lie above |\n|---|---|---|---|");
    for world in &WORLDS {
        let Coverage { held, below, above } = world.coverage(trials)?;
        let share = |count: u64| 100.0 * count as f64 / trials as f64;
        let (held, below, above) = (share(held), share(below), share(above));
        println!(
            "| {} | {held:.1} % | {below:.1} % | {above:.1} % |",
            world.name
        );
    }
    Ok(())
}
