//! Prometheus beside the collector, in the same run: the same windows, as native histograms by
//! remote write. In: its binary and the deck. Out: what it cost. Every point becomes one sample of
//! a series of its own; deltas are told as gauges, so that none looks like a counter's reset. What
//! it does not do: wait for the disk before it answers, or tell a repeat from news.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{KeyValue, any_value},
    metrics::v1::{
        ExponentialHistogramDataPoint, exponential_histogram_data_point::Buckets, metric,
    },
};
use prost::Message;

use crate::{
    collector::{Cost, cost_of, free_ports},
    deck::Deck,
    doors::Door,
    replay::Replay,
};

/// Longest wait until it is ready.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Its counter of histograms that it took.
const TAKEN: &str = "prometheus_tsdb_head_samples_appended_total{type=\"histogram\"}";

/// What it made of the same windows.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) version: String,
    /// Points by its own count: the report holds it against what was sent.
    pub(crate) taken: f64,
    pub(crate) wall: Duration,
    /// From when each request was due to its answer, shortest first.
    pub(crate) took: Vec<Duration>,
    pub(crate) cpu_s: f64,
    pub(crate) peak_mib: f64,
}

/// Messages of remote write 0.1; field numbers as in Prometheus's `types.proto`.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(double, tag = "5")]
    zero_threshold: f64,
    #[prost(uint64, tag = "6")]
    zero_count: u64,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "12")]
    positive_deltas: Vec<i64>,
    #[prost(int32, tag = "14")]
    reset_hint: i32,
    #[prost(int64, tag = "15")]
    timestamp_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

/// `reset_hint` of a histogram that is no counter.
const GAUGE: i32 = 3;

/// The deck as remote write sends it, encoded ahead of time like ours.
pub(crate) fn deck(ours: &Deck) -> anyhow::Result<Deck> {
    ours.rewritten(|body| {
        let request = ExportMetricsServiceRequest::decode(body)?;
        let written = WriteRequest {
            timeseries: series(&request),
        };
        Ok(snap::raw::Encoder::new().compress_vec(&written.encode_to_vec())?)
    })
}

/// Sends `deck` to a Prometheus of its own in `folder`, and asks how much of it was taken.
pub(crate) fn run(
    binary: &Path,
    folder: &Path,
    deck: Deck,
    (rate, connections): (Option<f64>, usize),
) -> anyhow::Result<Peer> {
    let process = Process::start(binary, folder)?;
    let before = process.cost();
    let replay = Replay::new(deck, vec![Door::RemoteWrite(process.address.clone())], rate);
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let took = runtime.block_on(Arc::clone(&replay).run(connections))?;
    let (wall, after) = (began.elapsed(), process.cost());
    let taken = process.metric(TAKEN)?;
    Ok(Peer {
        taken,
        version: process.version()?,
        wall,
        took,
        cpu_s: after.cpu_s - before.cpu_s,
        peak_mib: after.peak_mib,
    })
}

struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(binary: &Path, folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join("prometheus");
        std::fs::create_dir_all(&folder)?;
        let config = folder.join("prometheus.yml");
        // It scrapes nobody, itself included.
        std::fs::write(&config, "scrape_configs: []\n")?;
        let address = format!("127.0.0.1:{}", free_ports()?[0]);
        let child = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--web.enable-remote-write-receiver")
            .arg("--enable-feature=native-histograms")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log.txt"))?)
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let process = Self { child, address };
        let (ready, began) = (
            format!("http://{}/-/ready", process.address),
            Instant::now(),
        );
        while ureq::get(&ready).call().is_err() {
            if began.elapsed() > READY_LIMIT {
                let log = std::fs::read_to_string(folder.join("log.txt"))?;
                bail!("Prometheus is not ready; it said:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    fn cost(&self) -> Cost {
        cost_of(&self.child.id().to_string())
    }

    fn get(&self, path: &str) -> anyhow::Result<String> {
        let url = format!("http://{}{path}", self.address);
        let mut answer = ureq::get(&url).call().context(url)?;
        Ok(answer.body_mut().read_to_string()?)
    }

    fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let page = self.get("/metrics")?;
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        let value = line.with_context(|| format!("Prometheus has no {name}"))?;
        Ok(value.trim().parse()?)
    }

    fn version(&self) -> anyhow::Result<String> {
        let answer: serde_json::Value =
            serde_json::from_str(&self.get("/api/v1/status/buildinfo")?)?;
        let version = answer["data"]["version"].as_str();
        Ok(version.unwrap_or("of unknown version").to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its data is thrown away; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One series for each distribution of each device; the window's number travels with none.
fn series(request: &ExportMetricsServiceRequest) -> Vec<TimeSeries> {
    let mut series = vec![];
    for resource in &request.resource_metrics {
        let of_resource = resource.resource.as_ref().map(|r| r.attributes.as_slice());
        let metrics = resource
            .scope_metrics
            .iter()
            .flat_map(|scope| &scope.metrics);
        for metric in metrics {
            let Some(metric::Data::ExponentialHistogram(distribution)) = &metric.data else {
                continue;
            };
            for point in &distribution.data_points {
                let of_point = point.attributes.as_slice();
                series.push(TimeSeries {
                    labels: labels(&metric.name, &[of_resource.unwrap_or(&[]), of_point]),
                    histograms: vec![histogram(point)],
                });
            }
        }
    }
    series
}

/// Labels in order of their names, as a receiver expects them.
fn labels(metric: &str, attributes: &[&[KeyValue]]) -> Vec<Label> {
    let named = |name: &str| name.replace(['.', '-'], "_");
    let mut labels = vec![Label {
        name: "__name__".into(),
        value: named(metric),
    }];
    for attribute in attributes.concat() {
        let value = attribute.value.and_then(|value| value.value);
        if let Some(any_value::Value::StringValue(value)) = value {
            let name = named(&attribute.key);
            labels.push(Label { name, value });
        }
    }
    labels.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    labels
}

/// The same buckets: theirs are numbered by their upper bounds, and each count is told as the
/// difference from the one before.
fn histogram(point: &ExponentialHistogramDataPoint) -> Histogram {
    let none = Buckets::default();
    let buckets = point.positive.as_ref().unwrap_or(&none);
    let counts = buckets.bucket_counts.iter();
    let counts: Vec<i64> = counts
        .map(|count| i64::try_from(*count).unwrap_or(i64::MAX))
        .collect();
    let before = std::iter::once(0).chain(counts.iter().copied());
    Histogram {
        count: point.count,
        sum: point.sum.unwrap_or_default(),
        schema: point.scale,
        zero_threshold: point.zero_threshold,
        zero_count: point.zero_count,
        positive_spans: vec![Span {
            offset: buckets.offset + 1,
            length: u32::try_from(counts.len()).unwrap_or(u32::MAX),
        }],
        positive_deltas: counts
            .iter()
            .zip(before)
            .map(|(now, then)| now - then)
            .collect(),
        reset_hint: GAUGE,
        timestamp_ms: i64::try_from(point.time_unix_nano / 1_000_000).unwrap_or(i64::MAX),
    }
}
