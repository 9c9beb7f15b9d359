//! The figures of one run, for people and for programs. In: what was measured. Out: lines on
//! standard output. Never: a figure that was not measured in this run.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde_json::json;

use crate::{deck::Totals, prometheus::Peer};

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) options: String,
    pub(crate) totals: Totals,
    pub(crate) requests: u64,
    pub(crate) sent_bytes: u64,
    /// Answers that asked for the same request again.
    pub(crate) busy: u64,
    /// Connections that ended before an answer.
    pub(crate) lost: u64,
    pub(crate) kills: u64,
    pub(crate) wall: Duration,
    /// From when each request was due to its acknowledgement, shortest first.
    pub(crate) took: Vec<Duration>,
    /// Answers of the fleet's page meanwhile, shortest first.
    pub(crate) pages: Vec<Duration>,
    pub(crate) generator_cpu_s: f64,
    pub(crate) collector_cpu_s: f64,
    /// Until everything was committed to the tables as well.
    pub(crate) collector_cpu_to_the_end_s: f64,
    pub(crate) peak_mib: f64,
    pub(crate) ready: Duration,
    pub(crate) replayed: Duration,
    pub(crate) stored_bytes: u64,
    pub(crate) stored_files: u64,
    pub(crate) peer: Option<Peer>,
}

impl Report {
    pub(crate) fn print(&self, as_json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if as_json {
            return writeln!(out, "{}", self.json());
        }
        let points = self.points();
        let wall = self.wall.as_secs_f64();
        let acknowledged = quantiles(&self.took);
        writeln!(out, "run        {}", self.options)?;
        writeln!(
            out,
            "stored     {} points of {} devices in {} requests ({} kills, {} lost connections, {} busy answers); every count and sum equal, twice",
            self.totals.points,
            self.totals.devices,
            self.requests,
            self.kills,
            self.lost,
            self.busy
        )?;
        writeln!(
            out,
            "rate       {:.0} points/s, {:.0} requests/s over {wall:.1} s",
            points / wall,
            self.requests() / wall
        )?;
        writeln!(out, "answered   {acknowledged} after a request was due")?;
        writeln!(
            out,
            "page       {} ({} asked)",
            quantiles(&self.pages),
            self.pages.len()
        )?;
        writeln!(
            out,
            "collector  {:.1} s CPU while sending ({:.2} cores), {:.2} us a point; {:.1} s and {:.2} us with the commits; peak {:.0} MiB",
            self.collector_cpu_s,
            self.collector_cpu_s / wall,
            self.collector_cpu_s * 1e6 / points,
            self.collector_cpu_to_the_end_s,
            self.collector_cpu_to_the_end_s * 1e6 / points,
            self.peak_mib
        )?;
        writeln!(
            out,
            "generator  {:.1} s CPU, {:.2} us a point",
            self.generator_cpu_s,
            self.generator_cpu_s * 1e6 / points
        )?;
        writeln!(
            out,
            "bytes      {:.1} a point on the wire, {:.1} in {} files of the tables, not compacted",
            self.sent_bytes() / points,
            self.stored_bytes() / points,
            self.stored_files
        )?;
        writeln!(
            out,
            "ready      {:?} at first, {:?} with what the log held",
            self.ready, self.replayed
        )?;
        self.print_peer(&mut out)
    }

    fn print_peer(&self, out: &mut impl Write) -> io::Result<()> {
        let Some(peer) = &self.peer else {
            return Ok(());
        };
        writeln!(
            out,
            "prometheus {}: took {} of {} points, {:.0} points/s; {:.2} us of CPU a point, {:.1} times the collector's with its commits; {}; peak {:.0} MiB; not synced",
            peer.version,
            peer.taken,
            self.totals.points,
            peer.taken / peer.wall.as_secs_f64(),
            peer.cpu_s * 1e6 / peer.taken,
            peer.cpu_s / self.collector_cpu_to_the_end_s,
            quantiles(&peer.took),
            peer.peak_mib
        )
    }

    fn json(&self) -> serde_json::Value {
        let millis = |took: &[Duration], share| quantile(took, share).as_secs_f64() * 1e3;
        json!({
            "points": self.totals.points,
            "requests": self.requests,
            "kills": self.kills,
            "lost_connections": self.lost,
            "busy": self.busy,
            "wall_s": self.wall.as_secs_f64(),
            "points_per_s": self.points() / self.wall.as_secs_f64(),
            "acknowledged_p50_ms": millis(&self.took, 0.5),
            "acknowledged_p99_ms": millis(&self.took, 0.99),
            "page_p95_ms": millis(&self.pages, 0.95),
            "collector_cpu_s": self.collector_cpu_s,
            "collector_cpu_to_the_end_s": self.collector_cpu_to_the_end_s,
            "generator_cpu_s": self.generator_cpu_s,
            "collector_peak_mib": self.peak_mib,
            "stored_bytes_per_point": self.stored_bytes() / self.points(),
            "ready_s": self.ready.as_secs_f64(),
            "replayed_s": self.replayed.as_secs_f64(),
            "prometheus": self.peer.as_ref().map(|peer| json!({
                "version": peer.version,
                "points": peer.taken,
                "points_per_s": peer.taken / peer.wall.as_secs_f64(),
                "cpu_s": peer.cpu_s,
                "answered_p99_ms": millis(&peer.took, 0.99),
                "peak_mib": peer.peak_mib,
            })),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    fn points(&self) -> f64 {
        self.totals.points as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    fn requests(&self) -> f64 {
        self.requests as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    fn sent_bytes(&self) -> f64 {
        self.sent_bytes as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    fn stored_bytes(&self) -> f64 {
        self.stored_bytes as f64
    }
}

fn quantiles(took: &[Duration]) -> String {
    let millis = |share| quantile(took, share).as_secs_f64() * 1e3;
    format!(
        "p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        millis(0.5),
        millis(0.95),
        millis(0.99),
        millis(1.0)
    )
}

/// The value that a share of `sorted` does not exceed; nothing if there is none.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a length is an index"
    )]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}
