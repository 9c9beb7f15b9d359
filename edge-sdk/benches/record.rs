//! What one inference costs to record: eight distributions through this SDK's public calls against
//! the same eight through the stock OpenTelemetry SDK with three attributes, in one run, in turns,
//! the fastest of several tries. Both read the clock three times; ours also looks at a row of eight
//! logits. Then two threads against one. Run it with
//! `cargo bench -p fathomline-edge --no-default-features --bench record`.
//! Last figures, two shared cores of an x86-64 server, 2026-11-24: 364 ns against 940 ns, 2.6 times
//! (the goal is 6); two threads 2.04 times one.

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use fathomline_edge::{Fathomline, FinishReason, Operation};
use opentelemetry::{KeyValue, metrics::Histogram, metrics::MeterProvider};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    metrics::{
        Aggregation, Instrument, PeriodicReader, SdkMeterProvider, Stream, Temporality,
        data::ResourceMetrics, exporter::PushMetricExporter,
    },
};

const ROUNDS: u32 = 200_000;
const TRIES: usize = 7;
const LOGITS: [f32; 8] = [0.1, 2.0, -1.0, 0.3, 0.0, 1.9, -3.0, 0.7];

fn ours(line: &Fathomline) {
    let mut op = line.operation(Operation::Chat);
    op.prompt_tokens(12);
    black_box(op.greedy(black_box(&LOGITS)));
    op.finish(FinishReason::Stop);
}

/// Takes windows and forgets them.
struct Nowhere;

impl PushMetricExporter for Nowhere {
    async fn export(&self, _: &ResourceMetrics) -> OTelSdkResult {
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Delta
    }
}

struct Stock {
    histograms: Vec<Histogram<f64>>,
    attributes: [KeyValue; 3],
    _provider: SdkMeterProvider,
}

impl Stock {
    fn new() -> Self {
        let exponential = |_: &Instrument| {
            let aggregation = Aggregation::Base2ExponentialHistogram {
                max_size: 160,
                max_scale: 5,
                record_min_max: true,
            };
            Stream::builder().with_aggregation(aggregation).build().ok()
        };
        // Without a reader nothing would be recorded.
        let reader = PeriodicReader::builder(Nowhere).build();
        let provider = SdkMeterProvider::builder()
            .with_view(exponential)
            .with_reader(reader)
            .build();
        let meter = provider.meter("bench");
        let name = |n| format!("signal.{n}");
        Self {
            histograms: (0..8)
                .map(|n| meter.f64_histogram(name(n)).build())
                .collect(),
            attributes: [
                KeyValue::new("gen_ai.operation.name", "chat"),
                KeyValue::new("gen_ai.request.model", "assistant"),
                KeyValue::new("fathomline.model.version", "1.4.0"),
            ],
            _provider: provider,
        }
    }

    fn infer(&self) {
        let began = Instant::now();
        let first = black_box(Instant::now());
        for (n, histogram) in (1u32..).zip(&self.histograms) {
            histogram.record(f64::from(n) * 0.7, &self.attributes);
        }
        black_box(Instant::now() - first.max(began));
    }
}

/// Nanoseconds a round.
fn nanos(work: impl Fn()) -> f64 {
    let began = Instant::now();
    (0..ROUNDS).for_each(|_| work());
    began.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
}

/// Rounds a second of `threads` threads together.
fn rate(line: &Fathomline, threads: u32) -> f64 {
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..ROUNDS).for_each(|_| ours(line)));
        }
    });
    f64::from(threads * ROUNDS) / began.elapsed().as_secs_f64()
}

#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let spool = std::env::temp_dir().join(format!("fathomline-bench-{}", std::process::id()));
    let line = Fathomline::builder("assistant", "1.4.0")
        .without_energy()
        .endpoint("http://127.0.0.1:1")
        .spool(&spool)
        .start()?;
    let watched_spool = spool.join("watched");
    let watched = Fathomline::builder("assistant", "1.4.0")
        .without_energy()
        .endpoint("http://127.0.0.1:1")
        .spool(&watched_spool)
        .detector(1.0)
        .start()?;
    let stock = Stock::new();
    let mut fastest_watched = f64::INFINITY;
    let (mut fastest, mut stocks) = (f64::INFINITY, f64::INFINITY);
    let (mut one, mut two) = (0f64, 0f64);
    for _ in 0..TRIES {
        fastest = fastest.min(nanos(|| ours(&line)));
        fastest_watched = fastest_watched.min(nanos(|| ours(&watched)));
        stocks = stocks.min(nanos(|| stock.infer()));
        stocks = stocks.min(nanos(|| stock.infer()));
        fastest = fastest.min(nanos(|| ours(&line)));
        one = one.max(rate(&line, 1));
        two = two.max(rate(&line, 2));
    }
    let clock = nanos(|| {
        black_box(Instant::now());
    });
    println!(
        "one inference: ours {fastest:.0} ns, stock {stocks:.0} ns, {:.1} times",
        stocks / fastest
    );
    println!(
        "with the detector: {fastest_watched:.0} ns, {:.0} ns more",
        fastest_watched - fastest
    );
    println!("one clock read of the three: {clock:.0} ns");
    println!("two threads: {:.2} times one", two / one);
    drop((line, watched));
    std::fs::remove_dir_all(&spool)?;
    Ok(())
}
