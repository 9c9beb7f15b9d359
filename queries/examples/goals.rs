//! The goals for queries and drift: merging points (G4), judging a month of devices (G5) and raw
//! values (G6), beside DuckDB, ClickHouse and evidently over the same files in the same run.
//!
//! ```sh
//! python3 -m venv peers && peers/bin/pip install --requirement tests/load/requirements.txt
//! cargo run --release -p fathomline-queries --example goals -- FOLDER 0.1 peers/bin/python
//! ```
//!
//! In: a folder for the data, a share of the goals' size (20 million points, 7.2 million device
//! hours, 20 million raw values) and a Python with the peers; without Python, ours alone. Out: the
//! median of each one's rounds, ours before and after the peers', and exit code 1 if counts differ
//! at all, PSI by more than 0.01, or a verdict. `tests/load/README.md` says what was found.
#![expect(clippy::print_stdout, reason = "an example prints its figures")]

#[path = "goals/compare.rs"]
mod compare;
#[path = "goals/fleet.rs"]
mod fleet;
#[path = "goals/ours.rs"]
mod ours;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use self::{
    fleet::{Result, Size},
    ours::Figure,
};

/// Rounds of each before and after the peers, and of each peer.
const ROUNDS: usize = 3;

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map(PathBuf::from);
    let folder = folder.ok_or("name a new folder for the data, and a share of the goals' size")?;
    let share = arguments.next().map_or(Ok(0.01), |text| text.parse())?;
    let python = arguments.next();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    if !folder.exists() {
        let (points, hours) = runtime.block_on(fleet::write(&folder, Size::of(share)))?;
        println!("points: {points:?}\ndevice hours: {hours:?}");
    }
    let mut figures = runtime.block_on(ours(&folder))?;
    if let Some(python) = python {
        figures.extend(peers(&python, &folder)?);
        figures.extend(runtime.block_on(ours(&folder))?);
    }
    let (table, wrong) = compare::table(&figures);
    println!("{table}");
    wrong.iter().for_each(|wrong| println!("WRONG: {wrong}"));
    Ok(if wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn ours(folder: &Path) -> Result<Vec<Figure>> {
    let mut figures = vec![];
    let engine = ours::engine(folder).await?;
    for _ in 0..ROUNDS {
        for asked in ours::questions() {
            figures.push(ours::ask(&engine, &asked).await?);
        }
        figures.push(ours::raw(folder)?);
    }
    Ok(figures)
}

/// One figure a line from `goals/peers.py`.
fn peers(python: &str, folder: &Path) -> Result<Vec<Figure>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/goals/peers.py");
    let mut command = Command::new(python);
    command.arg(script).arg(folder).arg(ROUNDS.to_string());
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the peers failed: {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let figures = text.lines().map(serde_json::from_str);
    Ok(figures.collect::<std::result::Result<_, _>>()?)
}
