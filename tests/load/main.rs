//! Load: a fleet's windows, encoded ahead of time, sent to a collector of its own, and every count
//! and sum read back from the store.
//!
//! ```sh
//! cargo run --release --bin fathomline-load -- --devices 100000 --rate 16667 --seconds 60
//! cargo run --release --bin fathomline-load -- --per-request 64 --devices 10000 --seconds 20
//! cargo run --bin fathomline-load -- --kills 200 --rate 2000 --seconds 60
//! ```
//!
//! In: how many, how fast, how often killed. Out: figures on standard output, and exit code 1 if a
//! single count or sum differs. The collector is the one that cargo built beside this program.
//!
//! | file | does |
//! |---|---|
//! | `deck.rs` | requests, encoded ahead of time, and their totals |
//! | `doors.rs` | connections over HTTP and gRPC |
//! | `replay.rs` | the schedule: open loop, latency from when a request was due |
//! | `collector.rs` | the process under load: its lives, its cost, its answers |
//! | `prometheus.rs` | the peer: the same windows by remote write |
//! | `faults.rs` | kills at random points |
//! | `books.rs` | whether the store holds what was sent |
//! | `report.rs` | the figures |

mod books;
mod clock;
mod collector;
mod deck;
mod doors;
mod faults;
mod prometheus;
mod replay;
mod report;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    collector::{Collector, cost_of},
    deck::{Deck, Order},
    doors::Door,
    replay::Replay,
    report::Report,
};

/// Sends a fleet's windows to a collector of its own and reads every count back.
#[derive(Clone, Debug, Parser)]
#[command(name = "fathomline-load", version)]
struct Options {
    /// Devices in the fleet.
    #[arg(long, default_value_t = 1000)]
    devices: u64,
    /// Windows a request: 1 as a device sends, more as a relay does.
    #[arg(long, default_value_t = 1)]
    per_request: u64,
    /// Connections that are kept open, one request at a time on each.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Windows a second; left out, as fast as they are answered.
    #[arg(long)]
    rate: Option<u64>,
    /// How long the schedule is; without a rate, how many thousand windows are sent.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Which of the collector's doors.
    #[arg(long, value_enum, default_value_t = Doors::Both)]
    door: Doors,
    /// How often the collector is killed under load and started again.
    #[arg(long, default_value_t = 0)]
    kills: u64,
    /// Same seed, same windows, same points to kill at.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Sections for the collector's configuration file.
    #[arg(long, default_value = "")]
    config: String,
    /// Collector to run [default: the one built beside this program].
    #[arg(long, env = "FATHOMLINE_BIN")]
    collector: Option<PathBuf>,
    /// Folder for the collector's data, kept afterwards [default: a temporary one].
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Sends the same windows to a Prometheus afterwards: its binary, 2.40 or later.
    #[arg(long)]
    prometheus: Option<PathBuf>,
    /// Figures as one line of JSON.
    #[arg(long)]
    json: bool,
}

impl Options {
    #[expect(clippy::cast_precision_loss, reason = "rates are small")]
    fn requests_per_s(&self) -> Option<f64> {
        self.rate.map(|rate| rate as f64 / self.per_request as f64)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Doors {
    Http,
    Grpc,
    Both,
}

/// Windows that one of the `seconds` stands for when there is no rate.
const FLAT_OUT_WINDOWS: u64 = 1000;

/// Length of the devices' windows.
const WINDOW_US: i64 = 60_000_000;

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let temporary = tempfile::tempdir()?;
    let folder = match &options.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            folder.clone()
        }
        None => temporary.path().to_owned(),
    };
    let mut collector = Collector::new(binary(&options)?, &folder, &options.config)?;
    let deck = encode(&options)?;
    let peers = match &options.prometheus {
        Some(binary) => Some((binary, prometheus::deck(&deck)?)),
        None => None,
    };
    let ready = collector.start()?;
    let report = run(&options, &mut collector, deck).with_context(|| collector.said());
    let mut report = Report { ready, ..report? };
    if let Some((binary, deck)) = peers {
        let schedule = (options.requests_per_s(), options.connections.max(1));
        report.peer = Some(prometheus::run(binary, &folder, deck, schedule)?);
    }
    report.print(options.json)?;
    Ok(ExitCode::SUCCESS)
}

fn encode(options: &Options) -> anyhow::Result<Deck> {
    let order = Order {
        devices: options.devices.max(1),
        windows: options.rate.unwrap_or(FLAT_OUT_WINDOWS) * options.seconds.max(1),
        per_request: options.per_request.max(1),
        seed: options.seed,
        end_us: clock::now_us() / WINDOW_US * WINDOW_US,
        window_us: WINDOW_US,
    };
    let bar = bar("encoding", order.windows)?;
    let deck = Deck::encode(order, |windows| bar.set_position(windows))?;
    bar.finish_and_clear();
    Ok(deck)
}

/// Sends everything, kills meanwhile, reads everything back: hot, then from the files alone.
fn run(options: &Options, collector: &mut Collector, deck: Deck) -> anyhow::Result<Report> {
    let doors = match options.door {
        Doors::Http => vec![Door::Http(collector.otlp_http())],
        Doors::Grpc => vec![Door::Grpc(collector.otlp_grpc())],
        Doors::Both => vec![
            Door::Http(collector.otlp_http()),
            Door::Grpc(collector.otlp_grpc()),
        ],
    };
    let replay = Replay::new(deck, doors, options.requests_per_s());
    let (own, theirs) = (cost_of("self"), collector.cost());
    let ended = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let sending = std::thread::spawn({
        let (replay, connections) = (Arc::clone(&replay), options.connections.max(1));
        move || runtime.block_on(replay.run(connections))
    });
    let watching = std::thread::spawn({
        let (replay, page) = (Arc::clone(&replay), format!("http://{}/", collector.http()));
        let ended = Arc::clone(&ended);
        move || watch(&replay, &page, &ended)
    });
    let is_over = || sending.is_finished();
    let kills = faults::kill_often(collector, &replay, options.kills, options.seed, is_over)?;
    let took = sending
        .join()
        .map_err(|_| anyhow::anyhow!("a sender panicked"));
    ended.store(true, Ordering::Relaxed);
    let took = took??;
    let wall = began.elapsed();
    let (own_after, theirs_after) = (cost_of("self"), collector.cost());
    let pages = watching
        .join()
        .map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
    books::balance(collector, &replay.deck.totals)?;
    collector.stop()?;
    let whole = collector.cost();
    let replayed = collector.start()?;
    books::balance(collector, &replay.deck.totals)?;
    let (stored_bytes, stored_files) = collector.stored();
    collector.stop()?;
    Ok(Report {
        options: format!("{options:?}"),
        totals: replay.deck.totals,
        requests: replay.deck.requests,
        sent_bytes: replay.deck.bytes,
        busy: replay.busy.load(Ordering::Relaxed),
        lost: replay.lost.load(Ordering::Relaxed),
        kills,
        wall,
        took,
        pages,
        generator_cpu_s: own_after.cpu_s - own.cpu_s,
        collector_cpu_s: theirs_after.cpu_s - theirs.cpu_s,
        collector_cpu_to_the_end_s: whole.cpu_s - theirs.cpu_s,
        peak_mib: theirs_after.peak_mib,
        ready: Duration::ZERO,
        replayed,
        stored_bytes,
        stored_files,
        peer: None,
    })
}

/// Moves the bar, and asks for the fleet's page once a second, as somebody who looks at it does.
fn watch(replay: &Replay, page: &str, ended: &AtomicBool) -> anyhow::Result<Vec<Duration>> {
    let bar = bar("acknowledged", replay.deck.requests)?;
    let mut pages = vec![];
    let mut asked = Instant::now();
    loop {
        let acknowledged = replay.acknowledged.load(Ordering::Relaxed);
        bar.set_position(acknowledged);
        if acknowledged >= replay.deck.requests || ended.load(Ordering::Relaxed) {
            break;
        }
        if asked.elapsed() >= Duration::from_secs(1) {
            asked = Instant::now();
            // A collector that was killed a moment ago shows no page.
            if ureq::get(page).call().is_ok() {
                pages.push(asked.elapsed());
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bar.finish_and_clear();
    pages.sort_unstable();
    Ok(pages)
}

/// A moving line on a terminal; nothing elsewhere.
fn bar(doing: &'static str, until: u64) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} ({per_sec}, {eta})")?;
    let bar = ProgressBar::new(until).with_style(style);
    bar.set_message(doing);
    Ok(bar)
}

fn binary(options: &Options) -> anyhow::Result<PathBuf> {
    if let Some(path) = &options.collector {
        return Ok(path.clone());
    }
    let path = std::env::current_exe()?.with_file_name("fathomline");
    anyhow::ensure!(
        path.exists(),
        "{} is not built; run `cargo build --bin fathomline` with the same profile, or name one with --collector",
        path.display()
    );
    Ok(path)
}
