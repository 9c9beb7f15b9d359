//! `fathomline serve`: configuration, build, run, drain.

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, ValueEnum};
use fathomline_collector::{
    Collector, Config, Running,
    clock::{Clock as _, SET_SINCE_US, SystemClock, rfc3339},
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::runtime;

/// Longest wait for open requests and the last commit.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Configuration file (TOML).
    #[arg(long)]
    config: Option<PathBuf>,
    /// Data folder [default: ./fathomline-data].
    #[arg(long)]
    data: Option<PathBuf>,
    /// Dashboard and API [default: 127.0.0.1:8330].
    #[arg(long)]
    http: Option<SocketAddr>,
    /// OTLP over gRPC [default: 127.0.0.1:4317].
    #[arg(long)]
    otlp_grpc: Option<SocketAddr>,
    /// OTLP over HTTP [default: 127.0.0.1:4318].
    #[arg(long)]
    otlp_http: Option<SocketAddr>,
    /// Listen beyond loopback without authentication.
    #[arg(long)]
    insecure: bool,
    /// How log lines look: for people, or one JSON object a line.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        log_to_stderr(self.log_format);
        let now_us = SystemClock.now_us();
        // What comes in would be stored under such a date, and thrown away as old once it is right.
        anyhow::ensure!(
            now_us >= SET_SINCE_US,
            "cannot start: this machine's clock says {}; set it, then start again",
            rfc3339(now_us)
        );
        let config = self.config()?;
        let runtime = runtime::build()?;
        let done = runtime.block_on(async {
            let running = Collector::start(config).await?;
            announce(&running)?;
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => interrupted?,
                _ = terminate.recv() => {}
            }
            // What was acknowledged is synced: whoever holds a connection open, or asks again, may
            // cut the drain short and loses nothing.
            tokio::select! {
                drained = tokio::time::timeout(DRAIN_LIMIT, running.drain()) => {
                    if drained.is_err() {
                        tracing::warn!("a peer holds its connection open; stopping all the same");
                    }
                }
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            Ok(ExitCode::SUCCESS)
        });
        // Tasks of peers that hold on would keep a plain drop waiting.
        runtime.shutdown_background();
        done
    }

    fn config(self) -> anyhow::Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        config.data = self.data.unwrap_or(config.data);
        config.http = self.http.unwrap_or(config.http);
        config.otlp_http = self.otlp_http.unwrap_or(config.otlp_http);
        config.otlp_grpc = self.otlp_grpc.unwrap_or(config.otlp_grpc);
        config.insecure |= self.insecure;
        Ok(config)
    }
}

/// Our own rooms at `info`, dependencies at `warn`; `RUST_LOG` overrides both.
fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,fathomline=info,fathomline_collector=info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// The addresses in force, one a line, for people and for scripts.
fn announce(running: &Running) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let [dashboard, otlp_http, otlp_grpc] = running.urls();
    writeln!(out, "dashboard {dashboard}")?;
    writeln!(out, "otlp/http {otlp_http}")?;
    writeln!(out, "otlp/grpc {otlp_grpc}")?;
    out.flush()
}
